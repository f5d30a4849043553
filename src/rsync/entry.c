#include "rsync/entry.h"

#include <sys/stat.h>
#include "base/path.h"
#include "rsync/codec.h"

enum entry_flag {
	ENTRY_TOP_DIR = 0x0001,
	ENTRY_SAME_MODE = 0x0002,
	ENTRY_EXTENDED = 0x0004, /* a second byte of flags */
	ENTRY_SAME_UID = 0x0008,
	ENTRY_SAME_GID = 0x0010,
	ENTRY_SAME_NAME = 0x0020,
	ENTRY_LONG_NAME = 0x0040,
	ENTRY_SAME_TIME = 0x0080,
	ENTRY_NO_CONTENT = 0x0100, /* directories */
	ENTRY_SAME_MAJOR = 0x0100, /* devices and, up to protocol 30, specials */
	ENTRY_LINKED = 0x0200,
	ENTRY_LINK_FIRST = 0x1000,
	ENTRY_NSEC = 0x2000,
};

#define NS_PER_S 1000000000

/* Next component of *rest; *is_dir: more follows, or the whole is a directory. */
static struct bytes component(struct bytes *rest, bool whole_dir, bool *is_dir)
{
	const char *slash = memchr(rest->p, '/', rest->n);
	struct bytes name = {rest->p, slash ? (size_t)(slash - rest->p) : rest->n};
	size_t taken = name.n + (slash ? 1 : 0);

	rest->p += taken;
	rest->n -= taken;
	*is_dir = slash || whole_dir;
	return name;
}

static int compare_names(struct bytes a, struct bytes b, bool dirs)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = memcmp(a.p, b.p, n);

	if (order || a.n == b.n)
		return order;
	if (!dirs)
		return a.n < b.n ? -1 : 1;
	/* The "/" behind the shorter one against the next byte of the other. */
	if (a.n < b.n)
		return '/' < (unsigned char)b.p[n] ? -1 : 1;
	return (unsigned char)a.p[n] < '/' ? -1 : 1;
}

int entry_compare(struct bytes a, bool a_dir, struct bytes b, bool b_dir)
{
	while (a.n && b.n) {
		bool a_is_dir, b_is_dir;
		struct bytes a_name = component(&a, a_dir, &a_is_dir);
		struct bytes b_name = component(&b, b_dir, &b_is_dir);
		int order;

		if (a_is_dir != b_is_dir)
			return a_is_dir ? 1 : -1;
		order = compare_names(a_name, b_name, a_is_dir);
		if (order)
			return order;
	}
	return (a.n > 0) - (b.n > 0);
}

static bool is_device(uint32_t mode)
{
	return S_ISCHR(mode) || S_ISBLK(mode);
}

static bool is_special(uint32_t mode)
{
	return S_ISFIFO(mode) || S_ISSOCK(mode);
}

/* Protocol 30 carries a device number for fifos and sockets, too, and nobody reads it. */
static bool has_rdev(const struct entry_writer *w, uint32_t mode)
{
	return w->o->devices && (is_device(mode) || (is_special(mode) && w->protocol < 31));
}

static void split_time(int64_t ns, int64_t *seconds, uint32_t *rest)
{
	*seconds = ns / NS_PER_S;
	if (ns % NS_PER_S < 0)
		--*seconds;
	*rest = (uint32_t)(ns - *seconds * NS_PER_S);
}

static size_t shared_prefix(const struct entry_writer *w, struct bytes name)
{
	size_t n = 0;

	while (n < w->name_n && n < name.n && n < 255 && w->name[n] == name.p[n])
		n++;
	return n;
}

static uint32_t flags_of(const struct entry_writer *w, const struct session_entry *e,
                         const struct entry_role *role, int64_t mtime_s, uint32_t nsec)
{
	uint32_t flags = 0;

	if (S_ISDIR(e->mode)) {
		flags |= role->top ? ENTRY_TOP_DIR : 0;
		flags |= role->no_content ? ENTRY_NO_CONTENT : 0;
	} else if (is_special(e->mode) && has_rdev(w, e->mode)) {
		flags |= ENTRY_SAME_MAJOR;
	}
	if (w->started && e->mode == w->mode)
		flags |= ENTRY_SAME_MODE;
	if (!w->o->owner || (w->started && e->uid == w->uid))
		flags |= ENTRY_SAME_UID;
	if (!w->o->group || (w->started && e->gid == w->gid))
		flags |= ENTRY_SAME_GID;
	if (w->started && mtime_s == w->mtime_s)
		flags |= ENTRY_SAME_TIME;
	if (nsec && w->protocol >= 31)
		flags |= ENTRY_NSEC;
	if (role->linked)
		flags |= role->first < 0 ? ENTRY_LINKED | ENTRY_LINK_FIRST : ENTRY_LINKED;
	return flags;
}

