#include "worker/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "rsync/rules.h"
#include "worker/walk.h"

#define NS_PER_S    1000000000LL
#define LINK_TRIES  3
#define VIRTUAL_DIR (S_IFDIR | 0700)
#define STAMP_DIR   ".lockstep" /* ours at every target, and no extra */

struct lister {
	struct cargo *cargo;
	struct manifest *list;
	const struct wire_setup *setup;
	enum session_class class;
	int64_t wall_ns;
	struct walk walk;
	struct bytes stamp_dir; /* the stamps' directory once it is listed; p NULL before */
	size_t wanted;          /* parts that are items: without any, nothing has to be sent */
	struct fileattr_reader *reader; /* NULL: extended attributes and ACLs are not listed */
};

enum wire_result manifest_errno_result(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
	case EXDEV: /* something was mounted on the way: the look decides what that means */
	case ENXIO:
	case ESTALE:
		return WIRE_VANISHED;
	default:
		return WIRE_UNREADABLE;
	}
}

static bool is_gone(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP;
}

static void answer_errno(struct lister *l, uint32_t item, int error)
{
	cargo_answer(l->cargo, item, manifest_errno_result(error), bytes_of(strerror(error)));
}

static uint32_t map_mode(const struct wire_setup *setup, uint32_t mode)
{
	bool dir = S_ISDIR(mode);
	uint32_t and = dir ? setup->mode_map.dir_and : setup->mode_map.file_and;
	uint32_t or = dir ? setup->mode_map.dir_or : setup->mode_map.file_or;

	if (S_ISLNK(mode) || (and == 0 && or == 0))
		return mode;
	return (mode & S_IFMT) | (((mode & and) | or) & 07777);
}

/* Appends a list entry for a part whose fingerprint is set. */
static struct session_entry *add_entry(struct lister *l, struct part *part)
{
	struct manifest *list = l->list;
	struct cargo *c = l->cargo;
	struct session_entry *entry;

	if (list->count == list->cap) {
		list->cap = list->cap ? 2 * list->cap : 64;
		list->entries = mem_realloc(list->entries, list->cap, sizeof(*list->entries));
		c->listed = mem_realloc(c->listed, list->cap, sizeof(*c->listed));
	}
	c->listed[list->count] = (uint32_t)(part - c->parts);
	c->listed_n = list->count + 1;
	part->entry = (uint32_t)list->count;
	entry = &list->entries[list->count++];
	*entry = (struct session_entry){
	        .path = part->path,
	        .mode = map_mode(l->setup, part->fp.mode),
	        .uid = l->setup->map_uid ? l->setup->uid : part->fp.uid,
	        .gid = l->setup->map_gid ? l->setup->gid : part->fp.gid,
	        .size = part->fp.size,
	        .mtime_ns = part->fp.mtime_ns,
	};
	if (part->item != CARGO_NONE)
		l->wanted++;
	return entry;
}

static void take_fingerprint(struct lister *l, struct part *part, const struct stat *st)
{
	fingerprint_of(&part->fp, st);
	if (fingerprint_racy(&part->fp, l->wall_ns, l->cargo->batch.racy_window_ns))
		part->flags |= WIRE_RACY;
}

/* Gives attributes to an entry, and to the list. */
static void add_attrs(struct lister *l, struct session_entry *entry, struct fileattr *a)
{
	entry->xattrs = a->xattrs;
	entry->xattrs_n = a->xattrs_n;
	entry->acl = a->has_acl ? &a->acl : NULL;
	entry->default_acl = a->has_default ? &a->default_acl : NULL;
	a->next = l->list->attrs;
	l->list->attrs = a;
	l->list->attr_bytes += a->bytes;
}

static struct fileattr *read_attrs_of(struct lister *l, int fd, mode_t mode)
{
	return fileattr_read(l->reader, fd, mode, l->cargo->xattrs, l->cargo->acls);
}

