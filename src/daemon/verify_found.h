/*
 * verify_found: what verify found so far, without what the engine has under way.
 *
 * A path that has a mark, or lies below one, is not judged; nor is the directory of one, whose time
 * changes with it. Marks are gathered before a batch is sent and after it has been answered.
 */
#ifndef DAEMON_VERIFY_FOUND_H
#define DAEMON_VERIFY_FOUND_H

#include "core/mark.h"
#include "engine/engine.h"

#define VERIFY_FOUND_MAX 1000 /* of one job; beyond it differences are only counted */

struct verify_difference {
	char *path, *what;
	bool is_dir;
	enum verify_kind {
		VERIFY_DIFFERS,
		VERIFY_LEFT_OVER, /* ours, and the source has it no more */
		VERIFY_EXTRA,     /* somebody else's */
	} kind;
	bool again; /* the second look, too, found it so */
};

struct verify_found {
	struct verify_difference *list; /* of earlier batches, judged */
	size_t n;
	struct verify_difference *fresh; /* of the batch under way */
	size_t fresh_n, fresh_cap;
	uint64_t uncounted; /* not in the list for want of room */
	uint64_t extras;    /* all of them, in the list or not */
	struct verify_mark *marks;
};

void verify_found_done(struct verify_found *f);
/* Adds the marks that the engine has now. */
void verify_found_note_marks(struct verify_found *f, struct engine *e);
void verify_found_add(struct verify_found *f, struct bytes path, bool is_dir, enum verify_kind kind,
                      struct bytes what);
/* The batch has been answered: moves what no mark explains to the list. */
void verify_found_judge(struct verify_found *f);
/* The same for the second look: keeps in the list only what was found again, and extras. */
void verify_found_confirm(struct verify_found *f);
/* By path, as people read it; the order in which a receiver tells is its own. */
void verify_found_sort(struct verify_found *f);
/* The batch is repeated. */
void verify_found_drop_fresh(struct verify_found *f);

#endif
