#include "rsync/session_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include "base/mem.h"
#include "base/path.h"

#define RAW_MAX    (2u << 20)
#define STREAM_MAX (1u << 30) /* what is fed in one go; an unfinished item is a few KiB */

static void copy_options(struct session *s, const struct session_options *o)
{
	s->o = *o;
	s->o.usermap = mem_strdup(o->usermap);
	s->o.groupmap = mem_strdup(o->groupmap);
	if (s->o.protocol_max < PROTOCOL_MIN || s->o.protocol_max > PROTOCOL_MAX)
		s->o.protocol_max = PROTOCOL_MAX;
	s->protocol = s->o.protocol_max;
}

struct session *session_new(enum session_kind kind, enum session_class class,
                            const struct session_options *o, const char *path,
                            const struct session_login *login)
{
	struct session *s = mem_alloc(sizeof(*s));

	s->kind = kind;
	s->class = class;
	copy_options(s, o);
	s->compress = class == SESSION_DELETE ? SESSION_COMPRESS_NO : o->compress;
	s->args = session_args(kind, class, o, path);
	s->list_at = UINT64_MAX;
	s->ndx_in = s->ndx_out = ndx_state_start();
	s->tasks_end = &s->tasks;
	buf_init(&s->raw, RAW_MAX);
	buf_init(&s->stream, STREAM_MAX);
	mux_in_init(&s->mux_in);
	mux_out_init(&s->out);
	event_queue_init(&s->events);
	if (kind == SESSION_DAEMON) {
		check(login && login->module);
		s->module = mem_strdup(login->module);
		s->user = mem_strdup(login->user);
		s->password = mem_strdup(login->password);
		greeting_start(s);
	} else {
		setup_start_pipe(s);
	}
	return s;
}

static void free_tasks(struct session *s)
{
	struct task *next;

	for (struct task *t = s->tasks; t; t = next) {
		next = t->next;
		task_free(t);
	}
	task_free(s->incoming);
	for (size_t i = 0; i < s->nlisted; i++)
		task_free(s->listed[i].parked);
}

void session_free(struct session *s)
{
	if (!s)
		return;
	free((char *)(uintptr_t)s->o.usermap);
	free((char *)(uintptr_t)s->o.groupmap);
	session_args_free(s->args);
	free(s->module);
	free(s->user);
	mem_free_secret(s->password);
	free(s->peer_digests);
	buf_done(&s->raw);
	buf_done(&s->stream);
	mux_in_done(&s->mux_in);
	mux_out_done(&s->out);
	event_queue_done(&s->events);
	list_drop_names(s);
	free_tasks(s);
	free(s->listed);
	attrs_free(s->attrs);
	free(s->place);
	delta_free(s->delta);
	token_writer_free(s->tokens);
	hasher_free(s->file_hash);
	hasher_free(s->block_hash);
	free(s);
}

/* --- failing --- */

int session_fail(struct session *s, enum session_fault fault, int code, const char *fmt, ...)
{
	char text[sizeof(s->error.text)];
	va_list ap;

	if (s->state == SESSION_FAILED)
		return -s->error.code;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->state = SESSION_FAILED;
	s->fault = fault;
	mux_out_discard(&s->out);
	return err_set(&s->error, code, "%s", text);
}

int session_breach(struct session *s, const char *what)
{
	return session_fail(s, SESSION_FAULT_PROTOCOL, EPROTO, "the server sent %s", what);
}

void session_check_output(struct session *s)
{
	if (s->out.bytes.overflowed)
		(void)session_fail(s, SESSION_FAULT_PROTOCOL, ENOBUFS,
		                   "the output of the session outgrew its limit");
}

/* --- bytes in --- */

struct bytes session_raw(const struct session *s)
{
	if (s->raw_at == s->raw.n)
		return (struct bytes){"", 0};
	return (struct bytes){s->raw.p + s->raw_at, s->raw.n - s->raw_at};
}

bool session_line(struct session *s, size_t max, struct bytes *ret)
{
	struct bytes raw = session_raw(s);
	const char *nl = raw.n ? memchr(raw.p, '\n', raw.n) : NULL;
	size_t n = nl ? (size_t)(nl - raw.p) : raw.n;

	if (n > max) {
		(void)session_breach(s, "a line that is too long");
		return false;
	}
	if (!nl)
		return false;
	s->raw_at += n + 1;
	if (n && raw.p[n - 1] == '\r')
		n--;
	*ret = (struct bytes){raw.p, n};
	return true;
}

static bool raw_phase(const struct session *s)
{
	return s->state == SESSION_GREETING || s->state == SESSION_AUTH ||
	       s->state == SESSION_SETUP;
}

