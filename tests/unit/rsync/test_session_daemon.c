/*
 * The session against the installed `rsync --daemon` over loopback TCP. Each connection gets a
 * daemon of its own with the accepted socket as standard input, as inetd would do: no port to
 * guess, nothing to wait for.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/fd.h"
#include "base/mem.h"
#include "talk.h"

extern char **environ;

static void write_config(struct talk *t)
{
	char text[4096];
	int n = snprintf(text, sizeof(text),
	                 "use chroot = no\nreverse lookup = no\nuid = root\ngid = root\n"
	                 "lock file = %s/lock\nlog file = %s/log\nmax verbosity = 0\n"
	                 "timeout = 77\n"
	                 "[open]\n path = %s/open\n read only = no\n"
	                 "[secret]\n path = %s/open\n read only = no\n auth users = joe\n"
	                 " secrets file = %s/secrets\n"
	                 "[readonly]\n path = %s/open\n read only = yes\n"
	                 "[one]\n path = %s/open\n read only = no\n max connections = 1\n"
	                 "[missing]\n path = %s/nowhere\n read only = no\n"
	                 "[norefuse]\n path = %s/open\n read only = no\n"
	                 " refuse options = remove-source-files\n"
	                 "[plain]\n path = %s/open\n read only = no\n"
	                 " refuse options = compress\n"
	                 "[noxattrs]\n path = %s/open\n read only = no\n"
	                 " refuse options = xattrs\n"
	                 "[failing]\n path = %s/open\n read only = no\n"
	                 " pre-xfer exec = /bin/false\n",
	                 t->dir, t->dir, t->dir, t->dir, t->dir, t->dir, t->dir, t->dir, t->dir,
	                 t->dir, t->dir, t->dir);

	talk_write(t, "conf", (struct bytes){text, (size_t)n});
	talk_write(t, "secrets", BYTES("joe:pass word\n"));
	assert_int_equal(chmod(talk_path(t, "secrets"), 0600), 0);
	assert_int_equal(mkdir(talk_path(t, "open"), 0755), 0);
}

static int setup(void **state)
{
	struct talk *t = mem_alloc(sizeof(*t));

	talk_init(t);
	write_config(t);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	talk_done(*state);
	free(*state);
	return 0;
}

/* A connected pair of loopback TCP sockets. */
static void tcp_pair(int fd[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	assert_true(l >= 0);
	assert_int_equal(bind(l, (struct sockaddr *)&a, n), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&a, &n), 0);
	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd[0], (struct sockaddr *)&a, n), 0);
	fd[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd[1] >= 0);
	(void)setsockopt(fd[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	close(l);
}

static int start_daemon(struct talk *t, pid_t *pid)
{
	char config[128];
	char *argv[] = {"rsync", "--daemon", config, NULL};
	posix_spawn_file_actions_t actions;
	int fd[2];

	(void)snprintf(config, sizeof(config), "--config=%s/conf", t->dir);
	tcp_pair(fd);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd[1], 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	assert_int_equal(posix_spawnp(pid, "rsync", &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(fd[1]);
	return fd[0];
}

static void login(struct talk *t, enum session_class class, const struct session_options *o,
                  const struct session_login *l)
{
	char path[64];
	int fd = start_daemon(t, &t->pid);

	(void)snprintf(path, sizeof(path), "%s/", l->module);
	talk_open_fd(t, fd, SESSION_DAEMON, class, o, path, l);
}

static void assert_refused(struct talk *t, const struct session_login *l, enum session_fault fault,
                           const char *words)
{
	struct session_options o = talk_options();

	login(t, SESSION_QUICK, &o, l);
	if (session_state(t->s) == SESSION_READY) {
		struct talk_file f[] = {talk_file("x", "x")};

		talk_list(t, f, 1, NULL, 0);
	}
	assert_int_equal(session_state(t->s), SESSION_FAILED);
	if (session_fault(t->s) != fault)
		print_message("# refused: %s\n", session_error(t->s)->text);
	assert_int_equal(session_fault(t->s), fault);
	assert_non_null(strstr(session_error(t->s)->text, words));
	talk_close(t);
}

static void push_to(struct talk *t, const struct session_login *l, const struct session_options *o)
{
	struct talk_file f[] = {talk_dir("d"), talk_file("d/f", l->module), talk_file("g", "g")};

	login(t, SESSION_QUICK, o, l);
	if (session_state(t->s) == SESSION_FAILED)
		print_message("# login: %s\n", session_error(t->s)->text);
	assert_int_equal(session_state(t->s), SESSION_READY);
	talk_list(t, f, ARRAY_LEN(f), NULL, 0);
	assert_int_equal(session_state(t->s), SESSION_CLOSED);
	assert_int_equal(f[1].successes, !o->no_ack);
	talk_close(t);
	talk_assert_content(t, "open/d/f", f[1].content);
	assert_int_equal(unlink(talk_path(t, "open/d/f")), 0);
}

static void open_module_takes_a_push_in_every_protocol(void **state)
{
	struct session_login l = {.module = "open"};

	for (int protocol = 30; protocol <= 32; protocol++) {
		struct session_options o = talk_options();

		o.protocol_max = protocol;
		push_to(*state, &l, &o);
	}
}

static void daemon_tells_its_timeout(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct session_login l = {.module = "open"};
	struct talk_file f[] = {talk_file("g", "g")};

	o.timeout_s = 20;
	login(t, SESSION_QUICK, &o, &l);
	assert_int_equal(session_state(t->s), SESSION_READY);
	talk_list(t, f, 1, NULL, 0);
	assert_true(session_peer_timeout_s(t->s) > 0 && session_peer_timeout_s(t->s) <= 77);
}

static void deletion_in_a_module_takes_only_what_is_named(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct session_login l = {.module = "open"};
	struct talk_file f[] = {talk_dir("")};
	struct session_risk risks[] = {{BYTES("gone*"), false}, {BYTES("d"), true}};

	talk_write(t, "open/gone*", BYTES("x"));
	talk_write(t, "open/gone2", BYTES("x"));
	assert_int_equal(mkdir(talk_path(t, "open/d"), 0755), 0);
	f[0].entry.content_dir = true;
	login(t, SESSION_DELETE, &o, &l);
	assert_int_equal(session_state(t->s), SESSION_READY);
	talk_list(t, f, 1, risks, ARRAY_LEN(risks));
	assert_int_equal(session_state(t->s), SESSION_CLOSED);
	assert_false(talk_exists(t, "open/gone*"));
	assert_false(talk_exists(t, "open/d"));
	assert_true(talk_exists(t, "open/gone2"));
	assert_true(talk_deleted(t, "gone*"));
	assert_true(talk_deleted(t, "d/"));
}

static void right_password_logs_in(void **state)
{
	struct session_login l = {.module = "secret", .user = "joe", .password = "pass word"};

	for (unsigned digest = 1; digest <= 4; digest++)
		for (int protocol = 30; protocol <= 32; protocol++) {
			struct session_options o = talk_options();

			o.min_digest = digest;
			o.protocol_max = protocol;
			push_to(*state, &l, &o);
		}
}

static void wrong_password_is_a_login_fault(void **state)
{
	struct session_login l = {.module = "secret", .user = "joe", .password = "password"};

	assert_refused(*state, &l, SESSION_FAULT_LOGIN, "auth failed");
}

static void missing_password_is_a_login_fault(void **state)
{
	struct session_login l = {.module = "secret"};

	assert_refused(*state, &l, SESSION_FAULT_LOGIN, "asks for a user");
}

static void unknown_module_is_a_login_fault(void **state)
{
	struct session_login l = {.module = "nosuch"};

	assert_refused(*state, &l, SESSION_FAULT_LOGIN, "Unknown module");
}

static void read_only_module_says_so(void **state)
{
	struct session_login l = {.module = "readonly"};

	assert_refused(*state, &l, SESSION_FAULT_READONLY, "read only");
}

static void missing_directory_says_so(void **state)
{
	struct session_login l = {.module = "missing"};

	assert_refused(*state, &l, SESSION_FAULT_MISSING, "chdir failed");
}

static void failing_command_of_the_module_is_told(void **state)
{
	struct session_login l = {.module = "failing"};

	assert_refused(*state, &l, SESSION_FAULT_LOGIN, "pre-xfer exec");
}

static void second_connection_of_one_is_busy(void **state)
{
	struct talk *t = *state, *first = mem_alloc(sizeof(*first));
	struct session_options o = talk_options();
	struct session_login l = {.module = "one"};

	talk_init(first);
	first->fd = start_daemon(t, &first->pid);
	talk_open_fd(first, first->fd, SESSION_DAEMON, SESSION_QUICK, &o, "one/", &l);
	assert_int_equal(session_state(first->s), SESSION_READY);
	assert_refused(t, &l, SESSION_FAULT_BUSY, "max connections");
	talk_list(first, NULL, 0, NULL, 0);
	talk_done(first);
	free(first);
	push_to(t, &l, &o);
}

static void refused_option_is_named_and_can_be_left_out(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct session_login l = {.module = "norefuse"};
	struct talk_file f[] = {talk_file("x", "x")};

	login(t, SESSION_QUICK, &o, &l);
	if (session_state(t->s) == SESSION_READY)
		talk_list(t, f, 1, NULL, 0);
	assert_int_equal(session_state(t->s), SESSION_FAILED);
	assert_int_equal(session_fault(t->s), SESSION_FAULT_REFUSED);
	assert_string_equal(session_refused_option(t->s), "remove-source-files");
	talk_close(t);
	o.no_ack = true;
	push_to(t, &l, &o);
}

static void assert_option_refused(struct talk *t, const char *module,
                                  const struct session_options *o, const char *option)
{
	struct session_login l = {.module = module};
	struct talk_file f[] = {talk_file("x", "x")};

	login(t, SESSION_QUICK, o, &l);
	if (session_state(t->s) == SESSION_READY)
		talk_list(t, f, 1, NULL, 0);
	assert_int_equal(session_state(t->s), SESSION_FAILED);
	assert_int_equal(session_fault(t->s), SESSION_FAULT_REFUSED);
	assert_string_equal(session_refused_option(t->s), option);
	talk_close(t);
}

static void compression_is_settled_in_a_module(void **state)
{
	struct session_login l = {.module = "open"};

	for (enum session_compress i = SESSION_COMPRESS_YES; i < SESSION_COMPRESS_KINDS; i++)
		for (int protocol = 30; protocol <= 32; protocol++) {
			struct session_options o = talk_options();

			o.compress = i;
			o.protocol_max = protocol;
			push_to(*state, &l, &o);
		}
}

/* What the first session settled, and what the second one then says before it is asked. */
static struct session_past settle(struct talk *t, const struct session_login *l,
                                  const struct session_options *o)
{
	struct session_past past;

	login(t, SESSION_QUICK, o, l);
	assert_int_equal(session_state(t->s), SESSION_READY);
	past = session_settled(t->s);
	talk_list(t, NULL, 0, NULL, 0);
	talk_close(t);
	return past;
}

static void what_was_settled_before_is_said_ahead_and_holds(void **state)
{
	struct session_login open = {.module = "open"};
	struct session_login secret = {"secret", "joe", "pass word"};

	for (enum session_compress i = SESSION_COMPRESS_NO; i < SESSION_COMPRESS_KINDS; i++)
		for (int protocol = 30; protocol <= 32; protocol++) {
			struct session_options o = talk_options();

			o.compress = i;
			o.protocol_max = protocol;
			o.past = settle(*state, &open, &o);
			assert_int_equal(o.past.protocol, protocol);
			push_to(*state, &open, &o);
			push_to(*state, &secret, &o);
		}
}

/* Nothing but the greeting and the challenge is waited for. */
static void arguments_go_with_the_response_of_one_who_was_let_in_before(void **state)
{
	struct session_login l = {"secret", "joe", "pass word"};

	for (int known = 0; known < 2; known++) {
		struct session_options o = talk_options();
		struct session *s;

		if (known)
			o.past = settle(*state, &l, &o);
		s = session_new(SESSION_DAEMON, SESSION_QUICK, &o, "secret/", &l);
		session_sent(s, session_output(s).n);
		assert_int_equal(
		        session_feed(s, BYTES("@RSYNCD: 32.0 sha512 md5\n@RSYNCD: AUTHREQD c\n")),
		        0);
		assert_int_equal(memmem(session_output(s).p, session_output(s).n, "--server", 8) !=
		                         NULL,
		                 known);
		assert_int_equal(session_feed(s, BYTES("@RSYNCD: OK\n")), 0);
		assert_non_null(memmem(session_output(s).p, session_output(s).n, "--server", 8));
		assert_int_equal(session_state(s), SESSION_SETUP);
		session_free(s);
	}
}

static void wrong_password_is_still_a_login_fault_for_one_who_was_let_in_before(void **state)
{
	struct session_login l = {"secret", "joe", "pass word"};
	struct session_options o = talk_options();
	struct talk *t = *state;

	o.past = settle(t, &l, &o);
	l.password = "password";
	login(t, SESSION_QUICK, &o, &l);
	assert_int_equal(session_state(t->s), SESSION_FAILED);
	assert_int_equal(session_fault(t->s), SESSION_FAULT_LOGIN);
	talk_close(t);
}

static void server_that_settles_on_something_else_by_now_is_left(void **state)
{
	struct session_login l = {.module = "open"};
	struct session_options o = talk_options();
	struct session_past past;
	struct talk *t = *state;

	o.compress = SESSION_COMPRESS_YES;
	past = settle(t, &l, &o);
	for (int change = 0; change < 2; change++) {
		o.past = past;
		if (change == 0)
			o.past.checksum++;
		else
			o.past.compress = SESSION_COMPRESS_ZLIBX;
		login(t, SESSION_QUICK, &o, &l);
		assert_int_equal(session_state(t->s), SESSION_FAILED);
		assert_int_equal(session_fault(t->s), SESSION_FAULT_PROTOCOL);
		assert_non_null(strstr(session_error(t->s)->text, "another one than before"));
		talk_close(t);
	}
	assert_false(talk_exists(t, "open/g"));
}

/* A daemon that refuses a letter reads none of those behind it, so it looks like one that is too
 * old for a choice: it is heard to the end. */
static void refusal_is_not_taken_for_age(void **state)
{
	struct session_options o = talk_options();
	struct session_login l = {.module = "plain"};

	for (enum session_compress i = SESSION_COMPRESS_YES; i < SESSION_COMPRESS_KINDS; i++) {
		o.compress = i;
		assert_option_refused(*state, "plain", &o, "compress");
	}
	o.compress = SESSION_COMPRESS_NO;
	push_to(*state, &l, &o);
	o.compress = SESSION_COMPRESS_YES;
	o.xattrs = true;
	assert_option_refused(*state, "noxattrs", &o, "xattrs");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(open_module_takes_a_push_in_every_protocol, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(daemon_tells_its_timeout, setup, teardown),
	        cmocka_unit_test_setup_teardown(deletion_in_a_module_takes_only_what_is_named,
	                                        setup, teardown),
	        cmocka_unit_test_setup_teardown(right_password_logs_in, setup, teardown),
	        cmocka_unit_test_setup_teardown(wrong_password_is_a_login_fault, setup, teardown),
	        cmocka_unit_test_setup_teardown(missing_password_is_a_login_fault, setup, teardown),
	        cmocka_unit_test_setup_teardown(unknown_module_is_a_login_fault, setup, teardown),
	        cmocka_unit_test_setup_teardown(read_only_module_says_so, setup, teardown),
	        cmocka_unit_test_setup_teardown(missing_directory_says_so, setup, teardown),
	        cmocka_unit_test_setup_teardown(failing_command_of_the_module_is_told, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(second_connection_of_one_is_busy, setup, teardown),
	        cmocka_unit_test_setup_teardown(refused_option_is_named_and_can_be_left_out, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(compression_is_settled_in_a_module, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(what_was_settled_before_is_said_ahead_and_holds,
	                                        setup, teardown),
	        cmocka_unit_test_setup_teardown(
	                arguments_go_with_the_response_of_one_who_was_let_in_before, setup,
	                teardown),
	        cmocka_unit_test_setup_teardown(
	                wrong_password_is_still_a_login_fault_for_one_who_was_let_in_before, setup,
	                teardown),
	        cmocka_unit_test_setup_teardown(
	                server_that_settles_on_something_else_by_now_is_left, setup, teardown),
	        cmocka_unit_test_setup_teardown(refusal_is_not_taken_for_age, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
