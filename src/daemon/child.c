/*
 * child: see child.h.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include "base/mem.h"
#include "daemon/child.h"

#define ERRORS_MAX 2048
#define LADDER_MS  2000

struct child {
	uv_process_t process;
	uv_pipe_t errors;
	uv_timer_t ladder;
	struct buf text;
	char chunk[1024];
	child_exit_fn *exited;
	void *arg;
	int64_t status;
	int signal;
	bool ended, group;
	unsigned open_handles;
};

static void child_closed(uv_handle_t *h)
{
	struct child *c = h->data;

	if (--c->open_handles)
		return;
	if (c->exited)
		c->exited(c, c->status, c->signal, c->arg);
	buf_done(&c->text);
	free(c);
}

static void child_finish(struct child *c)
{
	if (!c->ended || uv_is_closing((uv_handle_t *)&c->process))
		return;
	uv_close((uv_handle_t *)&c->process, child_closed);
	uv_close((uv_handle_t *)&c->errors, child_closed);
	uv_close((uv_handle_t *)&c->ladder, child_closed);
}

static void child_collect(struct child *c, const char *p, size_t n)
{
	if (c->text.n + n > ERRORS_MAX)
		buf_drop(&c->text, c->text.n + n - ERRORS_MAX);
	buf_add(&c->text, p, n);
}

/* What still lies in the pipe. A grandchild may keep it open for ever (ssh's control master), so
 * its end is not waited for. */
static void child_read_rest(struct child *c)
{
	uv_os_fd_t fd;
	ssize_t n;

	if (uv_fileno((uv_handle_t *)&c->errors, &fd) < 0)
		return;
	(void)uv_read_stop((uv_stream_t *)&c->errors);
	while ((n = read(fd, c->chunk, sizeof(c->chunk))) > 0)
		child_collect(c, c->chunk, (size_t)n);
}

/* Messages have one line: ssh ends its own with CR LF and often says two things. */
static void child_join_lines(struct buf *text)
{
	struct buf joined;

	buf_init(&joined, 2 * ERRORS_MAX);
	for (size_t at = 0; at < text->n;) {
		const char *line = text->p + at;
		const char *end = memchr(line, '\n', text->n - at);
		size_t n = end ? (size_t)(end - line) : text->n - at;

		at += n + (end != NULL);
		while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == ' '))
			n--;
		if (n > 0 && joined.n > 0)
			buf_add_bytes(&joined, BYTES("; "));
		buf_add(&joined, line, n);
	}
	buf_done(text);
	*text = joined;
}

static void child_exit(uv_process_t *p, int64_t status, int sig)
{
	struct child *c = p->data;

	c->ended = true;
	c->status = status;
	c->signal = sig;
	child_read_rest(c);
	child_join_lines(&c->text);
	child_finish(c);
}

static void child_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
	struct child *c = h->data;

	(void)suggested;
	*ret = uv_buf_init(c->chunk, sizeof(c->chunk));
}

static void child_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	struct child *c = s->data;

	if (n < 0) {
		(void)uv_read_stop(s);
		return;
	}
	child_collect(c, b->base, (size_t)n);
}

/* What a child may know of our environment: nothing that could hold a secret. */
static char **child_environment(void)
{
	static const char *const kept[] = {"PATH", "HOME",   "USER", "LOGNAME",
	                                   "LANG", "LC_ALL", "TZ",   "SSH_AUTH_SOCK"};
	char **env = mem_array(ARRAY_LEN(kept) + 1, sizeof(*env));
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		const char *value = getenv(kept[i]);

		if (value)
			env[n++] = mem_printf("%s=%s", kept[i], value);
	}
	return env;
}

static void child_environment_free(char **env)
{
	for (size_t i = 0; env && env[i]; i++)
		free(env[i]);
	free(env);
}

int child_spawn(struct child **ret, uv_loop_t *loop, const struct child_spec *spec, struct err *err)
{
	struct child *c = mem_alloc(sizeof(*c));
	char **env = spec->env ? NULL : child_environment();
	uv_stdio_container_t stdio[4] = {
	        {.flags = spec->fd0 >= 0 ? UV_INHERIT_FD : UV_IGNORE, .data.fd = spec->fd0},
	        {.flags = spec->fd1 >= 0 ? UV_INHERIT_FD : UV_IGNORE, .data.fd = spec->fd1},
	        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
	         .data.stream = (uv_stream_t *)&c->errors},
	        {.flags = spec->fd3 >= 0 ? UV_INHERIT_FD : UV_IGNORE, .data.fd = spec->fd3},
	};
	uv_process_options_t options = {
	        .exit_cb = child_exit,
	        .file = spec->argv[0],
	        .args = (char **)spec->argv,
	        .env = spec->env ? (char **)spec->env : env,
	        .cwd = spec->cwd,
	        .stdio = stdio,
	        .stdio_count = spec->fd3 >= 0 ? 4 : 3,
	        .flags = spec->group ? UV_PROCESS_DETACHED : 0,
	};
	int r;

	buf_init(&c->text, ERRORS_MAX);
	(void)uv_pipe_init(loop, &c->errors, 0);
	(void)uv_timer_init(loop, &c->ladder);
	c->process.data = c->errors.data = c->ladder.data = c;
	c->open_handles = 3;
	c->group = spec->group;
	c->exited = spec->exited;
	c->arg = spec->arg;
	r = uv_spawn(loop, &c->process, &options);
	child_environment_free(env);
	if (r < 0) {
		c->exited = NULL;
		c->ended = true;
		child_finish(c);
		return err_errno(err, -r, "cannot start %s", spec->argv[0]);
	}
	(void)uv_read_start((uv_stream_t *)&c->errors, child_alloc, child_read);
	*ret = c;
	return 0;
}

struct bytes child_errors(const struct child *c)
{
	return buf_bytes(&c->text);
}

int child_pid(const struct child *c)
{
	return c->process.pid;
}

static void child_signal(struct child *c, int sig)
{
	(void)kill(c->group ? -c->process.pid : c->process.pid, sig); /* ESRCH: it has just ended */
}

static void child_climb(uv_timer_t *t)
{
	child_kill(t->data);
}

void child_end(struct child *c)
{
	if (c->ended || uv_is_active((uv_handle_t *)&c->ladder))
		return;
	child_signal(c, SIGTERM);
	(void)uv_timer_start(&c->ladder, child_climb, LADDER_MS, 0);
}

void child_kill(struct child *c)
{
	if (!c->ended)
		child_signal(c, SIGKILL);
}

void child_orphan(struct child *c)
{
	c->exited = NULL;
	child_end(c);
}
