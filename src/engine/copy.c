/*
 * copy: what is new and as large as another file of its directory may be a copy of it.
 *
 * A mark of a large new file that finds such names goes in the content class, and they are named in
 * its list (struct wire_basis). The worker compares the files at the source, and claims that the
 * target builds the new one from the other: what they have in common is not sent, and the digest of
 * the whole decides (I9). So nothing rests on what is believed here but how many bytes go; where it
 * proves wrong, the name that the target has otherwise is looked at by its content.
 *
 * The sizes are those of one directory, the last that was asked for: read from the ledger once, and
 * kept up with what is confirmed. What is in it may be out of date, so each name is asked for anew.
 * Large new files that go in turn into several large directories must not cost as much as these
 * hold: of such only some are read, and what is not found is sent.
 *
 * While a list that names it is under way a name does not go at the target: the receiver would find
 * nothing to build on, and rsync 3.5.0 gives up over that.
 */
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "engine/internal.h"

#define PROTOCOL_CLAIMING 31   /* rsync 3.1.0 */
#define NAMES_MAX         8192 /* of a directory, that are looked through */
#define NAMES_MANY        1000 /* after so many the next directory waits */
#define READ_AGAIN_NS     (NS_PER_S / 10)
#define TRIES             3   /* files of one size; the youngest stay */
#define BASES_MAX         256 /* in one list */
#define MISTAKES_MAX      3

struct copy_size {
	uint64_t size;
	size_t n;
	struct copy_file {
		char *name;
		size_t n;
		int64_t mtime_ns;
	} files[TRIES];
	UT_hash_handle hh;
};

/* A name that lists under way may build on. */
struct copy_basis {
	char *p;
	size_t n;
	unsigned uses;
	UT_hash_handle hh;
};

/* --- the sizes in a directory --- */

static void sizes_clear(struct engine *e)
{
	struct copy_size *s, *next;

	HASH_ITER (hh, e->copy_sizes, s, next) {
		HASH_DEL(e->copy_sizes, s);
		for (size_t i = 0; i < s->n; i++)
			free(s->files[i].name);
		free(s);
	}
	free(e->copy_dir);
	e->copy_dir = NULL;
	e->copy_dir_bytes = 0;
}

static bool sizes_are_of(const struct engine *e, struct bytes dir)
{
	return e->copy_dir && bytes_equal((struct bytes){e->copy_dir, e->copy_dir_bytes}, dir);
}

static struct copy_size *sizes_find(const struct engine *e, uint64_t size)
{
	struct copy_size *s = NULL;

	if (e->copy_sizes)
		HASH_FIND(hh, e->copy_sizes, &size, sizeof(size), s);
	return s;
}

/* Its own place, a free one, or that of the oldest if it is younger. */
static struct copy_file *sizes_place(struct copy_size *s, struct bytes name, int64_t mtime_ns)
{
	struct copy_file *oldest = &s->files[0];

	for (size_t i = 0; i < s->n; i++) {
		struct copy_file *f = &s->files[i];

		if (bytes_equal((struct bytes){f->name, f->n}, name))
			return f;
		if (f->mtime_ns < oldest->mtime_ns)
			oldest = f;
	}
	if (s->n < TRIES)
		return &s->files[s->n++];
	return oldest->mtime_ns < mtime_ns ? oldest : NULL;
}

static void sizes_add(struct engine *e, struct bytes name, const struct fingerprint *fp)
{
	struct copy_size *s = sizes_find(e, fp->size);
	struct copy_file *f;

	if (!s) {
		s = mem_alloc(sizeof(*s));
		s->size = fp->size;
		HASH_ADD(hh, e->copy_sizes, size, sizeof(s->size), s);
	}
	f = sizes_place(s, name, fp->mtime_ns);
	if (!f)
		return;
	free(f->name);
	*f = (struct copy_file){mem_dup(name.p, name.n), name.n, fp->mtime_ns};
}

static bool copy_may_serve(const struct engine *e, const struct fingerprint *fp)
{
	return S_ISREG(fp->mode) && fp->nlink == 1 && fp->size >= e->config.copy_bytes;
}

struct filling {
	struct engine *e;
	size_t names;
};

static bool sizes_take(struct bytes name, const struct belief *b, void *arg)
{
	struct filling *l = arg;

	if (b->state == LEDGER_CONFIRMED && copy_may_serve(l->e, &b->fp))
		sizes_add(l->e, name, &b->fp);
	return ++l->names < NAMES_MAX;
}

