/*
 * crew: one job's worker process and the frames to and from it.
 *
 * The worker parses bytes of a peer: what it says is checked here and in the engine, and a worker
 * that breaks the framing or reports what it cannot know is killed; it costs the batches in flight.
 *
 * Its own timers do not run while it is stuck: in a read at a source whose server does not answer,
 * or stopped by somebody. So while it owes an answer its silence is watched: after one period it is
 * asked for a sign of life, after two status says so, and after six it is killed. One that cannot
 * be killed has no successor: that would be stuck, too (I14).
 */
#include <errno.h>
#include <sys/socket.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "daemon/child.h"
#include "daemon/runtime.h"

struct crew {
	struct job *job; /* NULL: the job has let go of it */
	struct child *child;
	struct frame_out *out;
	struct frame_in *in;
	uv_poll_t poll;
	uv_timer_t watch;
	int64_t watch_ns;  /* when its period ends */
	unsigned handles;  /* open ones */
	unsigned owed;     /* sessions and batches that it has to answer */
	unsigned silent;   /* whole periods since it last said something */
	int64_t silent_ns; /* since then */
	int fd;
	bool broken;
};

enum { SILENT_ASK = 1, SILENT_SAY = 2, SILENT_KILL = 6 };

static void crew_closed(uv_handle_t *h)
{
	struct crew *w = h->data;

	if (--w->handles)
		return;
	frame_out_free(w->out);
	frame_in_free(w->in);
	(void)close(w->fd); /* a socketpair end: nothing to lose */
	free(w);
}

static void crew_drop(struct crew *w)
{
	if (uv_is_closing((uv_handle_t *)&w->poll))
		return;
	uv_close((uv_handle_t *)&w->poll, crew_closed);
	uv_close((uv_handle_t *)&w->watch, crew_closed);
}

bool crew_stuck(const struct job *j, char *text, size_t n)
{
	const struct crew *w = j->crew;

	if (!w || w->silent < SILENT_SAY)
		return false;
	(void)snprintf(text, n,
	               "the worker process has not answered for %lld s%s: does the source's file "
	               "system answer?",
	               (long long)((instance_now() - w->silent_ns) / NS_PER_S),
	               w->silent < SILENT_KILL ? "" : ", and does not end");
	return true;
}

/* The worker is gone or not to be believed. */
static void crew_lost(struct crew *w)
{
	struct job *j = w->job;
	char stuck[160] = "the worker process ended unexpectedly";

	if (w->broken)
		return;
	w->broken = true;
	(void)uv_timer_stop(&w->watch);
	if (j && w->silent >= SILENT_KILL)
		(void)snprintf(stuck, sizeof(stuck),
		               "the worker process had not answered for %lld s and was ended",
		               (long long)((instance_now() - w->silent_ns) / NS_PER_S));
	if (w->child)
		child_kill(w->child);
	(void)uv_poll_stop(&w->poll);
	if (!j)
		return;
	j->crew = NULL;
	w->job = NULL;
	if (!j->closing) {
		connect_cancel_all(j);
		engine_worker_died(j->engine, bytes_of(stuck), instance_now());
		verify_worker_died(j);
		job_touch(j);
	}
	job_release(j);
}

static void crew_exited(struct child *child, int64_t status, int sig, void *arg)
{
	struct crew *w = arg;
	struct job *j = w->job;

	w->child = NULL;
	if (j && (status != 0 || sig != 0))
		job_log(j, LOG_ERROR, "worker.died", "status=%lld signal=%d %s", (long long)status,
		        sig, path_show(child_errors(child)));
	crew_lost(w);
	crew_drop(w);
}

static void crew_watch(uv_timer_t *t);

static void crew_watch_on(struct crew *w)
{
	int64_t period_ns = w->job->config->options.timeout_ns;

	w->watch_ns = instance_now() + period_ns;
	(void)uv_timer_start(&w->watch, crew_watch, (uint64_t)(period_ns / NS_PER_MS) + 1, 0);
}

static void crew_owes(struct crew *w)
{
	if (w->owed++ || !w->job)
		return;
	w->silent = 0;
	w->silent_ns = instance_now();
	crew_watch_on(w);
}

