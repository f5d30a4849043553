/*
 * Requests, items and phase marks of the receiver: what comes in, and what of it is answered at
 * once. The content of a file is answer.c's.
 */
#include "rsync/session_internal.h"

#include <errno.h>
#include "base/mem.h"

#define SUMS_MEMORY_MAX  (64u << 20) /* of all requests that wait; beyond it files go whole */
#define REQUESTS_MAX     2           /* of one entry: the normal one and one after a wrong digest */
#define ITEMS_MAX        8           /* of one entry */
#define DEL_STATS_FIELDS 5
#define WANTED_BYTES_MAX (1u << 30)
#define DEL_STATS_MAX    4

#define IO_ERROR_VANISHED 2

enum done {
	DONE_PHASE1 = 1, /* all requests were made */
	DONE_REDO,       /* the receiver is through with phase 1, and with what was repeated */
	DONE_DELAYED,    /* end of the loop of answers */
	DONE_GOODBYE,
	DONE_LAST, /* protocol 31 and later */
};

static enum done last_done(const struct session *s)
{
	return s->protocol >= 31 ? DONE_LAST : DONE_GOODBYE;
}

static bool dry_run(const struct session *s)
{
	return s->class == SESSION_COMPARE || s->class == SESSION_CHECKSUM;
}

void task_free(struct task *t)
{
	if (!t)
		return;
	sums_done(&t->sums);
	free(t->wanted.places);
	free((char *)(uintptr_t)t->xname.p);
	free(t);
}

static void add_task(struct session *s, struct task *t)
{
	*s->tasks_end = t;
	s->tasks_end = &t->next;
}

void serve_drop_task(struct session *s)
{
	struct task *t = s->tasks;

	s->tasks = t->next;
	if (!s->tasks)
		s->tasks_end = &s->tasks;
	s->sums_bytes -= sum_head_cost(&t->sums.head);
	s->names_bytes -= t->xname.n;
	task_free(t);
}

/* --- out --- */

static void put_wanted(struct session *s, const struct task *t)
{
	struct buf b;

	buf_init(&b, WANTED_BYTES_MAX);
	attrs_put_wanted(s->attrs, s->listed[t->ndx].xattrs, &b, &t->wanted);
	s->out.bytes.overflowed |= b.overflowed;
	mux_out_data(&s->out, buf_bytes(&b));
	buf_done(&b);
}

void serve_put_item(struct session *s, const struct task *t)
{
	struct buf b;

	buf_init(&b, 2 * XNAME_MAX);
	codec_put_ndx(&b, &s->ndx_out, t->ndx);
	buf_add_le16(&b, t->iflags);
	if (t->iflags & ITEM_BASIS_FOLLOWS)
		buf_add_u8(&b, t->basis);
	if (t->iflags & SESSION_ITEM_XNAME)
		codec_put_vstring(&b, t->xname);
	mux_out_data(&s->out, buf_bytes(&b));
	buf_done(&b);
	if (t->wanted.follow)
		put_wanted(s, t);
}

static void closed(struct session *s)
{
	struct session_event event = {SESSION_EV_CLOSED};

	s->goodbye_done = true;
	s->state = SESSION_CLOSED;
	event_queue_add(&s->events, &event);
}

/* The receiver's marks may come in one bunch, behind requests that are not answered yet. So each is
 * answered, and means that a stretch is over, only when its turn has come. */
static void answer_done(struct session *s)
{
	char zero = 0;

	s->dones_out++;
	if (s->dones_out == (unsigned)last_done(s)) {
		closed(s);
		return;
	}
	if (s->dones_out == DONE_DELAYED) {
		if (s->not_sent)
			mux_out_message_int(&s->out, MUX_IO_ERROR, IO_ERROR_VANISHED);
		s->state = SESSION_GOODBYE;
	}
	mux_out_data(&s->out, (struct bytes){&zero, 1});
}

