/*
 * connect_tls: to an `rsync --daemon` behind TLS, once there is a connection: a relay speaks TLS on
 * it, and the worker gets the other end of the relay's socketpair.
 *
 * The daemon speaks first, so the session waits here until its first bytes are there. What fails
 * before that is told by the relay's words and exit status, and is not a session's trouble; what
 * fails later the worker sees as an end of file, and the words are logged.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include "base/log.h"
#include "base/mem.h"
#include "daemon/connect.h"
#include "daemon/connect_args.h"

static void tls_handle_closed(uv_handle_t *h)
{
	connect_handle_closed(h->data);
}

void connect_tls_cancel(struct connect *c)
{
	if (!c->tls.waiting)
		return;
	c->tls.waiting = false;
	uv_close((uv_handle_t *)&c->tls.poll, tls_handle_closed);
	uv_close((uv_handle_t *)&c->tls.timer, tls_handle_closed);
}

/* Bytes of the server's are there, and stay. */
static bool tls_heard(const struct connect *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static void tls_hand_over(struct connect *c)
{
	connect_tls_cancel(c);
	connect_done(c, SESSION_DAEMON);
}

static void tls_readable(uv_poll_t *p, int status, int events)
{
	(void)status;
	(void)events;
	if (tls_heard(p->data))
		tls_hand_over(p->data);
	else
		(void)uv_poll_stop(p); /* its end: the exit status tells */
}

static void tls_late(uv_timer_t *t)
{
	struct connect *c = t->data;
	const struct config_job *job = c->job->config;

	connect_tls_cancel(c);
	child_end(c->child);
	connect_failed(c, TROUBLE_TIMEOUT, "%s port %u did not answer by TLS within %lld s",
	               job->target.host, job->target.port,
	               (long long)(job->options.handshake_timeout_ns / NS_PER_S));
}

static enum trouble tls_trouble(int64_t status, int sig)
{
	if (sig == 0 && status == RELAY_REFUSED)
		return TROUBLE_LOGIN;
	return sig == 0 && status == RELAY_BROKEN ? TROUBLE_UNREACHABLE : TROUBLE_LOCAL;
}

static void tls_exited(struct child *child, int64_t status, int sig, void *arg)
{
	struct connect *c = arg;
	struct bytes said = child_errors(child);

	if (c->tls.waiting && tls_heard(c)) /* its end overtook its words */
		tls_hand_over(c);
	if (c->tls.waiting) {
		connect_tls_cancel(c);
		c->child = NULL;
		c->handles--;
		if (said.n)
			connect_failed(c, tls_trouble(status, sig), "%.*s", (int)said.n, said.p);
		else
			connect_failed(c, tls_trouble(status, sig),
			               "the TLS relay ended with status %lld, signal %d",
			               (long long)status, sig);
		return;
	}
	if (c->job && said.n)
		job_log(c->job, LOG_INFO, "session.tls", "session=%llu %.*s",
		        (unsigned long long)c->session, (int)said.n, said.p);
	connect_child_ended(c, said, sig ? 128 + sig : status);
}

static void tls_wait(struct connect *c)
{
	uv_loop_t *loop = &c->job->instance->loop;
	int64_t timeout_ns = c->job->config->options.handshake_timeout_ns;

	(void)uv_poll_init(loop, &c->tls.poll, c->fd);
	(void)uv_timer_init(loop, &c->tls.timer);
	c->tls.poll.data = c->tls.timer.data = c;
	c->tls.waiting = true;
	c->handles += 2;
	(void)uv_poll_start(&c->tls.poll, UV_READABLE, tls_readable);
	(void)uv_timer_start(&c->tls.timer, tls_late, (uint64_t)(timeout_ns / NS_PER_MS), 0);
}

void connect_tls(struct connect *c)
{
	autoclose int net = TAKE_FD(c->fd);
	struct words argv = connect_relay_args(c->job->config);
	struct child_spec spec = {
	        .argv = argv.items, .fd1 = -1, .fd3 = net, .exited = tls_exited, .arg = c};
	struct err err = {0};
	int fds[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		words_done(&argv);
		connect_failed(c, TROUBLE_LOCAL, "socketpair: %s", strerror(errno));
		return;
	}
	(void)fd_set_nonblock(fds[0]);
	spec.fd0 = fds[1];
	r = child_spawn(&c->child, &c->job->instance->loop, &spec, &err);
	(void)close(fds[1]); /* the child has its own copy */
	words_done(&argv);
	if (r < 0) {
		(void)close(fds[0]);
		connect_failed(c, TROUBLE_LOCAL, "%s", err.text);
		return;
	}
	c->with_child = true;
	c->handles++;
	c->fd = fds[0];
	tls_wait(c);
}
