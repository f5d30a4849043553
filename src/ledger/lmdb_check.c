#include "ledger/lmdb_check.h"
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "base/mem.h"

#define META_MAGIC       0xBEEFC0DEu
#define META_VERSION     1
#define PAGE_HEAD        16
#define NODE_HEAD        8
#define PAGE_BRANCH      0x01
#define PAGE_LEAF        0x02
#define PAGE_OVERFLOW    0x04
#define PAGE_META        0x08
#define NODE_BIG         0x01
#define NODE_TABLE       0x02
#define PAGE_NONE        UINT64_MAX
#define DEPTH_MAX        32 /* CURSOR_STACK of mdb.c */
#define TABLES_MAX       16
#define PAGES_BEHIND_MAX 65536u /* allocated and freed at once, so never written */

struct table {
	uint32_t pad;
	uint16_t flags, depth;
	uint64_t branches, leaves, overflows, entries, root;
};
_Static_assert(sizeof(struct table) == 48, "MDB_db of a 64-bit LMDB");

struct meta {
	uint32_t magic, version;
	uint64_t address, map_bytes;
	struct table tables[2]; /* free pages, main */
	uint64_t last_page, txn;
};

struct checker {
	struct bytes file;
	const char *what;
	struct err *err;
	size_t page_bytes;
	uint64_t pages; /* in use by the newer state: last page + 1 */
	unsigned char *seen;
};

struct page {
	const char *p;
	uint16_t flags;
	unsigned nodes;
	size_t upper;
};

struct node {
	struct bytes key, data;
	uint64_t child; /* of a branch */
	size_t data_bytes;
	uint16_t flags;
	size_t bytes; /* room it takes, even */
};

/* The way down and what has been met so far in one table. */
struct walk {
	struct table found;
	bool numbers; /* keys are transaction ids */
	struct bytes bound;
	bool bounded, strict;
	struct table *subtables; /* of the main table: what its rows describe; NULL otherwise */
	size_t nsubtables;
};

static int bad(struct checker *c, const char *why, uint64_t page)
{
	return err_set(c->err, EUCLEAN, "%s: page %llu: %s", c->what, (unsigned long long)page,
	               why);
}

