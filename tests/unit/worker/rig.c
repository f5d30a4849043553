#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/mem.h"
#include "worker/worker.h"

#define WAIT_MS 30000

int rig_make(void **state)
{
	struct rig *r = mem_alloc(sizeof(*r));
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(r->dir, sizeof(r->dir), "%.30s/lockstep-worker.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(r->dir))
		return -1;
	(void)chmod(r->dir, 0755);
	r->dir_fd = open(r->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	(void)mkdirat(r->dir_fd, "src", 0755);
	(void)mkdirat(r->dir_fd, "dst", 0755);
	r->src_fd = openat(r->dir_fd, "src", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r->dst_fd = openat(r->dir_fd, "dst", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r->setup.options = (struct session_options){.perms = true,
	                                            .owner = true,
	                                            .group = true,
	                                            .times = true,
	                                            .links = true,
	                                            .devices = true,
	                                            .hard_links = true,
	                                            .numeric_ids = true,
	                                            .timeout_s = 30,
	                                            .min_digest = 1,
	                                            .protocol_max = 32};
	(void)snprintf(r->setup.job, sizeof(r->setup.job), "job");
	r->fd = -1;
	*state = r;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	(void)remove(path);
	return 0;
}

static void reap_server(struct rig *r)
{
	if (!r->server)
		return;
	(void)kill(-r->server, SIGKILL);
	(void)kill(-r->server, SIGCONT);
	while (waitpid(r->server, NULL, 0) < 0 && errno == EINTR)
		;
	r->server = 0;
}

int rig_drop(void **state)
{
	struct rig *r = *state;

	if (r->worker) {
		(void)kill(r->worker, SIGKILL);
		(void)waitpid(r->worker, NULL, 0);
	}
	reap_server(r);
	if (r->in)
		frame_in_free(r->in);
	if (r->out)
		frame_out_free(r->out);
	mem_closep(&r->fd);
	mem_closep(&r->src_fd);
	mem_closep(&r->dst_fd);
	mem_closep(&r->dir_fd);
	(void)nftw(r->dir, remove_one, 32, FTW_DEPTH | FTW_PHYS);
	free(r);
	return 0;
}

static void send_frame(struct rig *r, enum wire_type type, const struct buf *b, int fd)
{
	frame_out_add(r->out, (uint16_t)type, buf_bytes(b), &fd, fd >= 0);
	while (frame_out_flush(r->out) == 1) {
		struct pollfd p = {r->fd, POLLOUT, 0};

		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	}
}

void rig_start(struct rig *r)
{
	int fds[2];
	struct buf b;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	r->worker = fork();
	assert_true(r->worker >= 0);
	if (r->worker == 0) {
		(void)close(fds[0]);
		if (r->uid &&
		    (setresgid(r->uid, r->uid, r->uid) || setresuid(r->uid, r->uid, r->uid)))
			_exit(9);
		_exit(worker_main(fds[1]));
	}
	(void)close(fds[1]);
	r->fd = fds[0];
	(void)fd_set_nonblock(r->fd);
	r->out = frame_out_new(r->fd);
	r->in = frame_in_new(r->fd);
	buf_init(&b, FRAME_PAYLOAD_MAX);
	wire_put_setup(&b, &r->setup);
	send_frame(r, WIRE_SETUP, &b, -1);
	buf_done(&b);
}

static void send_session(struct rig *r, enum session_kind kind, enum session_class class,
                         const char *path, int fd)
{
	struct wire_session m = {.id = ++r->session,
	                         .kind = (uint8_t)kind,
	                         .class = (uint8_t) class,
	                         .extras = r->extras,
	                         .without = (uint8_t)r->without,
	                         .remote_exit = r->remote_exit,
	                         .path = (char *)path,
	                         .module = "m",
	                         .user = "user",
	                         .password = (char *)r->password};
	struct buf b;

	r->have_ready = r->have_gone = false;
	buf_init(&b, FRAME_PAYLOAD_MAX);
	wire_put_session(&b, &m);
	send_frame(r, WIRE_SESSION, &b, fd);
	buf_done(&b);
}

/* The child's standard input and output are one socket; returns the other end. */
static int spawn(struct rig *r, char **argv)
{
	int fds[2], null;

	reap_server(r);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	r->server = fork();
	assert_true(r->server >= 0);
	if (r->server == 0) {
		(void)setpgid(0, 0);
		null = open("/dev/null", O_WRONLY | O_CLOEXEC);
		(void)dup2(fds[1], 0);
		(void)dup2(fds[1], 1);
		(void)dup2(null, 2);
		execvp("rsync", argv);
		_exit(127);
	}
	(void)setpgid(r->server, r->server);
	(void)close(fds[1]);
	return fds[0];
}

void rig_connect(struct rig *r, enum session_class class)
{
	autofree char *path = mem_printf("%s/dst/", r->dir);
	struct session_options options = r->setup.options;
	char *argv[32] = {"rsync"};
	char **args;
	int fd;

	options.extras = r->extras;
	session_leave_out(&options, r->without);
	args = session_args(SESSION_PIPE, class, &options, path);
	for (size_t i = 0; args[i]; i++)
		argv[i + 1] = args[i];
	fd = spawn(r, argv);
	session_args_free(args);
	send_session(r, SESSION_PIPE, class, path, fd);
	rig_wait_ready(r);
}

void rig_connect_daemon(struct rig *r, enum session_class class, const char *options)
{
	autofree char *config = mem_printf("%s/rsyncd.conf", r->dir);
	autofree char *option = mem_printf("--config=%s", config);
	autofree char *text =
	        mem_printf("use chroot = no\nlog file = /dev/null\n[m]\npath = %s/dst\n"
	                   "read only = no\nuid = %d\ngid = %d\n%s\n",
	                   r->dir, (int)getuid(), (int)getgid(), options);
	char *argv[] = {"rsync", "--daemon", option, NULL}; /* as from inetd */

	rig_write(r, "rsyncd.conf", text, 0);
	send_session(r, SESSION_DAEMON, class, "m/", spawn(r, argv));
}

int rig_connect_own(struct rig *r, enum session_kind kind, enum session_class class)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	send_session(r, kind, class, "dst/", fds[0]);
	return fds[1];
}

void rig_batch(struct rig *r, const struct wire_item *items, size_t n)
{
	struct wire_batch m = {++r->batch,
	                       r->session,
	                       (struct wire_item *)items,
	                       n,
	                       r->racy_window_ns,
	                       r->formers,
	                       r->formers_n,
	                       r->bases,
	                       r->bases_n};
	struct buf b;

	assert_true(n <= RIG_ITEMS);
	memset(r->items, 0, sizeof(r->items));
	r->contexts_n = r->results_n = 0;
	r->have_done = false;
	buf_init(&b, FRAME_PAYLOAD_MAX);
	wire_put_batch(&b, &m);
	send_frame(r, WIRE_BATCH, &b, fcntl(r->src_fd, F_DUPFD_CLOEXEC, 3));
	buf_done(&b);
}

static void keep_text(char *to, struct bytes *text)
{
	size_t n = text->n < RIG_TEXT - 1 ? text->n : RIG_TEXT - 1;

	if (n)
		memcpy(to, text->p, n);
	to[n] = '\0';
	*text = (struct bytes){to, n};
}

static void take_report(struct rig *r, struct bytes payload)
{
	struct wire_report m;

	assert_int_equal(wire_get_report(payload, &m), 0);
	assert_int_equal(m.batch, r->batch);
	for (size_t i = 0; i < m.count; i++) {
		struct wire_result_item *item = &m.items[i];

		if (item->index == UINT32_MAX) {
			struct rig_context *c = &r->contexts[r->contexts_n++];

			assert_true(r->contexts_n <= RIG_CONTEXTS);
			keep_text(c->path, &item->path);
			c->result = item->result;
			c->fp = item->fp;
			continue;
		}
		assert_true(item->index < RIG_ITEMS);
		assert_int_equal(r->items[item->index].result, 0);
		r->items[item->index] = *item;
		keep_text(r->texts[item->index], &r->items[item->index].text);
		r->results_n++;
	}
	wire_free_report(&m);
}

static void take_frame(struct rig *r, const struct frame *f)
{
	switch (f->type) {
	case WIRE_READY:
		assert_int_equal(wire_get_ready(f->payload, &r->ready), 0);
		r->have_ready = true;
		return;
	case WIRE_SESSION_GONE:
		assert_int_equal(wire_get_gone(f->payload, &r->gone), 0);
		keep_text(r->gone_text, &r->gone.text);
		keep_text(r->refused, &r->gone.refused_option);
		r->have_gone = true;
		return;
	case WIRE_REPORT:
		assert_false(r->have_done);
		take_report(r, f->payload);
		return;
	case WIRE_BATCH_DONE:
		assert_int_equal(wire_get_done(f->payload, &r->done), 0);
		assert_int_equal(r->done.batch, r->batch);
		keep_text(r->done_text, &r->done.text);
		r->have_done = true;
		return;
	case WIRE_PONG:
		r->have_pong = true;
		return;
	default:
		fail_msg("frame type %u from the worker", f->type);
	}
}

static void wait_for(struct rig *r, const bool *what)
{
	while (!*what) {
		struct pollfd p = {r->fd, POLLIN, 0};
		int n;

		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		while ((n = frame_in_next(r->in, &r->frame)) > 0)
			take_frame(r, &r->frame);
		if (n < 0 && !*what)
			fail_msg("the worker's end is closed: %s", strerror(-n));
	}
}

void rig_wait_ready(struct rig *r)
{
	wait_for(r, &r->have_ready);
}

void rig_wait_done(struct rig *r)
{
	wait_for(r, &r->have_done);
}

void rig_wait_gone(struct rig *r)
{
	wait_for(r, &r->have_gone);
}

void rig_send_id(struct rig *r, enum wire_type type, uint64_t id)
{
	struct buf b;

	buf_init(&b, FRAME_PAYLOAD_MAX);
	wire_put_id(&b, id);
	send_frame(r, type, &b, -1);
	buf_done(&b);
}

void rig_sync(struct rig *r)
{
	struct buf nothing;

	buf_init(&nothing, 16);
	r->have_pong = false;
	send_frame(r, WIRE_PING, &nothing, -1); /* frames are handled in order */
	wait_for(r, &r->have_pong);
}

void rig_carry(struct rig *r, const struct wire_item *items, size_t n)
{
	rig_batch(r, items, n);
	rig_wait_done(r);
	if (r->done.trouble)
		fail_msg("trouble %u: %s", r->done.trouble, r->done_text);
	assert_int_equal(r->results_n, n);
	assert_false(r->done.zombie);
	rig_wait_gone(r);
	assert_int_equal(r->gone.session, r->session);
	assert_int_equal(r->gone.trouble, TROUBLE_NONE);
	assert_false(r->gone.zombie_over);
}

int rig_quit(struct rig *r)
{
	struct buf b;
	int status = -1;

	buf_init(&b, 16);
	send_frame(r, WIRE_QUIT, &b, -1);
	assert_int_equal(waitpid(r->worker, &status, 0), r->worker);
	r->worker = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

void rig_signal_server(struct rig *r, int sig)
{
	assert_int_equal(kill(-r->server, sig), 0);
}

static void make_parents(struct rig *r, const char *path)
{
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		autofree char *dir = mem_dup(path, (size_t)(slash - path));

		(void)mkdirat(r->dir_fd, dir, 0755);
	}
}

void rig_set_mtime(struct rig *r, const char *path, int64_t mtime_s)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = mtime_s}};

	assert_int_equal(utimensat(r->dir_fd, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

void rig_write(struct rig *r, const char *path, const char *content, int64_t mtime_s)
{
	autoclose int fd = -1;

	make_parents(r, path);
	fd = openat(r->dir_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, content, strlen(content)), 0);
	if (mtime_s)
		rig_set_mtime(r, path, mtime_s);
}

void rig_fill(struct rig *r, const char *path, size_t bytes)
{
	autofree char *block = mem_alloc(65536);
	autoclose int fd = -1;
	uint32_t x = 2463534242u;

	make_parents(r, path);
	fd = openat(r->dir_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	for (size_t at = 0; at < bytes; at += 65536) {
		for (size_t i = 0; i < 65536; i += 4) {
			x ^= x << 13;
			x ^= x >> 17;
			x ^= x << 5;
			memcpy(block + i, &x, 4);
		}
		assert_int_equal(fd_write_full(fd, block, bytes - at < 65536 ? bytes - at : 65536),
		                 0);
	}
}

void rig_mkdir(struct rig *r, const char *path)
{
	make_parents(r, path);
	assert_int_equal(mkdirat(r->dir_fd, path, 0755), 0);
}

bool rig_exists(struct rig *r, const char *path)
{
	struct stat st;

	return fstatat(r->dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

struct stat rig_stat(struct rig *r, const char *path)
{
	struct stat st;

	if (fstatat(r->dir_fd, path, &st, AT_SYMLINK_NOFOLLOW))
		fail_msg("%s: %s", path, strerror(errno));
	return st;
}

void rig_assert_content(struct rig *r, const char *path, const char *content)
{
	char text[4096];
	autoclose int fd = openat(r->dir_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		fail_msg("%s: %s", path, strerror(errno));
	n = fd_read_full(fd, text, sizeof(text) - 1);
	assert_true(n >= 0);
	text[n] = '\0';
	assert_string_equal(text, content);
}

int rig_watch(struct rig *r, const char *path)
{
	autofree char *full = mem_printf("%s/%s", r->dir, path);
	int fd = inotify_init1(IN_CLOEXEC);

	assert_true(fd >= 0);
	assert_true(inotify_add_watch(fd, full, IN_CREATE) >= 0);
	return fd;
}

void rig_wait_event(int watch)
{
	char event[4096];
	struct pollfd p = {watch, POLLIN, 0};

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	assert_true(read(watch, event, sizeof(event)) > 0);
}

struct rig_context *rig_context(struct rig *r, const char *path)
{
	for (size_t i = 0; i < r->contexts_n; i++) {
		if (strcmp(r->contexts[i].path, path) == 0)
			return &r->contexts[i];
	}
	return NULL;
}

void assert_result(const struct rig *r, size_t i, enum wire_result result)
{
	if (r->items[i].result != result)
		fail_msg("item %zu: result %u, expected %u; %s", i, r->items[i].result, result,
		         r->texts[i]);
}
