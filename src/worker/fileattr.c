#include "worker/fileattr.h"

#include <errno.h>
#include <linux/limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/mem.h"
#include "base/path.h"

#define ACL_VERSION     2
#define ACL_ENTRY_BYTES 8

/* Tags of linux/posix_acl.h */
enum acl_tag {
	ACL_TAG_USER_OBJ = 0x01,
	ACL_TAG_USER = 0x02,
	ACL_TAG_GROUP_OBJ = 0x04,
	ACL_TAG_GROUP = 0x08,
	ACL_TAG_MASK = 0x10,
	ACL_TAG_OTHER = 0x20,
};

struct fileattr_reader {
	char names[XATTR_LIST_MAX];
	char value[XATTR_SIZE_MAX];
	char path[64]; /* of the descriptor */
};

struct fileattr_reader *fileattr_reader_new(void)
{
	return mem_alloc(sizeof(struct fileattr_reader));
}

void fileattr_reader_free(struct fileattr_reader *r)
{
	free(r);
}

void fileattr_free(struct fileattr *a)
{
	if (!a)
		return;
	free(a->xattrs);
	free(a->acl.names);
	free(a->default_acl.names);
	free(a->trouble);
	buf_done(&a->data);
	free(a);
}

static bool is_lasting(int error)
{
	switch (error) {
	case EOPNOTSUPP:
	case EACCES:
	case EPERM:
	case EINVAL:
	case E2BIG:
	case ERANGE:
	case ENAMETOOLONG:
		return true;
	default:
		return false;
	}
}

/* The first thing that is left out is told. */
static void leave_out(struct fileattr *a, const char *what, int error)
{
	if (!is_lasting(error))
		a->error = error == ENOENT ? EIO : error; /* it is open: /proc is not there */
	else if (!a->trouble)
		a->trouble = mem_printf("%s cannot be read: %s", what, strerror(error));
}

/* --- extended attributes --- */

static bool is_kept(const char *name)
{
	static const char kernel[] = "system.", notes[] = "user.rsync.%";

	return strncmp(name, kernel, sizeof(kernel) - 1) != 0 &&
	       strncmp(name, notes, sizeof(notes) - 1) != 0;
}

/* Bytes are found by their place until the buffer has its final size. */
static void add_xattr(struct fileattr *a, struct bytes name, struct bytes value)
{
	a->xattrs = mem_realloc(a->xattrs, a->xattrs_n + 1, sizeof(*a->xattrs));
	a->xattrs[a->xattrs_n++] = (struct session_xattr){{NULL, name.n}, {NULL, value.n}};
	buf_add_bytes(&a->data, name);
	buf_add_bytes(&a->data, value);
	a->bytes += name.n + value.n + sizeof(*a->xattrs);
}

static void read_xattr(struct fileattr_reader *r, struct fileattr *a, const char *name)
{
	ssize_t n = getxattr(r->path, name, r->value, sizeof(r->value));
	size_t name_n = strlen(name);
	int error = n < 0 ? errno : 0;

	if (error == ENODATA) /* gone meanwhile: the file has moved */
		return;
	if (!error && name_n > SESSION_XATTR_NAME_MAX)
		error = ENAMETOOLONG;
	if (!error && a->bytes + name_n + (size_t)n > FILEATTR_BYTES_MAX)
		error = E2BIG;
	if (error) {
		autofree char *what =
		        mem_printf("the extended attribute %s", path_show(bytes_of(name)));

		leave_out(a, what, error);
		return;
	}
	add_xattr(a, (struct bytes){name, name_n}, (struct bytes){r->value, (size_t)n});
}

static int compare_xattrs(const void *a, const void *b)
{
	return bytes_compare(((const struct session_xattr *)a)->name,
	                     ((const struct session_xattr *)b)->name);
}

static void read_xattrs(struct fileattr_reader *r, struct fileattr *a)
{
	ssize_t left = listxattr(r->path, r->names, sizeof(r->names));
	const char *at = r->names, *data;

	if (left < 0) {
		leave_out(a, "extended attributes", errno);
		return;
	}
	while (left > 0) {
		size_t n = strnlen(at, (size_t)left);

		if (n == (size_t)left) /* the kernel ends each with a NUL */
			break;
		if (n && is_kept(at))
			read_xattr(r, a, at);
		at += n + 1;
		left -= (ssize_t)n + 1;
	}
	data = a->data.p;
	for (size_t i = 0; i < a->xattrs_n; i++) {
		a->xattrs[i].name.p = data;
		data += a->xattrs[i].name.n;
		a->xattrs[i].value.p = data;
		data += a->xattrs[i].value.n;
	}
	if (a->xattrs_n)
		qsort(a->xattrs, a->xattrs_n, sizeof(*a->xattrs), compare_xattrs);
}