/* An ancestor's part and entry: as it is, or a stand-in where the source has none. */
static void list_ancestor(struct lister *l, size_t depth)
{
	struct walk_level *level = &l->walk.levels[depth];
	struct session_entry *entry;
	struct stat st;
	int fd = walk_level_fd(&l->walk, depth);
	bool there = fd >= 0 && fstatat(fd, "", &st, AT_EMPTY_PATH) == 0;
	struct part *part = cargo_add_part(l->cargo, there ? PART_CONTEXT : PART_SCAFFOLD,
	                                   level->path, CARGO_NONE);

	level->part = (uint32_t)(part - l->cargo->parts);
	if (there)
		take_fingerprint(l, part, &st);
	else
		part->fp = (struct fingerprint){.mode = VIRTUAL_DIR};
	entry = add_entry(l, part);
	entry->implied = true;
	if (there && l->reader)
		add_attrs(l, entry, read_attrs_of(l, fd, st.st_mode));
	if (there && l->reader && l->list->attrs->error)
		part->moved = true; /* it is sent once more */
}

/* Opens the way to `dir`. A directory that is itself an item was listed directly before. */
static void enter(struct lister *l, struct bytes dir)
{
	walk_leave(&l->walk, dir);
	while (walk_push(&l->walk, dir)) {
		struct walk_level *top = walk_top(&l->walk);
		struct cargo *c = l->cargo;
		struct part *last = c->parts_n ? &c->parts[c->parts_n - 1] : NULL;

		if (!last || !bytes_equal(last->path, top->path))
			continue;
		if (last->kind == PART_DELETION)
			top->doomed = true;
		else
			top->part = (uint32_t)(c->parts_n - 1);
	}
}

/* Parts for all entered directories that have none yet, from the root down. */
static void list_ancestors(struct lister *l)
{
	for (size_t i = 0; i < l->walk.depth; i++) {
		struct walk_level *level = &l->walk.levels[i];

		if (level->part == CARGO_NONE && !level->doomed)
			list_ancestor(l, i);
	}
}

/* The link's target, read between two equal looks (I3), owned; or -errno. */
static int read_link(struct lister *l, struct part *part, struct bytes name, struct bytes *ret)
{
	char target[PATH_BYTES_MAX + 2], text[NAME_BYTES_MAX + 1];
	int fd = walk_fd(&l->walk);

	if (fd < 0)
		return fd;
	memcpy(text, name.p, name.n);
	text[name.n] = '\0';
	for (int i = 0; i < LINK_TRIES; i++) {
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
		r = walk_look(&l->walk, name, &st);
		if (r < 0 || !S_ISLNK(st.st_mode))
			return r < 0 ? r : -ENOENT;
		part->flags &= (uint8_t)~WIRE_RACY;
		take_fingerprint(l, part, &st);
		if (!fingerprint_moved(&before, &part->fp))
			return 0;
	}
	part->moved = true;
	return 0;
}

/* Extended attributes and ACLs, between two equal looks at the very same file (I3). */
static int read_attrs(struct lister *l, struct part *part, struct bytes name, struct fileattr **ret)
{
	int dir = walk_fd(&l->walk);
	autoclose int own = dir < 0 || !name.n ? -1
	                                       : fd_open_beneath(dir, name, O_PATH | O_NOFOLLOW,
	                                                         l->setup->cross_mounts);
	int fd = name.n && dir >= 0 ? own : dir;

	for (int i = 0; fd >= 0 && i < LINK_TRIES; i++) {
		struct fingerprint before = part->fp;
		struct stat st;

		fileattr_free(*ret);
		*ret = read_attrs_of(l, fd, before.mode);
		if ((*ret)->error)
			return -(*ret)->error;
		if (fstat(fd, &st))
			return -errno;
		if (((st.st_mode ^ before.mode) & S_IFMT) || st.st_ino != before.ino ||
		    st.st_dev != before.dev)
			return -ENOENT;
		part->flags &= (uint8_t)~WIRE_RACY;
		take_fingerprint(l, part, &st);
		if (!fingerprint_moved(&before, &part->fp))
			return 0;
	}
	part->moved = true;
	return fd < 0 ? fd : 0;
}

/* The list has no room for these attributes. It always has for those of a further name of an inode,
 * which must not be left behind (I6), and where nothing is sent later. */
