/*
 * libmicrohttpd without a thread of its own: its epoll descriptor is polled by the loop, and a
 * timer runs only while it asks for one. A client that has to wait is suspended there and watched
 * here, for a suspended connection does not notice that its client went away.
 */
#include "daemon/control.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/mem.h"
#include "daemon/control_request.h"
#include "daemon/control_socket.h"

/* Watches the descriptor of a suspended client; outlives it until its close callback. */
struct watch {
	uv_poll_t poll;
	struct control_reply *reply;
};

struct control_reply {
	struct control_reply *next, *previous; /* of control.waiting */
	struct control *control;
	struct MHD_Connection *connection;
	struct buf body;
	enum control_verb verb;
	bool begun;     /* the operation has been called */
	bool suspended; /* and in control.waiting */
	unsigned code;  /* 0: not answered yet */
	json_t *answer;
	int64_t deadline_ns;
	bool own_deadline; /* ours, not the request's timeout */
	struct watch *watch;
	void *note;
};

struct control {
	uv_loop_t *loop;
	const struct control_ops *ops;
	void *arg;
	char *path;
	int listen_fd;
	struct MHD_Daemon *http;
	uv_poll_t listen_poll, http_poll;
	uv_timer_t http_timer, deadline_timer;
	int closing;  /* handles that still have to be closed */
	bool running; /* inside MHD_run() */
	bool again;   /* a client was resumed meanwhile */
	bool stopped;
	unsigned clients;
	struct control_reply *waiting;
};

static void run_http(struct control *c);
static void on_http_timer(uv_timer_t *timer);

/* --- deadlines of suspended clients --- */

static void on_deadline(uv_timer_t *timer);

static void arm_deadline(struct control *c)
{
	int64_t nearest = INT64_MAX, now = clock_boot_ns();

	for (struct control_reply *r = c->waiting; r; r = r->next) {
		if (r->deadline_ns < nearest)
			nearest = r->deadline_ns;
	}
	if (nearest == INT64_MAX)
		(void)uv_timer_stop(&c->deadline_timer);
	else
		(void)uv_timer_start(&c->deadline_timer, on_deadline,
		                     nearest > now ? (uint64_t)(nearest - now) / 1000000 + 1 : 0,
		                     0);
}

static void free_watch(uv_handle_t *handle)
{
	free(container_of((uv_poll_t *)handle, struct watch, poll));
}

static void stop_waiting(struct control_reply *r)
{
	struct control *c = r->control;

	if (!r->suspended)
		return;
	r->suspended = false;
	if (r->watch) {
		r->watch->reply = NULL;
		(void)uv_poll_stop(&r->watch->poll);
		uv_close((uv_handle_t *)&r->watch->poll, free_watch);
		r->watch = NULL;
	}
	if (r->previous)
		r->previous->next = r->next;
	else
		c->waiting = r->next;
	if (r->next)
		r->next->previous = r->previous;
	arm_deadline(c);
	MHD_resume_connection(r->connection);
	/* The library takes it up when it runs next; not from in here, where an operation may be.
	 */
	c->again = true;
	if (!c->running)
		(void)uv_timer_start(&c->http_timer, on_http_timer, 0, 0);
}

void control_reply_send(struct control_reply *reply, unsigned code, json_t *body)
{
	check(reply->begun && reply->code == 0);
	reply->code = code;
	reply->answer = body ? body : json_object();
	stop_waiting(reply);
}

void control_reply_error(struct control_reply *reply, unsigned code, const char *fmt, ...)
{
	char text[sizeof(((struct err *)NULL)->text)];
	va_list ap;
	json_t *string;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* A text that was cut inside a character is no UTF-8 any more. */
	for (size_t n = strlen(text); !(string = json_string(text)) && n > 0; n--)
		text[n - 1] = '\0';
	control_reply_send(reply, code, json_pack("{s:o}", "error", string));
}

void control_reply_set(struct control_reply *reply, void *note)
{
	reply->note = note;
}

void *control_reply_get(const struct control_reply *reply)
{
	return reply->note;
}

/* Nobody will answer any more: tells the daemon and ends it here. */
static void give_up(struct control_reply *r, const char *why)
{
	r->control->ops->forget(r->control->arg, r);
	control_reply_error(r, 503, "%s", why);
}

static struct control_reply *find_overdue(const struct control *c, int64_t now_ns)
{
	for (struct control_reply *r = c->waiting; r; r = r->next) {
		if (r->deadline_ns <= now_ns)
			return r;
	}
	return NULL;
}

static void on_deadline(uv_timer_t *timer)
{
	struct control *c = container_of(timer, struct control, deadline_timer);
	struct control_reply *r;

	/* From the start each time: an answer may end other clients' waiting, too. */
	while ((r = find_overdue(c, clock_boot_ns()))) {
		if (r->own_deadline) {
			give_up(r, "the daemon did not answer in time");
		} else {
			r->deadline_ns = INT64_MAX;
			c->ops->timed_out(c->arg, r);
		}
	}
	arm_deadline(c);
}