void serve_pump(struct session *s)
{
	while (s->tasks && !s->answering) {
		switch (s->tasks->kind) {
		case TASK_REQUEST:
			return; /* the caller's turn */
		case TASK_ECHO:
			serve_put_item(s, s->tasks);
			break;
		case TASK_DONE:
			/* What was sent unasked and failed is still to be answered. */
			if (s->dones_out == 0 && s->unasked)
				return;
			answer_done(s);
			break;
		}
		serve_drop_task(s);
	}
}

/* --- sent without a request --- */

static void tell_item(struct session *s, const struct task *t)
{
	struct session_event event = {SESSION_EV_ITEM, .text = t->xname};

	event.index = s->listed[t->ndx].caller;
	event.flags = t->iflags;
	event_queue_add(&s->events, &event);
}

/* Behind what is being answered, and before any end of a phase. */
static void put_back(struct session *s, struct task *t)
{
	struct task **at = &s->tasks;

	if (s->answering && *at)
		at = &(*at)->next;
	t->next = *at;
	*at = t;
	if (!t->next)
		s->tasks_end = &t->next;
}

void serve_settle_unasked(struct session *s, struct listed *l, bool arrived)
{
	struct task *request;

	if (!l->unasked)
		return;
	l->unasked = false;
	s->unasked--;
	request = TAKE(l->parked);
	if (arrived && request) {
		s->names_bytes -= request->xname.n;
		task_free(request);
	} else if (request) {
		put_back(s, request);
	}
	serve_pump(s);
}

/* Whether the request can wait until its file is known to have arrived. A second one tells that it
 * has not. */
static bool park(struct session *s, struct task *t)
{
	struct listed *l = &s->listed[t->ndx];

	if (!l->unasked)
		return false;
	if (l->parked || t->redo) {
		serve_settle_unasked(s, l, true);
		return false;
	}
	/* Should it be answered after all, then whole. */
	s->sums_bytes -= sum_head_cost(&t->sums.head);
	sums_done(&t->sums);
	t->sums.head = (struct sum_head){0};
	tell_item(s, t);
	l->parked = t;
	return true;
}

/* --- in --- */

/* A request waits that was made when all still could be, or any. */
static bool request_waits(const struct session *s, bool any)
{
	for (const struct task *t = s->tasks; t; t = t->next)
		if (t->kind == TASK_REQUEST && (any || !t->redo))
			return true;
	return false;
}

/* The mark tells of what cannot have happened. Those of protocol 31 and later end with one that
 * waits for our last answer, while before it even the end of the loop comes in one bunch with the
 * requests of the redo phase. */
static bool done_too_early(const struct session *s)
{
	return (s->dones == DONE_REDO && request_waits(s, false)) ||
	       (s->dones == DONE_LAST && request_waits(s, true));
}

static int take_done(struct session *s)
{
	struct session_event event = {SESSION_EV_PHASE};
	struct task *t;

	if (++s->dones > DONE_LAST)
		return session_breach(s, "an end after the end");
	if (done_too_early(s))
		return session_breach(s, "an end while it was still waiting for a file");
	/* The marks before it come in one bunch, ahead of the restored times of directories. */
	if (s->dones == (unsigned)last_done(s))
		event_queue_add(&s->events, &event);
	t = mem_alloc(sizeof(*t));
	t->kind = TASK_DONE;
	add_task(s, t);
	return 0;
}

static int take_del_stats(struct session *s, struct cursor *in)
{
	uint32_t ignored;

	if (s->dones < DONE_DELAYED)
		return session_breach(s, "statistics in the middle");
	for (int i = 0; i < DEL_STATS_FIELDS; i++) {
		int rc = codec_get_varint(in, &ignored);

		if (rc < 0)
			return rc;
	}
	return ++s->del_stats <= DEL_STATS_MAX ? 0 : session_breach(s, "statistics without end");
}