/* --- ACLs --- */

static bool set_once(uint8_t *part, uint8_t access)
{
	if (*part != SESSION_ACL_NONE)
		return false;
	*part = access;
	return true;
}

static bool add_entry(struct session_acl *acl, unsigned tag, uint8_t access, uint32_t id)
{
	switch (tag) {
	case ACL_TAG_USER_OBJ:
		return set_once(&acl->user, access);
	case ACL_TAG_GROUP_OBJ:
		return set_once(&acl->group, access);
	case ACL_TAG_MASK:
		return set_once(&acl->mask, access);
	case ACL_TAG_OTHER:
		return set_once(&acl->other, access);
	case ACL_TAG_USER:
	case ACL_TAG_GROUP:
		acl->names[acl->names_n++] =
		        (struct session_acl_name){id, access, tag == ACL_TAG_USER};
		return true;
	default:
		return false;
	}
}

static int compare_acl_names(const void *va, const void *vb)
{
	const struct session_acl_name *a = va, *b = vb;

	if (a->user != b->user)
		return a->user ? -1 : 1;
	return (a->id > b->id) - (a->id < b->id);
}

int fileattr_parse_acl(struct bytes value, struct session_acl *ret)
{
	struct cursor c = cursor_of(value);
	bool good =
	        cursor_le32(&c) == ACL_VERSION && !c.bad && cursor_left(&c) % ACL_ENTRY_BYTES == 0;

	*ret = (struct session_acl){.user = SESSION_ACL_NONE,
	                            .group = SESSION_ACL_NONE,
	                            .mask = SESSION_ACL_NONE,
	                            .other = SESSION_ACL_NONE};
	if (!good)
		return -EINVAL;
	ret->names = mem_array(cursor_left(&c) / ACL_ENTRY_BYTES + 1, sizeof(*ret->names));
	while (good && cursor_left(&c)) {
		unsigned tag = cursor_le16(&c), access = cursor_le16(&c);
		uint32_t id = cursor_le32(&c);

		good = access <= 7 && add_entry(ret, tag, (uint8_t)access, id);
	}
	if (!good) {
		free(ret->names);
		ret->names = NULL;
		return -EINVAL;
	}
	if (ret->names_n)
		qsort(ret->names, ret->names_n, sizeof(*ret->names), compare_acl_names);
	return 0;
}

/* A file system without ACLs has none: the mode says it all. */
static bool read_acl(struct fileattr_reader *r, struct fileattr *a, const char *name,
                     const char *what, struct session_acl *ret)
{
	ssize_t n = getxattr(r->path, name, r->value, sizeof(r->value));
	int error = n < 0 ? errno : 0;

	if (error == ENODATA || error == EOPNOTSUPP)
		return false;
	if (!error)
		error = -fileattr_parse_acl((struct bytes){r->value, (size_t)n}, ret);
	if (error)
		leave_out(a, what, error);
	else
		a->bytes += ret->names_n * sizeof(*ret->names);
	return !error;
}

struct fileattr *fileattr_read(struct fileattr_reader *r, int fd, mode_t mode, bool xattrs,
                               bool acls)
{
	struct fileattr *a = mem_alloc(sizeof(*a));

	/* Leads to what is open, be it a link, and opens nothing. */
	(void)snprintf(r->path, sizeof(r->path), "/proc/self/fd/%d", fd);
	buf_init(&a->data, FILEATTR_BYTES_MAX);
	if (xattrs)
		read_xattrs(r, a);
	if (acls && !S_ISLNK(mode))
		a->has_acl = read_acl(r, a, "system.posix_acl_access", "the ACL", &a->acl);
	if (acls && S_ISDIR(mode))
		a->has_default = read_acl(r, a, "system.posix_acl_default", "the default ACL",
		                          &a->default_acl);
	return a;
}