static void on_client_gone(uv_poll_t *poll, int status, int events)
{
	struct watch *w = container_of(poll, struct watch, poll);

	(void)events;
	if (w->reply && (status < 0 || events & UV_DISCONNECT))
		give_up(w->reply, "the client went away");
}

static void wait_for_answer(struct control_reply *r, int64_t timeout_ns)
{
	struct control *c = r->control;
	const union MHD_ConnectionInfo *info =
	        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	int64_t now = clock_boot_ns();

	r->own_deadline = r->verb != CONTROL_WAIT && r->verb != CONTROL_VERIFY;
	if (r->own_deadline)
		timeout_ns = CONTROL_DEADLINE_NS;
	r->deadline_ns = timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns;
	r->suspended = true;
	r->previous = NULL;
	r->next = c->waiting;
	if (r->next)
		r->next->previous = r;
	c->waiting = r;
	MHD_suspend_connection(r->connection);
	r->watch = mem_alloc(sizeof(*r->watch));
	r->watch->reply = r;
	if (!info || uv_poll_init(c->loop, &r->watch->poll, info->connect_fd) < 0) {
		free(TAKE(r->watch)); /* its hang-up is noticed when the answer is written */
	} else {
		(void)uv_poll_start(&r->watch->poll, UV_DISCONNECT, on_client_gone);
	}
	arm_deadline(c);
}

/* --- HTTP --- */

static enum MHD_Result queue_json(struct MHD_Connection *connection, unsigned code, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT);
	struct MHD_Response *response;
	enum MHD_Result rc;

	check(text);
	response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	check(response);
	(void)MHD_add_response_header(response, "Content-Type", "application/json");
	rc = MHD_queue_response(connection, code, response);
	MHD_destroy_response(response);
	return rc;
}

static enum MHD_Result queue_error(struct MHD_Connection *connection, unsigned code,
                                   const char *text)
{
	json_t *body = json_pack("{s:s}", "error", text);
	enum MHD_Result rc = queue_json(connection, code, body);

	json_decref(body);
	return rc;
}

static enum MHD_Result call_operation(struct control_reply *r)
{
	struct control *c = r->control;
	struct control_parsed parsed;
	struct err err = {0};
	int64_t timeout_ns;

	if (c->stopped)
		return queue_error(r->connection, 503, "the daemon is ending");
	if (control_parse(&parsed, r->verb, buf_bytes(&r->body), &err) < 0)
		return queue_error(r->connection, 400, err.text);
	timeout_ns = parsed.request.timeout_ns;
	r->begun = true;
	c->ops->op[r->verb](c->arg, &parsed.request, r);
	control_parsed_done(&parsed);
	if (r->code)
		return queue_json(r->connection, r->code, r->answer);
	if (c->stopped)
		return queue_error(r->connection, 503, "the daemon is ending");
	wait_for_answer(r, timeout_ns);
	return MHD_YES;
}

/* Called with the headers, for each piece of the body, at its end, and after a resume. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state)
{
	struct control_reply *r = *state;
	unsigned code;

	(void)version;
	if (!r) {
		r = mem_alloc(sizeof(*r));
		r->control = arg;
		r->connection = connection;
		buf_init(&r->body, CONTROL_BODY_MAX);
		*state = r;
		return MHD_YES;
	}
	if (*size > 0) {
		buf_add(&r->body, data, *size);
		*size = 0;
		return MHD_YES;
	}
	if (r->code)
		return queue_json(connection, r->code, r->answer);
	code = control_find_verb(method, url, &r->verb);
	if (code)
		return queue_error(connection, code,
		                   code == 405 ? "wrong method" : "there is no such request");
	if (r->body.overflowed)
		return queue_error(connection, 413, "the body is larger than 64 KiB");
	return call_operation(r);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why)
{
	struct control_reply *r = *state;

	(void)arg, (void)connection, (void)why;
	if (!r)
		return;
	json_decref(r->answer);
	buf_done(&r->body);
	free(r);
	*state = NULL;
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **state,
                          enum MHD_ConnectionNotificationCode what)
{
	struct control *c = arg;

	(void)connection, (void)state;
	if (what == MHD_CONNECTION_NOTIFY_CLOSED)
		c->clients--;
}

/* --- the loop's side --- */

static void on_closed(uv_handle_t *handle)
{
	struct control *c = handle->data;

	if (--c->closing > 0)
		return;
	free(c->path);
	free(c);
}

static void close_handle(struct control *c, uv_handle_t *handle)
{
	handle->data = c;
	c->closing++;
	uv_close(handle, on_closed);
}

