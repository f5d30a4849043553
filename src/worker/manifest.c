#include "worker/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "rsync/rules.h"
#include "worker/former.h"
#include "worker/found.h"
#include "worker/linkgroup.h"
#include "worker/walk.h"

#define NS_PER_S    1000000000LL
#define VIRTUAL_DIR (S_IFDIR | 0700)
#define STAMP_DIR   ".lockstep" /* ours at every target, and no extra */

struct lister {
	struct cargo *cargo;
	struct manifest *list;
	const struct wire_setup *setup;
	enum session_class class;
	struct walk walk;
	struct walk files; /* to the files of former names */
	struct found_view view;
	struct former_dirs formers; /* what is above former names */
	struct bytes stamp_dir;     /* the stamps' directory once it is listed; p NULL before */
	size_t wanted;              /* parts that are items: without any, nothing has to be sent */
	size_t last_bytes;          /* of the attributes of the item that was listed last */
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

static void answer(struct lister *l, uint32_t item, struct refusal refusal)
{
	cargo_answer(l->cargo, item, refusal.result, bytes_of(refusal.why ? refusal.why : ""));
}

static struct refusal refusal_of_errno(int error)
{
	return (struct refusal){manifest_errno_result(error), strerror(error)};
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

/* The list entry of a part whose fingerprint is set. */
static struct session_entry entry_of(const struct lister *l, const struct part *part)
{
	return (struct session_entry){
	        .path = part->path,
	        .mode = map_mode(l->setup, part->fp.mode),
	        .uid = l->setup->map_uid ? l->setup->uid : part->fp.uid,
	        .gid = l->setup->map_gid ? l->setup->gid : part->fp.gid,
	        .size = part->fp.size,
	        .mtime_ns = part->fp.mtime_ns,
	};
}

/* Whether a list can carry what the file system said. */
static struct refusal check_entry(const struct lister *l, const struct session_entry *entry)
{
	const char *fault = session_entry_fault(&l->setup->options, entry);

	return fault ? (struct refusal){WIRE_FAILED, fault} : (struct refusal){0};
}

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
	*entry = entry_of(l, part);
	if (part->item != CARGO_NONE)
		l->wanted++;
	return entry;
}

/* Of the directories above levels[depth]. */
static size_t attr_bytes_above(const struct lister *l, size_t depth)
{
	size_t n = 0;

	for (size_t i = 0; i < depth; i++)
		n += l->walk.levels[i].bytes;
	return n;
}

/* An ancestor as it is; `a` is its attributes, given away if it is listed. */
static struct refusal list_context(struct lister *l, size_t depth, const struct stat *st,
                                   struct fileattr **a)
{
	struct walk_level *level = &l->walk.levels[depth];
	struct part *part, fresh = {.path = level->path};
	struct refusal refusal = {0};
	struct session_entry *entry, trial;

	found_fingerprint(&l->view, &fresh, st);
	trial = entry_of(l, &fresh);
	if (*a && (*a)->error)
		refusal = refusal_of_errno((*a)->error);
	if (*a && !refusal.result)
		refusal = listattr_room(&l->list->attrs, (*a)->bytes, attr_bytes_above(l, depth));
	if (*a)
		listattr_share(&trial, *a);
	if (!refusal.result)
		refusal = check_entry(l, &trial);
	if (refusal.result)
		return refusal;
	part = cargo_add_part(l->cargo, PART_CONTEXT, level->path, CARGO_NONE);
	part->fp = fresh.fp;
	part->flags = fresh.flags;
	level->part = (uint32_t)(part - l->cargo->parts);
	entry = add_entry(l, part);
	entry->implied = true;
	if (*a) {
		level->bytes = (*a)->bytes;
		listattr_add(&l->list->attrs, entry, TAKE(*a));
	}
	return refusal;
}

/* A stand-in for an ancestor that the source does not have: of former names, in a list that sets
 * attributes, with those that it is believed to have. */
static struct part *list_scaffold(struct lister *l, struct bytes path)
{
	struct part *part = cargo_add_part(l->cargo, PART_SCAFFOLD, path, CARGO_NONE);
	const struct wire_former *dir = former_dirs_find(&l->formers, path);

