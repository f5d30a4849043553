/*
 * connect: the life of an attempt, and what its child has to say about the session's end.
 */
#include <stdarg.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "daemon/connect.h"
#include "daemon/connect_args.h"

static void connect_unlink(struct connect *c)
{
	struct job *j = c->job;

	if (!j)
		return;
	for (struct connect **p = &j->connects; *p; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	c->job = NULL;
	share_left(j);
}

static void connect_free_if_over(struct connect *c)
{
	if (c->handles || c->job)
		return;
	if (c->fd >= 0)
		(void)close(c->fd); /* never handed over */
	if (c->addresses)
		uv_freeaddrinfo(c->addresses);
	free(c);
}

void connect_handle_closed(struct connect *c)
{
	c->handles--;
	connect_free_if_over(c);
}

static void connect_start(struct job *j, uint64_t session, enum session_class class, bool extras)
{
	struct connect *c = mem_alloc(sizeof(*c));

	c->job = j;
	c->session = session;
	c->class = class;
	c->extras = extras;
	c->without = j->without;
	c->fd = -1;
	c->next = j->connects;
	j->connects = c;
	switch (j->config->target.kind) {
	case TARGET_RSYNCD:
		connect_tcp(c);
		return;
	case TARGET_SSH:
		connect_ssh(c);
		return;
	case TARGET_LOCAL:
		connect_local(c);
		return;
	}
}

void connect_begin(struct job *j, uint64_t session, enum session_class class)
{
	connect_start(j, session, class, false);
}

void connect_begin_extras(struct job *j, uint64_t session, enum session_class class)
{
	connect_start(j, session, class, true);
}

static void connect_report(struct job *j, const struct wire_gone *gone)
{
	struct wire_gone mine = *gone, *m = &mine;

	/* What was asked for beyond the need is left out from now on: no trouble. */
	if (m->trouble == TROUBLE_REFUSED && without_leave_out(j, m->refused_option))
		m->trouble = TROUBLE_NONE;
	if (verify_owns(m->session)) {
		verify_session_gone(j, m);
		return;
	}
	engine_session_gone(j->engine, m, instance_now());
	job_touch(j);
}

void connect_failed(struct connect *c, enum trouble t, const char *fmt, ...)
{
	struct job *j = c->job;
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* a cut text still says it */
	va_end(ap);
	if (!j)
		return;
	struct wire_gone m = {.session = c->session, .trouble = (uint8_t)t, .text = bytes_of(text)};

	connect_unlink(c);
	connect_report(j, &m);
	connect_free_if_over(c);
}

void connect_done(struct connect *c, enum session_kind kind)
{
	struct job *j = c->job;
	struct wire_session m = {.id = c->session, .kind = kind, .class = c->class};
	struct buf payload;
	struct err err = {0};
	bool wrong_file;
	int r;

	if (!j)
		return;
	m.remote_exit = j->config->target.kind == TARGET_SSH;
	m.tls = j->config->target.tls;
	m.extras = c->extras;
	m.without = (uint8_t)c->without;
	m.path = connect_path(&j->config->target);
	m.module = j->config->target.module;
	m.user = j->config->target.user;
	r = kind == SESSION_DAEMON ? config_read_password(j->config, &m.password, &err) : 0;
	wrong_file = fd_is_fault_of_file(r);
	if (r == 0)
		r = crew_need(j, &err);
	if (r == 0) {
		buf_init(&payload, 64u << 10);
		wire_put_session(&payload, &m);
		crew_send(j, WIRE_SESSION, buf_bytes(&payload), TAKE_FD(c->fd));
		explicit_bzero(payload.p, payload.n);
		buf_done(&payload);
	}
	free(m.path);
	mem_free_secret(m.password);
	if (r < 0) {
		if (c->child) /* it would wait for a session */
			child_end(c->child);
		connect_failed(c, wrong_file ? TROUBLE_LOGIN : TROUBLE_LOCAL, "%s", err.text);
		return;
	}
	if (!c->with_child) { /* nothing more to learn about it here */
		connect_unlink(c);
		connect_free_if_over(c);
	}
}

void connect_cancel_all(struct job *j)
{
	if (j->closing)
		connect_local_forget(j);
	while (j->connects) {
		struct connect *c = j->connects;

		j->connects = c->next;
		c->job = NULL;
		if (c->child)
			child_end(c->child);
		connect_tcp_cancel(c);
		connect_tls_cancel(c);
		connect_free_if_over(c);
	}
	share_left(j);
}

static bool said(struct bytes text, const char *words)
{
	return text.n && memmem(text.p, text.n, words, strlen(words));
}

/* By the words of ssh or rsync; `known` is what the worker takes it for. */
static enum trouble connect_trouble(struct bytes errors, int64_t status, enum session_fault fault,
                                    enum trouble known)
{
	if (said(errors, "Permission denied") || said(errors, "Host key verification failed"))
		return TROUBLE_LOGIN;
	if (said(errors, "ssh: ") || said(errors, "Connection"))
		return TROUBLE_UNREACHABLE;
	if (status == 127 || fault == SESSION_FAULT_REFUSED)
		return TROUBLE_REFUSED;
	if (said(errors, "No space left"))
		return TROUBLE_FULL;
	if (said(errors, "Read-only file system"))
		return TROUBLE_READONLY;
	if (said(errors, "change_dir") || said(errors, "mkdir"))
		return TROUBLE_MISSING;
	return known;
}

/* A child tells on its standard error what the socket only shows as an end of file. */
static void connect_explain(struct connect *c, struct bytes errors, int64_t status)
{
	struct wire_gone *m = &c->gone;
	char option[sizeof(c->refused)];
	enum session_fault fault;
	struct buf text;

	if (!errors.n && status != 127)
		return;
	/* A relay that has brought a word of the server's knows no more of its kind. */
	if (!c->job->config->target.tls) {
		fault = session_fault_of_text(errors, option, sizeof(option));
		/* One that refuses what it was not asked for gets no further without it. */
		if (fault == SESSION_FAULT_REFUSED &&
		    !(session_without(bytes_of(option)) & c->without)) {
			memcpy(c->refused, option, sizeof(option));
			m->refused_option = bytes_of(c->refused);
		}
		m->trouble =
		        (uint8_t)connect_trouble(errors, status, fault, (enum trouble)m->trouble);
	}
	buf_init(&text, sizeof(c->gone_text) - 1);
	if (m->text.n)
		buf_printf(&text, "%.*s; ", (int)(m->text.n > 250 ? 250 : m->text.n), m->text.p);
	buf_add(&text, errors.p, errors.n > 300 ? 300 : errors.n);
	memcpy(c->gone_text, text.p, text.n);
	m->text = (struct bytes){c->gone_text, text.n};
	buf_done(&text);
}

static void connect_end(struct connect *c)
{
	struct job *j = c->job;

	connect_explain(c, bytes_of(c->errors), c->status);
	connect_unlink(c);
	connect_report(j, &c->gone);
	connect_free_if_over(c);
}

void connect_session_gone(struct job *j, const struct wire_gone *m)
{
	struct connect *c = j->connects;
	size_t n;

	while (c && c->session != m->session)
		c = c->next;
	/* The next one does not wait for a connection that may be dead. */
	if (c && c->shared && !m->was_ready && m->trouble == TROUBLE_TIMEOUT)
		share_retire(j);
	if (!c || m->trouble == TROUBLE_NONE) {
		if (c)
			connect_unlink(c);
		connect_report(j, m);
		if (c)
			connect_free_if_over(c);
		return;
	}
	n = m->text.n < sizeof(c->text) ? m->text.n : sizeof(c->text);
	memcpy(c->text, m->text.p, n);
	c->gone = *m;
	c->gone.text = (struct bytes){c->text, n};
	n = m->refused_option.n < sizeof(c->refused) ? m->refused_option.n : 0;
	if (n)
		memcpy(c->refused, m->refused_option.p, n);
	c->gone.refused_option = (struct bytes){c->refused, n};
	c->gone_known = true;
	if (c->child)
		child_end(c->child);
	else
		connect_end(c);
}

void connect_child_ended(struct connect *c, struct bytes errors, int64_t status)
{
	c->child = NULL;
	c->handles--;
	c->status = status;
	(void)snprintf(c->errors, sizeof(c->errors), "%.*s", (int)errors.n,
	               errors.n ? errors.p : "");
	if (c->job && c->gone_known)
		connect_end(c);
	else
		connect_free_if_over(c); /* the worker sees the end of file and tells */
}
