#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

static void assert_gone(struct rig *r, enum trouble trouble)
{
	rig_wait_gone(r);
	assert_int_equal(r->gone.session, r->session);
	if (r->gone.trouble != trouble)
		fail_msg("trouble %u, expected %u: %s", r->gone.trouble, trouble, r->gone_text);
}

/* A file system of its own over dst, seen only by this process and its children. */
static void mount_on_dst(struct rig *r, const char *options)
{
	autofree char *dst = mem_printf("%s/dst", r->dir);

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", dst, "tmpfs", 0, options))
		skip();
}

static void remount_dst_readonly(struct rig *r)
{
	autofree char *dst = mem_printf("%s/dst", r->dir);

	assert_int_equal(mount(NULL, dst, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
}

static void unmount_dst(struct rig *r)
{
	autofree char *dst = mem_printf("%s/dst", r->dir);

	(void)umount2(dst, MNT_DETACH);
}

static void full_target_is_trouble_of_the_target(void **state)
{
	struct rig *r = *state;

	mount_on_dst(r, "size=256k");
	rig_fill(r, "src/big", 2u << 20);
	rig_write(r, "src/a", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_batch(r, (struct wire_item[]){ITEM("a", 0), ITEM("big", 0)}, 2);
	rig_wait_done(r);
	assert_int_equal(r->results_n, 2);
	assert_result(r, 1, WIRE_FAILED);
	assert_int_equal(r->items[1].trouble, TROUBLE_FULL);
	assert_non_null(strstr(r->texts[1], "No space left on device"));
	/* The batch tells the same, not the server's last words ("error in file IO"). */
	assert_true(r->done.trouble == TROUBLE_NONE || r->done.trouble == TROUBLE_FULL);
	assert_true(r->done.trouble == TROUBLE_NONE || strstr(r->done_text, "No space left"));
	rig_wait_gone(r);
	unmount_dst(r);
}

static void readonly_target_is_trouble_of_the_target(void **state)
{
	struct rig *r = *state;

	mount_on_dst(r, "size=1m");
	rig_write(r, "src/a", "x", OLD);
	rig_write(r, "src/d/b", "x", OLD);
	rig_start(r);
	remount_dst_readonly(r);
	rig_connect(r, SESSION_QUICK);
	rig_batch(r, (struct wire_item[]){ITEM("a", 0), ITEM("d/b", 0), ITEM("d", WIRE_ITEM_DIR)},
	          3);
	rig_wait_done(r);
	for (size_t i = 0; i < 3; i++)
		assert_result(r, i, WIRE_FAILED);
	assert_int_equal(r->items[0].trouble, TROUBLE_READONLY);
	assert_int_equal(r->items[2].trouble, TROUBLE_READONLY);
	assert_null(rig_context(r, "d"));
	unmount_dst(r);
}

static void foreign_directory_in_the_way_fails_only_the_file(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a", "x", OLD);
	rig_write(r, "src/b", "x", OLD);
	rig_mkdir(r, "src/d");
	rig_write(r, "dst/a/foreign", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("a", 0), ITEM("b", 0), ITEM("d", WIRE_ITEM_DIR)}, 3);
	assert_result(r, 0, WIRE_FAILED);
	assert_int_equal(r->items[0].trouble, TROUBLE_NONE);
	assert_result(r, 1, WIRE_ACKED);
	assert_result(r, 2, WIRE_ACKED);
	assert_true(rig_exists(r, "dst/a/foreign"));
}

/* Leaves the receiver in the middle of a file: its temporary one is there. */
static void carry_big(struct rig *r)
{
	autoclose int watch = -1;

	r->setup.bwlimit_bytes = 1u << 20;
	rig_fill(r, "src/big", 64u << 20);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	watch = rig_watch(r, "dst");
	rig_batch(r, (struct wire_item[]){ITEM("big", 0)}, 1);
	rig_wait_event(watch);
}

static void receiver_killed_in_mid_file_leaves_unknown(void **state)
{
	struct rig *r = *state;

	carry_big(r);
	rig_signal_server(r, SIGKILL);
	rig_wait_done(r);
	assert_result(r, 0, WIRE_UNKNOWN);
	assert_int_equal(r->done.trouble, TROUBLE_PROTOCOL);
	assert_false(r->done.zombie); /* end of file on our own socketpair */
	assert_gone(r, TROUBLE_PROTOCOL);
	assert_true(r->gone.was_ready);
	/* Only its own session is lost. */
	r->have_gone = false;
	rig_write(r, "src/a", "x", OLD);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("a", 0)}, 1);
	assert_result(r, 0, WIRE_ACKED);
}