static uint16_t get_u16(const char *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t get_u64(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static int mark_page(struct checker *c, uint64_t number)
{
	if (number < 2 || number >= c->pages)
		return bad(c, "lies outside", number);
	if (c->seen[number / 8] & (1u << number % 8))
		return bad(c, "is used twice", number);
	c->seen[number / 8] |= (unsigned char)(1u << number % 8);
	return 0;
}

static int open_page(struct checker *c, uint64_t number, uint16_t flags, struct page *ret)
{
	size_t lower;
	int r = mark_page(c, number);

	if (r < 0)
		return r;
	if (number >= c->file.n / c->page_bytes)
		return bad(c, "lies behind the end of the file", number);
	ret->p = c->file.p + number * c->page_bytes;
	ret->flags = get_u16(ret->p + 10);
	if (get_u64(ret->p) != number || ret->flags != flags)
		return bad(c, "is not what it should be", number);
	if (flags == PAGE_OVERFLOW)
		return 0;
	lower = get_u16(ret->p + 12);
	ret->upper = get_u16(ret->p + 14);
	if (lower < PAGE_HEAD || lower % 2 || lower > ret->upper || ret->upper > c->page_bytes)
		return bad(c, "has impossible bounds", number);
	ret->nodes = (unsigned)((lower - PAGE_HEAD) / 2);
	if (ret->nodes < (flags == PAGE_BRANCH ? 2u : 1u))
		return bad(c, "holds too little", number);
	return 0;
}

static bool get_node(const struct checker *c, const struct page *page, unsigned i, struct node *ret)
{
	size_t at = get_u16(page->p + PAGE_HEAD + 2 * (size_t)i), inside;
	const char *p = page->p + at;
	size_t low;

	if (at < page->upper || at % 2 || at + NODE_HEAD > c->page_bytes)
		return false;
	low = get_u16(p) | (size_t)get_u16(p + 2) << 16;
	ret->flags = get_u16(p + 4);
	ret->key = (struct bytes){p + NODE_HEAD, get_u16(p + 6)};
	ret->child = low | (uint64_t)ret->flags << 32;
	ret->data_bytes = page->flags == PAGE_LEAF ? low : 0;
	inside = page->flags == PAGE_LEAF && (ret->flags & NODE_BIG) ? sizeof(uint64_t)
	                                                             : ret->data_bytes;
	ret->bytes = NODE_HEAD + ret->key.n + inside;
	if (ret->bytes > c->page_bytes - at)
		return false;
	ret->data = (struct bytes){ret->key.p + ret->key.n, inside};
	ret->bytes += ret->bytes % 2;
	return true;
}

/* The nodes of a page fill it from its upper bound to its end. */
static int check_nodes(struct checker *c, const struct page *page, uint64_t number)
{
	size_t total = 0;
	struct node n;

	for (unsigned i = 0; i < page->nodes; i++) {
		if (!get_node(c, page, i, &n))
			return bad(c, "has a row outside its bounds", number);
		total += n.bytes;
	}
	return total == c->page_bytes - page->upper ? 0 : bad(c, "has overlapping rows", number);
}

static int key_order(const struct walk *w, struct bytes a, struct bytes b)
{
	uint64_t x, y;

	if (!w->numbers)
		return bytes_compare(a, b);
	x = get_u64(a.p);
	y = get_u64(b.p);
	return (x > y) - (x < y);
}

/* A row's key must be above the one before, and not below the branch key that led here. */
static int check_key(struct checker *c, struct walk *w, struct bytes key, bool row, uint64_t number)
{
	int order;

	if (w->numbers ? key.n != sizeof(uint64_t) : key.n == 0 || key.n > 511)
		return bad(c, "has a key of a wrong size", number);
	order = w->bounded ? key_order(w, key, w->bound) : 1;
	if (order < 0 || (order == 0 && w->strict))
		return bad(c, "has keys in disorder", number);
	w->bound = key;
	w->bounded = true;
	w->strict = row;
	return 0;
}

static int open_overflow(struct checker *c, struct walk *w, struct node *n)
{
	uint64_t first = get_u64(n->data.p), pages;
	struct page page;
	uint32_t count;
	int r = open_page(c, first, PAGE_OVERFLOW, &page);

	if (r < 0)
		return r;
	memcpy(&count, page.p + 12, sizeof(count));
	pages = (PAGE_HEAD + n->data_bytes + c->page_bytes - 1) / c->page_bytes;
	if (count != pages || count > c->file.n / c->page_bytes - first)
		return bad(c, "has a wrong length", first);
	for (uint64_t i = 1; i < pages; i++) {
		r = mark_page(c, first + i);
		if (r < 0)
			return r;
	}
	w->found.overflows += pages;
	n->data = (struct bytes){page.p + PAGE_HEAD, n->data_bytes};
	return 0;
}

/* A row of the free table: a count and that many page numbers, falling. */
static int check_free(struct checker *c, struct bytes list, uint64_t number)
{
	uint64_t count, before = PAGE_NONE;

	if (list.n < 8 || list.n % 8 || get_u64(list.p) > list.n / 8 - 1)
		return bad(c, "has a broken list of free pages", number);
	count = get_u64(list.p);
	for (uint64_t i = 1; i <= count; i++) {
		uint64_t free_page = get_u64(list.p + 8 * i);
		int r = free_page < before ? mark_page(c, free_page)
		                           : bad(c, "has free pages in disorder", number);

		if (r < 0)
			return r;
		before = free_page;
	}
	return 0;
}

static int check_row(struct checker *c, struct walk *w, struct node *n, uint64_t number)
{
	int r = check_key(c, w, n->key, true, number);

	if (r < 0)
		return r;
	w->found.entries++;
	if (w->subtables) {
		if (n->flags != NODE_TABLE || n->data.n != sizeof(struct table) ||
		    w->nsubtables == TABLES_MAX)
			return bad(c, "does not describe a table", number);
		memcpy(&w->subtables[w->nsubtables++], n->data.p, n->data.n);
		return 0;
	}
	if (n->flags & ~NODE_BIG)
		return bad(c, "has a row of an unknown kind", number);
	r = n->flags ? open_overflow(c, w, n) : 0;
	return r == 0 && w->numbers ? check_free(c, n->data, number) : r;
}

static int check_leaf(struct checker *c, struct walk *w, const struct page *page, uint64_t number)
{
	struct node n;
	int r = 0;

	w->found.leaves++;
	for (unsigned i = 0; i < page->nodes && r == 0; i++) {
		if (!get_node(c, page, i, &n))
			return bad(c, "has a row outside its bounds", number);
		r = check_row(c, w, &n, number);
	}
	return r;
}

static int check_counts(struct checker *c, const struct walk *w, const struct table *t)
{
	if (w->found.branches != t->branches || w->found.leaves != t->leaves ||
	    w->found.overflows != t->overflows || w->found.entries != t->entries)
		return bad(c, "does not lead to as much as is recorded", t->root);
	return 0;
}

struct step {
	struct page page;
	uint64_t number;
	unsigned next;
};

/* Opens the page at `depth` (0: root); leaves are done with at once. */
static int enter(struct checker *c, struct walk *w, const struct table *t, struct step *stack,
                 unsigned depth, uint64_t number)
{
	struct step *s = &stack[depth];
	bool leaf = depth + 1u == t->depth;
	int r = open_page(c, number, leaf ? PAGE_LEAF : PAGE_BRANCH, &s->page);

	if (r == 0)
		r = check_nodes(c, &s->page, number);
	if (r < 0)
		return r;
	s->number = number;
	s->next = leaf ? s->page.nodes : 0;
	if (leaf)
		return check_leaf(c, w, &s->page, number);
	w->found.branches++;
	return 0;
}

static int check_table(struct checker *c, struct walk *w, const struct table *t)
{
	struct step stack[DEPTH_MAX];
	unsigned depth = 0;
	int r;

	if (t->root == PAGE_NONE)
		return t->depth ? bad(c, "no root, but depth", 0) : check_counts(c, w, t);
	if (!t->depth || t->depth > DEPTH_MAX)
		return bad(c, "has an impossible depth", t->root);
	r = enter(c, w, t, stack, 0, t->root);
	while (r == 0) {
		struct step *s = &stack[depth];
		struct node n;

		if (s->next == s->page.nodes) {
			if (!depth)
				break;
			depth--;
			continue;
		}
		if (!get_node(c, &s->page, s->next, &n))
			return bad(c, "has a row outside its bounds", s->number);
		/* The first key of a branch stands for "everything below the second". */
		if (s->next++)
			r = check_key(c, w, n.key, false, s->number);
		if (r == 0)
			r = enter(c, w, t, stack, ++depth, n.child);
	}
	return r < 0 ? r : check_counts(c, w, t);
}

static int check_state(struct checker *c, const struct meta *m)
{
	struct table subtables[TABLES_MAX];
	struct walk free_pages = {.numbers = true}, main_table = {.subtables = subtables};
	int r;

	/* MDB_NOSUBDIR is recorded, too; MDB_FIXEDMAP must not be. */
	if ((m->tables[0].flags & ~MDB_NOSUBDIR) != MDB_INTEGERKEY || m->tables[1].flags)
		return bad(c, "has unknown flags", 0);
	r = check_table(c, &main_table, &m->tables[1]);
	for (size_t i = 0; i < main_table.nsubtables && r == 0; i++) {
		struct walk w = {0};

		r = subtables[i].flags ? bad(c, "has a table with unknown flags", 0)
		                       : check_table(c, &w, &subtables[i]);
	}
	return r == 0 ? check_table(c, &free_pages, &m->tables[0]) : r;
}

static void get_meta(const char *p, struct meta *ret)
{
	memcpy(ret, p + PAGE_HEAD, sizeof(*ret));
}

static int check_metas(struct checker *c, struct meta *ret)
{
	struct meta m[2];

	if (c->file.n < PAGE_HEAD + sizeof(*m))
		return bad(c, "is cut", 0);
	get_meta(c->file.p, &m[0]);
	c->page_bytes = m[0].tables[0].pad;
	if (c->page_bytes < 512 || c->page_bytes > 32768 || (c->page_bytes & (c->page_bytes - 1)) ||
	    c->file.n < 2 * c->page_bytes)
		return bad(c, "is cut, or no database", 0);
	get_meta(c->file.p + c->page_bytes, &m[1]);
	for (unsigned i = 0; i < 2; i++) {
		const char *page = c->file.p + i * c->page_bytes;

		if (get_u64(page) != i || get_u16(page + 10) != PAGE_META ||
		    m[i].magic != META_MAGIC || m[i].version != META_VERSION ||
		    m[i].tables[0].pad != c->page_bytes)
			return bad(c, "is no database header", i);
	}
	*ret = m[m[0].txn < m[1].txn];
	/* LMDB writes the two in turn. */
	if (m[0].txn != m[1].txn &&
	    (m[0].txn - m[1].txn + 1 > 2 || &m[ret->txn & 1] != &m[m[0].txn < m[1].txn]))
		return bad(c, "has a wrong transaction number", 0);
	if (ret->last_page < 1 || ret->last_page >= c->file.n / c->page_bytes + PAGES_BEHIND_MAX)
		return bad(c, "has a wrong number of pages", 0);
	c->pages = ret->last_page + 1;
	return 0;
}

int lmdb_check_bytes(struct bytes file, const char *what, struct err *err)
{
	struct checker c = {.file = file, .what = what, .err = err};
	struct meta m;
	int r = check_metas(&c, &m);

	if (r < 0)
		return r;
	c.seen = mem_alloc(c.pages / 8 + 1);
	r = check_state(&c, &m);
	free(c.seen);
	return r;
}

int lmdb_check_file(const char *path, struct err *err)
{
	autoclose int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	void *p;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, errno, "%s", path);
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return err_set(err, EUCLEAN, "%s: is empty, or not a file", path);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return err_errno(err, errno, "%s", path);
	r = lmdb_check_bytes((struct bytes){p, (size_t)st.st_size}, path, err);
	(void)munmap(p, (size_t)st.st_size);
	return r;
}
