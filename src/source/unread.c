/*
 * What could not be read: directories that could not be opened, listed or searched, and names that
 * could not be examined, each with the reason. What has too long a path to be named to a target is
 * among them, too. Nobody can say that a target has what is there, so a barrier counts them (I2,
 * I3).
 *
 * A name leaves when it was read or is gone. What makes it readable need not raise an event here,
 * so each barrier and each crawl of the whole tree tries them again.
 */
#include <errno.h>
#include <fcntl.h>
#include <uthash.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "source/inside.h"

/* Beyond it the whole tree counts as one that could not be read, and is crawled to try it again
 * (I2: precision drops). */
enum { UNREAD_MAX = 4096 };

struct unread {
	UT_hash_handle hh;
	struct bytes path; /* owned */
	int error;         /* -errno */
};

static void drop(struct source *s, struct unread *u)
{
	HASH_DEL(s->unread, u);
	free((char *)(uintptr_t)u->path.p);
	free(u);
	s->unread_changed = true;
}

void unread_add(struct source *s, struct bytes path, int error)
{
	struct unread *u;

	if (!path.n || HASH_COUNT(s->unread) >= UNREAD_MAX)
		path = BYTES("");
	HASH_FIND(hh, s->unread, path.p, path.n, u);
	if (u)
		return;
	u = mem_alloc(sizeof(*u));
	u->path = (struct bytes){mem_dup(path.p, path.n), path.n};
	u->error = error;
	HASH_ADD_KEYPTR(hh, s->unread, u->path.p, u->path.n, u);
	s->unread_changed = true;
}

void unread_forget(struct source *s, struct bytes path)
{
	struct unread *u;

	if (!s->unread)
		return;
	path = path.n ? path : BYTES("");
	HASH_FIND(hh, s->unread, path.p, path.n, u);
	if (u)
		drop(s, u);
}

void unread_forget_below(struct source *s, struct bytes path)
{
	struct unread *u, *next;

	HASH_ITER (hh, s->unread, u, next) {
		if (path_below(u->path, path))
			drop(s, u);
	}
}

size_t unread_count(const struct source *s)
{
	return HASH_COUNT(s->unread);
}

static void explain_some(const struct source *s, bool too_long, struct buf *text)
{
	const struct unread *first = NULL;
	unsigned n = 0;

	for (const struct unread *u = s->unread; u; u = u->hh.next) {
		if ((u->error == -ENAMETOOLONG) != too_long)
			continue;
		first = first ? first : u;
		n++;
	}
	if (!first)
		return;
	if (too_long)
		buf_printf(text, "%u entries cannot be replicated: path too long (%.100s). ", n,
		           path_show(first->path));
	else
		buf_printf(text, "%u entries cannot be read (%.100s: %.50s). ", n,
		           path_show(first->path.n ? first->path : BYTES(".")),
		           strerror(-first->error));
}

void unread_explain(const struct source *s, struct buf *text)
{
	explain_some(s, false, text);
	explain_some(s, true, text);
}

/* Only what is certain not to have changed stays without a look. */
static bool still(struct source *s, struct unread *u)
{
	struct stat st;
	autoclose int fd = fd_open_beneath(s->root_fd, u->path,
	                                   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK,
	                                   s->config.cross_mounts);

	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP || fd == -EXDEV)
		return false;
	/* Opened, but perhaps not to be searched. */
	return fd < 0 || fstatat(fd, ".", &st, AT_SYMLINK_NOFOLLOW) != 0;
}

void unread_retry(struct source *s, const struct look *look)
{
	struct unread *u, *next;
	struct buf paths;

	buf_init(&paths, SIZE_MAX);
	HASH_ITER (hh, s->unread, u, next) {
		if (still(s, u))
			continue;
		buf_add_bytes(&paths, u->path);
		buf_add_u8(&paths, 0);
		drop(s, u);
	}
	for (size_t at = 0; at < paths.n && s->root_fd >= 0;) {
		struct bytes path = bytes_of(paths.p + at);

		at += path.n + 1;
		look_below(s, path, true, look);
	}
	buf_done(&paths);
}

void unread_clear(struct source *s)
{
	struct unread *u, *next;

	HASH_ITER (hh, s->unread, u, next)
		drop(s, u);
}
