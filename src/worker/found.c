#include "worker/found.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"

#define TRIES_MAX 3

void found_fingerprint(const struct found_view *v, struct part *part, const struct stat *st)
{
	part->flags &= (uint8_t)~WIRE_RACY;
	fingerprint_of(&part->fp, st);
	if (fingerprint_racy(&part->fp, v->wall_ns, v->racy_window_ns))
		part->flags |= WIRE_RACY;
}

void found_done(struct found *f)
{
	free((char *)f->target.p);
	fileattr_free(f->attrs);
}

/* The link's target, read between two equal looks. */
static int read_link(const struct found_view *v, struct part *part, struct bytes name,
                     struct bytes *ret)
{
	char target[PATH_BYTES_MAX + 2], text[NAME_BYTES_MAX + 1];
	int fd = walk_fd(v->walk);

	if (fd < 0)
		return fd;
	memcpy(text, name.p, name.n);
	text[name.n] = '\0';
	for (int i = 0; i < TRIES_MAX; i++) {
		struct fingerprint before = part->fp;
		struct stat st;
		ssize_t n = readlinkat(fd, text, target, sizeof(target));
		int r;

		if (n < 0)
			return errno == EINVAL ? -ENOENT : -errno;
		if ((size_t)n == sizeof(target))
			return -ENAMETOOLONG;
		free((char *)ret->p);
		*ret = (struct bytes){mem_dup(target, (size_t)n), (size_t)n};
		r = walk_look(v->walk, name, &st);
		if (r < 0 || !S_ISLNK(st.st_mode))
			return r < 0 ? r : -ENOENT;
		found_fingerprint(v, part, &st);
		if (!fingerprint_moved(&before, &part->fp))
			return 0;
	}
	part->moved = true;
	return 0;
}

/* Extended attributes and ACLs, between two equal looks at the very same file. */
static int read_attrs(const struct found_view *v, struct part *part, struct bytes name,
                      struct fileattr **ret)
{
	int dir = walk_fd(v->walk);
	autoclose int own = dir < 0 || !name.n ? -1
	                                       : fd_open_beneath(dir, name, O_PATH | O_NOFOLLOW,
	                                                         v->walk->cross_mounts);
	int fd = name.n && dir >= 0 ? own : dir;

	for (int i = 0; fd >= 0 && i < TRIES_MAX; i++) {
		struct fingerprint before = part->fp;
		struct stat st;

		fileattr_free(*ret);
		*ret = listattr_read(v->attrs, fd, before.mode);
		if ((*ret)->error)
			return -(*ret)->error;
		if (fstat(fd, &st))
			return -errno;
		if (((st.st_mode ^ before.mode) & S_IFMT) || st.st_ino != before.ino ||
		    st.st_dev != before.dev)
			return -ENOENT;
		found_fingerprint(v, part, &st);
		if (!fingerprint_moved(&before, &part->fp))
			return 0;
	}
	part->moved = true;
	return fd < 0 ? fd : 0;
}

/* The same, but of an inode that is listed already: those that were read for that name. */
static int find_attrs(const struct found_view *v, struct bytes name, struct found *f)
{
	struct part *part = &f->part;

	if (!S_ISDIR(part->fp.mode) && part->fp.nlink > 1)
		f->inode = listattr_inode(v->attrs, part->fp.dev, part->fp.ino);
	if (f->inode && f->inode->attrs)
		part->moved |= fingerprint_moved(&f->inode->fp, &part->fp);
	else if (!f->inode || !f->inode->refused.result)
		return read_attrs(v, part, name, &f->attrs);
	return 0;
}

int found_look(const struct found_view *v, const struct wire_item *item, struct found *ret)
{
	struct bytes name = path_name(item->path);
	int r;

	*ret = (struct found){.part = {.path = item->path}};
	r = walk_look(v->walk, name, &ret->st);
	if (r == 0 && (S_ISDIR(ret->st.st_mode) != !!(item->flags & WIRE_ITEM_DIR) ||
	               S_ISSOCK(ret->st.st_mode)))
		r = -ENOENT;
	if (r < 0)
		return r;
	found_fingerprint(v, &ret->part, &ret->st);
	if (S_ISLNK(ret->st.st_mode))
		r = read_link(v, &ret->part, name, &ret->target);
	if (r == 0 && v->attrs->reader)
		r = find_attrs(v, name, ret);
	return r;
}
