/* The control API over its unix socket: server and client in one loop, no thread. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "daemon/control.h"

struct fixture {
	char dir[64], path[96];
	uv_loop_t loop;
	struct control *control;
	/* What the operations saw. */
	struct control_reply *kept;
	bool keep; /* do not answer */
	bool stop; /* end the server inside the operation */
	int calls, timed_out, forgotten;
	char seen[512];
};

static void op_note(void *arg, const struct control_request *q, struct control_reply *reply)
{
	struct fixture *f = arg;

	f->calls++;
	(void)snprintf(f->seen, sizeof(f->seen), "%s jobs=%zu%s%s id=%llu timeout=%lld%s%s",
	               control_verb_path(q->verb), q->job_count, q->job_count ? ":" : "",
	               q->job_count ? q->jobs[0] : "", (unsigned long long)q->id,
	               q->timeout_ns == INT64_MAX ? -1LL : (long long)q->timeout_ns,
	               q->repair ? " repair" : "", q->checksum ? " checksum" : "");
	if (f->keep) {
		f->kept = reply;
		control_reply_set(reply, f);
		return;
	}
	control_reply_send(reply, 200, json_pack("{s:s}", "did", control_verb_path(q->verb)));
	if (f->stop)
		control_stop(TAKE(f->control));
}

static void op_timed_out(void *arg, struct control_reply *reply)
{
	struct fixture *f = arg;

	f->timed_out++;
	assert_ptr_equal(reply, f->kept);
	f->kept = NULL;
	control_reply_send(reply, 504, json_pack("{s:s}", "settled", "pending"));
}

static void op_forget(void *arg, struct control_reply *reply)
{
	struct fixture *f = arg;

	f->forgotten++;
	assert_ptr_equal(reply, f->kept);
	assert_ptr_equal(control_reply_get(reply), f);
	f->kept = NULL;
}

static const struct control_ops ops = {
        .op = {op_note, op_note, op_note, op_note, op_note, op_note, op_note, op_note, op_note,
               op_note, op_note, op_note},
        .timed_out = op_timed_out,
        .forget = op_forget,
};

