/*
 * connect_tcp: to an `rsync --daemon`, one address after the other.
 *
 * Names are resolved on libuv's thread pool: a silent name server delays this attempt only.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include "base/mem.h"
#include "daemon/connect.h"
#include "daemon/connect_args.h"

static void tcp_next_address(struct connect *c);

static void tcp_handle_closed(uv_handle_t *h)
{
	connect_handle_closed(h->data);
}

static void tcp_close_handles(struct connect *c)
{
	if (c->polling) {
		c->polling = false;
		uv_close((uv_handle_t *)&c->poll, tcp_handle_closed);
	}
	if (c->timing) {
		c->timing = false;
		uv_close((uv_handle_t *)&c->timer, tcp_handle_closed);
	}
}

void connect_tcp_cancel(struct connect *c)
{
	if (c->resolving)
		(void)uv_cancel((uv_req_t *)&c->resolve); /* EBUSY: it is ending by itself */
	tcp_close_handles(c);
}

static const char *tcp_target(const struct connect *c)
{
	return c->job->config->target.host;
}

static void tcp_connected(struct connect *c)
{
	int one = 1;

	c->status = 0;
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	tcp_close_handles(c);
	if (c->job->config->target.tls)
		connect_tls(c);
	else
		connect_done(c, SESSION_DAEMON);
}

static void tcp_unreachable(struct connect *c)
{
	struct err err = {0};

	(void)connect_unreachable(&c->job->config->target, (int)c->status, &err);
	tcp_close_handles(c);
	connect_failed(c, TROUBLE_UNREACHABLE, "%s", err.text);
}

static void tcp_poll_closed(uv_handle_t *h)
{
	struct connect *c = h->data;

	if (c->fd >= 0)
		(void)close(c->fd); /* not connected */
	c->fd = -1;
	if (c->job && c->next_address)
		tcp_next_address(c);
	else if (c->job)
		tcp_unreachable(c);
	connect_handle_closed(c);
}

/* A poll handle is bound to its descriptor: both go, and the next address gets new ones. */
static void tcp_give_up_address(struct connect *c, int code)
{
	c->status = code;
	c->polling = false;
	(void)uv_timer_stop(&c->timer);
	uv_close((uv_handle_t *)&c->poll, tcp_poll_closed);
}

static void tcp_writable(uv_poll_t *p, int status, int events)
{
	struct connect *c = p->data;
	int code = 0;
	socklen_t n = sizeof(code);

	(void)events;
	/* libuv reports every error condition as EBADF: the socket knows which one it is. */
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &code, &n) < 0)
		code = errno;
	if (code == 0 && status < 0)
		code = -status;
	if (code == 0)
		tcp_connected(c);
	else
		tcp_give_up_address(c, code);
}

static void tcp_timer(uv_timer_t *t)
{
	tcp_give_up_address(t->data, ETIMEDOUT);
}

static void tcp_next_address(struct connect *c)
{
	const struct addrinfo *a;
	int64_t timeout_ns = c->job->config->options.connect_timeout_ns;

	/* A host without IPv6, say: that says nothing about the other addresses. */
	do {
		a = c->next_address;
		c->next_address = a->ai_next;
		c->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	} while (c->fd < 0 && errno == EAFNOSUPPORT && c->next_address);
	if (c->fd < 0 && errno == EAFNOSUPPORT) {
		if (!c->status)
			c->status = EAFNOSUPPORT;
		tcp_unreachable(c);
		return;
	}
	if (c->fd < 0) {
		tcp_close_handles(c);
		connect_failed(c, TROUBLE_LOCAL, "cannot make a socket: %s", strerror(errno));
		return;
	}
	int code = connect(c->fd, a->ai_addr, a->ai_addrlen) < 0 ? errno : 0;

	if (code == 0) {
		tcp_connected(c);
		return;
	}
	(void)uv_poll_init(&c->job->instance->loop, &c->poll, c->fd);
	c->poll.data = c;
	c->polling = true;
	c->handles++;
	if (code != EINPROGRESS) {
		tcp_give_up_address(c, code);
		return;
	}
	(void)uv_poll_start(&c->poll, UV_WRITABLE, tcp_writable);
	(void)uv_timer_start(&c->timer, tcp_timer, (uint64_t)(timeout_ns / NS_PER_MS), 0);
}

static void tcp_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *addresses)
{
	struct connect *c = req->data;

	c->resolving = false;
	c->addresses = c->next_address = addresses;
	if (!c->job) {
		connect_handle_closed(c);
		return;
	}
	c->handles--;
	if (status < 0) {
		connect_failed(c, TROUBLE_UNREACHABLE, "cannot resolve %s: %s", tcp_target(c),
		               uv_strerror(status));
		return;
	}
	(void)uv_timer_init(&c->job->instance->loop, &c->timer);
	c->timer.data = c;
	c->timing = true;
	c->handles++;
	tcp_next_address(c);
}

void connect_tcp(struct connect *c)
{
	const struct target *t = &c->job->config->target;
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	char port[8];
	int r;

	(void)snprintf(port, sizeof(port), "%u", t->port);
	c->resolve.data = c;
	r = uv_getaddrinfo(&c->job->instance->loop, &c->resolve, tcp_resolved, t->host, port,
	                   &hints);
	if (r < 0) {
		connect_failed(c, TROUBLE_UNREACHABLE, "cannot resolve %s: %s", t->host,
		               uv_strerror(r));
		return;
	}
	c->resolving = true;
	c->handles++;
}
