/*
 * fd: files and descriptors. A path is resolved once, beneath a directory descriptor, without
 * following symbolic links; from then on the descriptor is the file.
 */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <sys/stat.h>
#include <sys/types.h>
#include "base/bytes.h"
#include "base/err.h"

/* Opens `path` ("" is dirfd itself, a directory) beneath dirfd: openat2(RESOLVE_BENEATH |
 * RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS, and RESOLVE_NO_XDEV unless cross_mounts), or where
 * the kernel lacks it a walk by O_NOFOLLOW components. O_CLOEXEC | O_NOCTTY are added. Paths longer
 * than PATH_MAX are walked. Returns the descriptor or -errno: -ELOOP a symbolic link was met,
 * -EXDEV a mount point, -EINVAL a path that is not relative and clean, or a flag that creates. */
int fd_open_beneath(int dirfd, struct bytes path, int flags, bool cross_mounts);
/* Makes fd_open_beneath() walk in any case, for tests; thread-safe. */
void fd_force_walk(bool on);

/* Reads until n bytes or end of file; returns the count or -errno. EINTR is retried. */
ssize_t fd_read_full(int fd, void *p, size_t n);
ssize_t fd_pread_full(int fd, void *p, size_t n, off_t at);
int fd_write_full(int fd, const void *p, size_t n);
int fd_set_nonblock(int fd);
/* Whole file of at most max bytes into out (cleared first). -EFBIG beyond; out's maximum becomes
 * max. Opens O_NOFOLLOW. */
int fd_read_file(const char *path, size_t max, struct buf *out, struct err *err);
/* A password file: regular, owned by us or root, no access for group and others, one line (its line
 * end is cut). *ret by malloc; free with mem_free_secret(). */
int fd_read_secret(const char *path, char **ret, struct err *err);
/* What opening or reading a file has failed with, -errno, is a matter of the file itself, its name
 * or its mode: a person has to mend it. Else something of this host is short or broken for now. */
bool fd_is_fault_of_file(int r);
/* mkdir -p for an absolute path; existing directories keep their mode. */
int fd_make_dirs(const char *path, mode_t mode, struct err *err);

int64_t clock_boot_ns(void); /* CLOCK_BOOTTIME: the clock of every timer and deadline */
int64_t clock_wall_ns(void); /* CLOCK_REALTIME: display, records, racy checks only */

#endif