static bool is_full(const struct lister *l, const struct part *part, const struct fileattr *a)
{
	return l->wanted && !l->cargo->compare && (S_ISDIR(part->fp.mode) || part->fp.nlink == 1) &&
	       l->list->attr_bytes + a->bytes > MANIFEST_ATTR_BYTES_MAX;
}

/* Kinds that the job does not keep: the receiver would skip them without a word. */
static const char *not_kept(const struct session_options *o, mode_t mode)
{
	if (S_ISLNK(mode) && !o->links)
		return "symbolic links are not kept";
	if (!S_ISLNK(mode) && !S_ISREG(mode) && !S_ISDIR(mode) && !o->devices)
		return "devices and special files are not kept";
	return NULL;
}

/* What is there now, in full; target and attributes are the caller's to free. */
static int look_at_item(struct lister *l, const struct wire_item *item, struct part *part,
                        struct stat *st, struct bytes *target, struct fileattr **attrs)
{
	struct bytes name = path_name(item->path);
	int r = walk_look(&l->walk, name, st);

	if (r == 0 &&
	    (S_ISDIR(st->st_mode) != !!(item->flags & WIRE_ITEM_DIR) || S_ISSOCK(st->st_mode)))
		r = -ENOENT;
	if (r < 0)
		return r;
	take_fingerprint(l, part, st);
	if (S_ISLNK(st->st_mode))
		r = read_link(l, part, name, target);
	if (r == 0 && l->reader)
		r = read_attrs(l, part, name, attrs);
	return r;
}

/* Why it is not listed: true, and the item is answered. */
static bool turn_away(struct lister *l, uint32_t index, int r, const struct part *part,
                      const struct stat *st, const struct fileattr *attrs)
{
	const char *why = r == 0 ? not_kept(&l->setup->options, st->st_mode) : NULL;

	if (why)
		cargo_answer(l->cargo, index, WIRE_FAILED, bytes_of(why));
	else if (r < 0)
		answer_errno(l, index, -r);
	else if (attrs && is_full(l, part, attrs))
		cargo_answer(l->cargo, index, WIRE_UNSENT, (struct bytes){0});
	else
		return false;
	return true;
}

static void list_present(struct lister *l, uint32_t index)
{
	const struct wire_item *item = &l->cargo->batch.items[index];
	struct bytes target = {0};
	struct fileattr *attrs = NULL;
	struct session_entry *entry;
	struct part *part, fresh = {0};
	struct stat st;
	int r = look_at_item(l, item, &fresh, &st, &target, &attrs);

	if (turn_away(l, index, r, &fresh, &st, attrs)) {
		free((char *)target.p);
		fileattr_free(attrs);
		return;
	}
	if (item->path.n)
		list_ancestors(l);
	part = cargo_add_part(l->cargo, S_ISDIR(st.st_mode) ? PART_DIR : PART_FILE, item->path,
	                      index);
	part->fp = fresh.fp;
	part->flags = fresh.flags;
	part->moved = fresh.moved;
	if (!item->path.n)
		l->walk.levels[0].part = (uint32_t)(part - l->cargo->parts);
	entry = add_entry(l, part);
	entry->link_target = target;
	entry->content_dir = (item->flags & WIRE_ITEM_WHOLE) != 0 && l->cargo->extras;
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
		entry->rdev_major = major(st.st_rdev);
		entry->rdev_minor = minor(st.st_rdev);
	}
	if (!attrs)
		return;
	if (attrs->trouble)
		cargo_remark(part, bytes_of(attrs->trouble));
	add_attrs(l, entry, attrs);
}

/* Deleted by this very list. What is spared protects all that is in it. */
static bool is_doomed(struct lister *l, struct bytes path)
{
	const struct part *part = cargo_find(l->cargo, path);

	return part && part->kind == PART_DELETION &&
	       !(l->cargo->batch.items[part->item].flags & WIRE_ITEM_SPARE);
}

/* 0: the source has what is to be deleted. A socket is as good as nothing: it is not mirrored. */
static int find_obstacle(struct lister *l, const struct wire_item *item)
{
	struct stat st;
	int fd, r;

	if (walk_top(&l->walk)->doomed)
		return -ENOENT;
	if (!(item->flags & WIRE_ITEM_SPARE)) {
		r = walk_look(&l->walk, path_name(item->path), &st);
		return r == 0 && S_ISSOCK(st.st_mode) ? -ENOENT : r;
	}
	fd = walk_fd(&l->walk);
	return fd < 0 ? fd : -ENOENT;
}