static void cancelled_batch_of_a_stalled_receiver_becomes_a_zombie(void **state)
{
	struct rig *r = *state;

	rig_fill(r, "src/big", 4u << 20);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_signal_server(r, SIGSTOP);
	rig_batch(r, (struct wire_item[]){ITEM("big", 0)}, 1);
	rig_sync(r);
	rig_send_id(r, WIRE_CANCEL, r->batch);
	rig_wait_done(r);
	assert_result(r, 0, WIRE_UNKNOWN);
	assert_true(r->done.zombie);
	assert_false(r->have_gone);
	rig_signal_server(r, SIGCONT);
	assert_gone(r, TROUBLE_NONE);
	assert_true(r->gone.zombie_over);
}

/* The receiver holds the socket open and waits for what the generator would ask for. */
static void half_of_a_killed_server_is_ended_and_nothing_waits_for_it(void **state)
{
	struct rig *r = *state;

	carry_big(r);
	assert_int_equal(kill(r->server, SIGKILL), 0);
	rig_send_id(r, WIRE_KILLED, r->session);
	rig_wait_done(r);
	assert_result(r, 0, WIRE_UNKNOWN);
	assert_gone(r, TROUBLE_PROTOCOL);
	/* Its end may have come before our word for it. */
	assert_int_equal(r->gone.zombie_over, r->done.zombie);
}

static void behind_a_relay_only_time_ends_a_zombie(void **state)
{
	struct rig *r = *state;

	r->setup.options.timeout_s = 1;
	r->remote_exit = true;
	carry_big(r);
	rig_signal_server(r, SIGKILL);
	rig_wait_done(r);
	assert_result(r, 0, WIRE_UNKNOWN);
	assert_true(r->done.zombie); /* the end of file was only the relay's */
	assert_gone(r, TROUBLE_PROTOCOL);
	assert_true(r->gone.zombie_over);
}

static void unknown_session_turns_the_batch_away(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a", "x", OLD);
	rig_start(r);
	r->session = 77;
	rig_batch(r, (struct wire_item[]){ITEM("a", 0), ITEM("b", 0)}, 2);
	rig_wait_done(r);
	assert_result(r, 0, WIRE_UNSENT);
	assert_result(r, 1, WIRE_UNSENT);
}

#define SHARED_FILES 40
#define SHARED_BYTES (100u << 10)

/* A session of the class QUICK with a peer of ours; with `name` it is given files to send. */
static int connect_busy(struct rig *r, const char *name)
{
	static const char setup[] = "\x1f\0\0\0\x81\xfe\3md5\1\2\3\4";
	static char paths[2][SHARED_FILES][16];
	struct wire_item items[SHARED_FILES];
	int peer = rig_connect_own(r, SESSION_PIPE, SESSION_QUICK);

	assert_int_equal(send(peer, setup, sizeof(setup) - 1, 0), sizeof(setup) - 1);
	rig_wait_ready(r);
	for (size_t i = 0; name && i < SHARED_FILES; i++) {
		char *path = paths[*name == 'a'][i];

		(void)snprintf(path, sizeof(paths[0][0]), "%s%zu", name, i);
		items[i] = ITEM(path, WIRE_ITEM_UNASKED);
	}
	if (name)
		rig_batch(r, items, SHARED_FILES);
	return peer;
}

static size_t take_what_came(int fd)
{
	static char buffer[64u << 10];
	ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);

	return n > 0 ? (size_t)n : 0;
}

