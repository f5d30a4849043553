/*
 * store: the two durable things under a ledger, as small interfaces, so that the simulator can run
 * the real ledger over memory and cut its power.
 *
 * A store holds one record per name. A name with a record has a record for every directory above
 * it. The confirmed names of an inode (directories apart) can be found by (dev, ino), whatever
 * their number of links was; those whose fingerprints have more than one link form a group: one
 * fingerprint for all of them, the one written last.
 */
#ifndef LEDGER_STORE_H
#define LEDGER_STORE_H

#include <stdint.h>
#include "base/bytes.h"
#include "base/err.h"
#include "core/fingerprint.h"

/* A record of the store, keyed by path. */
struct store_record {
	struct fingerprint fp; /* mode 0: nothing was ever confirmed */
	uint32_t intents;      /* pushes and deletions under way; 0 with mode 0: only a parent */
	bool parent;           /* by a store, when reading: there may be names below */
};

/* Whether the fingerprint is shared by all names of its inode. */
static inline bool store_linked(const struct fingerprint *fp)
{
	return fp->mode && !S_ISDIR(fp->mode) && fp->nlink > 1;
}

/* Whether the name is found by its inode. */
static inline bool store_indexed(const struct fingerprint *fp)
{
	return fp->mode && !S_ISDIR(fp->mode);
}
static inline bool store_same_inode(const struct fingerprint *a, const struct fingerprint *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

/* Changes of one commit are carried out in order. */
enum store_verb {
	STORE_PUT,   /* the record of path; a linked one joins its group */
	STORE_GONE,  /* removes path and everything below; for "" all names */
	STORE_GROUP, /* the fingerprint of the group (fp.dev, fp.ino), if it has names; no path */
};
struct store_change {
	enum store_verb verb;
	struct bytes path;
	struct store_record record;
};

struct store_view; /* a read snapshot: one commit, whatever happens meanwhile */

struct store {
	/* Readers: any thread. A view is short: while it is open the store cannot reuse space. */
	struct store_view *(*view)(struct store *s);
	void (*unview)(struct store *s, struct store_view *v);
	bool (*get)(struct store *s, struct store_view *v, struct bytes path,
	            struct store_record *ret);
	/* Names directly in dir, byte order, until fn returns false. */
	void (*list)(struct store *s, struct store_view *v, struct bytes dir,
	             bool (*fn)(struct bytes name, const struct store_record *r, void *arg),
	             void *arg);
	/* The confirmed names of an inode, full paths. */
	void (*aliases)(struct store *s, struct store_view *v, uint64_t dev, uint64_t ino,
	                bool (*fn)(struct bytes path, void *arg), void *arg);
	/* Paths whose records have intents. */
	void (*intended)(struct store *s, struct store_view *v,
	                 bool (*fn)(struct bytes path, void *arg), void *arg);
	uint64_t (*entries)(struct store *s); /* names; the root "" is none */

	/* One transaction: all or nothing. meta keys are short texts. One thread at a time. */
	int (*commit)(struct store *s, const struct store_change *changes, size_t n,
	              const char *const *meta_keys, const struct bytes *meta_values, size_t metas,
	              struct err *err);
	bool (*meta)(struct store *s, const char *key, struct buf *ret);
	void (*close)(struct store *s);
};

/*
 * Two files in turn: appends go to the current one; switch_over() begins the other one, and
 * discard_old() empties the previous one, after a commit has written what it names. While the other
 * file still holds something (found at start), switch_over() changes nothing: what is in the
 * current file is then discarded one commit later.
 */
struct intent_log {
	int (*append)(struct intent_log *log, const struct bytes *paths, size_t n);
	int (*switch_over)(struct intent_log *log);
	int (*discard_old)(struct intent_log *log);
	/* What either file holds; a path may come more than once. */
	void (*each)(struct intent_log *log, bool (*fn)(struct bytes path, void *arg), void *arg);
	/* What was appended is on disk when it returns. May be NULL. Any thread. */
	int (*sync)(struct intent_log *log);
	void (*close)(struct intent_log *log);
};

/* DIR/intents.0 and DIR/intents.1; created when missing. *ret_found: either held something. */
int intents_open(struct intent_log **ret, const char *dir, bool *ret_found, struct err *err);

#endif