static void crew_paid(struct crew *w)
{
	if (w->owed && --w->owed == 0)
		(void)uv_timer_stop(&w->watch);
}

static void crew_heard(struct crew *w)
{
	if (w->silent >= SILENT_SAY)
		job_log(w->job, LOG_INFO, "worker.answers", "after %lld s",
		        (long long)((instance_now() - w->silent_ns) / NS_PER_S));
	w->silent = 0;
	w->silent_ns = instance_now();
}

static void crew_watch(uv_timer_t *t)
{
	struct crew *w = t->data;
	struct job *j = w->job;
	char text[160];

	if (!j || j->closing)
		return;
	/* We slept ourselves: what it said meanwhile has not been read. */
	if (instance_now() - w->watch_ns >= j->config->options.timeout_ns) {
		crew_watch_on(w);
		return;
	}
	w->silent++;
	if (w->silent == SILENT_ASK)
		crew_send(j, WIRE_PING, BYTES(""), -1);
	if (w->broken)
		return;
	if (w->silent == SILENT_SAY && crew_stuck(j, text, sizeof(text)))
		job_log(j, LOG_WARN, "worker.silent", "pid=%d %s", child_pid(w->child), text);
	if (w->silent == SILENT_KILL)
		child_kill(w->child); /* its exit does the rest */
	else
		crew_watch_on(w);
}

static void crew_session_ready(struct job *j, const struct wire_ready *m, int64_t now)
{
	if (m->compress) /* those that delete have none */
		j->compress = m->compress;
	engine_session_ready(j->engine, m, now);
}

static int crew_take_frame(struct job *j, const struct frame *f)
{
	int64_t now = instance_now();
	int r = 0;

	crew_heard(j->crew);
	switch ((enum wire_type)f->type) {
	case WIRE_READY: {
		struct wire_ready m;

		crew_paid(j->crew);
		if ((r = wire_get_ready(f->payload, &m)) == 0)
			share_ready(j);
		if (r == 0 && verify_owns(m.session))
			verify_session_ready(j, &m);
		else if (r == 0)
			crew_session_ready(j, &m, now);
		return r;
	}
	case WIRE_SESSION_GONE: { /* the connector may know more about why */
		struct wire_gone m;

		if ((r = wire_get_gone(f->payload, &m)) == 0) {
			if (!m.was_ready)
				crew_paid(j->crew);
			connect_session_gone(j, &m);
		}
		return r;
	}
	case WIRE_REPORT: {
		struct wire_report m = {0};

		if ((r = wire_get_report(f->payload, &m)) == 0)
			r = verify_owns(m.batch) ? verify_report(j, &m)
			                         : engine_report(j->engine, &m, now);
		wire_free_report(&m);
		return r;
	}
	case WIRE_BATCH_DONE: {
		struct wire_done m;

		crew_paid(j->crew);
		if ((r = wire_get_done(f->payload, &m)) == 0)
			r = verify_owns(m.batch) ? verify_batch_done(j, &m)
			                         : engine_batch_done(j->engine, &m, now);
		return r;
	}
	case WIRE_PONG:
		return 0;
	case WIRE_SETUP:
	case WIRE_SESSION:
	case WIRE_BATCH:
	case WIRE_CANCEL:
	case WIRE_CLOSE:
	case WIRE_KILLED:
	case WIRE_QUIT:
	case WIRE_PING:
		break;
	}
	return -EPROTO;
}

static void crew_poll(uv_poll_t *p, int status, int events);

static void crew_flush(struct crew *w)
{
	int r = frame_out_flush(w->out);

	if (r < 0)
		crew_lost(w);
	else
		(void)uv_poll_start(&w->poll, UV_READABLE | (r ? UV_WRITABLE : 0), crew_poll);
}

