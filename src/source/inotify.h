/*
 * inotify: watches on directories that are already open, and parsing of what the kernel queued.
 *
 * A watch is made through /proc/self/fd/N, so no path can be swapped under it. Adding an inode that
 * is watched already gives its present descriptor: that is the test of identity. See inotify(7).
 */
#ifndef SOURCE_INOTIFY_H
#define SOURCE_INOTIFY_H

#include <stdint.h>
#include "base/bytes.h"
#include "base/err.h"

/* The non-blocking queue, or -errno (-EMFILE: fs.inotify.max_user_instances). */
int inotify_open(void);
/* Watches the directory behind dirfd; the root is also watched for being moved or deleted itself.
 * Returns the watch descriptor or -errno (-ENOSPC: fs.inotify.max_user_watches). */
int inotify_watch(int queue, int dirfd, bool is_root);
void inotify_unwatch(int queue, int wd); /* unknown ones are ignored */

struct inotify_change {
	int wd;
	struct bytes name; /* borrowed; "": the directory itself */
	unsigned bits;     /* enum backlog_bit; 0: nothing for the backlog */
	bool overflow;     /* the queue was full: later changes are lost */
	bool unwatched;    /* the watch is gone: deleted, unmounted or removed by us */
	bool check_root;   /* the root moved, was deleted or unmounted */
};

/* Next event of what read(2) returned; false at the end. */
bool inotify_parse(struct cursor *events, struct inotify_change *ret);

/* fs.inotify.NAME ("max_user_watches", ...), 0 when it cannot be read. */
uint64_t inotify_limit(const char *name);

#endif