static int check_item(struct session *s, int32_t ndx, bool transfer)
{
	struct listed *l;

	if (ndx < 0 || (size_t)ndx >= s->nlisted)
		return session_breach(s, "an index that was not listed");
	l = &s->listed[ndx];
	if (!transfer || dry_run(s))
		return ++l->items <= ITEMS_MAX ? 0
		                               : session_breach(s, "too many items of one file");
	if (!l->regular)
		return session_breach(s, "a request for something that has no content");
	if (++l->requests > REQUESTS_MAX)
		return session_breach(s, "too many requests for one file");
	if (l->successes && !l->early)
		return session_breach(s, "a request for a file that it had confirmed");
	return 0;
}

/* Which extended attributes are wanted stands behind an item that says that they differ; of some
 * receivers not where they have linked names themselves. */
static bool has_wanted(const struct session *s, unsigned iflags)
{
	const unsigned linked = SESSION_ITEM_XNAME | SESSION_ITEM_LOCAL;

	if (!s->o.xattrs || s->class == SESSION_DELETE || !(iflags & SESSION_ITEM_XATTR) ||
	    dry_run(s))
		return false;
	return s->protocol < 31 || (s->compat & COMPAT_XATTRS_ALWAYS) ||
	       (iflags & linked) != linked;
}

static int read_wanted(struct session *s, struct cursor *in, struct task *t)
{
	if (t->ndx < 0 || (size_t)t->ndx >= s->nlisted)
		return -EPROTO;
	return attrs_get_wanted(s->attrs, s->listed[t->ndx].xattrs, in, &t->wanted);
}

/* Reads what stands behind an index into *t; its xname is borrowed. */
static int read_item(struct session *s, struct cursor *in, struct task *t, struct sum_head *head)
{
	int rc = codec_get_le16(in, &t->iflags);

	if (rc == 0 && (t->iflags & ITEM_BASIS_FOLLOWS))
		rc = codec_get_u8(in, &t->basis);
	if (rc == 0 && (t->iflags & SESSION_ITEM_XNAME))
		rc = codec_get_vstring(in, XNAME_MAX, &t->xname);
	if (rc == 0 && has_wanted(s, t->iflags))
		rc = read_wanted(s, in, t);
	t->kind = TASK_ECHO;
	if (rc == 0 && (t->iflags & SESSION_ITEM_TRANSFER) && !dry_run(s)) {
		t->kind = TASK_REQUEST;
		t->redo = s->dones >= DONE_PHASE1;
		rc = sum_head_get(in, strong_table[s->strong].size, head);
	}
	return rc;
}

/* Echoes of names wait for as long as a file is being sent. */
static int keep_name(struct session *s, struct task *t)
{
	if (t->xname.n > NAMES_MEMORY_MAX - s->names_bytes)
		return session_breach(s, "more names than can be kept");
	s->names_bytes += t->xname.n;
	t->xname.p = t->xname.n ? mem_dup(t->xname.p, t->xname.n) : NULL;
	return 0;
}

static void expect_sums(struct session *s, struct task *t, const struct sum_head *head)
{
	size_t cost = sum_head_cost(head);

	if (cost > SUMS_MEMORY_MAX - s->sums_bytes) {
		s->skip_left = cost;
		s->step = SERVE_SKIP;
		t->sums.head = (struct sum_head){0};
	} else {
		sums_init(&t->sums, head);
		s->sums_bytes += cost;
		s->step = SERVE_SUMS;
	}
	s->incoming = t;
}

/* An item that is complete: *t becomes the queue's, with its xname copied, or is left alone. */
static int queue_item(struct session *s, struct task *t, const struct sum_head *head)
{
	struct task *kept;
	int rc = check_item(s, t->ndx, t->iflags & SESSION_ITEM_TRANSFER);

	if (rc == 0 && t->wanted.n &&
	    attrs_note_wanted(s->attrs, s->listed[t->ndx].xattrs, &t->wanted) < 0)
		rc = session_breach(s, "too many requests for one extended attribute");
	if (rc < 0)
		return rc;
	if (t->kind == TASK_ECHO)
		tell_item(s, t);
	/* The receiver announces its end early, and may still link names to files that came late.
	 * It listens for nothing but marks by then. */
	if (t->kind == TASK_ECHO && s->dones >= DONE_DELAYED)
		return 0;
	rc = keep_name(s, t);
	if (rc < 0)
		return rc;
	kept = mem_alloc(sizeof(*kept));
	*kept = *t;
	t->wanted.places = NULL;
	kept->late = s->dones >= DONE_REDO;
	if (t->kind == TASK_REQUEST && !kept->late && !s->listed[t->ndx].early)
		s->listed[t->ndx].answered_at = LISTED_OPEN;
	if (t->kind == TASK_REQUEST)
		expect_sums(s, kept, head);
	else
		add_task(s, kept);
	return 0;
}