	part->known = dir != NULL;
	part->fp = dir ? dir->fp : (struct fingerprint){.mode = VIRTUAL_DIR};
	add_entry(l, part)->implied = true;
	return part;
}

static struct refusal list_ancestor(struct lister *l, size_t depth)
{
	struct walk_level *level = &l->walk.levels[depth];
	struct fileattr *a = NULL;
	struct refusal refusal;
	struct stat st;
	int fd = walk_level_fd(&l->walk, depth);

	if (fd < 0 || fstatat(fd, "", &st, AT_EMPTY_PATH) != 0) {
		level->part = (uint32_t)(list_scaffold(l, level->path) - l->cargo->parts);
		return (struct refusal){0};
	}
	if (l->list->attrs.reader)
		a = listattr_read(&l->list->attrs, fd, st.st_mode);
	refusal = list_context(l, depth, &st, &a);
	fileattr_free(a);
	return refusal;
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
		else {
			top->part = (uint32_t)(c->parts_n - 1);
			top->bytes = l->last_bytes;
		}
	}
}

/* Parts for all entered directories that have none yet, from the root down. One that cannot be
 * listed bars the way to all below it: without its attributes the target would lose those. */
static struct refusal list_ancestors(struct lister *l)
{
	for (size_t i = 0; i < l->walk.depth; i++) {
		struct walk_level *level = &l->walk.levels[i];
		struct refusal refusal = {(enum wire_result)level->refused, level->why};

		if (level->part != CARGO_NONE || level->doomed)
			continue;
		if (!refusal.result)
			refusal = list_ancestor(l, i);
		level->refused = (uint8_t)refusal.result;
		level->why = refusal.why;
		if (refusal.result)
			return refusal;
	}
	return (struct refusal){0};
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

/* All but its ancestors. */
static struct session_entry entry_of_found(const struct lister *l, const struct wire_item *item,
                                           const struct found *f)
{
	struct session_entry entry = entry_of(l, &f->part);

	entry.link_target = f->target;
	entry.content_dir = (item->flags & WIRE_ITEM_WHOLE) != 0 && l->cargo->extras;
	if (S_ISCHR(f->st.st_mode) || S_ISBLK(f->st.st_mode)) {
		entry.rdev_major = major(f->st.st_rdev);
		entry.rdev_minor = minor(f->st.st_rdev);
	}
	if (f->attrs)
		listattr_share(&entry, f->attrs);
	else if (f->inode && f->inode->attrs)
		listattr_share(&entry, f->inode->attrs);
	return entry;
}

/* The way to it, and room for its attributes. */
static struct refusal make_room(struct lister *l, const struct wire_item *item,
                                const struct found *f)
{
	bool partner = f->inode && f->inode->attrs;
	struct refusal refusal = {0};

	if (item->path.n)
		refusal = list_ancestors(l);
	if (!refusal.result && f->attrs)
		refusal = listattr_room(&l->list->attrs, f->attrs->bytes,
		                        attr_bytes_above(l, item->path.n ? l->walk.depth : 0));
	/* It would be tried again together with its partners, and at once. */
	if (refusal.result == WIRE_UNSENT && partner)
		refusal = (struct refusal){WIRE_FAILED, "its names do not fit into one list"};
	return refusal;
}

static struct refusal find_item(struct lister *l, const struct wire_item *item, struct found *f)
{
	int r = found_look(&l->view, item, f);
	const char *why = r == 0 ? not_kept(&l->setup->options, f->st.st_mode) : NULL;
	struct session_entry entry;
	struct refusal refusal;

