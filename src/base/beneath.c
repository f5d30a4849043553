#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "base/mem.h"
#include "base/path.h"

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000u /* Linux 5.8 */
#endif

static _Atomic bool walk_always; /* by request, or openat2 is not there */

void fd_force_walk(bool on)
{
	atomic_store(&walk_always, on);
}

/* No path_valid(): a tree may be deeper than any path the kernel takes in one piece. */
static bool components_valid(struct bytes path)
{
	if (path.n && (path.p[0] == '/' || path.p[path.n - 1] == '/'))
		return false;
	while (path.n) {
		if (!name_valid(path_next(&path)))
			return false;
	}
	return true;
}

static int open_at_once(int dirfd, const char *path, int flags, bool cross_mounts)
{
	struct open_how how = {
	        .flags = (uint64_t)flags,
	        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	if (!cross_mounts)
		how.resolve |= RESOLVE_NO_XDEV;
	int fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

static int read_mount_id_from_proc(int fd, uint64_t *ret)
{
	char file[64], text[512];

	(void)snprintf(file, sizeof(file), "/proc/self/fdinfo/%d", fd);
	autoclose int info = open(file, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return -errno;
	ssize_t n = fd_read_full(info, text, sizeof(text) - 1);
	if (n < 0)
		return (int)n;
	text[n] = '\0';
	const char *line = strstr(text, "mnt_id:");
	if (!line)
		return -ENODATA;
	errno = 0;
	uint64_t id = strtoull(line + strlen("mnt_id:"), NULL, 10);
	if (errno)
		return -errno;
	*ret = id;
	return 0;
}

/* The mount of a descriptor; where the kernel does not tell, its device stands in. */
static int read_mount_id(int fd, uint64_t *ret)
{
	struct stat st;
#ifdef STATX_TYPE
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) == 0 &&
	    (stx.stx_mask & STATX_MNT_ID)) {
		*ret = stx.stx_mnt_id;
		return 0;
	}
#endif
	if (read_mount_id_from_proc(fd, ret) == 0)
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret = (uint64_t)st.st_dev;
	return 0;
}

static bool is_symlink_at(int dirfd, const char *name)
{
	struct stat st;

	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
}

static int open_component(int dirfd, struct bytes name, int flags)
{
	char text[NAME_BYTES_MAX + 1];

	memcpy(text, name.p, name.n);
	text[name.n] = '\0';
	autoclose int fd = openat(dirfd, text, flags | O_NOFOLLOW);
	if (fd < 0) {
		int code = errno;

		return code == ENOTDIR && is_symlink_at(dirfd, text) ? -ELOOP : -code;
	}
	/* O_PATH | O_NOFOLLOW opens the link itself: right only if the caller asked for that. */
	if ((flags & O_PATH) && !(flags & O_NOFOLLOW)) {
		struct stat st;

		if (fstat(fd, &st) < 0)
			return -errno;
		if (S_ISLNK(st.st_mode))
			return -ELOOP;
	}
	return TAKE_FD(fd);
}

static int open_by_walk(int dirfd, struct bytes path, int flags, bool cross_mounts)
{
	autoclose int held = -1;
	int at = dirfd;
	uint64_t mount = 0, found = 0;
	int r = cross_mounts ? 0 : read_mount_id(dirfd, &mount);

	if (r < 0)
		return r;
	if (path.n == 0)
		path = BYTES(".");
	while (path.n) {
		struct bytes name = path_next(&path);
		int how = path.n ? O_PATH | O_DIRECTORY | O_CLOEXEC : flags;
		autoclose int next = open_component(at, name, how);

		if (next < 0)
			return next;
		if (!cross_mounts) {
			r = read_mount_id(next, &found);
			if (r < 0)
				return r;
			if (found != mount)
				return -EXDEV;
		}
		mem_closep(&held);
		held = at = TAKE_FD(next);
	}
	return TAKE_FD(held);
}

int fd_open_beneath(int dirfd, struct bytes path, int flags, bool cross_mounts)
{
	char text[PATH_MAX];

	const int creates = O_CREAT | (O_TMPFILE & ~O_DIRECTORY);

	if ((flags & creates) || !components_valid(path))
		return -EINVAL;
	flags |= O_CLOEXEC | O_NOCTTY;
	/* openat2 refuses what openat ignores. */
	if (flags & O_PATH)
		flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	if (path.n >= sizeof(text) || atomic_load(&walk_always))
		return open_by_walk(dirfd, path, flags, cross_mounts);
	if (path.n)
		memcpy(text, path.p, path.n);
	text[path.n] = '\0';
	int fd = open_at_once(dirfd, path.n ? text : ".", flags, cross_mounts);

	if (fd == -ENOSYS)
		atomic_store(&walk_always, true);
	/* EPERM: old system call filters say so for calls they do not know. EAGAIN: openat2(2), a
	 * rename somewhere in between. The walk gives the true answer for both. */
	if (fd == -ENOSYS || fd == -EPERM || fd == -EAGAIN)
		return open_by_walk(dirfd, path, flags, cross_mounts);
	return fd;
}
