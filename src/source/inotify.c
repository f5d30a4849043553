#include "source/inotify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/inotify.h>
#include "base/fd.h"
#include "base/mem.h"
#include "source/backlog.h"

/* Not IN_EXCL_UNLINK: it would hide writes to an O_TMPFILE file after linkat(2). */
#define WATCH_MASK                                                                                 \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_CLOSE_WRITE |        \
	 IN_ATTRIB | IN_ONLYDIR)

int inotify_open(void)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int inotify_watch(int queue, int dirfd, bool is_root)
{
	char path[40];
	int wd;

	/* A magic link is the only way to name an open directory here; it must be followed, so
	 * IN_DONT_FOLLOW cannot be asked for, and is not needed: it leads to the inode itself. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", dirfd);
	wd = inotify_add_watch(queue, path,
	                       WATCH_MASK | (is_root ? IN_DELETE_SELF | IN_MOVE_SELF : 0));
	return wd < 0 ? -errno : wd;
}

void inotify_unwatch(int queue, int wd)
{
	(void)inotify_rm_watch(queue, wd); /* EINVAL: the kernel was faster */
}

static unsigned bits_of(uint32_t mask)
{
	unsigned bits = 0;

	if (mask & IN_ATTRIB)
		bits |= BACKLOG_META;
	if (mask & IN_MODIFY)
		bits |= BACKLOG_WRITTEN;
	if (mask & IN_CREATE)
		bits |= BACKLOG_CREATED;
	if (mask & IN_MOVED_TO)
		bits |= BACKLOG_MOVED;
	if (mask & IN_CLOSE_WRITE)
		bits |= BACKLOG_CLOSED;
	if (mask & (IN_DELETE | IN_MOVED_FROM))
		bits |= BACKLOG_GONE;
	if (mask & IN_MOVED_FROM)
		bits |= BACKLOG_AWAY;
	return bits;
}

bool inotify_parse(struct cursor *events, struct inotify_change *ret)
{
	struct inotify_event e;
	struct bytes head = cursor_take(events, sizeof(e));
	struct bytes name;

	if (events->bad)
		return false;
	memcpy(&e, head.p, sizeof(e));
	name = cursor_take(events, e.len);
	if (events->bad)
		return false;
	name.n = strnlen(name.p ? name.p : "", name.n); /* padded with NULs */
	*ret = (struct inotify_change){
	        .wd = e.wd,
	        .name = name,
	        .bits = bits_of(e.mask),
	        .overflow = e.mask & IN_Q_OVERFLOW,
	        .unwatched = e.mask & IN_IGNORED,
	        .check_root = e.mask & (IN_UNMOUNT | IN_DELETE_SELF | IN_MOVE_SELF),
	};
	return true;
}

uint64_t inotify_limit(const char *name)
{
	char path[96], text[32];
	ssize_t n;
	uint64_t v = 0;

	(void)snprintf(path, sizeof(path), "/proc/sys/fs/inotify/%s", name);
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = fd_read_full(fd, text, sizeof(text));
	for (ssize_t i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++)
		v = v * 10 + (uint64_t)(text[i] - '0');
	return v;
}
