/*
 * daemon: the loop of one instance: start, signals, letters, end.
 */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "daemon/runtime.h"

#define STOP_KILL_MS 3000
/* After that; together less than the 5 s that are promised. */
#define STOP_LEAVE_MS 1000

void instance_notify(struct instance *in, const char *state)
{
	(void)in;
#ifdef HAVE_SYSTEMD
	(void)sd_notify(0, state); /* not under systemd: nobody listens */
#else
	(void)state;
#endif
}

static struct tree *instance_tree_of(struct instance *in, struct letter *letter)
{
	const struct source *source = source_letter_source(letter);

	INSTANCE_EACH_TREE(in, t)
	{
		if (t->source == source)
			return t;
	}
	return NULL;
}

/* Letters in order; jobs that got inputs run before the loop sleeps again. */
static void instance_letters(uv_async_t *a)
{
	struct instance *in = a->data;
	struct letter *next;

	for (struct letter *l = mailbox_take(in->letters); l; l = next) {
		next = l->next;
		struct tree *t = instance_tree_of(in, l);

		if (t)
			tree_letter(t, l);
		else
			source_letter_free(l);
	}
	for (struct tree *t = in->trees, *tnext; t; t = tnext) {
		tnext = t->next;
		tree_run_dirty(t, -1);
	}
	waits_check(in);
}

static void instance_wake(void *arg)
{
	struct instance *in = arg;

	(void)uv_async_send(&in->letters_async);
}

struct job *instance_find_job(struct instance *in, const char *name)
{
	INSTANCE_EACH_TREE(in, t)
	{
		TREE_EACH_JOB(t, i, j)
		{
			if (!j->closing && strcmp(j->config->name, name) == 0)
				return j;
		}
	}
	return NULL;
}

bool instance_job_ends(struct instance *in, const char *name)
{
	INSTANCE_EACH_TREE(in, t)
	{
		TREE_EACH_JOB(t, i, j)
		{
			if (j->closing && strcmp(j->config->name, name) == 0)
				return true;
		}
	}
	return false;
}

/* --- end --- */

static void instance_close_walk(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h) && h->type == UV_SIGNAL)
		uv_close(h, NULL);
}

static bool instance_waits(const struct instance *in)
{
	return in->trees || in->asides.running;
}

/* A thread that waits in the kernel for a disk or a server cannot be asked to end, and may use what
 * is its own until then. So the process ends around it, as if it were killed: what is not confirmed
 * is in the intents (I11). */
static void instance_leave_rest(uv_timer_t *timer)
{
	struct instance *in = timer->data;

	INSTANCE_EACH_TREE(in, t)
	{
		log_event(LOG_WARN, "source.stuck",
		          "tree=%s %s does not answer; the end does not wait for it",
		          t->config->name, path_show(bytes_of(t->config->root)));
	}
	if (in->asides.running)
		log_event(LOG_WARN, "daemon.stuck",
		          "a target or a source does not answer; the end does not wait for it");
	in->left_alone = instance_waits(in);
}

static void instance_kill_rest(uv_timer_t *timer)
{
	struct instance *in = timer->data;

	INSTANCE_EACH_TREE(in, t)
	{
		tree_kill(t);
	}
	(void)uv_timer_start(timer, instance_leave_rest, STOP_LEAVE_MS, 0);
}

void instance_stop(struct instance *in)
{
	struct tree *next;

	if (in->stopping)
		return;
	in->stopping = true;
	instance_notify(in, "STOPPING=1");
	log_event(LOG_INFO, "daemon.stopping", "name=%s", in->config->name);
	in->reload_reply = NULL; /* ends with the control API */
	if (in->control)
		control_stop(TAKE(in->control));
	(void)uv_timer_start(&in->stop_timer, instance_kill_rest, STOP_KILL_MS, 0);
	for (struct tree *t = in->trees; t; t = next) {
		next = t->next;
		tree_close(t);
	}
}

/* --- signals --- */

static bool instance_dump_mark(const struct mark *m, bool in_flight, void *arg)
{
	job_log(arg, LOG_INFO, "dump.mark", "path=%s action=%s scope=%s flags=%u born=%llu%s",
	        path_show(m->path), mark_action_word(m->action),
	        m->scope == MARK_SUBTREE ? "subtree" : "entry", m->flags,
	        (unsigned long long)m->born, in_flight ? " in-flight" : "");
	return true;
}

