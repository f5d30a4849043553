/*
 * cargo: what one session carries: a batch, what was listed for it, and what is known of each part.
 *
 * Parts are in path_compare() order and unique by path: the items that were listed or named in a
 * rule, their former names, and the directories that ride along. Items that could not be listed are
 * answered at once and have no part. Every item is answered exactly once; answers gather and leave
 * as reports.
 */
#ifndef WORKER_CARGO_H
#define WORKER_CARGO_H

#include "base/frame.h"
#include "worker/repeats.h"
#include "worker/wire.h"

#define CARGO_NONE UINT32_MAX

enum part_kind {
	PART_FILE,     /* file, link or special: confirmed by its SUCCESS */
	PART_DIR,      /* confirmed by the end of the phase (I9) */
	PART_DELETION, /* a name in a rule, not in the list */
	PART_STAMP,    /* a stamp file: not in the tree */
	PART_CONTEXT,  /* an ancestor as it is at the source (I12) */
	PART_SCAFFOLD, /* an ancestor that the source does not have: of deletions, of stamps, or of
	                * former names */
	PART_FORMER,   /* a name that the file of an item had before: another link of it */
};

struct part {
	struct bytes path;   /* borrowed from the batch */
	struct bytes file;   /* FORMER: the file's name now, borrowed from the batch */
	uint32_t item;       /* index into the batch, CARGO_NONE for ancestors and former names */
	uint32_t entry;      /* index into the list, CARGO_NONE for deletions */
	uint8_t kind, flags; /* enum part_kind, enum wire_result_flag */
	uint8_t trouble;
	bool settled;   /* answered */
	bool known;     /* SCAFFOLD: listed with attributes that it had */
	bool serve;     /* stamp that is to be written */
	bool moved;     /* differs from fp since it was listed (I3) */
	bool redo;      /* was asked for a second time: its SUCCESS comes after the phase */
	bool success;   /* SUCCESS came; its item may still follow */
	bool lost;      /* was answered and written off: an error names it */
	bool unasked;   /* a copy was sent without a request */
	bool asked;     /* its content was asked for */
	uint8_t copies; /* of its content that were sent and may arrive */
	uint8_t successes;
	bool differs;    /* compare: the target has it otherwise */
	bool kept;       /* deletion: reported as not empty */
	bool blocked;    /* an error names it that also concerns what lies below */
	bool incomplete; /* an attribute did not arrive: not done, whatever confirms it */
	uint16_t iflags; /* all item flags so far */
	uint64_t group;  /* hard-link group, 0: none */
	bool hashed;     /* digest is that of the content that was sent last */
	unsigned char digest[REPEATS_DIGEST_BYTES];
	struct fingerprint fp;
	char *text; /* what the server said against it, NULL: nothing */
	size_t text_n;
	char *remark; /* which attribute is not kept, where it is confirmed all the same */
};

struct cargo {
	struct wire_batch batch;
	char *payload; /* what the batch's slices lie in */
	int root_fd;
	bool cross_mounts, no_ack;
	bool xattrs, acls;       /* they are listed */
	bool compare;            /* nothing is changed at the target: PROVEN or DISPROVED */
	bool extras;             /* and what lies there besides is told */
	struct repeats *repeats; /* borrowed; NULL: not kept */
	struct part *parts;
	size_t parts_n, parts_cap;
	bool *with_former; /* item: its former name is listed */
	uint32_t *listed;  /* list index -> part */
	size_t listed_n;
	size_t unsettled; /* items without an answer */
	char *complaint;  /* first error that no part claims (I9) */
	char *last_error;
	bool unasked;                     /* something was sent unasked, */
	bool unasked_refused;             /* and the receiver has told of an error with it, */
	bool unasked_overdue;             /* or of nothing for too long */
	bool phase;                       /* the end of the phase has been seen */
	struct wire_result_item *answers; /* not reported yet; text owned, path that of an extra */
	size_t answers_n, answers_cap;
};

/* Takes root_fd; copies the payload of a WIRE_BATCH frame. NULL: it does not decode. */
struct cargo *cargo_new(struct bytes payload, int root_fd);
void cargo_free(struct cargo *c);
/* The new part has kind, path and item set; valid until the next call. */
struct part *cargo_add_part(struct cargo *c, enum part_kind kind, struct bytes path, uint32_t item);
/* The part with this path, or NULL. */
struct part *cargo_find(struct cargo *c, struct bytes path);
/* The part behind a list index, or NULL. */
struct part *cargo_at_entry(struct cargo *c, size_t entry);

/* Answers an item that has no part. `text` may be empty. */
void cargo_answer(struct cargo *c, uint32_t item, enum wire_result result, struct bytes text);
/* Answers the item of a part with its fp, flags, trouble and text, once; later calls do nothing. */
void cargo_settle(struct cargo *c, struct part *part, enum wire_result result);
/* Reports an ancestor. */
void cargo_tell_context(struct cargo *c, struct part *part, enum wire_result result);
/* Reports a name that only the target has; copies the path. */
void cargo_tell_extra(struct cargo *c, struct bytes path, bool is_dir);
/* Replaces what is remembered against a part. */
void cargo_blame(struct part *part, struct bytes text, enum trouble trouble);
/* The first one stays. */
void cargo_remark(struct part *part, struct bytes text);
/* Queues WIRE_REPORT frames with all answers. */
void cargo_report(struct cargo *c, struct frame_out *out);

#endif
