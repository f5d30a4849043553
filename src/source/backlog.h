/*
 * backlog: what the reader has heard and the look thread has not taken yet: a bounded set of
 * (watch descriptor, name), grouped by watch descriptor in order of arrival.
 *
 * Merging keeps the lowest drain number and the oldest time. The reader is never made to wait (I1):
 * beyond the bound for names a directory is remembered as a whole, beyond the bound for directories
 * the whole tree is. Precision drops, a change never does. No locks inside.
 */
#ifndef SOURCE_BACKLOG_H
#define SOURCE_BACKLOG_H

#include "base/bytes.h"

struct backlog;

enum backlog_bit {
	BACKLOG_META = 1,    /* attributes */
	BACKLOG_WRITTEN = 2, /* content or size */
	BACKLOG_CREATED = 4, /* the name appeared (create, link, mkdir, ...) */
	BACKLOG_MOVED = 8,   /* the name appeared by a rename */
	BACKLOG_CLOSED = 16, /* a writer closed it, and nothing was written or created since */
	BACKLOG_GONE = 32,   /* the name disappeared */
	BACKLOG_LEFT = 64,   /* what left under this name had been written: other links have it */
	BACKLOG_AWAY = 128,  /* the name disappeared by a rename */
};
#define BACKLOG_DATA (BACKLOG_WRITTEN | BACKLOG_CREATED | BACKLOG_MOVED | BACKLOG_CLOSED)

struct backlog_name {
	uint64_t drain;
	int64_t since_ns;
	struct bytes name; /* "": the directory itself */
	unsigned bits;     /* enum backlog_bit */
};

struct backlog_dir {
	uint64_t drain; /* of `whole` */
	int64_t since_ns;
	int wd;
	uint32_t first, last; /* for backlog_next() */
	bool whole;     /* anything in it may have changed; names that follow are still exact */
	bool unwatched; /* the kernel has taken the watch away */
};

struct backlog *backlog_new(size_t max_names, size_t max_dirs);
void backlog_free(struct backlog *b);
void backlog_clear(struct backlog *b);
bool backlog_empty(const struct backlog *b);

void backlog_put(struct backlog *b, int wd, struct bytes name, unsigned bits, uint64_t drain,
                 int64_t now_ns);
void backlog_put_unwatched(struct backlog *b, int wd, uint64_t drain, int64_t now_ns);
void backlog_put_tree(struct backlog *b, uint64_t drain, int64_t now_ns); /* the queue overflowed */

size_t backlog_dirs(const struct backlog *b);
const struct backlog_dir *backlog_dir(const struct backlog *b, size_t i);
/* Iterates over a directory's names: *at starts as dir->first; false at the end. */
bool backlog_next(const struct backlog *b, uint32_t *at, struct backlog_name *ret);
/* True when anything in the tree may have changed. */
bool backlog_tree(const struct backlog *b, uint64_t *ret_drain, int64_t *ret_since_ns);

#endif
