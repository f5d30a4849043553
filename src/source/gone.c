/*
 * What a ledger lists and the tree no longer has.
 */
#include "base/mem.h"
#include "base/path.h"
#include "source/inside.h"

static bool held_list_add(struct bytes name, const struct belief *belief, void *arg)
{
	struct held_list *l = arg;

	if (l->n == l->cap) {
		l->cap = l->cap * 2 + 16;
		l->v = mem_realloc(l->v, l->cap, sizeof(*l->v));
	}
	l->v[l->n++] = (struct held_name){
	        .off = (uint32_t)l->names.n, .len = (uint8_t)name.n, .belief = *belief};
	buf_add_bytes(&l->names, name);
	return true;
}

/* Copied, since nothing may be asked of a ledger from inside its own listing. */
void held_list_read(struct held_list *l, struct ledger *ledger, struct bytes dir)
{
	l->n = 0;
	buf_init(&l->names, UINT32_MAX);
	ledger_list(ledger, dir, held_list_add, l);
}

void held_list_done(struct held_list *l)
{
	buf_done(&l->names);
	free(l->v);
	*l = (struct held_list){0};
}

static bool maybe_dir(const struct belief *b)
{
	return !(b->state & LEDGER_CONFIRMED) || S_ISDIR(b->fp.mode) ||
	       (b->state & LEDGER_INTENDED);
}

void gone_below(struct source *s, unsigned job, const struct look *look)
{
	struct held_list held = {0};
	size_t prefix = s->path.n;

	held_list_read(&held, s->jobs[job].ledger, buf_bytes(&s->path));
	for (size_t i = 0; i < held.n; i++) {
		s->path.n = prefix;
		if (prefix)
			buf_add_u8(&s->path, '/');
		buf_add_bytes(&s->path, held_list_name(&held, i));
		gone_report(s, job, &held.v[i].belief, look);
	}
	s->path.n = prefix;
	held_list_done(&held);
}

void gone_report(struct source *s, unsigned job, const struct belief *belief,
                 const struct look *look)
{
	bool dir = (belief->state & LEDGER_CONFIRMED) && S_ISDIR(belief->fp.mode);

	/* What is excluded now is neither ours to delete nor to look at. */
	if (filter_excludes_any(s->config.filter, buf_bytes(&s->path), dir))
		return;
	if (maybe_dir(belief))
		gone_below(s, job, look);
	outbox_mark(s, job, buf_bytes(&s->path), look, MARK_DELETE, dir ? MARK_DIR : 0, 0, 0);
}