/* False: it has none that a receiver takes. Only a deletion does without those of its temporary
 * files. */
static bool add_rules(struct manifest *list, const struct wire_item *item)
{
	bool dir = (item->flags & WIRE_ITEM_DIR) != 0, spare = item->flags & WIRE_ITEM_SPARE;
	struct session_risk name = {item->path, dir && !spare,
	                            spare ? SESSION_RISK_SPARED : SESSION_RISK_ENTRY},
	                    temps = {item->path, false, SESSION_RISK_TEMPS};
	bool swept = item->flags & WIRE_ITEM_TEMPS, sweepable = swept && rules_fit(&temps);

	if (!rules_fit(&name) || (spare && swept && !sweepable))
		return false;
	list->rules[list->rules_n++] = name;
	if (sweepable)
		list->rules[list->rules_n++] = temps;
	return true;
}

/* It costs nobody else anything, and its directory is not one that foreign files keep. */
static void refuse_deletion(struct lister *l, uint32_t index)
{
	struct part *part =
	        cargo_add_part(l->cargo, PART_DELETION, l->cargo->batch.items[index].path, index);

	cargo_blame(part, BYTES("the path is too long for a rule of the receiver"), TROUBLE_NONE);
	cargo_settle(l->cargo, part, WIRE_FAILED);
}

static void list_deletion(struct lister *l, uint32_t index)
{
	const struct wire_item *item = &l->cargo->batch.items[index];
	struct walk_level *parent = walk_top(&l->walk);
	struct manifest *list = l->list;
	int r;

	if (!item->path.n) {
		cargo_answer(l->cargo, index, WIRE_FAILED, BYTES("the root is never deleted"));
		return;
	}
	r = find_obstacle(l, item);
	if (r == 0) {
		cargo_answer(l->cargo, index, WIRE_VANISHED, BYTES("is there again"));
		return;
	}
	if (parent->doomed && !is_doomed(l, parent->path)) {
		/* The source does not have its directory, and this list does not delete it, or
		 * spares it. */
		cargo_answer(l->cargo, index, WIRE_VANISHED, BYTES("its directory goes first"));
		return;
	}
	if (!is_gone(-r)) {
		/* Nobody can say now whether it exists: what is not seen to be gone is not deleted
		 * (I8). */
		answer_errno(l, index, -r);
		return;
	}
	if (!add_rules(list, item)) {
		refuse_deletion(l, index);
		return;
	}
	list_ancestors(l);
	if (!parent->doomed)
		list->entries[l->cargo->parts[parent->part].entry].content_dir = true;
	(void)cargo_add_part(l->cargo, PART_DELETION, item->path, index);
	l->wanted++;
}

/* A stamp and its directory lie beside the tree: nothing is looked at. */
static void list_stamp(struct lister *l, uint32_t index)
{
	const struct wire_item *item = &l->cargo->batch.items[index];
	struct bytes dir = path_parent(item->path);
	struct part *part;

	if (dir.n == 0 || path_parent(dir).n) {
		cargo_answer(l->cargo, index, WIRE_FAILED, BYTES("no place for a stamp"));
		return;
	}
	if (l->class == SESSION_DELETE) { /* its lists hold directories only */
		cargo_answer(l->cargo, index, WIRE_UNSENT, (struct bytes){0});
		return;
	}
	walk_leave(&l->walk, BYTES(""));
	list_ancestors(l);
	if (!l->stamp_dir.p || !bytes_equal(l->stamp_dir, dir)) {
		part = cargo_add_part(l->cargo, PART_SCAFFOLD, dir, CARGO_NONE);
		part->fp = (struct fingerprint){.mode = VIRTUAL_DIR};
		add_entry(l, part)->implied = true;
		l->stamp_dir = dir;
	}
	part = cargo_add_part(l->cargo, PART_STAMP, item->path, index);
	part->serve = (item->flags & WIRE_ITEM_SERVE) != 0;
	part->fp =
	        (struct fingerprint){.mode = S_IFREG | 0600, .mtime_ns = item->mtime_s * NS_PER_S};
	(void)add_entry(l, part);
}