static void sizes_fill(struct engine *e, struct bytes dir, int64_t now_ns)
{
	struct filling l = {.e = e};

	if (now_ns < e->copy_again_ns ||
	    (sizes_are_of(e, dir) && HASH_COUNT(e->copy_sizes) < 2 * NAMES_MAX))
		return;
	sizes_clear(e);
	e->copy_dir = mem_dup(dir.p ? dir.p : "", dir.n);
	e->copy_dir_bytes = dir.n;
	ledger_list(e->ledger, dir, sizes_take, &l);
	if (l.names >= NAMES_MANY)
		e->copy_again_ns = now_ns + READ_AGAIN_NS;
}

void copy_confirmed(struct engine *e, struct bytes path, const struct fingerprint *fp)
{
	if (sizes_are_of(e, path_parent(path)) && copy_may_serve(e, fp))
		sizes_add(e, path_name(path), fp);
}

/* --- what a file may be a copy of --- */

static struct copy_basis *basis_find(const struct engine *e, struct bytes path)
{
	struct copy_basis *b = NULL;

	if (e->copy_bases)
		HASH_FIND(hh, e->copy_bases, path.p, (unsigned)path.n, b);
	return b;
}

/* The target surely has it as believed, and nothing is about to change that. */
static bool copy_is_sure(struct engine *e, struct bytes path, uint64_t size, struct belief *ret)
{
	ledger_get(e->ledger, path, ret);
	return ret->state == LEDGER_CONFIRMED && copy_may_serve(e, &ret->fp) &&
	       ret->fp.size == size && !pathset_has(e->set, path) &&
	       !(pathset_above(e->set, path) & (PATHSET_SHUT | PATHSET_GOING)) &&
	       !aged_has(e->content_due, path) && !zombie_has(e, path) && !sweep_has(e, path) &&
	       !hold_has(e, path);
}

static bool copy_possible(const struct engine *e, const struct mark *m)
{
	return e->config.copies && !e->copies_off && e->protocol >= PROTOCOL_CLAIMING &&
	       m->size >= e->config.copy_bytes && !m->link &&
	       (m->action == MARK_QUICK || m->action == MARK_CONTENT) &&
	       (m->flags & (MARK_FRESH | MARK_RETYPED | MARK_DIR | MARK_LOW)) == MARK_FRESH &&
	       ledger_phase(e->ledger) == LEDGER_LIVE;
}

struct found {
	struct buf path;
	struct belief belief;
};

/* The i-th name that `m` may be a copy of. buf_done() the path. */
static bool copy_find(struct engine *e, const struct mark *m, size_t i, struct found *ret)
{
	struct bytes dir = path_parent(m->path);
	const struct copy_size *s = sizes_find(e, m->size);

	buf_init(&ret->path, PATH_BYTES_MAX + 1);
	if (!s || i >= s->n || !sizes_are_of(e, dir))
		return false;
	buf_add_bytes(&ret->path, dir);
	if (dir.n)
		buf_add_u8(&ret->path, '/');
	buf_add(&ret->path, s->files[i].name, s->files[i].n);
	return !bytes_equal(buf_bytes(&ret->path), m->path) &&
	       copy_is_sure(e, buf_bytes(&ret->path), m->size, &ret->belief);
}

void copy_marked(struct engine *e, struct mark *m, int64_t now_ns)
{
	bool any = false;

	if (!copy_possible(e, m))
		return;
	sizes_fill(e, path_parent(m->path), now_ns);
	for (size_t i = 0; i < TRIES && !any; i++) {
		struct found f;

		any = copy_find(e, m, i, &f);
		buf_done(&f.path);
	}
	if (any && m->action == MARK_QUICK) {
		m->action = MARK_CONTENT;
		m->flags |= MARK_SIGHT;
	}
}

bool copy_blocks(const struct engine *e, const struct mark *m)
{
	return (m->action == MARK_DELETE || (m->flags & MARK_RETYPED)) && basis_find(e, m->path);
}

/* --- what a list names --- */

static void copy_add(struct engine *e, struct flight *f, struct copy_load *l, size_t item,
                     const struct found *found)
{
	struct bytes path = buf_bytes(&found->path);
	struct copy_basis *b = basis_find(e, path);

	if (!b) {
		b = mem_alloc(sizeof(*b));
		b->p = mem_dup(path.p, path.n);
		b->n = path.n;
		HASH_ADD_KEYPTR(hh, e->copy_bases, b->p, (unsigned)b->n, b);
	}
	b->uses++;
	l->bases[l->count++] = (struct wire_basis){{b->p, b->n}, (uint32_t)item, found->belief.fp};
	f->uses[f->uses_n++] = (struct copy_use){b, item};
}