static int set_up(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));
	struct err err = {0};

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/lockstep-control-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	(void)snprintf(f->path, sizeof(f->path), "%s/run/control.sock", f->dir);
	(void)uv_loop_init(&f->loop);
	if (control_start(&f->control, &f->loop, f->path, &ops, f, &err) != 0)
		fail_msg("%s", err.text);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	autofree char *run = mem_printf("%s/run", f->dir);

	control_stop(f->control);
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	assert_int_equal(rmdir(run), 0);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static int dial(struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

struct talk {
	uv_poll_t poll;
	int fd;
	bool over;
	struct buf answer;
};

static void on_answer(uv_poll_t *poll, int status, int events)
{
	struct talk *t = container_of(poll, struct talk, poll);
	char piece[4096];
	ssize_t n = read(t->fd, piece, sizeof(piece));

	(void)status, (void)events;
	if (n > 0)
		buf_add(&t->answer, piece, (size_t)n);
	else if (n == 0 || errno != EAGAIN)
		t->over = true;
}

static void begin_talk(struct fixture *f, struct talk *t, const char *method, const char *path,
                       const char *body)
{
	autofree char *text = mem_printf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	                                 "Content-Length: %zu\r\n\r\n%s",
	                                 method, path, strlen(body), body);

	*t = (struct talk){.fd = dial(f)};
	buf_init(&t->answer, 1 << 20);
	assert_int_equal(write(t->fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(uv_poll_init(&f->loop, &t->poll, t->fd), 0);
	assert_int_equal(uv_poll_start(&t->poll, UV_READABLE, on_answer), 0);
}

/* Runs until the server has closed; returns the status line's code. */
static int end_talk(struct fixture *f, struct talk *t)
{
	int code = 0;

	while (!t->over)
		(void)uv_run(&f->loop, UV_RUN_ONCE);
	(void)uv_poll_stop(&t->poll);
	uv_close((uv_handle_t *)&t->poll, NULL);
	(void)uv_run(&f->loop, UV_RUN_NOWAIT);
	(void)close(t->fd);
	buf_add(&t->answer, "", 1);
	if (sscanf(t->answer.p, "HTTP/1.1 %d", &code) != 1)
		code = 0;
	return code;
}

static int ask(struct fixture *f, const char *method, const char *path, const char *body,
               const char *part)
{
	struct talk t;
	int code;

	begin_talk(f, &t, method, path, body);
	code = end_talk(f, &t);
	if (part && !strstr(t.answer.p, part))
		fail_msg("%s %s: %s, expected %s", method, path, t.answer.p, part);
	buf_done(&t.answer);
	return code;
}

static void each_verb_reaches_its_operation(void **state)
{
	struct fixture *f = *state;

	for (int v = 0; v < CONTROL_VERBS; v++) {
		bool post = control_verb_is_post((enum control_verb)v);
		const char *path = control_verb_path((enum control_verb)v);
		const char *body = v == CONTROL_APPROVE ? "{\"id\":3,\"job\":\"a.1\"}" : "";

		assert_int_equal(ask(f, post ? "POST" : "GET", path, body, path), 200);
		assert_int_equal(ask(f, post ? "GET" : "POST", path, "", "wrong method"), 405);
	}
	assert_int_equal(f->calls, CONTROL_VERBS);
	assert_int_equal(ask(f, "GET", "/v2/status", "", "no such request"), 404);
}

static void members_arrive_as_given(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
	        ask(f, "POST", "/v1/wait", "{\"timeout_ms\":1500,\"jobs\":[\"a.1\",\"b\"]}", NULL),
	        200);
	assert_string_equal(f->seen, "/v1/wait jobs=2:a.1 id=0 timeout=1500000000");
	assert_int_equal(ask(f, "POST", "/v1/verify", "{\"repair\":true,\"checksum\":true}", NULL),
	                 200);
	assert_string_equal(f->seen, "/v1/verify jobs=0 id=0 timeout=-1 repair checksum");
	assert_int_equal(ask(f, "POST", "/v1/approve", "{\"id\":7}", NULL), 200);
	assert_string_equal(f->seen, "/v1/approve jobs=0 id=7 timeout=-1");
}

static void bad_bodies_are_refused(void **state)
{
	static const char *const bad[] = {
	        "{",
	        "[]",
	        "{\"jobs\":3}",
	        "{\"jobs\":[3]}",
	        "{\"x\":1}",
	        "{\"id\":1}",
	        "{\"timeout_ms\":-1}",
	        "{\"timeout_ms\":\"1\"}",
	        "{\"jobs\":[],\"jobs\":[]}",
	        "{\"timeout_ms\":9223372036854775807}",
	        "\xff",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(ask(f, "POST", "/v1/wait", bad[i], "\"error\":"), 400);
	assert_int_equal(ask(f, "POST", "/v1/approve", "{}", "\\\"id\\\" is missing"), 400);
	assert_int_equal(ask(f, "POST", "/v1/approve", "{\"id\":-1}", "whole number"), 400);
	assert_int_equal(f->calls, 0);
}

static void large_body_is_refused(void **state)
{
	struct fixture *f = *state;
	autofree char *body = mem_alloc(CONTROL_BODY_MAX + 2);

	memset(body, ' ', CONTROL_BODY_MAX + 1);
	assert_int_equal(ask(f, "POST", "/v1/wait", body, "larger than 64 KiB"), 413);
	assert_int_equal(f->calls, 0);
}

static void late_answer_reaches_the_client(void **state)
{
	struct fixture *f = *state;
	struct talk t;

	f->keep = true;
	begin_talk(f, &t, "POST", "/v1/wait", "");
	while (!f->kept)
		(void)uv_run(&f->loop, UV_RUN_ONCE);
	f->keep = false;
	/* Others are served meanwhile. */
	assert_int_equal(ask(f, "GET", "/v1/status", "", NULL), 200);
	control_reply_send(f->kept, 200, json_pack("{s:s}", "settled", "yes"));
	assert_int_equal(end_talk(f, &t), 200);
	assert_non_null(strstr(t.answer.p, "{\"settled\":\"yes\"}"));
	assert_int_equal(f->forgotten, 0);
	buf_done(&t.answer);
}

static void error_text_may_be_any_bytes(void **state)
{
	struct fixture *f = *state;
	struct talk t;

	f->keep = true;
	begin_talk(f, &t, "POST", "/v1/reload", "");
	while (!f->kept)
		(void)uv_run(&f->loop, UV_RUN_ONCE);
	control_reply_error(f->kept, 409, "a\"b\xc3");
	assert_int_equal(end_talk(f, &t), 409);
	assert_non_null(strstr(t.answer.p, "{\"error\":\"a\\\"b\"}"));
	buf_done(&t.answer);
}

static void timeout_is_answered_with_what_remains(void **state)
{
	struct fixture *f = *state;

	f->keep = true;
	assert_int_equal(ask(f, "POST", "/v1/wait", "{\"timeout_ms\":1}", "\"pending\""), 504);
	assert_int_equal(f->timed_out, 1);
	assert_int_equal(f->forgotten, 0);
}

static void client_that_leaves_is_forgotten(void **state)
{
	struct fixture *f = *state;
	struct talk t;

	f->keep = true;
	begin_talk(f, &t, "POST", "/v1/wait", "");
	while (!f->kept)
		(void)uv_run(&f->loop, UV_RUN_ONCE);
	(void)uv_poll_stop(&t.poll);
	uv_close((uv_handle_t *)&t.poll, NULL);
	(void)close(t.fd);
	while (!f->forgotten)
		(void)uv_run(&f->loop, UV_RUN_ONCE);
	assert_null(f->kept);
	f->keep = false;
	assert_int_equal(ask(f, "GET", "/v1/status", "", NULL), 200);
	buf_done(&t.answer);
}

static void stop_answers_who_waits(void **state)
{
	struct fixture *f = *state;
	struct talk t;

	f->keep = true;
	begin_talk(f, &t, "POST", "/v1/wait", "");
	while (!f->kept)
		(void)uv_run(&f->loop, UV_RUN_ONCE);
	control_stop(TAKE(f->control));
	assert_int_equal(end_talk(f, &t), 503);
	assert_non_null(strstr(t.answer.p, "the daemon is ending"));
	assert_int_equal(f->forgotten, 1);
	assert_int_equal(access(f->path, F_OK), -1);
	buf_done(&t.answer);
}

static void stop_inside_an_operation_still_answers(void **state)
{
	struct fixture *f = *state;

	f->stop = true;
	assert_int_equal(ask(f, "POST", "/v1/stop", "", "/v1/stop"), 200);
	assert_null(f->control);
}

static void too_many_clients_are_turned_away(void **state)
{
	struct fixture *f = *state;
	int fds[CONTROL_CLIENTS_MAX];
	struct talk t;

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial(f);
	begin_talk(f, &t, "GET", "/v1/status", "");
	assert_int_equal(end_talk(f, &t), 0);
	buf_done(&t.answer);
	assert_int_equal(f->calls, 0);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		(void)close(fds[i]);
	while (ask(f, "GET", "/v1/status", "", NULL) != 200)
		;
}

static void socket_is_private(void **state)
{
	struct fixture *f = *state;
	autofree char *run = mem_printf("%s/run", f->dir);
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(stat(run, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
}

/* Nothing left to do in the loop but to wait for a client. */
static void idle_server_needs_no_timer(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, "GET", "/v1/status", "", NULL), 200);
	while (uv_run(&f->loop, UV_RUN_NOWAIT) && uv_backend_timeout(&f->loop) == 0)
		;
	assert_int_equal(uv_backend_timeout(&f->loop), -1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(each_verb_reaches_its_operation),
	        TEST(members_arrive_as_given),
	        TEST(bad_bodies_are_refused),
	        TEST(large_body_is_refused),
	        TEST(late_answer_reaches_the_client),
	        TEST(error_text_may_be_any_bytes),
	        TEST(timeout_is_answered_with_what_remains),
	        TEST(client_that_leaves_is_forgotten),
	        TEST(stop_answers_who_waits),
	        TEST(stop_inside_an_operation_still_answers),
	        TEST(too_many_clients_are_turned_away),
	        TEST(socket_is_private),
	        TEST(idle_server_needs_no_timer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
