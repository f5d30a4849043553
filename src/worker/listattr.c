#include "worker/listattr.h"

#include "base/mem.h"

void listattr_init(struct listattr *l, bool xattrs, bool acls)
{
	*l = (struct listattr){.xattrs = xattrs, .acls = acls};
	if (xattrs || acls)
		l->reader = fileattr_reader_new();
}

void listattr_done(struct listattr *l)
{
	struct listattr_inode *i, *next;

	while (l->all) {
		struct fileattr *a = l->all;

		l->all = a->next;
		fileattr_free(a);
	}
	HASH_ITER (hh, l->inodes, i, next) {
		HASH_DEL(l->inodes, i);
		free(i);
	}
	fileattr_reader_free(l->reader);
	*l = (struct listattr){0};
}

struct fileattr *listattr_read(struct listattr *l, int fd, mode_t mode)
{
	return fileattr_read(l->reader, fd, mode, l->xattrs, l->acls);
}

void listattr_share(struct session_entry *entry, const struct fileattr *a)
{
	entry->xattrs = a->xattrs;
	entry->xattrs_n = a->xattrs_n;
	entry->acl = a->has_acl ? &a->acl : NULL;
	entry->default_acl = a->has_default ? &a->default_acl : NULL;
}

void listattr_add(struct listattr *l, struct session_entry *entry, struct fileattr *a)
{
	listattr_share(entry, a);
	a->next = l->all;
	l->all = a;
	l->bytes += a->bytes;
}

struct refusal listattr_room(const struct listattr *l, size_t bytes, size_t above)
{
	if (bytes && bytes + above > LISTATTR_BYTES_MAX)
		return (struct refusal){WIRE_FAILED, "its extended attributes and those of its "
		                                     "directories are more than a list holds"};
	if (bytes && bytes + l->bytes > LISTATTR_BYTES_MAX)
		return (struct refusal){WIRE_UNSENT, NULL};
	return (struct refusal){0};
}

struct listattr_inode *listattr_inode(struct listattr *l, uint64_t dev, uint64_t ino)
{
	struct listattr_key key = {dev, ino};
	struct listattr_inode *i;

	/* The hash reads the key as bytes, all of which are set. */
	/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
	HASH_FIND(hh, l->inodes, &key, sizeof(key), i);
	if (i)
		return i;
	i = mem_alloc(sizeof(*i));
	i->key = key;
	HASH_ADD(hh, l->inodes, key, sizeof(i->key), i);
	return i;
}
