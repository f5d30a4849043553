#include "daemon/verify_found.h"

#include <string.h>
#include <uthash.h>
#include "base/mem.h"
#include "base/path.h"
#include "rsync/tempname.h"

#define FRESH_MAX 100000

struct verify_mark {
	UT_hash_handle hh;
	bool subtree;
	size_t n;
	char path[];
};

static struct verify_mark *find_mark(const struct verify_found *f, struct bytes path)
{
	struct verify_mark *m;

	HASH_FIND(hh, f->marks, path.p, path.n, m);
	return m;
}

static void note_path(struct verify_found *f, struct bytes path, bool subtree)
{
	struct verify_mark *m = find_mark(f, path);

	if (!m) {
		m = mem_alloc(sizeof(*m) + path.n + 1);
		m->n = path.n;
		if (path.n)
			memcpy(m->path, path.p, path.n);
		HASH_ADD(hh, f->marks, path, m->n, m);
	}
	m->subtree = m->subtree || subtree;
}

static bool note_mark(const struct mark *mark, bool in_flight, void *arg)
{
	struct verify_found *f = arg;

	(void)in_flight;
	note_path(f, mark->path, mark->scope == MARK_SUBTREE || mark->action == MARK_DELETE);
	note_path(f, path_parent(mark->path), false);
	return true;
}

void verify_found_note_marks(struct verify_found *f, struct engine *e)
{
	engine_each_mark(e, note_mark, f);
}

static void drop_marks(struct verify_found *f)
{
	struct verify_mark *m, *next;

	HASH_ITER (hh, f->marks, m, next) {
		HASH_DEL(f->marks, m);
		free(m);
	}
}

static void difference_done(struct verify_difference *d)
{
	free(d->path);
	free(d->what);
}

void verify_found_drop_fresh(struct verify_found *f)
{
	while (f->fresh_n)
		difference_done(&f->fresh[--f->fresh_n]);
	drop_marks(f);
}

void verify_found_done(struct verify_found *f)
{
	verify_found_drop_fresh(f);
	while (f->n)
		difference_done(&f->list[--f->n]);
	free(f->fresh);
	free(f->list);
	*f = (struct verify_found){0};
}

void verify_found_add(struct verify_found *f, struct bytes path, bool is_dir, enum verify_kind kind,
                      struct bytes what)
{
	if (f->fresh_n == FRESH_MAX) {
		f->uncounted++;
		f->extras += kind == VERIFY_EXTRA;
		return;
	}
	if (f->fresh_n == f->fresh_cap) {
		f->fresh_cap = f->fresh_cap ? 2 * f->fresh_cap : 64;
		f->fresh = mem_realloc(f->fresh, f->fresh_cap, sizeof(*f->fresh));
	}
	f->fresh[f->fresh_n++] =
	        (struct verify_difference){.path = mem_dup(path.p, path.n),
	                                   .what = mem_dup(what.p ? what.p : "", what.n),
	                                   .is_dir = is_dir,
	                                   .kind = kind};
}

/* The receiver's own file for a name that is on its way. */
static bool is_temporary(const struct verify_found *f, struct bytes path)
{
	struct bytes dir = path_parent(path), name = path_name(path);
	struct buf real;
	bool ret;

	if (!tempname_split(name, &name))
		return false;
	buf_init(&real, 2 * PATH_BYTES_MAX);
	path_join(&real, dir, name);
	ret = find_mark(f, buf_bytes(&real)) != NULL;
	path_join(&real, dir, (struct bytes){name.p - 1, name.n + 1}); /* of a name with a dot */
	ret = ret || find_mark(f, buf_bytes(&real));
	buf_done(&real);
	return ret;
}

static bool under_way(const struct verify_found *f, const struct verify_difference *d)
{
	struct bytes path = bytes_of(d->path), at = path;

	if (!f->marks)
		return false;
	if (find_mark(f, path) || (d->kind != VERIFY_DIFFERS && is_temporary(f, path)))
		return true;
	while (at.n) {
		const struct verify_mark *m;

		at = path_parent(at);
		m = find_mark(f, at);
		if (m && m->subtree)
			return true;
	}
	return false;
}

static struct verify_difference *find_listed(struct verify_found *f, const char *path)
{
	for (size_t i = 0; i < f->n; i++) {
		if (strcmp(f->list[i].path, path) == 0)
			return &f->list[i];
	}
	return NULL;
}

static void keep(struct verify_found *f, struct verify_difference *d)
{
	if (f->n == VERIFY_FOUND_MAX) {
		f->uncounted++;
		return;
	}
	if (!f->list)
		f->list = mem_array(VERIFY_FOUND_MAX, sizeof(*f->list));
	/* A directory is compared with its siblings, and once more with what is in it. */
	if (find_listed(f, d->path))
		return;
	f->list[f->n++] = *d;
	d->path = d->what = NULL;
}

void verify_found_judge(struct verify_found *f)
{
	for (size_t i = 0; i < f->fresh_n; i++) {
		if (under_way(f, &f->fresh[i]))
			continue;
		f->extras += f->fresh[i].kind == VERIFY_EXTRA;
		keep(f, &f->fresh[i]);
	}
	verify_found_drop_fresh(f);
}

void verify_found_confirm(struct verify_found *f)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->fresh_n; i++) {
		struct verify_difference *d = find_listed(f, f->fresh[i].path);

		if (d && !under_way(f, &f->fresh[i]))
			d->again = true;
	}
	for (size_t i = 0; i < f->n; i++) {
		if (f->list[i].again || f->list[i].kind != VERIFY_DIFFERS)
			f->list[kept++] = f->list[i];
		else
			difference_done(&f->list[i]);
	}
	f->n = kept;
	verify_found_drop_fresh(f);
}

static int compare_differences(const void *va, const void *vb)
{
	const struct verify_difference *a = va, *b = vb;

	return path_compare(bytes_of(a->path), bytes_of(b->path));
}

void verify_found_sort(struct verify_found *f)
{
	if (f->n)
		qsort(f->list, f->n, sizeof(*f->list), compare_differences);
}
