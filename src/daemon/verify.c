/*
 * verify: compares jobs with their targets in dry runs, beside the engine's own sessions.
 *
 *     OPENING -> ROOT -> ASKED -> the next batch ... -> OVER
 *
 * One session carries one batch of verify_walk. What it finds is looked at once more at the end, so
 * that a change that passed by meanwhile is no difference. Nothing is changed at a target.
 */
#include <errno.h>
#include <fcntl.h>
#include "base/mem.h"
#include "base/path.h"
#include "core/filter.h"
#include "daemon/runtime.h"
#include "daemon/verify_found.h"
#include "daemon/verify_walk.h"

#define TRIES_MAX 3 /* of one batch whose session had ended before it came */
/* Beyond so many marks a count that nobody waits for gives way: each batch is judged beside all. */
#define MARKS_FEW 1000

enum part_state { PART_WAITING, PART_OPENING, PART_ROOT, PART_ASKED, PART_OVER };

/* One job of one client. */
struct verify_part {
	struct verify *verify;
	struct job *job; /* NULL: it was removed meanwhile */
	char *name;
	enum part_state state;
	uint64_t session; /* also the number of its batch */
	unsigned tries;
	bool no_extras; /* the target refuses the option that tells them */
	bool confirming;
	struct verify_walk *walk;
	struct wire_item *items; /* of the batch; paths borrowed from walk or found */
	size_t count;
	uint8_t *answered; /* enum wire_result, 0: not yet */
	struct verify_found found;
	uint64_t compared;
	char trouble[300]; /* why it could not be finished, "" : it was */
};

struct verify {
	struct instance *instance;
	struct control_reply *reply; /* NULL: the client went away */
	json_t *body;                /* what the wait before it said */
	bool checksum;
	struct verify_part *parts;
	size_t count, left;
	struct verify *next;
};

/* --- the end --- */

static void verify_free(struct verify *v)
{
	for (struct verify **p = &v->instance->verifies; *p; p = &(*p)->next) {
		if (*p == v) {
			*p = v->next;
			break;
		}
	}
	for (size_t i = 0; i < v->count; i++) {
		struct verify_part *p = &v->parts[i];

		verify_walk_free(p->walk);
		verify_found_done(&p->found);
		free(p->answered);
		free(p->name);
		if (p->confirming)
			free(p->items);
	}
	free(v->parts);
	json_decref(v->body);
	free(v);
}

static void verify_put_differences(json_t *list, const struct verify_part *p)
{
	for (size_t i = 0; i < p->found.n && json_array_size(list) < VERIFY_FOUND_MAX; i++) {
		const struct verify_difference *d = &p->found.list[i];
		struct buf path;

		buf_init(&path, 4 * PATH_BYTES_MAX);
		path_percent(&path, *d->path ? bytes_of(d->path) : BYTES("."));
		(void)json_array_append_new(list, json_pack("{s:s, s:s%, s:s}", "job", p->name,
		                                            "path", path.p, path.n, "what",
		                                            path_show(bytes_of(d->what))));
		buf_done(&path);
	}
}

/* {"settled", "jobs", "differences": [{"job", "path", "what"}], "count", "compared",
 *  "directories_without_extras", "extras_known"} */
static json_t *verify_json(struct verify *v)
{
	json_t *list = json_array(), *jobs = json_object_get(v->body, "jobs");
	uint64_t count = 0, compared = 0, cut = 0;
	bool extras = true;

	for (size_t i = 0; i < v->count; i++) {
		struct verify_part *p = &v->parts[i];

		verify_found_sort(&p->found);
		verify_put_differences(list, p);
		count += p->found.n + p->found.uncounted;
		compared += p->compared;
		extras = extras && !p->no_extras;
		cut += p->walk ? verify_walk_cut(p->walk) : 0;
		if (!p->trouble[0] && p->state == PART_OVER)
			continue;
		(void)json_object_set_new(v->body, "settled",
		                          json_string(p->trouble[0] ? "stuck" : "pending"));
		(void)json_array_append_new(
		        jobs, json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i}", "job", p->name,
		                        "settled", p->trouble[0] ? "stuck" : "pending", "state",
		                        p->trouble[0] ? "verify failed" : "verifying", "text",
		                        path_show(bytes_of(p->trouble)), "pending", 0, "failed", 0,
		                        "held", 0));
	}
	(void)json_object_set_new(v->body, "differences", list);
	(void)json_object_set_new(v->body, "count", json_integer((json_int_t)count));
	(void)json_object_set_new(v->body, "compared", json_integer((json_int_t)compared));
	(void)json_object_set_new(v->body, "directories_without_extras",
	                          json_integer((json_int_t)cut));
	(void)json_object_set_new(v->body, "extras_known", json_boolean(extras));
	return json_incref(v->body);
}

