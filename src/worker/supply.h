/*
 * supply: answers one session's requests for content, a slice at a time.
 *
 * The file is opened beneath the root without following links and must be the very file that was
 * listed (I5); it is looked at again when it has been read (I3). At most the size that it had when
 * it was opened is sent, so a file that grows faster than the wire has an end.
 */
#ifndef WORKER_SUPPLY_H
#define WORKER_SUPPLY_H

#include "rsync/sums.h"
#include "worker/basis.h"
#include "worker/blame.h"

#define SUPPLY_SLICE_BYTES   (256u << 10)
#define SUPPLY_PENDING_BYTES (1u << 20) /* of output, above which reading pauses */

struct supply {
	int fd;       /* -1: idle */
	size_t ahead; /* list index from which on files may be sent unasked */
	struct part *part;
	uint64_t left, at;
	struct basis basis;    /* of that file; fd -1: it is sent */
	struct hasher *hasher; /* of what is sent (repeats.h) */
};

void supply_init(struct supply *v);
void supply_done(struct supply *v);
/* Answers the request for `part`, or begins to: v->fd >= 0 then. */
void supply_request(struct supply *v, struct session *s, struct cargo *c, struct part *part,
                    const struct session_event *ev);
/* Reads and answers one slice through `buffer` of SUPPLY_SLICE_BYTES. */
void supply_slice(struct supply *v, struct session *s, struct cargo *c, char *buffer);
/* Sends some of the small files that will be asked for, while there is room for them in the output
 * and nothing else is being answered. The receiver keeps few files under way at a time, and waits
 * for us each time; and over a long line each wait is a round trip. Whose time was set since it was
 * written, which its ctime tells, is asked for: the target may have it (a copy, or what the target
 * itself has sent). Where the ctime tells nothing such a file goes twice, to no harm. */
void supply_unasked(struct supply *v, struct session *s, struct cargo *c, char *buffer);
/* There may be such files. */
bool supply_has_unasked(const struct supply *v, const struct cargo *c);
/* The receiver has told of a failure: of `named`, or of something that is not known. What of it was
 * answered is written off, for stock receivers ask for nothing more while 50 files are under way,
 * or 10 that hold 128 KiB, and one that failed stays among them (session_write_off). */
void supply_failed(struct session *s, struct cargo *c, const struct blame *named);
/* Nothing has come for so long that nothing may come of what was sent unasked: its requests count
 * from now on (I14). */
void supply_overdue(struct session *s, struct cargo *c);
/* At the end: that was right, only what was asked for has arrived. */
bool supply_was_ignored(const struct cargo *c);
/* The listed file itself, and its size now; or -errno. */
int supply_open(const struct cargo *c, const struct part *part, uint64_t *size);
/* Answers a part that could not be opened or read. */
void supply_blame_errno(struct cargo *c, struct part *part, int error);

#endif