static void put_flags(struct buf *out, const struct entry_writer *w, uint32_t flags, bool dir)
{
	if (w->varint_flags) {
		codec_put_varint(out, flags ? flags : ENTRY_EXTENDED);
		return;
	}
	if (!flags && !dir)
		flags = ENTRY_TOP_DIR; /* means nothing here; zero would end the list */
	if (!flags || flags > 0xff) {
		flags |= ENTRY_EXTENDED;
		buf_add_le16(out, (uint16_t)flags);
	} else {
		buf_add_u8(out, (uint8_t)flags);
	}
}

static void put_name(struct buf *out, struct entry_writer *w, struct bytes name, uint32_t flags,
                     bool dir)
{
	size_t same = shared_prefix(w, name);
	size_t rest = name.n - same;

	if (same)
		flags |= ENTRY_SAME_NAME;
	if (rest > 255)
		flags |= ENTRY_LONG_NAME;
	put_flags(out, w, flags, dir);
	if (same)
		buf_add_u8(out, (uint8_t)same);
	if (rest > 255)
		codec_put_varint(out, (uint32_t)rest);
	else
		buf_add_u8(out, (uint8_t)rest);
	buf_add(out, name.p + same, rest);
	memcpy(w->name, name.p, name.n);
	w->name_n = name.n;
}

static void put_content_fields(struct buf *out, const struct entry_writer *w,
                               const struct session_entry *e)
{
	if (has_rdev(w, e->mode)) {
		if (is_device(e->mode))
			codec_put_varint(out, e->rdev_major);
		codec_put_varint(out, is_device(e->mode) ? e->rdev_minor : 0);
	}
	if (S_ISLNK(e->mode)) {
		codec_put_varint(out, (uint32_t)e->link_target.n);
		buf_add_bytes(out, e->link_target);
	}
	if (w->checksums && S_ISREG(e->mode))
		buf_add_bytes(out, e->checksum);
}

/* The further names of an inode have these as well. */
static uint32_t put_attrs(struct buf *out, const struct entry_writer *w,
                          const struct session_entry *e)
{
	if (w->o->acls && !S_ISLNK(e->mode))
		attrs_put_acls(w->attrs, out, e);
	return w->o->xattrs ? attrs_put_xattrs(w->attrs, out, e) : ATTRS_SET_NONE;
}

static void put_fields(struct buf *out, struct entry_writer *w, const struct session_entry *e,
                       uint32_t flags, int64_t mtime_s, uint32_t nsec)
{
	codec_put_varlong(out, (int64_t)(is_device(e->mode) ? 0 : e->size), 3);
	if (!(flags & ENTRY_SAME_TIME))
		codec_put_varlong(out, mtime_s, 4);
	if (flags & ENTRY_NSEC)
		codec_put_varint(out, nsec);
	if (!(flags & ENTRY_SAME_MODE))
		buf_add_le32(out, e->mode);
	if (!(flags & ENTRY_SAME_UID))
		codec_put_varint(out, e->uid);
	if (!(flags & ENTRY_SAME_GID))
		codec_put_varint(out, e->gid);
	put_content_fields(out, w, e);
	w->started = true;
	w->mode = e->mode;
	w->uid = e->uid;
	w->gid = e->gid;
	w->mtime_s = mtime_s;
}

uint32_t entry_put(struct buf *out, struct entry_writer *w, const struct session_entry *e,
                   const struct entry_role *role)
{
	struct bytes name = e->path.n ? e->path : BYTES(".");
	int64_t mtime_s;
	uint32_t nsec, flags;

	split_time(e->mtime_ns, &mtime_s, &nsec);
	flags = flags_of(w, e, role, mtime_s, nsec);
	put_name(out, w, name, flags, S_ISDIR(e->mode));
	if (role->linked && role->first >= 0) {
		codec_put_varint(out, (uint32_t)role->first);
		/* All else is the first name's, at both ends. Which of its fields count as the
		 * previous ones then differs between versions: start afresh. */
		w->started = false;
	} else {
		put_fields(out, w, e, flags, mtime_s, nsec);
	}
	return put_attrs(out, w, e);
}

void entry_put_end(struct buf *out, const struct entry_writer *w)
{
	buf_add_u8(out, 0);
	if (w->varint_flags)
		buf_add_u8(out, 0); /* no read errors at our end: deletions are allowed */
}