/* The last to be done with `v`: it may be gone afterwards. */
static void verify_let_go(struct verify *v)
{
	if (--v->left)
		return;
	if (v->reply)
		control_reply_send(v->reply, 200, verify_json(v));
	verify_free(v);
}

static void part_over(struct verify_part *p, const char *trouble)
{
	p->state = PART_OVER;
	if (p->job && !trouble[0] && !p->no_extras)
		p->job->extras = p->found.extras;
	(void)snprintf(p->trouble, sizeof(p->trouble), "%s", trouble);
	verify_let_go(p->verify);
}

/* --- one batch after the other --- */

static bool part_wants_extras(const struct verify_part *p)
{
	return !p->confirming && !p->no_extras;
}

/* A new session for the batch in p->items. */
static void part_open(struct verify_part *p)
{
	enum session_class class = p->verify->checksum ? SESSION_CHECKSUM : SESSION_COMPARE;

	p->session = VERIFY_NUMBER | ++p->job->next_session;
	p->state = PART_OPENING;
	verify_found_drop_fresh(&p->found);
	free(p->answered);
	p->answered = mem_array(p->count + 1, sizeof(*p->answered));
	if (part_wants_extras(p))
		connect_begin_extras(p->job, p->session, class);
	else
		connect_begin(p->job, p->session, class);
}

/* The second look: all differences so far, in one batch. */
static void part_confirm(struct verify_part *p)
{
	p->confirming = true;
	p->items = mem_array(p->found.n + 1, sizeof(*p->items));
	p->count = 0;
	for (size_t i = 0; i < p->found.n; i++) {
		const struct verify_difference *d = &p->found.list[i];

		if (d->kind == VERIFY_DIFFERS)
			p->items[p->count++] = (struct wire_item){bytes_of(d->path),
			                                          d->is_dir ? WIRE_ITEM_DIR : 0, 0};
	}
	if (p->count)
		part_open(p);
	else
		part_over(p, "");
}

/* Changes go first where nobody waits for the answer. */
static bool part_gives_way(const struct verify_part *p)
{
	return !p->verify->reply && engine_left(p->job->engine) > MARKS_FEW;
}

static void part_next(struct verify_part *p)
{
	p->tries = 0;
	if (p->confirming) {
		part_over(p, "");
		return;
	}
	p->count = 0;
	if (part_gives_way(p)) {
		p->state = PART_WAITING;
		return;
	}
	p->count = verify_walk_next(p->walk, &p->items);
	if (p->count == 0 && p->verify->reply) {
		part_confirm(p);
		return;
	}
	if (p->count == 0) { /* nobody asks for the differences */
		part_over(p, "");
		return;
	}
	part_open(p);
}

static void part_send(struct verify_part *p, int root_fd)
{
	struct wire_batch batch = {p->session, p->session, p->items, p->count,
	                           p->job->tree->racy_window_ns};
	int fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 0);
	struct buf payload;

	buf_init(&payload, FRAME_PAYLOAD_MAX);
	wire_put_batch(&payload, &batch);
	p->state = PART_ASKED;
	verify_found_note_marks(&p->found, p->job->engine);
	if (fd < 0 || payload.overflowed) {
		if (fd >= 0)
			(void)close(fd);
		part_over(p, "no descriptor left for the tree's root");
	} else {
		crew_send(p->job, WIRE_BATCH, buf_bytes(&payload), fd);
	}
	buf_done(&payload);
}

static struct verify_part *verify_find(struct job *j, uint64_t number)
{
	for (struct verify *v = j->instance->verifies; v; v = v->next) {
		for (size_t i = 0; i < v->count; i++) {
			struct verify_part *p = &v->parts[i];

			if (p->job == j && p->state != PART_OVER && p->session == number)
				return p;
		}
	}
	return NULL;
}

/* What is under way is not needed any more. A session that is still opening is closed when it is
 * ready. */
static void part_cancel(struct verify_part *p)
{
	if (p->job && p->state == PART_ROOT)
		crew_send_id(p->job, WIRE_CLOSE, p->session);
	else if (p->job && p->state == PART_ASKED)
		crew_send_id(p->job, WIRE_CANCEL, p->session);
}

/* --- from the loop --- */

void verify_begin(struct instance *in, struct control_reply *reply, json_t *body, bool checksum,
                  struct job **jobs, size_t n)
{
	struct verify *v = mem_alloc(sizeof(*v));

