#include "daemon/verify_walk.h"

#include <sys/stat.h>
#include "base/mem.h"
#include "base/path.h"

/* A batch is closed when it holds this many, and a directory is cut when it alone holds more than
 * the second number of names or bytes; a frame takes 16 MiB. */
#define BATCH_ITEMS 1000
#define WHOLE_ITEMS 50000
#define WHOLE_BYTES (8u << 20)

/* A directory to be listed, and where it stands in the batch under way. */
struct waiting {
	char *path;
	uint64_t batch;
	size_t item;
};

struct verify_walk {
	struct ledger *ledger;
	struct waiting *stack;
	size_t depth, stack_cap;
	struct wire_item *items; /* paths are owned */
	size_t count, cap, bytes;
	uint64_t batch, cut;
	/* The directory in work and its names. */
	char *dir;
	struct found_name {
		char *name;
		bool is_dir;
	} * names;
	size_t names_n, names_cap, names_at, names_bytes;
};

static void push_dir(struct verify_walk *w, struct bytes path, uint64_t batch, size_t item)
{
	if (w->depth == w->stack_cap) {
		w->stack_cap = w->stack_cap ? 2 * w->stack_cap : 64;
		w->stack = mem_realloc(w->stack, w->stack_cap, sizeof(*w->stack));
	}
	w->stack[w->depth++] = (struct waiting){mem_dup(path.p, path.n), batch, item};
}

struct verify_walk *verify_walk_new(struct ledger *ledger)
{
	struct verify_walk *w = mem_alloc(sizeof(*w));

	w->ledger = ledger;
	push_dir(w, BYTES(""), 0, 0);
	return w;
}

static void drop_items(struct verify_walk *w)
{
	for (size_t i = 0; i < w->count; i++)
		free((char *)w->items[i].path.p);
	w->count = w->bytes = 0;
}

static void drop_names(struct verify_walk *w)
{
	for (size_t i = 0; i < w->names_n; i++)
		free(w->names[i].name);
	w->names_n = w->names_at = w->names_bytes = 0;
	free(TAKE(w->dir));
}

void verify_walk_free(struct verify_walk *w)
{
	if (!w)
		return;
	drop_items(w);
	drop_names(w);
	while (w->depth)
		free(w->stack[--w->depth].path);
	free(w->stack);
	free(w->items);
	free(w->names);
	free(w);
}

static size_t add_item(struct verify_walk *w, struct bytes path, uint8_t flags)
{
	if (w->count == w->cap) {
		w->cap = w->cap ? 2 * w->cap : 256;
		w->items = mem_realloc(w->items, w->cap, sizeof(*w->items));
	}
	w->items[w->count] = (struct wire_item){{mem_dup(path.p, path.n), path.n}, flags, 0};
	w->bytes += path.n;
	return w->count++;
}

/* Names of which nothing is confirmed are under way; they are no subject here. */
static bool take_name(struct bytes name, const struct belief *belief, void *arg)
{
	struct verify_walk *w = arg;

	if (!(belief->state & LEDGER_CONFIRMED))
		return true;
	if (w->names_n == w->names_cap) {
		w->names_cap = w->names_cap ? 2 * w->names_cap : 256;
		w->names = mem_realloc(w->names, w->names_cap, sizeof(*w->names));
	}
	w->names[w->names_n++] =
	        (struct found_name){mem_dup(name.p, name.n), S_ISDIR(belief->fp.mode)};
	w->names_bytes += name.n + strlen(w->dir) + 1;
	return true;
}

static void open_dir(struct verify_walk *w)
{
	struct waiting at = w->stack[--w->depth];
	uint8_t flags = WIRE_ITEM_DIR;

	w->dir = at.path;
	ledger_list(w->ledger, bytes_of(w->dir), take_name, w);
	if (w->names_n <= WHOLE_ITEMS && w->names_bytes <= WHOLE_BYTES)
		flags |= WIRE_ITEM_WHOLE;
	else
		w->cut++;
	if (at.batch == w->batch && at.item < w->count)
		w->items[at.item].flags |= flags;
	else
		(void)add_item(w, bytes_of(w->dir), flags);
}

static void add_name(struct verify_walk *w, const struct found_name *n)
{
	struct buf path;

	buf_init(&path, 2 * PATH_BYTES_MAX);
	path_join(&path, bytes_of(w->dir), bytes_of(n->name));
	size_t item = add_item(w, buf_bytes(&path), n->is_dir ? WIRE_ITEM_DIR : 0);

	if (n->is_dir)
		push_dir(w, buf_bytes(&path), w->batch, item);
	buf_done(&path);
}

size_t verify_walk_next(struct verify_walk *w, struct wire_item **ret)
{
	drop_items(w);
	w->batch++;
	while (w->count < BATCH_ITEMS && (w->dir || w->depth)) {
		bool cut;

		if (!w->dir)
			open_dir(w);
		cut = w->names_n > WHOLE_ITEMS || w->names_bytes > WHOLE_BYTES;
		while (w->names_at < w->names_n && (!cut || w->count < BATCH_ITEMS))
			add_name(w, &w->names[w->names_at++]);
		if (w->names_at == w->names_n)
			drop_names(w);
	}
	*ret = w->items;
	return w->count;
}

uint64_t verify_walk_cut(const struct verify_walk *w)
{
	return w->cut;
}
