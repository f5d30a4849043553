#include "rig.h"
#include <stdarg.h>
#include "base/mem.h"

static uint64_t rig_open_session(void *arg, enum session_class class)
{
	struct rig *r = arg;

	check(r->session_count < ARRAY_LEN(r->sessions));
	r->sessions[r->session_count] =
	        (struct rig_session){.id = r->session_count + 1, .class = class};
	return ++r->session_count;
}

static void rig_close_session(void *arg, uint64_t session)
{
	((struct rig *)arg)->sessions[session - 1].closed = true;
}

static void rig_send_batch(void *arg, const struct wire_batch *batch)
{
	struct rig *r = arg;
	struct rig_batch *b = &r->batches[r->batch_count++];

	check(r->batch_count <= ARRAY_LEN(r->batches) && batch->count <= RIG_MAX);
	*b = (struct rig_batch){.id = batch->id,
	                        .session = batch->session,
	                        .class = r->sessions[batch->session - 1].class,
	                        .count = batch->count,
	                        .formers_n = batch->formers_n,
	                        .bases_n = batch->bases_n,
	                        .intended = true};
	check(batch->formers_n <= RIG_MAX);
	for (size_t i = 0; i < batch->formers_n; i++)
		memcpy(b->former[i], batch->formers[i].path.p, batch->formers[i].path.n);
	check(batch->bases_n <= RIG_MAX);
	for (size_t i = 0; i < batch->bases_n; i++)
		memcpy(b->basis[i], batch->bases[i].path.p, batch->bases[i].path.n);
	for (size_t i = 0; i < batch->count; i++) {
		struct belief belief;

		check(batch->items[i].path.n < sizeof(b->path[i]));
		memcpy(b->path[i], batch->items[i].path.p, batch->items[i].path.n);
		b->flags[i] = batch->items[i].flags;
		ledger_get(r->ledger, batch->items[i].path, &belief);
		if (!(b->flags[i] & WIRE_ITEM_STAMP) && !(belief.state & LEDGER_INTENDED))
			b->intended = false;
	}
}

static void rig_cancel_batch(void *arg, uint64_t batch)
{
	(void)arg;
	(void)batch;
}

static void rig_take_look(void *arg, uint64_t token, const struct mark *marks, size_t n)
{
	struct rig *r = arg;

	for (size_t i = 0; i < n; i++) {
		struct rig_look *l = &r->looks[r->look_count++];

		check(r->look_count <= ARRAY_LEN(r->looks) && marks[i].path.n < sizeof(l->path));
		*l = (struct rig_look){
		        .token = token, .scope = marks[i].scope, .action = marks[i].action};
		if (marks[i].path.n)
			memcpy(l->path, marks[i].path.p, marks[i].path.n);
	}
}

static void rig_want_root(void *arg)
{
	(void)arg;
}

static void rig_room(void *arg, size_t marks)
{
	(void)arg;
	(void)marks;
}

static void rig_event(void *arg, int level, const char *id, const char *text)
{
	(void)arg;
	(void)level;
	(void)id;
	(void)text;
}

static const struct engine_ops rig_ops = {
        .open_session = rig_open_session,
        .close_session = rig_close_session,
        .send_batch = rig_send_batch,
        .cancel_batch = rig_cancel_batch,
        .look = rig_take_look,
        .want_root = rig_want_root,
        .room = rig_room,
        .event = rig_event,
};

struct rig *rig_new(void)
{
	struct rig *r = mem_alloc(sizeof(*r));

	r->now_ns = 1000 * RIG_SECOND;
	r->fp_size = 3;
	r->store = memstore_new();
	r->log = memlog_new();
	r->recents = memlog_new();
	r->config = (struct engine_config){
	        .job = "rig",
	        .brake = {.off = true},
	        .lanes = 4,
	        .warm = 1,
	        .zombie_ns = 60 * RIG_SECOND,
	        .seed = 1,
	        .recents = r->recents,
	};
	return r;
}

void rig_start(struct rig *r)
{
	r->ledger = ledger_new(r->store, r->log);
	r->engine = engine_new(&r->config, r->ledger, &rig_ops, r, r->now_ns);
	engine_crawled(r->engine, r->now_ns);
}

int rig_make(void **state)
{
	struct rig *r = rig_new();

	rig_start(r);
	*state = r;
	return 0;
}

int rig_make_stamped(void **state)
{
	struct rig *r = rig_new();

	r->config.stamp = true;
	r->config.first_generation = 1;
	rig_start(r);
	*state = r;
	return 0;
}

int rig_make_keeping(void **state)
{
	struct rig *r = rig_new();

	r->config.keep_deleted = true;
	rig_start(r);
	*state = r;
	return 0;
}

int rig_drop(void **state)
{
	rig_free(*state);
	return 0;
}

void rig_restart(struct rig *r)
{
	engine_free(r->engine);
	ledger_drop(r->ledger);
	for (size_t i = 0; i < r->batch_count; i++)
		r->batches[i].ended = true;
	for (size_t i = 0; i < r->look_count; i++)
		r->looks[i].answered = true;
	for (size_t i = 0; i < r->session_count; i++)
		r->sessions[i].closed = true;
	rig_start(r);
}

void rig_free(struct rig *r)
{
	engine_free(r->engine);
	ledger_drop(r->ledger);
	memstore_free(r->store);
	memlog_free(r->log);
	memlog_free(r->recents);
	free(r);
}

