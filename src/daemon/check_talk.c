#include "daemon/check_talk.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "daemon/connect_args.h"

#define NS_PER_MS  1000000LL
#define READ_BYTES (64u << 10)
#define GRACE_MS   1000

/* --- connecting --- */

/* 0: ready; -ETIMEDOUT. */
static int wait_for(int fd, short events, int64_t deadline_ns)
{
	struct pollfd p = {.fd = fd, .events = events};
	int r;

	do {
		int64_t left_ms = (deadline_ns - clock_boot_ns()) / NS_PER_MS + 1;

		if (left_ms <= 0)
			return -ETIMEDOUT;
		r = poll(&p, 1, left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);
	} while (r < 0 && errno == EINTR);
	return r > 0 ? 0 : r == 0 ? -ETIMEDOUT : -errno;
}

/* A descriptor or -errno. */
static int connect_address(const struct addrinfo *a, int64_t timeout_ns)
{
	autoclose int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int code = 0, r = 0;
	socklen_t n = sizeof(code);

	if (fd < 0)
		return -errno;
	if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
		if (errno != EINPROGRESS)
			return -errno;
		r = wait_for(fd, POLLOUT, clock_boot_ns() + timeout_ns);
		if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &n) < 0)
			r = -errno;
	}
	if (r == 0 && code)
		r = -code;
	return r < 0 ? r : TAKE_FD(fd);
}

static int connect_tcp(struct check_talk *t, struct err *err)
{
	const struct target *to = &t->job->target;
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *all;
	char port[8];
	int r;

	(void)snprintf(port, sizeof(port), "%u", to->port);
	r = getaddrinfo(to->host, port, &hints, &all);
	if (r != 0)
		return err_set(err, EHOSTUNREACH, "cannot resolve %s: %s", to->host,
		               gai_strerror(r));
	r = -EAFNOSUPPORT;
	for (const struct addrinfo *a = all; a && t->fd < 0; a = a->ai_next) {
		int tried = connect_address(a, t->job->options.connect_timeout_ns);

		/* An address that this host has no protocol for says nothing about the others. */
		if (tried != -EAFNOSUPPORT)
			r = tried;
		if (tried >= 0)
			t->fd = tried;
	}
	freeaddrinfo(all);
	return r < 0 ? connect_unreachable(to, -r, err) : 0;
}

static void child_exited(struct child *child, int64_t status, int sig, void *arg)
{
	struct check_talk *t = arg;
	struct bytes said = child_errors(child);

	(void)status;
	(void)sig;
	t->child = NULL;
	(void)uv_timer_stop(&t->grace);
	/* A relay knows why there was no word; a word of the server's says more than it. */
	if (t->job->target.tls && t->heard)
		return;
	(void)snprintf(t->errors, sizeof(t->errors), "%.*s", (int)said.n, said.n ? said.p : "");
}

/* Takes argv. net: the connection that a relay speaks TLS on, or -1. */
static int spawn(struct check_talk *t, struct words argv, int net, struct err *err)
{
	struct child_spec spec = {.argv = argv.items, .fd3 = net, .exited = child_exited, .arg = t};
	int fds[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		words_done(&argv);
		return err_errno(err, errno, "socketpair");
	}
	(void)fd_set_nonblock(fds[0]);
	spec.fd0 = spec.fd1 = fds[1];
	t->fd = fds[0];
	r = child_spawn(&t->child, &t->loop, &spec, err);
	(void)close(fds[1]); /* the child has its own copy */
	words_done(&argv);
	return r;
}

static int connect_tls(struct check_talk *t, struct err *err)
{
	int r = connect_tcp(t, err);

	if (r < 0)
		return r;
	autoclose int net = TAKE_FD(t->fd);

	return spawn(t, connect_relay_args(t->job), net, err);
}

int check_talk_connect(struct check_talk *t, enum session_class class, struct err *err)
{
	t->fd = -1;
	(void)uv_loop_init(&t->loop);
	(void)uv_timer_init(&t->loop, &t->grace);
	t->grace.data = t;
	if (t->job->target.tls)
		return connect_tls(t, err);
	if (t->job->target.kind == TARGET_RSYNCD)
		return connect_tcp(t, err);
	return spawn(t, connect_args(t->job, class, &t->options, NULL), -1, err);
}

/* --- talking --- */