static void instance_dump(struct instance *in)
{
	INSTANCE_EACH_TREE(in, t)
	{
		TREE_EACH_JOB(t, i, j)
		{
			engine_each_mark(j->engine, instance_dump_mark, j);
		}
	}
}

static void instance_signal(uv_signal_t *s, int number)
{
	struct instance *in = s->data;
	struct err err = {0};

	switch (number) {
	case SIGHUP:
		if (log_reopen(&err) < 0)
			log_event(LOG_WARN, "log.reopen", "%s", err.text);
		reload_apply(in, NULL);
		return;
	case SIGUSR1:
		if (log_reopen(&err) < 0)
			log_event(LOG_WARN, "log.reopen", "%s", err.text);
		return;
	case SIGUSR2:
		instance_dump(in);
		return;
	default:
		instance_stop(in);
		return;
	}
}

static void instance_watch_signals(struct instance *in)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

	(void)signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		uv_signal_t *s = &in->signals[in->signal_count++];

		(void)uv_signal_init(&in->loop, s);
		s->data = in;
		(void)uv_signal_start(s, instance_signal, numbers[i]);
	}
}

/* A password passes through here on its way to the worker: no core file may hold it. */
static void instance_protect(void)
{
	struct rlimit none = {0, 0};

	(void)prctl(PR_SET_DUMPABLE, 0);
	(void)setrlimit(RLIMIT_CORE, &none);
}

static int instance_start(struct instance *in, struct err *err)
{
	int r = control_start(&in->control, &in->loop, in->config->socket_path, &command_ops, in,
	                      err);

	for (size_t i = 0; r == 0 && i < in->config->tree_count; i++)
		r = tree_start(in, &in->config->trees[i], err);
	if (r < 0)
		return r;
	instance_notify(in, "READY=1");
	log_event(LOG_INFO, "daemon.ready", "socket=%s",
	          path_show(bytes_of(in->config->socket_path)));
	if (in->options.once)
		waits_once(in);
	return 0;
}

static void instance_free(struct instance *in)
{
	uv_close((uv_handle_t *)&in->stop_timer, NULL);
	uv_close((uv_handle_t *)&in->letters_async, NULL);
	asides_close(&in->asides);
	uv_walk(&in->loop, instance_close_walk, NULL);
	(void)uv_run(&in->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&in->loop);
	mailbox_free(in->letters, source_letter_free);
	asides_done(&in->asides);
	reload_forget_paused(in);
	config_free(in->owned);
	config_free(in->retired);
	free(in);
}

int daemon_run(const struct config *c, const struct run_options *o, json_t **ret_left,
               struct err *err)
{
	struct instance *in = mem_alloc(sizeof(*in));
	int r;

	mem_return_freed();
	instance_protect();
	(void)uv_loop_init(&in->loop);
	in->config = c;
	in->options = *o;
	in->once_result = 1;
	in->started_wall_ns = clock_wall_ns();
	in->letters = mailbox_new(instance_wake, in);
	(void)uv_async_init(&in->loop, &in->letters_async, instance_letters);
	in->letters_async.data = in;
	asides_init(&in->asides, &in->loop);
	(void)uv_timer_init(&in->loop, &in->stop_timer);
	in->stop_timer.data = in;
	instance_watch_signals(in);
	log_event(LOG_INFO, "daemon.start", "name=%s version=%s pid=%d", c->name, LOCKSTEP_VERSION,
	          (int)getpid());
	r = instance_start(in, err);
	if (r < 0)
		instance_stop(in);
	while (!in->stopping || (instance_waits(in) && !in->left_alone))
		(void)uv_run(&in->loop, UV_RUN_ONCE);
	*ret_left = in->once_left;
	if (r == 0 && o->once)
		r = in->once_result == 1
		            ? err_set(err, EINTR, "stopped before the targets were equal")
		            : in->once_result;
	if (!in->left_alone) /* else what those threads use stays to the end */
		instance_free(in);
	return r;
}
