#include "worker/walk.h"

#include <errno.h>
#include <fcntl.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"

#define DIR_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW)

static struct walk_level *add_level(struct walk *w)
{
	if (w->depth == w->cap) {
		w->cap = w->cap ? 2 * w->cap : 16;
		w->levels = mem_realloc(w->levels, w->cap, sizeof(*w->levels));
	}
	w->levels[w->depth] = (struct walk_level){.fd = -1, .part = UINT32_MAX};
	return &w->levels[w->depth++];
}

void walk_init(struct walk *w, int root_fd, bool cross_mounts)
{
	*w = (struct walk){.root_fd = root_fd, .cross_mounts = cross_mounts};
	add_level(w)->path = BYTES("");
}

static void close_level(struct walk_level *level)
{
	mem_closep(&level->fd);
	level->fd = -1;
}

void walk_done(struct walk *w)
{
	while (w->depth)
		close_level(&w->levels[--w->depth]);
	free(w->levels);
	w->levels = NULL;
}

struct walk_level *walk_top(struct walk *w)
{
	return &w->levels[w->depth - 1];
}

void walk_leave(struct walk *w, struct bytes dir)
{
	while (w->depth > 1) {
		struct bytes top = walk_top(w)->path;

		if (bytes_equal(top, dir) || path_below(dir, top))
			return;
		close_level(walk_top(w));
		w->depth--;
	}
}

int walk_level_fd(struct walk *w, size_t i)
{
	struct walk_level *level = &w->levels[i];
	int fd;

	if (i == 0)
		return w->root_fd;
	if (level->fault)
		return -level->fault;
	if (level->fd >= 0)
		return level->fd;
	fd = fd_open_beneath(w->root_fd, level->path, DIR_FLAGS, w->cross_mounts);
	if (fd < 0)
		level->fault = -fd;
	else
		level->fd = fd;
	return fd;
}

int walk_fd(struct walk *w)
{
	return walk_level_fd(w, w->depth - 1);
}

bool walk_push(struct walk *w, struct bytes dir)
{
	struct bytes above = walk_top(w)->path, name;
	size_t skip = above.n ? above.n + 1 : 0;
	struct walk_level *level;
	bool doomed = walk_top(w)->doomed;
	int fd;

	if (above.n >= dir.n)
		return false;
	name = (struct bytes){dir.p + skip, dir.n - skip};
	name = path_next(&name);
	fd = walk_fd(w);
	if (fd >= 0)
		fd = fd_open_beneath(fd, name, DIR_FLAGS, w->cross_mounts);
	level = add_level(w);
	level->path = (struct bytes){dir.p, skip + name.n};
	level->doomed = doomed;
	if (fd < 0)
		level->fault = -fd;
	else
		level->fd = fd;
	if (w->depth > WALK_OPEN_MAX)
		close_level(&w->levels[w->depth - 1 - WALK_OPEN_MAX]);
	return true;
}

int walk_look(struct walk *w, struct bytes name, struct stat *ret)
{
	char text[NAME_BYTES_MAX + 1];
	int fd = walk_fd(w);

	if (fd < 0)
		return fd;
	if (name.n > NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	if (name.n)
		memcpy(text, name.p, name.n);
	text[name.n] = '\0';
	if (fstatat(fd, text, ret, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT))
		return -errno;
	return 0;
}

int walk_stat(struct walk *w, struct bytes path, struct stat *ret)
{
	struct bytes dir = path_parent(path);

	walk_leave(w, dir);
	while (walk_push(w, dir))
		;
	return walk_look(w, path_name(path), ret);
}