static int take_item(struct session *s, struct cursor *in, int32_t ndx)
{
	struct task t = {.ndx = ndx};
	struct sum_head head = {0};
	int rc = read_item(s, in, &t, &head);

	if (rc == -EPROTO)
		rc = session_breach(s, "a malformed request");
	else if (rc == 0)
		rc = queue_item(s, &t, &head);
	free(t.wanted.places);
	return rc;
}

static int take_index(struct session *s, struct cursor *in)
{
	struct ndx_state state = s->ndx_in;
	int32_t ndx;
	int rc = codec_get_ndx(in, &state, &ndx);

	if (rc == 0 && ndx == NDX_DONE)
		rc = take_done(s);
	else if (rc == 0 && ndx == NDX_DEL_STATS)
		rc = take_del_stats(s, in);
	else if (rc == 0)
		rc = take_item(s, in, ndx);
	if (rc == 0)
		s->ndx_in = state;
	if (rc == -EPROTO)
		return session_breach(s, "a malformed index");
	return rc;
}

static int take_sums(struct session *s, struct cursor *in)
{
	if (s->step == SERVE_SKIP) {
		size_t n = cursor_left(in);

		if (n > s->skip_left)
			n = (size_t)s->skip_left;
		cursor_take(in, n);
		s->skip_left -= n;
		if (s->skip_left)
			return -EAGAIN;
	} else if (!sums_get(&s->incoming->sums, in)) {
		return -EAGAIN;
	}
	/* A link whose first name failed is asked for when the receiver does not take answers any
	 * more: it stays unconfirmed. */
	if (s->incoming->late) {
		s->sums_bytes -= sum_head_cost(&s->incoming->sums.head);
		s->names_bytes -= s->incoming->xname.n;
		task_free(TAKE(s->incoming));
	} else if (park(s, s->incoming)) {
		s->incoming = NULL;
	} else {
		add_task(s, TAKE(s->incoming));
	}
	s->step = SERVE_INDEX;
	return 0;
}

int serve_feed(struct session *s)
{
	struct bytes all = buf_bytes(&s->stream);
	struct cursor in = cursor_of(all);
	size_t used = 0;
	int rc = 0;

	if (!session_list_sent(s))
		return session_breach(s, "an answer before there was a list");
	/* Of no sums the last one has come already: nothing else may follow for a long time. */
	while (rc == 0 && (cursor_left(&in) || s->step != SERVE_INDEX) &&
	       s->state != SESSION_CLOSED) {
		rc = s->step == SERVE_INDEX ? take_index(s, &in) : take_sums(s, &in);
		/* An incomplete item is read again from its start, sums are taken one by one. */
		if (rc == 0 || (rc == -EAGAIN && s->step != SERVE_INDEX))
			used = all.n - cursor_left(&in);
	}
	if (s->state == SESSION_CLOSED)
		used = all.n;
	buf_drop(&s->stream, used);
	if (rc < 0 && rc != -EAGAIN)
		return rc;
	serve_pump(s);
	return 0;
}

bool serve_request(struct session *s, struct session_event *ret)
{
	struct task *t = s->tasks;

	if (s->state != SESSION_SERVING || s->answering || !t || t->kind != TASK_REQUEST)
		return false;
	s->answering = true;
	*ret = (struct session_event){SESSION_EV_REQUEST, .index = s->listed[t->ndx].caller};
	ret->flags = t->iflags;
	ret->redo = t->redo;
	ret->text = BYTES("");
	return true;
}
