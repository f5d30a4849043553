/*
 * fingerprint: what lstat said about an entry, as far as replication cares (I3).
 *
 * Comparison is "differs", never "newer". Plain values: whoever took it knows when.
 */
#ifndef CORE_FINGERPRINT_H
#define CORE_FINGERPRINT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct fingerprint {
	uint32_t mode; /* st_mode with the type bits; 0: nothing known */
	uint32_t uid, gid;
	uint32_t nlink;
	uint64_t size;
	int64_t mtime_ns, ctime_ns; /* since 1970, may be negative */
	uint64_t dev, ino;
};

enum fingerprint_difference {
	FP_SAME,    /* nothing differs */
	FP_META,    /* mode bits, owner or group; for a directory also mtime */
	FP_HIDDEN,  /* only ctime, inode or link count: content may differ unseen */
	FP_DATA,    /* size or mtime of a non-directory */
	FP_RETYPED, /* another file type */
};

void fingerprint_of(struct fingerprint *ret, const struct stat *st);
/* The strongest difference between what is `known` and `seen`. Size, nlink, ctime and inode of
 * directories do not count; device numbers (dev) never do, since they change across reboots.
 * META together with a moved ctime is META: a chmod moves the ctime, too. */
enum fingerprint_difference fingerprint_compare(const struct fingerprint *known,
                                                const struct fingerprint *seen);
/* Moved while its content was read: any of type, size, mtime, ctime, inode. */
bool fingerprint_moved(const struct fingerprint *before, const struct fingerprint *after);
/* mtime or ctime lies within window_ns before wall_ns, or after it: a later write could leave the
 * same stamps. window_ns 0 (multigrain kernels): never. */
bool fingerprint_racy(const struct fingerprint *fp, int64_t wall_ns, int64_t window_ns);

#endif