struct inode_ref {
	uint64_t dev, ino;
	uint32_t part;
};

static int compare_inodes(const void *va, const void *vb)
{
	const struct inode_ref *a = va, *b = vb;

	if (a->dev != b->dev)
		return a->dev < b->dev ? -1 : 1;
	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	return a->part < b->part ? -1 : a->part > b->part;
}

/* Numbers the groups of listed names that are one inode. */
static void group_links(struct lister *l)
{
	struct cargo *c = l->cargo;
	autofree struct inode_ref *refs = mem_array(c->listed_n + 1, sizeof(*refs));
	size_t n = 0;
	uint64_t group = 0;

	for (size_t i = 0; i < c->listed_n; i++) {
		const struct part *part = &c->parts[c->listed[i]];

		if (part->kind == PART_FILE && part->fp.nlink > 1)
			refs[n++] = (struct inode_ref){part->fp.dev, part->fp.ino, c->listed[i]};
	}
	qsort(refs, n, sizeof(*refs), compare_inodes);
	for (size_t i = 1; i < n; i++) {
		if (refs[i].dev != refs[i - 1].dev || refs[i].ino != refs[i - 1].ino)
			continue;
		if (!c->parts[refs[i - 1].part].group)
			c->parts[refs[i - 1].part].group = ++group;
		c->parts[refs[i].part].group = group;
	}
	for (size_t i = 0; i < c->listed_n; i++)
		l->list->entries[i].link_group = c->parts[c->listed[i]].group;
}

static int compare_items(const void *va, const void *vb, void *arg)
{
	const struct wire_item *items = arg;
	uint32_t a = *(const uint32_t *)va, b = *(const uint32_t *)vb;
	int order = path_compare(items[a].path, items[b].path);

	return order ? order : a < b ? -1 : 1;
}

static void list_item(struct lister *l, uint32_t index)
{
	const struct wire_item *item = &l->cargo->batch.items[index];

	if (item->flags & WIRE_ITEM_STAMP) {
		list_stamp(l, index);
		return;
	}
	enter(l, path_parent(item->path));
	if (l->class == SESSION_DELETE)
		list_deletion(l, index);
	else
		list_present(l, index);
}

void manifest_build(struct manifest *ret, struct cargo *c, const struct wire_setup *setup,
                    enum session_class class, int64_t wall_ns)
{
	const struct wire_item *items = c->batch.items;
	size_t n = c->batch.count;
	autofree uint32_t *order = mem_array(n + 1, sizeof(*order));
	struct lister l = {
	        .cargo = c, .list = ret, .setup = setup, .class = class, .wall_ns = wall_ns};

	memset(ret, 0, sizeof(*ret));
	ret->rules = mem_array(2 * n + 1, sizeof(*ret->rules)); /* a deletion may have two */
	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	qsort_r(order, n, sizeof(*order), compare_items, c->batch.items);
	if (c->xattrs || c->acls)
		l.reader = fileattr_reader_new();
	walk_init(&l.walk, c->root_fd, setup->cross_mounts);
	for (size_t i = 0; i < n; i++) {
		if (i && bytes_equal(items[order[i]].path, items[order[i - 1]].path))
			cargo_answer(c, order[i], WIRE_UNSENT, BYTES("named twice in the batch"));
		else
			list_item(&l, order[i]);
	}
	walk_done(&l.walk);
	fileattr_reader_free(l.reader);
	if (!l.wanted) {
		ret->count = 0;
		return;
	}
	if (setup->options.hard_links)
		group_links(&l);
	if (c->extras)
		ret->rules[ret->rules_n++] = (struct session_risk){BYTES(STAMP_DIR), true};
}

void manifest_done(struct manifest *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free((char *)l->entries[i].link_target.p);
		free((char *)l->entries[i].checksum.p);
	}
	while (l->attrs) {
		struct fileattr *a = l->attrs;

		l->attrs = a->next;
		fileattr_free(a);
	}
	free(l->entries);
	free(l->rules);
	memset(l, 0, sizeof(*l));
}
