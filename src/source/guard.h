/*
 * guard: is this root still the tree that was mirrored?
 *
 * While running, the root is known by mount id, device and inode; across unmounting and restarts by
 * the file system's UUID and the root's inode. Where a file system has no identity that lasts
 * (tmpfs, network, overlay), the text is "sample" and the caller compares some names with a ledger.
 */
#ifndef SOURCE_GUARD_H
#define SOURCE_GUARD_H

#include "base/bytes.h"
#include "base/err.h"

struct guard_root {
	uint64_t mount_id; /* 0 where the kernel does not tell */
	uint64_t dev, ino;
};

enum guard_verdict {
	GUARD_SAME,    /* same mount, same directory */
	GUARD_REMADE,  /* known by its lasting identity, but mounted anew: watches are gone */
	GUARD_UNSURE,  /* no lasting identity, and mounted anew: compare a sample */
	GUARD_FOREIGN, /* another file system or another directory */
};

struct guard {
	char *path;
	struct guard_root known;
	char lasting[160]; /* "uuid=... ino=..." or "sample" */
};

/* Opens the root (O_PATH) and says what it is now; -errno with a text when it cannot be opened. */
int guard_open(const char *path, struct guard_root *ret, struct err *err);
/* Identity that lasts, for the directory open as rootfd. */
void guard_lasting(int rootfd, const char *path, char *ret, size_t size);
/* Takes what is open as rootfd as the known root. */
void guard_learn(struct guard *g, int rootfd, const struct guard_root *now);
enum guard_verdict guard_compare(const struct guard *g, int rootfd, const struct guard_root *now);
/* The kernel has dropped the root's watch: the next comparison cannot say GUARD_SAME. */
void guard_doubt(struct guard *g);
/* "... is not the file system that was mirrored (was dev 8:17 ino 2, is dev 8:1 ino 13)...." */
void guard_explain(const struct guard *g, const struct guard_root *now, struct buf *out);

/* True when the directory holds nothing but, perhaps, lost+found. False when it cannot be read. */
bool guard_is_empty(int rootfd);

/* Age below which a time stamp may still be given to a later change (I3). */
int64_t guard_racy_window_ns(int rootfd);
/* An inode number says something about a file after the file system was mounted anew. */
bool guard_inodes_last(int rootfd);
/* Name of a file system whose changes by other hosts raise no events ("nfs"), or NULL. */
const char *guard_remote_kind(int rootfd);

/* Mount points strictly below `path`: a hash that changes with them (0: none) and, in `first`, one
 * of them relative to `path`. */
uint64_t guard_mounts_below(const char *path, struct buf *first);

#endif
