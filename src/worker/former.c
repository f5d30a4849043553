#include "worker/former.h"

#include "base/mem.h"
#include "base/path.h"

static int compare_dirs(const void *va, const void *vb)
{
	const struct wire_former *const *a = va, *const *b = vb;

	return bytes_compare((*a)->path, (*b)->path);
}

void former_dirs_init(struct former_dirs *d, const struct wire_batch *batch)
{
	d->n = 0;
	d->dirs = mem_array(batch->formers_n + 1, sizeof(*d->dirs));
	for (size_t i = 0; i < batch->formers_n; i++) {
		if (batch->formers[i].item == WIRE_NO_ITEM)
			d->dirs[d->n++] = &batch->formers[i];
	}
	qsort(d->dirs, d->n, sizeof(struct wire_former *), compare_dirs);
}

void former_dirs_done(struct former_dirs *d)
{
	free(d->dirs);
	d->dirs = NULL;
	d->n = 0;
}

const struct wire_former *former_dirs_find(const struct former_dirs *d, struct bytes path)
{
	struct wire_former key = {.path = path};
	const struct wire_former *want = &key, **found;

	found = d->n ? bsearch(&want, d->dirs, d->n, sizeof(struct wire_former *), compare_dirs)
	             : NULL;
	return found ? *found : NULL;
}

bool former_dirs_lead(const struct former_dirs *d, const struct walk *w, const struct cargo *c)
{
	for (size_t i = 1; i < w->depth; i++) {
		const struct walk_level *level = &w->levels[i];

		if (level->part != CARGO_NONE && !S_ISDIR(c->parts[level->part].fp.mode))
			return false;
		if (level->part == CARGO_NONE && !former_dirs_find(d, level->path))
			return false;
	}
	return true;
}

bool former_allowed(const struct session_options *o, enum session_class class)
{
	/* Extended attributes and ACLs of a former name are not read. */
	return (class == SESSION_QUICK || class == SESSION_CONTENT) && o->hard_links && o->times &&
	       !o->no_ns && !o->no_ack && !o->xattrs && !o->acls;
}

bool former_find(struct cargo *c, const struct wire_former *former, struct walk *files,
                 struct fingerprint *ret)
{
	struct bytes path = c->batch.items[former->item].path;
	const struct part *part;
	struct stat st;

	if (path_compare(path, former->path) < 0) {
		part = cargo_find(c, path);
		if (!part || part->kind != PART_FILE)
			return false;
		*ret = part->fp;
	} else if (walk_stat(files, path, &st) == 0) {
		fingerprint_of(ret, &st);
	} else {
		return false;
	}
	return S_ISREG(ret->mode) && ret->nlink == 1;
}

bool former_is(const struct wire_former *former, const struct fingerprint *fp,
               enum session_class class)
{
	if (former->fp.dev != fp->dev || former->fp.ino != fp->ino || former->fp.nlink != 1)
		return false;
	return class == SESSION_CONTENT || fingerprint_compare(&former->fp, fp) == FP_SAME;
}

static bool listed_alike(struct cargo *c, const struct part *former)
{
	const struct part *file = cargo_find(c, former->file);

	return file && file->kind == PART_FILE && file->fp.dev == former->fp.dev &&
	       fingerprint_compare(&former->fp, &file->fp) == FP_SAME;
}

bool former_is_linked(struct cargo *c, const struct part *part)
{
	if (part->kind == PART_FORMER)
		return listed_alike(c, part);
	return part->kind == PART_FILE && (part->fp.nlink > 1 || c->with_former[part->item]);
}
