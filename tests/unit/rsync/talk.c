#include "talk.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "base/fd.h"
#include "base/mem.h"

#define DEADLINE_NS (30 * INT64_C(1000000000))
#define SLICE       (256u << 10)
#define NOW_S       1700000000

extern char **environ;

void talk_init(struct talk *t)
{
	*t = (struct talk){.fd = -1, .pid = -1};
	(void)snprintf(t->dir, sizeof(t->dir), "/tmp/lockstep-talk-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	buf_init(&t->deleted, 16u << 20);
	buf_init(&t->messages, 16u << 20);
	(void)signal(SIGPIPE, SIG_IGN);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

void talk_done(struct talk *t)
{
	talk_close(t);
	(void)nftw(t->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	buf_done(&t->deleted);
	buf_done(&t->messages);
}

struct session_options talk_options(void)
{
	return (struct session_options){.perms = true,
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
}

/* --- driving --- */

static void send_content(struct talk *t, struct talk_file *f)
{
	struct bytes rest = f->content;

	if (f->answer == TALK_KILL_SERVER)
		assert_int_equal(kill(t->pid, SIGKILL), 0);
	while (rest.n) {
		size_t n = rest.n < SLICE ? rest.n : SLICE;

		session_answer_data(t->s, (struct bytes){rest.p, n});
		rest.p += n;
		rest.n -= n;
	}
	if (f->answer == TALK_ABORT_ONCE) {
		f->answer = TALK_SEND;
		session_answer_abort(t->s);
	} else {
		session_answer_end(t->s);
	}
}

static void answer(struct talk *t, size_t index)
{
	struct talk_file *f = &t->files[index];

	if (f->answer == TALK_NO_SEND) {
		session_no_send(t->s);
		return;
	}
	if (f->basis.n && session_answer_claim(t->s, f->basis, f->content.n, f->content.n)) {
		f->claimed = true;
		session_answer_copy(t->s, f->content, 0);
		session_answer_end(t->s);
		return;
	}
	session_answer_begin(t->s, f->content.n);
	send_content(t, f);
}

static void note(struct talk *t, const struct session_event *e)
{
	switch (e->kind) {
	case SESSION_EV_NONE:
		break;
	case SESSION_EV_REQUEST:
		t->files[e->index].requests++;
		t->files[e->index].redos += e->redo;
		t->files[e->index].request_flags |= e->flags;
		answer(t, e->index);
		break;
	case SESSION_EV_ITEM:
		t->files[e->index].items++;
		t->files[e->index].item_flags |= e->flags;
		break;
	case SESSION_EV_SUCCESS:
		t->files[e->index].successes++;
		break;
	case SESSION_EV_DELETED:
		t->deleted_n++;
		buf_add_bytes(&t->deleted, e->text);
		buf_add_bytes(&t->deleted, e->is_dir ? BYTES("/\n") : BYTES("\n"));
		break;
	case SESSION_EV_MESSAGE:
		buf_add_bytes(&t->messages, e->text);
		buf_add(&t->messages, "\n", 1);
		if (e->level != SESSION_ERROR && e->level != SESSION_ERROR_XFER)
			break;
		t->errors++;
		for (size_t i = 0; i < t->n; i++)
			(void)session_unasked_failed(t->s, i);
		break;
	case SESSION_EV_PHASE:
		t->phase = true;
		break;
	case SESSION_EV_CLOSED:
		t->closed = true;
		break;
	}
}

static void drain(struct talk *t)
{
	struct session_event e;

	for (session_next(t->s, &e); e.kind != SESSION_EV_NONE; session_next(t->s, &e))
		note(t, &e);
}

static bool write_some(struct talk *t)
{
	struct bytes out = session_output(t->s);
	ssize_t n = out.n ? send(t->fd, out.p, out.n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;

	if (n > 0)
		session_sent(t->s, (size_t)n);
	return n >= 0 || errno == EAGAIN;
}

static void read_some(struct talk *t)
{
	char p[65536];
	ssize_t n = recv(t->fd, p, t->read_max ? t->read_max : sizeof(p), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		session_eof(t->s);
		return;
	}
	if (t->record)
		buf_add(t->record, p, (size_t)n);
	(void)session_feed(t->s, (struct bytes){p, (size_t)n});
}

void talk_pump(struct talk *t, bool (*until)(struct talk *t))
{
	int64_t deadline = clock_boot_ns() + DEADLINE_NS;

	for (drain(t); !until(t); drain(t)) {
		struct pollfd p = {t->fd, POLLIN, 0};

		if (session_output_pending(t->s))
			p.events |= POLLOUT;
		assert_true(clock_boot_ns() < deadline);
		if (poll(&p, 1, 1000) <= 0)
			continue;
		if (p.revents & POLLOUT)
			(void)write_some(t);
		if (p.revents & (POLLIN | POLLHUP | POLLERR))
			read_some(t);
	}
}

static bool is_ready(struct talk *t)
{
	return session_state(t->s) == SESSION_READY || session_state(t->s) == SESSION_FAILED;
}

static bool is_over(struct talk *t)
{
	enum session_state state = session_state(t->s);

	return state == SESSION_FAILED ||
	       (state == SESSION_CLOSED && !session_output_pending(t->s));
}

void talk_open_fd(struct talk *t, int fd, enum session_kind kind, enum session_class class,
                  const struct session_options *o, const char *path,
                  const struct session_login *login)
{
	t->fd = fd;
	t->s = session_new(kind, class, o, path, login);
	talk_pump(t, is_ready);
}

static void spawn_server(struct talk *t, int fd, char **args)
{
	char *argv[32] = {"rsync"};
	posix_spawn_file_actions_t actions;
	char bundle[64];

	for (size_t i = 0; args[i]; i++)
		argv[i + 1] = args[i];
	if (t->caps) {
		char *dot = strchr(argv[2], '.');

		assert_non_null(dot);
		(void)snprintf(bundle, sizeof(bundle), "%.*s.%s", (int)(dot - argv[2]), argv[2],
		               t->caps);
		argv[2] = bundle;
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd, 0);
	posix_spawn_file_actions_adddup2(&actions, fd, 1);
	if (!getenv("TALK_STDERR"))
		posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	assert_int_equal(posix_spawnp(&t->pid, "rsync", &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
}

void talk_open(struct talk *t, enum session_class class, const struct session_options *o)
{
	char **args = session_args(SESSION_PIPE, class, o, t->dir);
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	spawn_server(t, sv[1], args);
	close(sv[1]);
	session_args_free(args);
	talk_open_fd(t, sv[0], SESSION_PIPE, class, o, t->dir, NULL);
}

void talk_list(struct talk *t, struct talk_file *files, size_t n, const struct session_risk *risks,
               size_t nrisks)
{
	autofree struct session_entry *entries = mem_array(n + 1, sizeof(*entries));
	uint64_t before = session_bytes_out(t->s);
	struct err err = {0};
	int rc;

	for (size_t i = 0; i < n; i++)
		entries[i] = files[i].entry;
	t->files = files;
	t->n = n;
	rc = session_list(t->s, entries, n, risks, nrisks, &err);
	if (rc < 0)
		print_message("# session_list: %s\n", err.text);
	assert_int_equal(rc, 0);
	for (size_t i = 0; i < n; i++) {
		if (!files[i].unasked)
			continue;
		assert_true(session_answer_unasked(t->s, i, files[i].content.n));
		send_content(t, &files[i]);
	}
	talk_pump(t, is_over);
	t->literal_out = session_bytes_out(t->s) - before;
	t->unasked = session_unasked(t->s);
}

void talk_close(struct talk *t)
{
	int status;

	session_free(t->s);
	t->s = NULL;
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	if (t->pid > 0)
		(void)waitpid(t->pid, &status, 0);
	t->pid = -1;
}

void talk_push(struct talk *t, enum session_class class, const struct session_options *o,
               struct talk_file *files, size_t n)
{
	talk_open(t, class, o);
	if (session_state(t->s) == SESSION_FAILED)
		print_message("# open: %s\n", session_error(t->s)->text);
	assert_int_equal(session_state(t->s), SESSION_READY);
	talk_list(t, files, n, NULL, 0);
	if (session_state(t->s) == SESSION_FAILED)
		print_message("# push: %s\n", session_error(t->s)->text);
	assert_int_equal(session_state(t->s), SESSION_CLOSED);
	assert_true(t->phase && t->closed);
	talk_close(t);
}

/* --- files --- */

struct talk_file talk_file(const char *path, const char *content)
{
	return (struct talk_file){.entry = {.path = bytes_of(path),
	                                    .mode = S_IFREG | 0644,
	                                    .size = strlen(content),
	                                    .mtime_ns = NOW_S * INT64_C(1000000000) + 5},
	                          .content = bytes_of(content)};
}

struct talk_file talk_dir(const char *path)
{
	return (struct talk_file){.entry = {.path = bytes_of(path),
	                                    .mode = S_IFDIR | 0755,
	                                    .mtime_ns = NOW_S * INT64_C(1000000000)}};
}

const char *talk_path(const struct talk *t, const char *path)
{
	static char buffers[8][5000];
	static unsigned at;
	char *p = buffers[at++ % 8];

	(void)snprintf(p, sizeof(buffers[0]), "%s/%s", t->dir, path);
	return p;
}

void talk_write(const struct talk *t, const char *path, struct bytes content)
{
	autoclose int fd = open(talk_path(t, path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, content.p, content.n), 0);
}

bool talk_exists(const struct talk *t, const char *path)
{
	struct stat st;

	return lstat(talk_path(t, path), &st) == 0;
}

void talk_assert_content(const struct talk *t, const char *path, struct bytes content)
{
	struct buf got;
	struct err err;

	buf_init(&got, 64u << 20);
	assert_int_equal(fd_read_file(talk_path(t, path), 32u << 20, &got, &err), 0);
	assert_int_equal(got.n, content.n);
	assert_true(bytes_equal(buf_bytes(&got), content));
	buf_done(&got);
}

bool talk_said(const struct talk *t, const char *words)
{
	return t->messages.n && memmem(t->messages.p, t->messages.n, words, strlen(words));
}

bool talk_deleted(const struct talk *t, const char *name)
{
	char line[5000];
	int n = snprintf(line, sizeof(line), "%s\n", name);

	return t->deleted.n && memmem(t->deleted.p, t->deleted.n, line, (size_t)n);
}

int talk_make(void **state)
{
	struct talk *t = mem_alloc(sizeof(*t));

	talk_init(t);
	*state = t;
	return 0;
}

int talk_drop(void **state)
{
	talk_done(*state);
	free(*state);
	return 0;
}

const struct session_options talk_plain_options = {.perms = true,
                                                   .times = true,
                                                   .links = true,
                                                   .numeric_ids = true,
                                                   .min_digest = 1,
                                                   .protocol_max = 32};

void talk_feed_data(struct session *s, struct bytes in)
{
	char header[4] = {(char)in.n, (char)(in.n >> 8), (char)(in.n >> 16), 7};

	(void)session_feed(s, (struct bytes){header, 4});
	(void)session_feed(s, in);
}