	v->instance = in;
	v->reply = reply;
	v->body = body;
	v->checksum = checksum;
	v->parts = mem_array(n + 1, sizeof(*v->parts));
	v->count = n;
	v->left = n + 1;
	v->next = in->verifies;
	in->verifies = v;
	for (size_t i = 0; i < n; i++) {
		struct verify_part *p = &v->parts[i];

		p->verify = v;
		p->job = jobs[i];
		p->name = mem_strdup(jobs[i]->config->name);
		p->walk = verify_walk_new(jobs[i]->ledger);
	}
	for (size_t i = 0; i < n; i++)
		part_next(&v->parts[i]);
	verify_let_go(v);
}

void verify_count_extras(struct job *j)
{
	for (const struct verify *v = j->instance->verifies; v; v = v->next) {
		for (size_t i = 0; i < v->count; i++) {
			if (v->parts[i].job == j && v->parts[i].state != PART_OVER)
				return; /* one that goes on will tell */
		}
	}
	verify_begin(j->instance, NULL, NULL, false, &j, 1);
}

void verify_go_on(struct job *j)
{
	for (struct verify *v = j->instance->verifies, *next; v; v = next) {
		next = v->next;
		v->left++;
		for (size_t i = 0; i < v->count; i++) {
			struct verify_part *p = &v->parts[i];

			if (p->job != j || p->state != PART_WAITING || part_gives_way(p))
				continue;
			if (p->count)
				part_open(p);
			else
				part_next(p);
		}
		verify_let_go(v);
	}
}

void verify_session_ready(struct job *j, const struct wire_ready *m)
{
	struct verify_part *p = verify_find(j, m->session);

	if (!p || p->state != PART_OPENING) {
		crew_send_id(j, WIRE_CLOSE, m->session);
		return;
	}
	p->state = PART_ROOT;
	tree_want_root(j->tree);
}

void verify_root(struct tree *t, int root_fd)
{
	for (struct verify *v = t->instance->verifies, *next; v; v = next) {
		next = v->next;
		v->left++; /* it must outlive this round */
		for (size_t i = 0; i < v->count; i++) {
			struct verify_part *p = &v->parts[i];

			if (!p->job || p->job->tree != t || p->state != PART_ROOT)
				continue;
			if (root_fd >= 0) {
				part_send(p, root_fd);
			} else {
				part_cancel(p);
				part_over(p, "the source is frozen");
			}
		}
		verify_let_go(v);
	}
}

/* A target may refuse the option that tells extras. If it was another one, that shows again. */
static bool part_retries_without_extras(struct verify_part *p, uint8_t trouble)
{
	if (trouble != TROUBLE_REFUSED || !part_wants_extras(p))
		return false;
	p->no_extras = true;
	return p->verify->reply; /* else they were all that was asked for */
}

void verify_session_gone(struct job *j, const struct wire_gone *m)
{
	struct verify_part *p = verify_find(j, m->session);
	char text[200];

	/* A batch has an end of its own, and what comes behind it is of no interest. */
	if (!p || p->state == PART_ASKED)
		return;
	if (part_retries_without_extras(p, m->trouble)) {
		part_open(p);
	} else if (m->trouble == TROUBLE_NONE && ++p->tries < TRIES_MAX) {
		part_open(p);
	} else {
		(void)snprintf(text, sizeof(text), "%.*s", (int)(m->text.n < 199 ? m->text.n : 199),
		               m->text.n ? m->text.p : "the session ended");
		part_over(p, text);
	}
}

/* A name that lies only at the target. */
static void part_take_extra(struct verify_part *p, const struct wire_result_item *r)
{
	bool is_dir = S_ISDIR(r->fp.mode);
	struct belief belief;

	if (filter_excludes_any(p->job->tree->filter, r->path, is_dir))
		return;
	ledger_get(p->job->ledger, r->path, &belief);
	if (belief.state == LEDGER_ABSENT)
		verify_found_add(&p->found, r->path, is_dir, VERIFY_EXTRA,
		                 BYTES("extra: only the target has it"));
	else if (p->job->config->options.delete)
		verify_found_add(&p->found, r->path, is_dir, VERIFY_LEFT_OVER,
		                 BYTES("left over: the source has it no more"));
}