static void crew_poll(uv_poll_t *p, int status, int events)
{
	struct crew *w = p->data;
	struct frame f;
	int r = status;

	if (status == 0 && (events & UV_READABLE)) {
		while (w->job && (r = frame_in_next(w->in, &f)) == 1) {
			if (w->job->closing)
				continue;
			r = crew_take_frame(w->job, &f);
			if (r < 0) {
				job_log(w->job, LOG_ERROR, "worker.protocol",
				        "type=%u the worker broke its protocol; it is restarted",
				        f.type);
				break;
			}
			job_touch(w->job);
		}
	}
	if (r < 0)
		crew_lost(w);
	else if (w->job && (events & UV_WRITABLE))
		crew_flush(w);
}

static void crew_setup(struct job *j)
{
	const struct config_options *o = &j->config->options;
	struct wire_setup m = {
	        .bwlimit_bytes = o->bwlimit_bytes,
	        .handshake_timeout_s = (uint32_t)(o->handshake_timeout_ns / NS_PER_S),
	        .idle_timeout_s = (uint32_t)(o->timeout_ns / NS_PER_S),
	        .cross_mounts = j->tree->config->cross_mounts,
	        .sandbox = true,
	        .mode_map = {o->chmod.file_and, o->chmod.file_or, o->chmod.dir_and,
	                     o->chmod.dir_or},
	        .map_uid = o->chown.user && o->chown.user_is_id,
	        .map_gid = o->chown.group && o->chown.group_is_id,
	        .uid = o->chown.uid,
	        .gid = o->chown.gid,
	};
	struct buf payload;

	(void)snprintf(m.job, sizeof(m.job), "%s", j->config->name);
	m.options = j->session_options;
	buf_init(&payload, FRAME_PAYLOAD_MAX);
	wire_put_setup(&payload, &m);
	crew_send(j, WIRE_SETUP, buf_bytes(&payload), -1);
	buf_done(&payload);
}

int crew_need(struct job *j, struct err *err)
{
	char *argv[] = {"/proc/self/exe", "--worker", NULL};
	struct child_spec spec = {.argv = argv, .fd0 = -1, .fd1 = -1, .exited = crew_exited};
	int fds[2], r;

	if (j->crew)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return err_errno(err, errno, "socketpair");
	struct crew *w = mem_alloc(sizeof(*w));

	w->fd = fds[0];
	w->job = j;
	(void)fd_set_nonblock(fds[0]);
	(void)fd_set_nonblock(fds[1]);
	w->out = frame_out_new(w->fd);
	w->in = frame_in_new(w->fd);
	(void)uv_poll_init(&j->instance->loop, &w->poll, w->fd);
	(void)uv_timer_init(&j->instance->loop, &w->watch);
	w->handles = 2;
	w->poll.data = w->watch.data = w;
	spec.fd3 = fds[1];
	spec.arg = w;
	r = child_spawn(&w->child, &j->instance->loop, &spec, err);
	(void)close(fds[1]); /* the child has its own copy */
	if (r < 0) {
		crew_drop(w);
		return r;
	}
	j->crew = w;
	j->handles++;
	(void)uv_poll_start(&w->poll, UV_READABLE, crew_poll);
	crew_setup(j);
	return 0;
}

void crew_send(struct job *j, uint16_t type, struct bytes payload, int fd)
{
	struct crew *w = j->crew;

	if (!w) {
		if (fd >= 0)
			(void)close(fd); /* taken, and there is nobody to give it to */
		return;
	}
	if (type == WIRE_SESSION || type == WIRE_BATCH)
		crew_owes(w);
	frame_out_add(w->out, type, payload, &fd, fd >= 0);
	crew_flush(w);
}

void crew_send_id(struct job *j, enum wire_type type, uint64_t id)
{
	struct buf payload;

	buf_init(&payload, 16);
	wire_put_id(&payload, id);
	crew_send(j, (uint16_t)type, buf_bytes(&payload), -1);
	buf_done(&payload);
}

void crew_quit(struct job *j)
{
	struct crew *w = j->crew;

	if (!w)
		return;
	crew_send(j, WIRE_QUIT, BYTES(""), -1);
	if (w->child)
		child_end(w->child);
}

void crew_kill(struct job *j)
{
	if (j->crew && j->crew->child)
		child_kill(j->crew->child);
}
