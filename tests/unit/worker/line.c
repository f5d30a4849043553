#include "line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

#define S          1000000000LL
#define ALIVE_FD   63    /* the server's end of line.alive */
#define PATIENT_MS 60000 /* a server that is only slow */
#define QUIET_MS   20    /* and after a fault one that has nothing more to say */

extern char **environ;

/* Not by fork(): that takes long where a sanitizer has mapped much. */
static int spawn(struct line *y, char **argv)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	int fds[2], alive[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(pipe2(alive, O_CLOEXEC), 0);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, fds[1], 0);
	posix_spawn_file_actions_adddup2(&files, fds[1], 1);
	posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&files, alive[1], ALIVE_FD);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
	assert_int_equal(posix_spawnp(&y->pid, "rsync", &files, &attributes, argv, environ), 0);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	y->alive = alive[0];
	(void)close(fds[1]);
	(void)close(alive[1]);
	return fds[0];
}

static int spawn_server(struct line *y, enum session_class class, const char *path)
{
	char *argv[32] = {"rsync"};
	char **args = session_args(SESSION_PIPE, class, &y->rig->setup.options, path);
	int fd;

	for (size_t i = 0; args[i]; i++)
		argv[i + 1] = args[i];
	fd = spawn(y, argv);
	session_args_free(args);
	return fd;
}

static int spawn_daemon(struct line *y)
{
	struct rig *r = y->rig;
	autofree char *option = mem_printf("--config=%s/rsyncd.conf", r->dir);
	autofree char *text =
	        mem_printf("use chroot = no\nlog file = /dev/null\n[m]\npath = %s/dst\n"
	                   "read only = no\nuid = %d\ngid = %d\nauth users = user\n"
	                   "secrets file = %s/secrets\n",
	                   r->dir, (int)getuid(), (int)getgid(), r->dir);
	char *argv[] = {"rsync", "--daemon", option, NULL}; /* as from inetd */

	rig_write(r, "rsyncd.conf", text, 0);
	rig_write(r, "secrets", "user:open sesame\n", 0);
	assert_int_equal(fchmodat(r->dir_fd, "secrets", 0600, 0), 0);
	return spawn(y, argv);
}

void line_open(struct line *y, struct rig *r, enum session_kind kind, enum session_class class,
               struct fault fault)
{
	autofree char *path = mem_printf("%s/dst/", r->dir);
	struct wire_session m = {.id = 1,
	                         .kind = (uint8_t)kind,
	                         .class = (uint8_t) class,
	                         .path = kind == SESSION_PIPE ? path : "m/",
	                         .module = "m",
	                         .user = "user",
	                         .password = "open sesame"};
	int fds[2];

	*y = (struct line){.rig = r, .env.setup = r->setup, .fault = fault, .now_ns = S};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
	                 0);
	assert_int_equal(
	        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, y->frames), 0);
	throttle_init(&y->env.throttle, 0, y->now_ns);
	y->env.names = names_new();
	y->env.out = frame_out_new(y->frames[0]);
	y->env.slice = mem_alloc(SUPPLY_SLICE_BYTES);
	y->env.input = mem_alloc(LINK_READ_BYTES);
	y->reports = frame_in_new(y->frames[1]);
	y->ours = fds[1];
	y->server = kind == SESSION_PIPE ? spawn_server(y, class, path) : spawn_daemon(y);
	(void)fd_set_nonblock(y->server);
	y->l = link_new(&y->env, &m, fds[0], y->now_ns);
}

static void kill_server(struct line *y)
{
	(void)kill(-y->pid, SIGKILL);
	while (waitpid(y->pid, NULL, 0) < 0 && errno == EINTR)
		;
	y->pid = 0;
}

static void hang_up(struct line *y)
{
	mem_closep(&y->ours);
	mem_closep(&y->server);
	y->ours = y->server = -1;
}

void line_drop(struct line *y)
{
	char byte;

	hang_up(y);
	if (y->pid)
		kill_server(y);
	assert_int_equal(fd_read_full(y->alive, &byte, 1), 0);
	(void)close(y->alive);
	link_free(y->l);
	frame_in_free(y->reports);
	frame_out_free(y->env.out);
	names_free(y->env.names);
	free(y->env.slice);
	free(y->env.input);
	(void)close(y->frames[0]);
	(void)close(y->frames[1]);
}

/* --- the relay --- */

static void strike(struct line *y)
{
	y->faulted = true;
	if (y->fault.kind == FAULT_CUT)
		hang_up(y);
	else if (y->fault.kind == FAULT_KILL)
		kill_server(y);
}

/* All of it arrives: both ends read while they write. */
static void pass_on(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
		struct pollfd room = {fd, POLLOUT, 0};

		if (w < 0 && (errno == EAGAIN || errno == EINTR)) {
			assert_int_equal(poll(&room, 1, PATIENT_MS), 1);
			continue;
		}
		if (w < 0)
			return; /* gone; what it said is still to be read */
		p += w;
		n -= (size_t)w;
	}
}

