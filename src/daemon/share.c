/*
 * share: the connection that a job's sessions through ssh share, so that not each of them costs a
 * key exchange and a login on both hosts.
 *
 * It is OpenSSH's control master: a process beside the sessions, none of which owns it. Nothing
 * waits for it, and nothing depends on it. A session that begins while its socket is there goes
 * over it, any other connects by itself, and so does ssh where the master is gone, or the server
 * allows no more sessions in one connection. It is started when a session that has connected by
 * itself is ready: so what is wrong with a login is met, and told, by sessions alone.
 *
 * A session that begins while much is on its way connects by itself, too: what stands before it in
 * the shared stream would be as much as ssh lets a session have there at once.
 *
 * A master that may hang (a session over it got no answer) is left to the sessions that it has, and
 * ended after them. The socket lies in the job's directory, which nobody else may enter.
 */
#include <errno.h>
#include <sys/stat.h>
#include "base/log.h"
#include "base/path.h"
#include "daemon/child.h"
#include "daemon/connect.h"
#include "daemon/connect_args.h"

#define SOCKET_NAME    "ssh"
#define BACKOFF_MIN_NS NS_PER_S
#define BACKOFF_MAX_NS (60 * NS_PER_S)

/* A session's window in OpenSSH. */
#define HEAVY_BYTES (UINT64_C(2) << 20)

struct share {
	struct child *master; /* NULL: none runs */
	char *path, *control;
	int64_t began_ns, backoff_ns, next_ns;
	bool stood; /* its socket was seen: it has logged in */
	bool retired;
};

void share_begin(struct job *j)
{
	const char *why = NULL;
	char *path, *control;

	if (!connect_may_share(j->config))
		return;
	path = mem_printf("%s/" SOCKET_NAME, j->dir);
	control = connect_control(path, &why);
	if (!control) {
		job_log(j, LOG_INFO, "ssh.unshared",
		        "each session connects by itself: %s cannot be the socket of a shared "
		        "connection, as %s",
		        path_show(bytes_of(path)), why);
		free(path);
		return;
	}
	j->share = mem_alloc(sizeof(*j->share));
	j->share->path = path;
	j->share->control = control;
}

static void share_exited(struct child *child, int64_t status, int sig, void *arg)
{
	struct job *j = arg;
	struct share *s = j->share;
	int64_t now = instance_now();

	s->master = NULL;
	(void)unlink(s->path); /* ENOENT: as it should be */
	if (now - s->began_ns >= BACKOFF_MAX_NS)
		s->backoff_ns = 0;
	s->backoff_ns = s->backoff_ns ? 2 * s->backoff_ns : BACKOFF_MIN_NS;
	if (s->backoff_ns > BACKOFF_MAX_NS)
		s->backoff_ns = BACKOFF_MAX_NS;
	s->next_ns = now + s->backoff_ns;
	if (!s->retired)
		job_log(j, LOG_INFO, "ssh.master_ended",
		        "status=%lld signal=%d %s: %s; sessions connect by themselves meanwhile",
		        (long long)status, sig,
		        s->stood ? "the shared connection has ended"
		                 : "no connection could be shared",
		        path_show(child_errors(child)));
	job_release(j);
}

void share_ready(struct job *j)
{
	struct share *s = j->share;
	struct child_spec spec = {
	        .fd0 = -1, .fd1 = -1, .fd3 = -1, .group = true, .exited = share_exited, .arg = j};
	struct err err = {0};
	struct words w;

	if (!s || s->master || j->closing || j->paused || instance_now() < s->next_ns)
		return;
	(void)unlink(s->path); /* of a daemon that was killed */
	s->stood = s->retired = false;
	s->began_ns = instance_now();
	w = connect_master_args(j->config, s->control, getpid());
	spec.argv = w.items;
	if (child_spawn(&s->master, &j->instance->loop, &spec, &err) == 0) {
		j->handles++;
		job_log(j, LOG_DEBUG, "ssh.master", "pid=%d", child_pid(s->master));
	} else {
		s->next_ns = s->began_ns + BACKOFF_MAX_NS;
		job_log(j, LOG_INFO, "ssh.master_ended", "%s", err.text);
	}
	words_done(&w);
}

/* Its socket has its name once it is logged in and listens. */
static bool share_stands(struct share *s)
{
	struct stat st;

	if (!s->master || s->retired || lstat(s->path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	s->stood = true;
	return true;
}

const char *share_control(struct job *j, bool *ret)
{
	*ret = j->share && share_stands(j->share) &&
	       engine_heaviest_flight(j->engine) <= HEAVY_BYTES;
	return *ret ? j->share->control : j->share ? CONNECT_CONTROL_NONE : NULL;
}

void share_left(struct job *j)
{
	struct share *s = j->share;

	if (!s || !s->master || !s->retired)
		return;
	for (struct connect *c = j->connects; c; c = c->next) {
		if (c->shared)
			return;
	}
	child_end(s->master);
}

void share_retire(struct job *j)
{
	if (!j->share || !j->share->master)
		return;
	j->share->retired = true;
	share_left(j);
}

void share_free(struct job *j)
{
	if (!j->share)
		return;
	free(j->share->path);
	free(j->share->control);
	free(TAKE(j->share));
}