/* The worker asks its newest session first. */
static void bandwidth_is_shared_by_older_sessions_and_idle_ones(void **state)
{
	struct rig *r = *state;
	autoclose int idle = -1, older = -1, newer = -1;
	size_t older_n = 0, newer_n = 0, idle_n = 0;

	for (size_t i = 0; i < SHARED_FILES; i++) {
		autofree char *a = mem_printf("src/a%zu", i), *b = mem_printf("src/b%zu", i);

		rig_fill(r, a, SHARED_BYTES);
		rig_fill(r, b, SHARED_BYTES);
	}
	r->setup.options.timeout_s = 3; /* a sign of life each second */
	r->setup.bwlimit_bytes = 1u << 20;
	rig_start(r);
	idle = connect_busy(r, NULL);
	(void)take_what_came(idle); /* the greeting */
	older = connect_busy(r, "a");
	newer = connect_busy(r, "b");
	while (newer_n < SHARED_FILES * SHARED_BYTES && (newer_n < 1u << 20 || !idle_n)) {
		struct pollfd polled[] = {
		        {.fd = idle, .events = POLLIN},
		        {.fd = older, .events = POLLIN},
		        {.fd = newer, .events = POLLIN},
		};

		assert_true(poll(polled, 3, -1) > 0);
		idle_n += take_what_came(idle);
		older_n += take_what_came(older);
		newer_n += take_what_came(newer);
		if (newer_n < SHARED_BYTES) /* as long as it had no output the older had all */
			older_n = 0;
	}
	assert_true(older_n >= 512u << 10);
	assert_true(idle_n > 0);
}

static void silent_peer_is_given_up_in_the_handshake(void **state)
{
	struct rig *r = *state;
	autoclose int peer = -1;

	r->setup.handshake_timeout_s = 1;
	rig_start(r);
	peer = rig_connect_own(r, SESSION_DAEMON, SESSION_QUICK);
	assert_gone(r, TROUBLE_TIMEOUT);
	assert_false(r->gone.was_ready);
}

static void garbage_in_the_handshake_is_a_protocol_trouble(void **state)
{
	struct rig *r = *state;
	autoclose int peer = -1;

	rig_start(r);
	peer = rig_connect_own(r, SESSION_DAEMON, SESSION_QUICK);
	assert_int_equal(fd_write_full(peer, "HTTP/1.1 400 Bad Request\r\n\r\n", 28), 0);
	(void)shutdown(peer, SHUT_WR);
	assert_gone(r, TROUBLE_PROTOCOL);
}

static void hang_up_while_idle_ends_the_session(void **state)
{
	struct rig *r = *state;

	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_signal_server(r, SIGKILL);
	assert_gone(r, TROUBLE_PROTOCOL);
	assert_true(r->gone.was_ready);
	assert_false(r->gone.zombie_over);
}

static void idle_session_closes_politely(void **state)
{
	struct rig *r = *state;

	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_send_id(r, WIRE_CLOSE, r->session);
	assert_gone(r, TROUBLE_NONE);
}

static void quit_ends_idle_and_busy_sessions_and_the_process(void **state)
{
	struct rig *r = *state;

	rig_fill(r, "src/big", 4u << 20);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_signal_server(r, SIGSTOP);
	rig_batch(r, (struct wire_item[]){ITEM("big", 0)}, 1);
	rig_sync(r);
	assert_int_equal(rig_quit(r), 0);
	rig_wait_done(r);
	assert_result(r, 0, WIRE_UNKNOWN);
	assert_true(r->done.zombie);
}