static int feed_framed(struct session *s, struct bytes in)
{
	while (s->state != SESSION_FAILED) {
		struct mux_piece piece;

		if (mux_in_next(&s->mux_in, &in, &piece) < 0)
			return session_breach(s, "something that is not a frame");
		switch (piece.kind) {
		case MUX_PIECE_NONE:
			return 0;
		case MUX_PIECE_DATA:
			s->news += piece.payload.n;
			buf_add_bytes(&s->stream, piece.payload);
			(void)serve_feed(s);
			break;
		case MUX_PIECE_MESSAGE:
			s->news += piece.code != MUX_NOOP;
			(void)messages_take(s, piece.code, piece.payload);
			break;
		}
	}
	return -s->error.code;
}

static int feed_raw(struct session *s, struct bytes in)
{
	struct bytes rest;
	int rc = 0;

	buf_drop(&s->raw, s->raw_at);
	s->raw_at = 0;
	buf_add_bytes(&s->raw, in);
	if (s->raw.overflowed)
		return session_breach(s, "too much before the session was set up");
	if (s->kind == SESSION_DAEMON && s->state != SESSION_SETUP)
		rc = greeting_feed(s);
	if (rc == 0 && (s->kind == SESSION_PIPE || s->state == SESSION_SETUP))
		rc = setup_feed(s);
	if (rc < 0 || raw_phase(s))
		return rc;
	rest = session_raw(s);
	rc = rest.n ? feed_framed(s, rest) : 0;
	buf_done(&s->raw);
	s->raw_at = 0;
	return rc;
}

int session_feed(struct session *s, struct bytes in)
{
	int rc;

	if (s->state == SESSION_FAILED)
		return -s->error.code;
	s->bytes_in += in.n;
	rc = raw_phase(s) ? feed_raw(s, in) : feed_framed(s, in);
	session_check_output(s);
	return s->state == SESSION_FAILED ? -s->error.code : rc;
}

void session_eof(struct session *s)
{
	if (s->state == SESSION_FAILED || s->state == SESSION_CLOSED)
		return;
	if (s->state == SESSION_GOODBYE) {
		s->state = SESSION_CLOSED;
		s->goodbye_done = true;
		event_queue_add(&s->events, &(struct session_event){SESSION_EV_CLOSED});
		return;
	}
	(void)messages_hangup(s, "the server closed the connection");
}

/* --- bytes out --- */

struct bytes session_output(struct session *s)
{
	mux_out_seal(&s->out);
	return mux_out_pending(&s->out);
}

void session_sent(struct session *s, size_t n)
{
	check(n <= mux_out_pending(&s->out).n);
	mux_out_sent(&s->out, n);
}

void session_keepalive(struct session *s)
{
	if (s->state == SESSION_READY || s->state == SESSION_SERVING)
		mux_out_keepalive(&s->out);
}

size_t session_output_pending(const struct session *s)
{
	return mux_out_pending(&s->out).n;
}

/* --- asking --- */

void session_next(struct session *s, struct session_event *ret)
{
	if (!event_queue_next(&s->events, ret))
		(void)serve_request(s, ret);
}

enum session_state session_state(const struct session *s)
{
	return s->state;
}

const struct err *session_error(const struct session *s)
{
	return &s->error;
}

enum session_fault session_fault(const struct session *s)
{
	return s->fault;
}

const char *session_refused_option(const struct session *s)
{
	return s->fault == SESSION_FAULT_REFUSED ? s->refused : "";
}

int session_protocol(const struct session *s)
{
	return s->protocol;
}

struct session_past session_settled(const struct session *s)
{
	return (struct session_past){
	        .protocol = s->protocol,
	        .names = s->compat & COMPAT_VARINT,
	        .checksum = (int)s->strong,
	        .compress = s->compress,
	};
}

unsigned session_peer_timeout_s(const struct session *s)
{
	return s->peer_timeout_s;
}

size_t session_checksum_size(const struct session *s)
{
	return strong_table[s->strong].size;
}

const char *session_checksum_name(const struct session *s)
{
	return strong_table[s->strong].name;
}

enum session_compress session_compress(const struct session *s)
{
	return s->compress;
}

uint64_t session_bytes_out(const struct session *s)
{
	return s->out.total;
}

uint64_t session_bytes_in(const struct session *s)
{
	return s->bytes_in;
}

uint64_t session_news(const struct session *s)
{
	return s->news;
}

bool session_list_begun(const struct session *s)
{
	return s->list_at < s->out.total;
}
