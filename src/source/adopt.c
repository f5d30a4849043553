/*
 * Directories get their nodes here: watched first, through the descriptor that was opened, so that
 * the kernel itself says whether this is a directory that is known already (I5).
 */
#include <errno.h>
#include <fcntl.h>

#include "base/fd.h"
#include "base/mem.h"
#include "source/inotify.h"
#include "source/inside.h"

static int watch(struct source *s, int fd, bool is_root)
{
	int wd = s->queue < 0 ? -EMFILE : inotify_watch(s->queue, fd, is_root);

	/* For want of memory, too (ENOMEM): what is not watched has to be known as such. */
	if (wd < 0 && s->queue >= 0) {
		s->limit_hit = true;
		s->watch_error = -wd;
	}
	return wd;
}

/* Says so once, when the limit is met; the exact number is known when the crawl is through. */
static void tell_limit(struct source *s)
{
	if (!s->limit_hit || s->unwatched)
		return;
	s->unwatched = dirtab_count(s->dirs) - dirtab_watched(s->dirs);
	outbox_state(s);
}

void adopt_watch(struct source *s, uint32_t node, int fd)
{
	int wd = watch(s, fd, node == DIRTAB_ROOT);

	if (wd >= 0 && dirtab_by_wd(s->dirs, wd) == DIRTAB_NONE)
		dirtab_set_wd(s->dirs, node, wd);
	tell_limit(s);
}

/* The same directory stands at the node's place, too: it is mounted twice. */
static bool stands_elsewhere(struct source *s, uint32_t node)
{
	struct buf path;
	struct stat st;
	bool there = false;

	buf_init(&path, s->path.max);
	if (dirtab_path(s->dirs, node, &path) == 0) {
		autoclose int fd = fd_open_beneath(s->root_fd, buf_bytes(&path),
		                                   O_PATH | O_DIRECTORY | O_NOFOLLOW, true);

		there = fd >= 0 && fstat(fd, &st) == 0 &&
		        dirtab_is(s->dirs, node, st.st_dev, st.st_ino);
	}
	buf_done(&path);
	return there;
}

/* The directory behind wd is `owner`, or unknown: puts it where it was found. */
static int settle(struct source *s, struct view *v, struct bytes name, int wd, uint32_t owner,
                  const struct look *look, uint32_t *ret)
{
	if (owner == DIRTAB_NONE) {
		*ret = dirtab_add(s->dirs, v->node, name);
		dirtab_set_wd(s->dirs, *ret, wd < 0 ? -1 : wd);
		return 0;
	}
	/* It is mirrored where it was found first; below itself it would have no end. */
	if (owner == DIRTAB_ROOT || (s->config.cross_mounts && stands_elsewhere(s, owner)))
		return -EXDEV;
	if (dirtab_within(s->dirs, v->node, owner)) {
		/* It cannot lie below itself: the parent's place is stale, and news of it are due.
		 */
		park_name(s, v->node, name, look);
		return -EAGAIN;
	}
	park_detach(s, owner);
	check(dirtab_attach(s->dirs, owner, v->node, name));
	dirtab_set_seen(s->dirs, owner, 0);
	*ret = owner;
	return 0;
}

int adopt_dir(struct source *s, struct view *v, struct bytes name, struct stat *st,
              const struct look *look, uint32_t *ret, bool *ret_new)
{
	uint32_t child = dirtab_child(s->dirs, v->node, name), owner;
	int wd, rc;

	*ret = child;
	*ret_new = false;
	/* A watch pins its inode, so equal numbers are the same directory. */
	if (child != DIRTAB_NONE && dirtab_is(s->dirs, child, st->st_dev, st->st_ino) &&
	    (dirtab_wd(s->dirs, child) >= 0 || s->limit_hit || s->queue < 0))
		return 0;
	autoclose int fd =
	        fd_open_beneath(v->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK,
	                        s->config.cross_mounts);
	if (fd < 0)
		return fd;
	if (fstat(fd, st) != 0)
		return -errno;
	wd = watch(s, fd, false);
	owner = dirtab_by_wd(s->dirs, wd);
	if (child != DIRTAB_NONE && child == owner) {
		dirtab_set_identity(s->dirs, child, st->st_dev, st->st_ino);
		return 0;
	}
	if (child != DIRTAB_NONE && owner == DIRTAB_NONE &&
	    dirtab_is(s->dirs, child, st->st_dev, st->st_ino)) {
		/* Known without a watch so far; what happened in it went unheard. */
		*ret_new = wd >= 0;
		if (wd >= 0)
			dirtab_set_wd(s->dirs, child, wd);
		return 0;
	}
	park_limbo(s, child);
	rc = settle(s, v, name, wd, owner, look, ret);
	if (rc != 0)
		return rc;
	dirtab_set_identity(s->dirs, *ret, st->st_dev, st->st_ino);
	*ret_new = true;
	tell_limit(s);
	return 0;
}