	if (r < 0)
		return refusal_of_errno(-r);
	if (why)
		return (struct refusal){WIRE_FAILED, why};
	if (f->inode && f->inode->refused.result)
		return f->inode->refused;
	entry = entry_of_found(l, item, f);
	refusal = check_entry(l, &entry);
	return refusal.result ? refusal : make_room(l, item, f);
}

static void list_found(struct lister *l, uint32_t index, struct found *f)
{
	const struct wire_item *item = &l->cargo->batch.items[index];
	struct session_entry *entry;
	struct part *part = cargo_add_part(l->cargo, S_ISDIR(f->st.st_mode) ? PART_DIR : PART_FILE,
	                                   item->path, index);

	part->fp = f->part.fp;
	part->flags = f->part.flags;
	part->moved = f->part.moved;
	entry = add_entry(l, part);
	*entry = entry_of_found(l, item, f);
	f->target = (struct bytes){0};
	l->last_bytes = f->attrs ? f->attrs->bytes : 0;
	if (!item->path.n) {
		l->walk.levels[0].part = (uint32_t)(part - l->cargo->parts);
		l->walk.levels[0].bytes = l->last_bytes;
	}
	if (f->attrs && f->attrs->trouble)
		cargo_remark(part, bytes_of(f->attrs->trouble));
	if (f->attrs && f->inode) {
		f->inode->attrs = f->attrs;
		f->inode->fp = part->fp;
	}
	if (f->attrs)
		listattr_add(&l->list->attrs, entry, TAKE(f->attrs));
}

static void list_present(struct lister *l, uint32_t index)
{
	struct found f = {0};
	struct refusal refusal = find_item(l, &l->cargo->batch.items[index], &f);

	if (!refusal.result)
		list_found(l, index, &f);
	else
		answer(l, index, refusal);
	if (f.inode && !f.inode->attrs)
		f.inode->refused = refusal;
	found_done(&f);
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

/* Up to two; 0: it has none that a receiver takes. Only a deletion does without those of its
 * temporary files. */
static size_t find_rules(const struct wire_item *item, struct session_risk *ret)
{
	bool dir = (item->flags & WIRE_ITEM_DIR) != 0, spare = item->flags & WIRE_ITEM_SPARE;
	bool swept = item->flags & WIRE_ITEM_TEMPS;

	ret[0] = (struct session_risk){item->path, dir && !spare,
	                               spare ? SESSION_RISK_SPARED : SESSION_RISK_ENTRY};
	ret[1] = (struct session_risk){item->path, false, SESSION_RISK_TEMPS};
	if (!rules_fit(&ret[0]))
		return 0;
	if (!swept || rules_fit(&ret[1]))
		return swept ? 2 : 1;
	return spare ? 0 : 1;
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
	struct session_risk rules[2];
	size_t rules_n = find_rules(item, rules);
	struct refusal refusal;
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
		answer(l, index, refusal_of_errno(-r));
		return;
	}
	if (!rules_n) {
		refuse_deletion(l, index);
		return;
	}
	refusal = list_ancestors(l);
	if (refusal.result) {
		answer(l, index, refusal);
		return;
	}
	if (!parent->doomed)
		list->entries[l->cargo->parts[parent->part].entry].content_dir = true;
	(void)cargo_add_part(l->cargo, PART_DELETION, item->path, index);
	for (size_t i = 0; i < rules_n; i++)
		list->rules[list->rules_n++] = rules[i];
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
	if (list_ancestors(l).result) { /* no word about the target */
		cargo_answer(l->cargo, index, WIRE_UNSENT, (struct bytes){0});
		return;
	}
	if (!l->stamp_dir.p || !bytes_equal(l->stamp_dir, dir)) {
		(void)list_scaffold(l, dir);
		l->stamp_dir = dir;
	}
	part = cargo_add_part(l->cargo, PART_STAMP, item->path, index);
	part->serve = (item->flags & WIRE_ITEM_SERVE) != 0;
	part->fp =
	        (struct fingerprint){.mode = S_IFREG | 0600, .mtime_ns = item->mtime_s * NS_PER_S};
	(void)add_entry(l, part);
}

/* Lists the name that an item's file had before, unless something stands there again. */
static void list_former(struct lister *l, const struct wire_former *former)
{
	struct cargo *c = l->cargo;
	struct fingerprint fp;
	struct part *part;
	struct stat st;

	if (former->item == WIRE_NO_ITEM || !former_allowed(&l->setup->options, l->class))
		return;
	enter(l, path_parent(former->path));
	if (!is_gone(-walk_look(&l->walk, path_name(former->path), &st)) ||
	    !former_dirs_lead(&l->formers, &l->walk, c) ||
	    !former_find(c, former, &l->files, &fp) ||
	    fingerprint_racy(&fp, l->view.wall_ns, l->view.racy_window_ns) ||
	    !former_is(former, &fp, l->class) || list_ancestors(l).result)
		return;
	part = cargo_add_part(c, PART_FORMER, former->path, CARGO_NONE);
	part->fp = fp;
	part->file = c->batch.items[former->item].path;
	(void)add_entry(l, part);
	c->with_former[former->item] = true;
}

/* Numbers behind those of the items are former names. */
static struct bytes path_of(const struct wire_batch *b, uint32_t i)
{
	return i < b->count ? b->items[i].path : b->formers[i - b->count].path;
}

static int compare_items(const void *va, const void *vb, void *arg)
{
	uint32_t a = *(const uint32_t *)va, b = *(const uint32_t *)vb;
	int order = path_compare(path_of(arg, a), path_of(arg, b));

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

static void list_all(struct lister *l, const uint32_t *order, size_t n)
{
	const struct wire_batch *b = &l->cargo->batch;

	for (size_t i = 0; i < n; i++) {
		bool again = i && bytes_equal(path_of(b, order[i]), path_of(b, order[i - 1]));

		if (order[i] >= b->count && !again)
			list_former(l, &b->formers[order[i] - b->count]);
		else if (order[i] < b->count && again)
			cargo_answer(l->cargo, order[i], WIRE_UNSENT,
			             BYTES("named twice in the batch"));
		else if (order[i] < b->count)
			list_item(l, order[i]);
	}
}

void manifest_build(struct manifest *ret, struct cargo *c, const struct wire_setup *setup,
                    enum session_class class, int64_t wall_ns)
{
	size_t n = c->batch.count + c->batch.formers_n;
	autofree uint32_t *order = mem_array(n + 1, sizeof(*order));
	struct lister l = {.cargo = c, .list = ret, .setup = setup, .class = class};

	memset(ret, 0, sizeof(*ret));
	ret->rules = mem_array(2 * n + 1, sizeof(*ret->rules)); /* a deletion may have two */
	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	qsort_r(order, n, sizeof(*order), compare_items, &c->batch);
	former_dirs_init(&l.formers, &c->batch);
	listattr_init(&ret->attrs, c->xattrs, c->acls);
	walk_init(&l.walk, c->root_fd, setup->cross_mounts);
	walk_init(&l.files, c->root_fd, setup->cross_mounts);
	l.view = (struct found_view){&l.walk, &ret->attrs, wall_ns, c->batch.racy_window_ns};
	list_all(&l, order, n);
	walk_done(&l.walk);
	walk_done(&l.files);
	former_dirs_done(&l.formers);
	if (!l.wanted) {
		ret->count = 0;
		return;
	}
	if (setup->options.hard_links)
		linkgroup_number(c, ret->entries);
	if (c->extras)
		ret->rules[ret->rules_n++] = (struct session_risk){BYTES(STAMP_DIR), true};
}

void manifest_done(struct manifest *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free((char *)l->entries[i].link_target.p);
		free((char *)l->entries[i].checksum.p);
	}
	listattr_done(&l->attrs);
	free(l->entries);
	free(l->rules);
	memset(l, 0, sizeof(*l));
}