/* Everybody has been answered. Once to take up the resumed clients, once to write to them, once to
 * see them through: what a client gets here fits into a local socket. */
static void finish(struct control *c)
{
	for (int i = 0; i < 3; i++)
		(void)MHD_run(c->http);
	(void)uv_poll_stop(&c->http_poll);
	(void)uv_poll_stop(&c->listen_poll);
	MHD_stop_daemon(TAKE(c->http));
	(void)close(c->listen_fd);
	close_handle(c, (uv_handle_t *)&c->listen_poll);
	close_handle(c, (uv_handle_t *)&c->http_poll);
	close_handle(c, (uv_handle_t *)&c->http_timer);
	close_handle(c, (uv_handle_t *)&c->deadline_timer);
}

static void on_http_timer(uv_timer_t *timer)
{
	run_http(container_of(timer, struct control, http_timer));
}

static void on_http_ready(uv_poll_t *poll, int status, int events)
{
	(void)status, (void)events;
	run_http(container_of(poll, struct control, http_poll));
}

static void run_http(struct control *c)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (!c->http || c->running)
		return;
	c->running = true;
	do {
		c->again = false;
		(void)MHD_run(c->http);
	} while (c->again);
	c->running = false;
	if (c->stopped) {
		finish(c);
		return;
	}
	if (MHD_get_timeout(c->http, &ms) == MHD_YES)
		(void)uv_timer_start(&c->http_timer, on_http_timer, ms, 0);
	else
		(void)uv_timer_stop(&c->http_timer);
}

static void on_connect(uv_poll_t *poll, int status, int events)
{
	struct control *c = container_of(poll, struct control, listen_poll);

	(void)status, (void)events;
	for (;;) {
		int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct sockaddr nobody = {.sa_family = AF_UNIX};

		if (fd < 0)
			break;
		if (c->clients >= CONTROL_CLIENTS_MAX || !control_may_talk(fd)) {
			(void)close(fd);
			continue;
		}
		c->clients++;
		/* Closes the descriptor if it fails. */
		if (MHD_add_connection(c->http, fd, &nobody, sizeof(nobody)) != MHD_YES)
			c->clients--;
	}
	run_http(c);
}

static int start_http(struct control *c, struct err *err)
{
	const union MHD_DaemonInfo *info;

	c->http = MHD_start_daemon(
	        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
	        on_request, c, MHD_OPTION_NOTIFY_COMPLETED, on_completed, c,
	        MHD_OPTION_NOTIFY_CONNECTION, on_connection, c, MHD_OPTION_CONNECTION_TIMEOUT,
	        (unsigned)(CONTROL_DEADLINE_NS / 1000000000), MHD_OPTION_CONNECTION_LIMIT,
	        (unsigned)CONTROL_CLIENTS_MAX + 1, MHD_OPTION_END);
	if (!c->http)
		return err_set(err, EIO, "the HTTP library does not start");
	info = MHD_get_daemon_info(c->http, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info || uv_poll_init(c->loop, &c->http_poll, info->epoll_fd) < 0) {
		MHD_stop_daemon(TAKE(c->http));
		return err_set(err, EIO, "the HTTP library gives no descriptor to poll");
	}
	return 0;
}

int control_start(struct control **ret, uv_loop_t *loop, const char *socket_path,
                  const struct control_ops *ops, void *arg, struct err *err)
{
	struct control *c = mem_alloc(sizeof(*c));
	int rc;

	for (int i = 0; i < CONTROL_VERBS; i++)
		check(ops->op[i]);
	c->loop = loop;
	c->ops = ops;
	c->arg = arg;
	c->path = mem_strdup(socket_path);
	rc = control_listen(socket_path, &c->listen_fd, err);
	if (rc == 0) {
		rc = start_http(c, err);
		if (rc < 0)
			(void)close(c->listen_fd);
	}
	if (rc < 0) {
		free(c->path);
		free(c);
		return err_wrap(err, "control socket");
	}
	check(uv_poll_init(loop, &c->listen_poll, c->listen_fd) == 0);
	check(uv_timer_init(loop, &c->http_timer) == 0);
	check(uv_timer_init(loop, &c->deadline_timer) == 0);
	check(uv_poll_start(&c->listen_poll, UV_READABLE, on_connect) == 0);
	check(uv_poll_start(&c->http_poll, UV_READABLE, on_http_ready) == 0);
	*ret = c;
	return 0;
}

void control_stop(struct control *c)
{
	if (!c)
		return;
	while (c->waiting)
		give_up(c->waiting, "the daemon is ending");
	c->stopped = true;
	(void)unlink(c->path); /* a left-over is replaced by the next start */
	/* Called by an operation: the HTTP library is busy with it, run_http() goes on. */
	if (!c->running)
		finish(c);
}
