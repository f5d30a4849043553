/*
 * mark: "this path is to be brought into line at this target" (I2).
 *
 * A mark says where to work, never what happened there. It is made by a look, which compared the
 * file system with what the job's target is believed to hold; by the time it is carried out both
 * may differ again, and that is fine: the newer change has made a newer mark.
 */
#ifndef CORE_MARK_H
#define CORE_MARK_H

#include <stdbool.h>
#include "base/bytes.h"

enum mark_scope { MARK_ENTRY, MARK_SUBTREE };

/* What has to be done, the weaker first; LOOK is not known yet and goes to the look thread. */
enum mark_action {
	MARK_META,    /* attributes only */
	MARK_QUICK,   /* the receiver's quick check in nanoseconds decides about the content */
	MARK_CONTENT, /* content is compared or sent whatever size and mtime say */
	MARK_DELETE,  /* gone at the source, seen in a verified, completely listed directory (I8) */
	MARK_LOOK,    /* unknown: look again; SUBTREE marks are always this */
};

enum mark_flag {
	MARK_DIR = 1,     /* is a directory (for DELETE: was one) */
	MARK_FRESH = 2,   /* the target is not believed to hold this name */
	MARK_RETYPED = 4, /* the target is believed to hold another type under this name */
	MARK_LOW = 8,     /* found by a crawl without a change in size or time: low priority */
	MARK_HOT = 16,    /* written without having been closed */
	MARK_AUDIT = 32,  /* has no born of its own: barriers do not wait for it */
	/* Says something only about marks that are still pending: DELETE: the name is neither here
	 * nor at the target; LOOK: it is here as the target has it, should it be about to be
	 * deleted; CONTENT: its file was written and has lost the name; QUICK: its attributes were
	 * changed and it has lost the name; META: its file was closed, or, with DIR, the directory
	 * has left its place, and what is pending below may be elsewhere. */
	MARK_IF_PENDING = 64,
	MARK_BRIEF = 128, /* named like a receiver's temporary file: likely to be renamed at once */
	MARK_SIGHT = 256, /* CONTENT: for what was seen here, not because the target is in doubt */
	MARK_CLOSED = 512, /* a writer has just closed it under this name */
	MARK_GREW = 1024,  /* HOT: has grown, and may be shown before it is closed */
};

/* For logs. */
const char *mark_action_word(enum mark_action action);

#define BORN_NONE UINT64_MAX /* born of audit findings: later than every barrier */

struct mark {
	struct bytes path;
	enum mark_scope scope;
	enum mark_action action;
	unsigned flags;    /* enum mark_flag */
	uint64_t born;     /* lowest drain number merged into it: for barriers */
	int64_t since_ns;  /* CLOCK_BOOTTIME of the oldest change merged into it: lag */
	uint64_t size;     /* bytes of content that may have to be sent */
	uint64_t link;     /* inode number when nlink > 1: the group is taken whole; 0 otherwise */
	uint64_t dev, ino; /* of a regular file that was looked at; 0 otherwise */
	int64_t ctime_ns;  /* of what was looked at; 0: nothing was */
};

/* Deletion, type change and creation of a directory exclude everything above and below while in
 * flight (I6); other marks exclude only their own path. A mark to look touches no target and
 * excludes nothing: a crawl puts marks below the SUBTREE mark that it is answering. */
static inline bool mark_exclusive(const struct mark *m)
{
	return m->action != MARK_LOOK && (m->action == MARK_DELETE || (m->flags & MARK_RETYPED) ||
	                                  ((m->flags & MARK_DIR) && (m->flags & MARK_FRESH)));
}

/* Merges `next` (the later one) into `into`, same path: the wider scope, the stronger action, the
 * older born and since. The later look decides between existing and gone: DELETE replaces an
 * earlier action, and an earlier DELETE followed by an existing entry becomes CONTENT. LOOK wins
 * over everything: nothing is known until the look has been made. DIR, FRESH, RETYPED, size,
 * link, ino and ctime are those of the later look (a LOOK mark says nothing about them), CLOSED and
 * GREW, too; LOW, HOT, BRIEF, AUDIT and SIGHT stay only when both have them. The path of `into` is
 * left alone. */
void mark_merge(struct mark *into, const struct mark *next);

#endif