void rig_run(struct rig *r)
{
	for (int i = 0; i < 8; i++) {
		engine_run(r->engine, r->now_ns, true);
		for (size_t k = 0; k < r->session_count; k++) {
			struct rig_session *s = &r->sessions[k];
			struct wire_ready m = {s->id, r->protocol ? r->protocol : 31, 0};

			if (s->ready || s->closed)
				continue;
			s->ready = true;
			engine_session_ready(r->engine, &m, r->now_ns);
		}
	}
}

void rig_wait(struct rig *r, int64_t ns)
{
	r->now_ns += ns;
	rig_run(r);
}

void rig_looked(struct rig *r)
{
	for (size_t i = 0; i < r->look_count; i++) {
		if (!r->looks[i].answered)
			engine_looked(r->engine, r->looks[i].token, r->now_ns);
		r->looks[i].answered = true;
	}
	rig_run(r);
}

void rig_put(struct rig *r, const char *path, enum mark_action action, unsigned flags)
{
	struct mark m = {.path = bytes_of(path),
	                 .action = action,
	                 .flags = flags,
	                 .born = 1,
	                 .since_ns = r->now_ns};

	engine_marks(r->engine, &m, 1, r->now_ns);
	rig_run(r);
}

void rig_put_file(struct rig *r, const char *path, uint64_t ino, int64_t ctime_ns, uint64_t size)
{
	struct mark m = {.path = bytes_of(path),
	                 .action = MARK_QUICK,
	                 .flags = MARK_FRESH,
	                 .born = 1,
	                 .since_ns = r->now_ns,
	                 .size = size,
	                 .dev = 1,
	                 .ino = ino,
	                 .ctime_ns = ctime_ns};

	engine_marks(r->engine, &m, 1, r->now_ns);
}

struct rig_batch *rig_find(struct rig *r, const char *path)
{
	for (size_t i = 0; i < r->batch_count; i++) {
		struct rig_batch *b = &r->batches[i];

		for (size_t k = 0; k < b->count && !b->ended; k++) {
			if (!strcmp(b->path[k], path))
				return b;
		}
	}
	return NULL;
}

struct rig_look *rig_find_look(struct rig *r, const char *path)
{
	for (size_t i = 0; i < r->look_count; i++) {
		if (!r->looks[i].answered && !strcmp(r->looks[i].path, path))
			return &r->looks[i];
	}
	return NULL;
}

int rig_report_fp(struct rig *r, struct rig_batch *b, const char *path,
                  const struct fingerprint *fp)
{
	struct wire_result_item item = {.index = UINT32_MAX, .result = WIRE_ACKED, .fp = *fp};
	struct wire_report m = {b->id, &item, 1};

	for (size_t i = 0; i < b->count; i++) {
		if (!strcmp(b->path[i], path))
			item.index = (uint32_t)i;
	}
	return engine_report(r->engine, &m, r->now_ns);
}

int rig_report(struct rig *r, struct rig_batch *b, const char *path, enum wire_result result)
{
	struct wire_result_item item = {
	        .index = UINT32_MAX,
	        .result = (uint8_t)result,
	        .fp = {.mode = S_IFREG | 0644, .nlink = 1, .size = r->fp_size},
	        .text = BYTES("the server's words")};
	struct wire_report m = {b->id, &item, 1};

	for (size_t i = 0; i < b->count; i++) {
		if (!strcmp(b->path[i], path)) {
			item.index = (uint32_t)i;
			item.fp.ino = 100;
			for (const char *c = path; *c; c++)
				item.fp.ino = item.fp.ino * 31 + (unsigned char)*c;
			item.fp.mode = b->flags[i] & WIRE_ITEM_DIR ? S_IFDIR | 0755 : item.fp.mode;
		}
	}
	return engine_report(r->engine, &m, r->now_ns);
}

void rig_done(struct rig *r, struct rig_batch *b, enum trouble trouble, bool zombie)
{
	struct wire_done done = {.batch = b->id,
	                         .session = b->session,
	                         .trouble = (uint8_t)trouble,
	                         .zombie = zombie,
	                         .text = BYTES("the end")};
	struct wire_gone gone = {.session = b->session, .text = BYTES("")};

	b->ended = true;
	check(engine_batch_done(r->engine, &done, r->now_ns) == 0);
	r->sessions[b->session - 1].closed = true;
	if (!zombie)
		engine_session_gone(r->engine, &gone, r->now_ns);
	rig_run(r);
}

static void rig_confirm(struct rig *r, struct rig_batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		bool proof = b->flags[i] & WIRE_ITEM_STAMP && !(b->flags[i] & WIRE_ITEM_SERVE);

		check(rig_report(r, b, b->path[i], proof ? WIRE_PROVEN : WIRE_ACKED) == 0);
	}
	rig_done(r, b, TROUBLE_NONE, false);
}

void rig_confirm_all(struct rig *r)
{
	rig_run(r);
	for (size_t i = 0; i < r->batch_count; i++) {
		if (!r->batches[i].ended)
			rig_confirm(r, &r->batches[i]);
	}
}

unsigned rig_belief(struct rig *r, const char *path)
{
	struct belief belief;

	ledger_get(r->ledger, bytes_of(path), &belief);
	return belief.state;
}