static void end_of_the_frame_socket_ends_the_process(void **state)
{
	struct rig *r = *state;
	int status;

	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	(void)shutdown(r->fd, SHUT_WR);
	assert_int_equal(waitpid(r->worker, &status, 0), r->worker);
	r->worker = 0;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void sandboxed_worker_still_sends(void **state)
{
	struct rig *r = *state;

	r->setup.sandbox = true;
	rig_write(r, "src/a", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("a", 0)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	assert_int_equal(rig_quit(r), 0);
}

/* --- daemons --- */

static void daemon_takes_files_and_deletions(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a", "x", OLD);
	rig_write(r, "dst/b", "x", OLD);
	rig_start(r);
	rig_connect_daemon(r, SESSION_QUICK, "");
	rig_wait_ready(r);
	rig_carry(r, (struct wire_item[]){ITEM("a", 0)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	rig_connect_daemon(r, SESSION_DELETE, "");
	rig_wait_ready(r);
	rig_carry(r, (struct wire_item[]){ITEM("b", 0)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	assert_false(rig_exists(r, "dst/b"));
}

static void daemon_that_excludes_a_file_fails_it_alone(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a", "x", OLD);
	rig_write(r, "src/a.secret", "x", OLD);
	rig_mkdir(r, "src/d");
	rig_start(r);
	rig_connect_daemon(r, SESSION_QUICK, "exclude = *.secret");
	rig_wait_ready(r);
	rig_carry(r,
	          (struct wire_item[]){ITEM("a", 0), ITEM("a.secret", 0), ITEM("d", WIRE_ITEM_DIR)},
	          3);
	assert_result(r, 0, WIRE_ACKED);
	assert_result(r, 1, WIRE_FAILED);
	assert_result(r, 2, WIRE_ACKED);
}

static void daemon_readonly_module_is_told(void **state)
{
	struct rig *r = *state;

	rig_start(r);
	rig_connect_daemon(r, SESSION_QUICK, "read only = yes");
	assert_gone(r, TROUBLE_READONLY);
}

static void daemon_missing_directory_is_told(void **state)
{
	struct rig *r = *state;

	rig_start(r);
	rig_connect_daemon(r, SESSION_QUICK, "path = /nonexistent/lockstep");
	assert_gone(r, TROUBLE_MISSING);
}

static void daemon_refused_option_is_named(void **state)
{
	struct rig *r = *state;

	rig_start(r);
	rig_connect_daemon(r, SESSION_QUICK, "refuse options = remove-source-files");
	assert_gone(r, TROUBLE_REFUSED);
	assert_string_equal(r->refused, "remove-source-files");
}

static void daemon_login_works_with_the_password_only(void **state)
{
	struct rig *r = *state;
	autofree char *options = mem_printf("auth users = user\nsecrets file = %s/secrets", r->dir);

	rig_write(r, "src/a", "x", OLD);
	rig_write(r, "secrets", "user:open sesame\n", OLD);
	assert_int_equal(fchmodat(r->dir_fd, "secrets", 0600, 0), 0);
	rig_start(r);
	r->password = "wrong";
	rig_connect_daemon(r, SESSION_QUICK, options);
	assert_gone(r, TROUBLE_LOGIN);
	r->password = "open sesame";
	rig_connect_daemon(r, SESSION_QUICK, options);
	rig_wait_ready(r);
	rig_carry(r, (struct wire_item[]){ITEM("a", 0)}, 1);
	assert_result(r, 0, WIRE_ACKED);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_make, rig_drop)
	const struct CMUnitTest tests[] = {
	        TEST(full_target_is_trouble_of_the_target),
	        TEST(readonly_target_is_trouble_of_the_target),
	        TEST(foreign_directory_in_the_way_fails_only_the_file),
	        TEST(receiver_killed_in_mid_file_leaves_unknown),
	        TEST(cancelled_batch_of_a_stalled_receiver_becomes_a_zombie),
	        TEST(half_of_a_killed_server_is_ended_and_nothing_waits_for_it),
	        TEST(behind_a_relay_only_time_ends_a_zombie),
	        TEST(unknown_session_turns_the_batch_away),
	        TEST(bandwidth_is_shared_by_older_sessions_and_idle_ones),
	        TEST(silent_peer_is_given_up_in_the_handshake),
	        TEST(garbage_in_the_handshake_is_a_protocol_trouble),
	        TEST(hang_up_while_idle_ends_the_session),
	        TEST(idle_session_closes_politely),
	        TEST(quit_ends_idle_and_busy_sessions_and_the_process),
	        TEST(end_of_the_frame_socket_ends_the_process),
	        TEST(sandboxed_worker_still_sends),
	        TEST(daemon_takes_files_and_deletions),
	        TEST(daemon_that_excludes_a_file_fails_it_alone),
	        TEST(daemon_readonly_module_is_told),
	        TEST(daemon_missing_directory_is_told),
	        TEST(daemon_refused_option_is_named),
	        TEST(daemon_login_works_with_the_password_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