/* Passes bytes one way; false: there were none. */
static bool relay(struct line *y, bool down)
{
	char p[4096];
	int from = down ? y->server : y->ours, to = down ? y->ours : y->server;
	uint64_t *passed = &y->passed[down], left = y->fault.at - *passed;
	bool ahead = y->fault.kind != FAULT_NONE && y->fault.down == down && !y->faulted;
	ssize_t n;

	if (from < 0 || (!down && y->up_over) ||
	    (y->faulted && y->fault.kind == FAULT_STALL && y->fault.down == down))
		return false;
	if (ahead && left == 0 && y->fault.kind != FAULT_FLIP) {
		strike(y);
		return true;
	}
	n = recv(from, p, ahead && left && left < sizeof(p) ? (size_t)left : sizeof(p), 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		/* Whoever hangs up has been heard out. */
		if (down)
			hang_up(y);
		else
			(void)shutdown(y->server, SHUT_WR);
		y->up_over = !down;
		return true;
	}
	if (ahead && left == 0) {
		p[0] ^= (char)(1 << y->fault.bit);
		strike(y);
	}
	*passed += (uint64_t)n;
	pass_on(to, p, (size_t)n);
	return true;
}

/* --- the link --- */

static void take_report(struct line *y, struct bytes payload)
{
	struct wire_report m;

	assert_int_equal(wire_get_report(payload, &m), 0);
	assert_false(y->done);
	for (size_t i = 0; i < m.count; i++) {
		if (m.items[i].index == UINT32_MAX)
			continue;
		assert_true(m.items[i].index < y->n);
		assert_int_equal(y->results[m.items[i].index], 0);
		y->results[m.items[i].index] = m.items[i].result;
	}
	wire_free_report(&m);
}

static void take_reports(struct line *y)
{
	struct frame f = {0};

	(void)frame_out_flush(y->env.out);
	while (frame_in_next(y->reports, &f) > 0) {
		if (f.type == WIRE_REPORT)
			take_report(y, f.payload);
		y->ready |= f.type == WIRE_READY;
		y->done |= f.type == WIRE_BATCH_DONE;
		if (f.type != WIRE_SESSION_GONE)
			continue;
		assert_false(y->gone);
		assert_int_equal(wire_get_gone(f.payload, &y->last), 0);
		y->gone = true;
	}
}

/* Goes on with what is there; false: nothing moved. */
static bool step(struct line *y)
{
	uint64_t before = y->passed[0] + y->passed[1];
	enum link_state state = y->l->state;
	bool moved;

	link_io(y->l, POLLIN | POLLOUT, y->now_ns);
	while (y->l->state != LINK_OVER && link_has_work(y->l))
		link_work(y->l, y->now_ns);
	if (y->l->state != LINK_OVER)
		link_work(y->l, y->now_ns);
	if (y->l->state != LINK_OVER)
		link_io(y->l, POLLOUT, y->now_ns);
	moved = relay(y, false);
	moved |= relay(y, true);
	take_reports(y);
	return moved || before != y->passed[0] + y->passed[1] || state != y->l->state;
}

/* Somebody has something to say, or the time is up. The server's exit is heard by its socket. */
static void wait_for_bytes(struct line *y)
{
	struct pollfd p[2] = {{y->ours, POLLIN, 0}, {y->server, POLLIN, 0}};
	bool held = y->faulted && y->fault.kind == FAULT_STALL;
	int n;

	if (held)
		p[y->fault.down].fd = -1;
	if (y->up_over)
		p[0].fd = -1;
	n = poll(p, 2, y->faulted ? QUIET_MS : PATIENT_MS);
	assert_true(n >= 0);
	if (n > 0)
		return;
	assert_true(y->faulted);
	y->now_ns = y->l->deadline_ns;
	link_timer(y->l, y->now_ns);
}

void line_run(struct line *y, const struct wire_item *items, size_t n)
{
	struct wire_batch batch = {.id = 1, .session = 1, .items = (struct wire_item *)items, n};
	struct buf b;

	y->items = items;
	while (y->l->state != LINK_OVER) {
		if (y->l->state == LINK_IDLE && n == 0)
			return;
		if (y->l->state == LINK_IDLE && !y->n) {
			y->n = n;
			buf_init(&b, FRAME_PAYLOAD_MAX);
			wire_put_batch(&b, &batch);
			link_carry(
			        y->l,
			        cargo_new(buf_bytes(&b), fcntl(y->rig->src_fd, F_DUPFD_CLOEXEC, 3)),
			        y->now_ns);
			buf_done(&b);
		}
		if (!step(y) && y->l->state != LINK_OVER)
			wait_for_bytes(y);
	}
	take_reports(y);
	assert_true(y->gone);
	assert_int_equal(y->done, y->n > 0);
	for (size_t i = 0; i < y->n; i++)
		assert_int_not_equal(y->results[i], 0);
}