static void part_take_answer(struct verify_part *p, const struct wire_result_item *r)
{
	const struct wire_item *item = &p->items[r->index];
	bool is_dir = item->flags & WIRE_ITEM_DIR;
	struct bytes text = r->text.n ? r->text : BYTES("differs");

	p->answered[r->index] = r->result;
	/* What was found and could not be looked at once more stays. */
	if (r->result == WIRE_DISPROVED || r->result == WIRE_FAILED ||
	    r->result == WIRE_UNREADABLE || (p->confirming && r->result == WIRE_UNSENT))
		verify_found_add(&p->found, item->path, is_dir, VERIFY_DIFFERS, text);
	if (!p->confirming && (r->result == WIRE_DISPROVED || r->result == WIRE_PROVEN))
		p->compared++;
}

int verify_report(struct job *j, const struct wire_report *m)
{
	struct verify_part *p = verify_find(j, m->batch);

	if (!p || p->state != PART_ASKED)
		return 0; /* cancelled meanwhile */
	for (size_t i = 0; i < m->count; i++) {
		const struct wire_result_item *r = &m->items[i];

		if (wire_result_is_context((enum wire_result)r->result))
			continue;
		if (r->index == UINT32_MAX) {
			if (part_wants_extras(p))
				part_take_extra(p, r);
			continue;
		}
		if (r->index >= p->count || p->answered[r->index])
			return -EPROTO;
		part_take_answer(p, r);
	}
	return 0;
}

static bool part_was_carried(const struct verify_part *p, const struct wire_done *m)
{
	return m->bytes_out || m->bytes_in || p->tries + 1 >= TRIES_MAX;
}

/* What had no room in the list goes with another; false: nothing, or it was all of it. */
static bool part_goes_on(struct verify_part *p)
{
	size_t left = 0;

	for (size_t i = 0; i < p->count; i++)
		left += p->answered[i] == WIRE_UNSENT;
	if (p->confirming || !left || left == p->count)
		return false;
	left = 0;
	for (size_t i = 0; i < p->count; i++) {
		struct wire_item item = p->items[i];

		if (p->answered[i] != WIRE_UNSENT)
			continue;
		p->items[i] = p->items[left]; /* the walk owns all of them */
		p->items[left++] = item;
	}
	p->count = left;
	p->tries = 0;
	part_open(p);
	return true;
}

int verify_batch_done(struct job *j, const struct wire_done *m)
{
	struct verify_part *p = verify_find(j, m->batch);
	char text[200];

	if (!p || p->state != PART_ASKED)
		return 0;
	if (part_retries_without_extras(p, m->trouble)) {
		part_open(p);
		return 0;
	}
	if (m->trouble != TROUBLE_NONE) {
		(void)snprintf(text, sizeof(text), "%.*s", (int)(m->text.n < 199 ? m->text.n : 199),
		               m->text.n ? m->text.p : "the session broke off");
		part_over(p, text);
		return 0;
	}
	if (!part_was_carried(p, m)) {
		p->tries++;
		part_open(p);
		return 0;
	}
	if (part_gives_way(p)) { /* and is asked once more */
		p->state = PART_WAITING;
		return 0;
	}
	verify_found_note_marks(&p->found, j->engine);
	if (p->confirming)
		verify_found_confirm(&p->found);
	else
		verify_found_judge(&p->found);
	if (!part_goes_on(p))
		part_next(p);
	return 0;
}

static void verify_drop_job(struct job *j, bool removed, const char *why)
{
	for (struct verify *v = j->instance->verifies, *next; v; v = next) {
		next = v->next;
		v->left++;
		for (size_t i = 0; i < v->count; i++) {
			struct verify_part *p = &v->parts[i];

			if (p->job != j)
				continue;
			if (removed)
				p->job = NULL;
			if (p->state != PART_OVER)
				part_over(p, why);
		}
		verify_let_go(v);
	}
}

void verify_worker_died(struct job *j)
{
	verify_drop_job(j, false, "the worker process ended");
}

void verify_forget_job(struct job *j)
{
	verify_drop_job(j, true, "the job was removed");
}

static struct verify *verify_of(struct instance *in, const struct control_reply *reply)
{
	struct verify *v = in->verifies;

	while (v && v->reply != reply)
		v = v->next;
	return v;
}

void verify_forget(struct instance *in, struct control_reply *reply)
{
	struct verify *v = verify_of(in, reply);

	if (!v)
		return;
	for (size_t i = 0; i < v->count; i++)
		part_cancel(&v->parts[i]);
	verify_free(v);
}

void verify_timed_out(struct instance *in, struct control_reply *reply)
{
	struct verify *v = verify_of(in, reply);

	if (!v)
		return;
	control_reply_send(reply, 504, verify_json(v));
	verify_forget(in, reply);
}