static int flush(struct check_talk *t)
{
	struct bytes out = session_output(t->session);
	ssize_t n;

	if (!out.n)
		return 0;
	n = send(t->fd, out.p, out.n, MSG_NOSIGNAL);
	if (n > 0)
		session_sent(t->session, (size_t)n);
	return n >= 0 || errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

static void take(struct check_talk *t, const struct session_event *ev)
{
	switch (ev->kind) {
	case SESSION_EV_REQUEST:
		session_answer_begin(t->session, 0);
		session_answer_end(t->session);
		break;
	case SESSION_EV_SUCCESS:
		t->written = true;
		break;
	case SESSION_EV_DELETED:
		t->removed = true;
		break;
	case SESSION_EV_MESSAGE:
		if (ev->level >= SESSION_ERROR && !t->complaint[0])
			(void)snprintf(t->complaint, sizeof(t->complaint), "%s",
			               path_show(ev->text));
		break;
	case SESSION_EV_PHASE:
		t->phase = true;
		break;
	case SESSION_EV_NONE:
	case SESSION_EV_ITEM:
	case SESSION_EV_CLOSED:
		break;
	}
}

static void take_all(struct check_talk *t)
{
	struct session_event ev;

	for (session_next(t->session, &ev); ev.kind; session_next(t->session, &ev))
		take(t, &ev);
}

/* Until the session is in `until` or beyond. */
static int pump(struct check_talk *t, enum session_state until, int64_t timeout_ns, struct err *err)
{
	autofree char *buffer = mem_array(READ_BYTES, 1);
	int64_t deadline_ns = clock_boot_ns() + timeout_ns;

	for (;;) {
		short events = POLLIN;
		ssize_t n;

		take_all(t);
		if (session_state(t->session) >= until)
			break;
		/* A peer that reads no more may still have something to say. */
		if (flush(t) == 0 && session_output(t->session).n)
			events |= POLLOUT;
		if (wait_for(t->fd, events, deadline_ns) < 0)
			return err_set(err, ETIMEDOUT, "no answer in %lld s",
			               (long long)(timeout_ns / NS_PER_MS / 1000));
		n = recv(t->fd, buffer, READ_BYTES, MSG_DONTWAIT);
		t->heard = t->heard || n > 0;
		if (n > 0)
			(void)session_feed(t->session, (struct bytes){buffer, (size_t)n});
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			session_eof(t->session);
	}
	take_all(t);
	(void)flush(t);
	if (session_state(t->session) != SESSION_FAILED)
		return 0;
	return err_set(err, EPROTO, "%s", session_error(t->session)->text);
}

int check_talk_login(struct check_talk *t, enum session_class class, struct err *err)
{
	const struct target *to = &t->job->target;
	struct session_login login = {to->module, to->user, NULL};
	bool daemon = to->kind == TARGET_RSYNCD;
	autofree char *path = connect_path(to);
	char *password = NULL;
	int r = daemon ? config_read_password(t->job, &password, err) : 0;

	if (r < 0)
		return r;
	login.password = password;
	t->session = session_new(daemon ? SESSION_DAEMON : SESSION_PIPE, class, &t->options, path,
	                         daemon ? &login : NULL);
	r = pump(t, SESSION_READY, t->job->options.handshake_timeout_ns, err);
	mem_free_secret(password);
	return r;
}

int check_talk_list(struct check_talk *t, const struct session_entry *entries, size_t n,
                    const struct session_risk *risks, size_t nrisks, struct err *err)
{
	int r = session_list(t->session, entries, n, risks, nrisks, err);

	return r < 0 ? r : pump(t, SESSION_CLOSED, t->job->options.timeout_ns, err);
}

static void grace_over(uv_timer_t *timer)
{
	struct check_talk *t = timer->data;

	if (t->child)
		child_end(t->child);
}

static void close_handle(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

void check_talk_end(struct check_talk *t)
{
	session_free(TAKE(t->session));
	mem_closep(&t->fd);
	t->fd = -1;
	/* Without its socket it ends by itself, and only then its words are its own. */
	if (t->child)
		(void)uv_timer_start(&t->grace, grace_over, GRACE_MS, 0);
	(void)uv_run(&t->loop, UV_RUN_DEFAULT);
	uv_walk(&t->loop, close_handle, NULL);
	(void)uv_run(&t->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&t->loop);
}