void copy_load(struct engine *e, struct flight *f, struct copy_load *l, int64_t now_ns)
{
	*l = (struct copy_load){.count = 0};
	if (!e->config.copies || !f->marks || f->class != SESSION_CONTENT || e->comparing ||
	    e->unproven || e->aside)
		return;
	l->bases = mem_array(BASES_MAX, sizeof(*l->bases));
	f->uses = mem_array(BASES_MAX, sizeof(*f->uses));
	for (size_t item = 0; item < f->marks; item++) {
		const struct mark *m = batch_mark(f->batch, f->mark_of[item]);

		/* Of what was sent before something may be there to build on. */
		if (f->known[item].state != LEDGER_ABSENT || !copy_possible(e, m))
			continue;
		sizes_fill(e, path_parent(m->path), now_ns);
		for (size_t i = 0; i < TRIES && l->count < BASES_MAX; i++) {
			struct found found;

			if (copy_find(e, m, i, &found))
				copy_add(e, f, l, item, &found);
			buf_done(&found.path);
		}
	}
}

void copy_load_done(struct copy_load *l)
{
	free(l->bases);
}

/* --- what became of it --- */

/* The target has something else under the names that this item was to be built from, or one of
 * them, or nothing. */
static void copy_doubt(struct engine *e, const struct flight *f, size_t item, int64_t now_ns)
{
	for (size_t i = 0; i < f->uses_n; i++) {
		const struct copy_basis *b = f->uses[i].basis;

		if (f->uses[i].item == item)
			engine_put_look(e, (struct bytes){b->p, b->n}, f->born, now_ns, true,
			                now_ns);
	}
}

static void copy_mistake(struct engine *e, struct bytes path, const char *what)
{
	e->copies_off = e->copies_off || ++e->copy_mistakes >= MISTAKES_MAX;
	engine_say(e, LOG_INFO, "copy.mistake", "path=%s %s, so it is sent%s", path_show(path),
	           what, e->copies_off ? "; so are all copies until lockstep starts anew" : "");
}

void copy_result(struct engine *e, const struct flight *f, const struct wire_result_item *r,
                 int64_t now_ns)
{
	struct bytes path = batch_mark(f->batch, f->mark_of[r->index])->path;

	if (!(r->flags & WIRE_CLAIMED) || !f->uses_n)
		return;
	if (e->config.trace)
		engine_say(e, LOG_DEBUG, "item.copy", "path=%s batch=%llu mistaken=%d",
		           path_show(path), (unsigned long long)f->id,
		           (r->flags & WIRE_MISTAKEN) != 0);
	if (r->flags & WIRE_MISTAKEN) {
		copy_mistake(e, path, "the target has what it is a copy of otherwise");
		copy_doubt(e, f, r->index, now_ns);
	} else if (r->result == WIRE_ACKED) {
		e->copy_mistakes = 0;
	}
}

/* Receivers since 3.5.0 give up over a block of what they cannot open. */
static bool copy_lacks(struct bytes text)
{
	static const char words[] = "no basis file";

	return text.n && memmem(text.p, text.n, words, sizeof(words) - 1);
}

bool copy_refused(struct engine *e, struct flight *f, size_t i, const struct wire_result_item *r,
                  int64_t now_ns)
{
	const struct mark *m = batch_mark(f->batch, i);

	if (!(r->flags & WIRE_CLAIMED) || r->result != WIRE_FAILED || !copy_lacks(r->text))
		return false;
	copy_mistake(e, m->path, "the target does not have what it is a copy of");
	copy_doubt(e, f, r->index, now_ns);
	/* Intended by now, it is not tried that way again. */
	batch_nack(f->batch, i, m->action, now_ns, now_ns);
	return true;
}

bool copy_broke(struct engine *e, const struct flight *f, const struct wire_done *m, int64_t now_ns)
{
	bool lacks = f->uses_n && copy_lacks(m->text);

	if (!f->uses_n || m->trouble == TROUBLE_NONE)
		return false;
	for (size_t i = 0; i < f->uses_n; i++) {
		size_t item = f->uses[i].item;

		if (f->answered[item])
			continue;
		copy_mistake(e, batch_mark(f->batch, f->mark_of[item])->path,
		             "the session broke off while it was copied");
		if (lacks)
			copy_doubt(e, f, item, now_ns);
		break;
	}
	return lacks;
}

void engine_set_copies_off(struct engine *e)
{
	e->copies_off = true;
}

void copy_landed(struct engine *e, struct flight *f)
{
	for (size_t i = 0; i < f->uses_n; i++) {
		struct copy_basis *b = f->uses[i].basis;

		if (--b->uses)
			continue;
		/* What is used stands in the table. */
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
		HASH_DEL(e->copy_bases, b);
		free(b->p);
		free(b);
	}
	free(f->uses);
	f->uses = NULL;
	f->uses_n = 0;
}

void copy_clear(struct engine *e)
{
	sizes_clear(e);
}
