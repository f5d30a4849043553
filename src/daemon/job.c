/*
 * job: one tree to one target: ledger, engine, and what the engine asks for.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "daemon/connect_args.h"
#include "daemon/runtime.h"

#define SPARE_WAIT_NS (20 * NS_PER_MS)
#define STAMP_AGO_S   1000000

void job_log(struct job *j, int level, const char *id, const char *fmt, ...)
{
	char text[1600];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* a cut line still says it */
	va_end(ap);
	log_event((enum log_level)level, id, "job=%s target=%s %s", j->config->name,
	          path_show(bytes_of(j->config->target_text)), text);
}

/* --- what the engine asks for --- */

static uint64_t job_open_session(void *arg, enum session_class class)
{
	struct job *j = arg;
	uint64_t id = ++j->next_session;

	connect_begin(j, id, class);
	return id;
}

static void job_close_session(void *arg, uint64_t session)
{
	crew_send_id(arg, WIRE_CLOSE, session);
}

static void job_send_batch(void *arg, const struct wire_batch *batch)
{
	struct job *j = arg;
	struct buf payload;
	int fd = fcntl(j->root_fd, F_DUPFD_CLOEXEC, 0);

	buf_init(&payload, FRAME_PAYLOAD_MAX);
	wire_put_batch(&payload, batch);
	if (fd < 0 || payload.overflowed) {
		struct wire_done done = {batch->id,
		                         batch->session,
		                         TROUBLE_LOCAL,
		                         false,
		                         0,
		                         0,
		                         BYTES("no descriptor left for the tree's root")};

		if (fd >= 0)
			(void)close(fd);
		(void)engine_batch_done(j->engine, &done, instance_now());
	} else {
		crew_send(j, WIRE_BATCH, buf_bytes(&payload), fd);
	}
	buf_done(&payload);
}

static void job_cancel_batch(void *arg, uint64_t batch)
{
	crew_send_id(arg, WIRE_CANCEL, batch);
}

static void job_look(void *arg, uint64_t token, const struct mark *marks, size_t n)
{
	struct job *j = arg;

	source_look(j->tree->source, j->number, token, marks, n);
}

static void job_want_root(void *arg)
{
	struct job *j = arg;

	j->root_wanted = true;
	tree_want_root(j->tree);
}

/* The crawl goes at the pace of the job that has most room: a target in trouble holds nobody up. */
static void job_room(void *arg, size_t marks)
{
	struct job *mine = arg;
	struct tree *t = mine->tree;
	size_t best = 0;

	mine->set_room = marks;
	TREE_EACH_JOB(t, i, j)
	{
		best = j->set_room > best ? j->set_room : best;
	}
	if (best > t->room_left + best / 2 || (best == 0 && t->room_left)) {
		t->room_left = best;
		source_set_room(t->source, best);
	}
}

static void job_event(void *arg, int level, const char *id, const char *text)
{
	job_log(arg, level, id, "%s", text);
}

static const struct engine_ops job_ops = {
        .open_session = job_open_session,
        .close_session = job_close_session,
        .send_batch = job_send_batch,
        .cancel_batch = job_cancel_batch,
        .look = job_look,
        .want_root = job_want_root,
        .room = job_room,
        .event = job_event,
};

/* --- options --- */

/* What must be compared anew when it changes. FNV-1a over the bytes of the values. */
static uint64_t job_options_hash(const struct config_options *o, unsigned without)
{
	struct buf b;
	uint64_t h = 0xcbf29ce484222325u;

	buf_init(&b, 4096);
	buf_printf(&b, "%u %d %d %s %s %x %x %x %x", o->keep, o->numeric_ids, o->sparse,
	           o->chown.user ? o->chown.user : "", o->chown.group ? o->chown.group : "",
	           o->chmod.file_and, o->chmod.file_or, o->chmod.dir_and, o->chmod.dir_or);
	if (o->xattrs && !(without & SESSION_WITHOUT_XATTRS))
		buf_printf(&b, " xattrs");
	if (o->acls && !(without & SESSION_WITHOUT_ACLS))
		buf_printf(&b, " acls");
	for (size_t i = 0; i < b.n; i++)
		h = (h ^ (unsigned char)b.p[i]) * 0x100000001b3u;
	buf_done(&b);
	return h;
}

/* --- start --- */

static void job_timer(uv_timer_t *t)
{
	struct job *j = t->data;

	j->timer_armed = false;
	job_run(j, -1);
	waits_check(j->instance);
}

static bool job_forget_excluded(struct bytes name, const struct belief *belief, void *arg);

struct excluded_walk {
	struct job *job;
	struct bytes dir;
	struct buf *found; /* NUL-separated paths to forget */
	struct buf *dirs;  /* NUL-separated directories to visit */
};

/* Newly excluded names are forgotten, never deleted. */
static void job_filter_changed(struct job *j)
{
	struct buf dirs, found;
	size_t at = 0;

	buf_init(&dirs, 1u << 30);
	buf_init(&found, 1u << 30);
	buf_add_u8(&dirs, 0);
	while (at < dirs.n) {
		size_t n = strlen(dirs.p + at);
		char *dir = mem_dup(dirs.p + at, n);
		struct excluded_walk walk = {j, {dir, n}, &found, &dirs};

		at += n + 1;
		ledger_list(j->ledger, walk.dir, job_forget_excluded, &walk);
		free(dir);
	}
	for (at = 0; at < found.n; at += strlen(found.p + at) + 1)
		ledger_forget(j->ledger, bytes_of(found.p + at));
	buf_done(&dirs);
	buf_done(&found);
}

static bool job_forget_excluded(struct bytes name, const struct belief *belief, void *arg)
{
	struct excluded_walk *w = arg;
	bool is_dir = S_ISDIR(belief->fp.mode);
	struct buf path;

	buf_init(&path, PATH_BYTES_MAX + 1);
	path_join(&path, w->dir, name);
	buf_add_u8(&path, 0);
	if (filter_excludes(w->job->tree->filter, (struct bytes){path.p, path.n - 1}, is_dir))
		buf_add(w->found, path.p, path.n);
	else if (is_dir)
		buf_add(w->dirs, path.p, path.n);
	buf_done(&path);
	return true;
}

static void job_hold(struct job *j)
{
	const char *what = NULL;
	autofree char *why = NULL;

	if (j->foreign & LEDGER_FOUND_ROOT_CHANGED)
		what = "the tree's root is another file system or directory than the one this "
		       "target was filled from";
	else if (j->foreign & LEDGER_FOUND_TARGET_CHANGED)
		what = "the configuration names another target than before";
	if (what)
		why = mem_printf("%s. Nothing is sent or deleted. If that is intended: lockstep "
		                 "approve 0 %s",
		                 what, j->config->name);
	engine_set_held(j->engine, why, instance_now());
}

static struct ledger_identity job_identity(const struct job *j)
{
	return (struct ledger_identity){
	        .root_id = j->tree->root_id,
	        .target = j->config->target_text,
	        .filter_hash = filter_hash(j->tree->filter),
	        .options_hash = j->options_hash,
	};
}

void job_options_left_out(struct job *j)
{
	struct ledger_identity id;

	j->options_hash = job_options_hash(&j->config->options, j->without);
	id = job_identity(j);
	if (!j->foreign && id.root_id[0])
		ledger_adopt(j->ledger, &id);
}

void job_adopt_identity(struct job *j)
{
	struct ledger_identity id = job_identity(j);

	ledger_adopt(j->ledger, &id);
	source_expect(j->tree->source, j->number, id.root_id);
	j->foreign = 0;
	job_hold(j);
}

void job_check_root(struct job *j, bool adopted)
{
	const char *known = ledger_root(j->ledger);
	unsigned before = j->foreign;

	if (!j->tree->root_id[0])
		return; /* none was seen yet */
	if (j->adopt_later && (!known || !known[0] || strcmp(known, j->tree->root_id) == 0))
		job_adopt_identity(j);
	else if (known && strcmp(known, j->tree->root_id) == 0)
		j->foreign &= ~(unsigned)LEDGER_FOUND_ROOT_CHANGED;
	else if (j->root_approved && adopted)
		job_adopt_identity(j);
	else
		j->foreign |= LEDGER_FOUND_ROOT_CHANGED;
	j->root_approved = j->adopt_later = false;
	if (j->foreign != before)
		job_hold(j);
}

static void job_found(struct job *j, unsigned found)
{
	int64_t now = instance_now();

	if (found & LEDGER_FOUND_CORRUPT)
		job_log(j, LOG_WARN, "ledger.corrupt",
		        "the ledger could not be read and was set aside in %s; everything is "
		        "compared "
		        "with the target",
		        j->dir);
	j->foreign = found & (LEDGER_FOUND_ROOT_CHANGED | LEDGER_FOUND_TARGET_CHANGED);
	job_hold(j);
	if (found & LEDGER_FOUND_FILTER_CHANGED)
		job_filter_changed(j);
	if (found & LEDGER_FOUND_OPTIONS_CHANGED)
		engine_compare(j->engine, MARK_META, 0, now);
	if (found & LEDGER_FOUND_REBOOTED)
		engine_compare(j->engine, MARK_QUICK, 0, now);
}

/* What the target confirmed lately, beside the ledger, in files of the same kind as its intents. */
static int job_open_recents(struct job *j, struct err *err)
{
	autofree char *dir = mem_printf("%s/recent", j->dir);
	bool found;
	int r = fd_make_dirs(dir, 0700, err);

	if (r == 0)
		r = intents_open(&j->recents, dir, &found, err);
	return r;
}

static int job_open_ledger(struct job *j, unsigned *ret_found, struct err *err)
{
	struct ledger_identity id = job_identity(j);
	int r = fd_make_dirs(j->dir, 0700, err);

	if (r == 0)
		r = ledger_open(&j->ledger, j->dir, &id, ret_found, err);
	if (r < 0)
		return r;
	r = job_open_recents(j, err);
	if (r < 0) {
		ledger_close(j->ledger);
		return r;
	}
	ledger_sync_first(j->ledger, j->recents);
	if (!id.root_id[0]) { /* whether it is the root that this was filled from shows later */
		*ret_found &= ~(unsigned)LEDGER_FOUND_ROOT_CHANGED;
		j->adopt_later = !(*ret_found & LEDGER_FOUND_TARGET_CHANGED);
	} else if (!(*ret_found & (LEDGER_FOUND_ROOT_CHANGED | LEDGER_FOUND_TARGET_CHANGED)))
		ledger_adopt(j->ledger, &id);
	return 0;
}

/* Receivers before 3.2.0 let a time stand that is right to the second, with whatever their clock
 * says beyond it, and would find another one afterwards: so none that a clock may show now.
 * Generations grow slower than it goes. */
static uint64_t first_generation(void)
{
	int64_t now_s = clock_wall_ns() / NS_PER_S;

	return (uint64_t)(now_s > STAMP_AGO_S ? now_s - STAMP_AGO_S : now_s);
}

/* A former name's extended attributes and ACLs are not read, so none is listed with those. And what
 * stays would be one inode with the new name. */
bool job_links_renames(const struct config_options *o)
{
	return o->renames && o->delete &&(o->keep & CONFIG_KEEP_LINKS) &&
	       (o->keep & CONFIG_KEEP_TIMES) && !o->xattrs && !o->acls;
}

static void job_new_engine(struct job *j)
{
	const struct config_options *o = &j->config->options;
	struct engine_config c = {
	        .job = j->config->name,
	        .brake = {o->brake_files, (unsigned)o->brake_percent, o->brake_absolute, !o->brake},
	        .lanes = (unsigned)o->lanes,
	        .warm = (unsigned)o->warm_sessions,
	        .marks_limit = o->marks_limit,
	        .batch_marks = o->batch_files,
	        .batch_bytes = o->batch_bytes,
	        .longest_wait_ns = o->longest_wait_ns,
	        .spare_wait_ns = SPARE_WAIT_NS,
	        .zombie_ns = 2 * o->timeout_ns,
	        .racy_window_ns = j->tree->racy_window_ns,
	        .stamp = o->stamp,
	        .keep_deleted = !o->delete,
	        .renames = job_links_renames(o),
	        .copies = j->session_options.copies,
	        .trace = j->instance->config->log_level == LOG_DEBUG,
	        .first_generation = first_generation(),
	        .recents = j->recents,
	        .seed = (uint32_t)(clock_boot_ns() ^ (int64_t)(uintptr_t)j),
	};

	j->engine = engine_new(&c, j->ledger, &job_ops, j, instance_now());
	if (!j->session_options.times) /* nor does --modify-window go then */
		engine_set_whole_seconds(j->engine);
}

int job_start(struct tree *t, const struct config_job *config, struct err *err)
{
	struct job *j = mem_alloc(sizeof(*j));
	unsigned found = 0, number = 0;
	int r;

	while (number < SOURCE_JOBS_MAX && t->jobs[number])
		number++;
	j->tree = t;
	j->instance = t->instance;
	j->config = config;
	j->number = number;
	j->root_fd = -1;
	j->options_hash = job_options_hash(&config->options, 0);
	j->dir = mem_printf("%s/jobs/%s", t->instance->config->state_dir, config->name);
	if (number == SOURCE_JOBS_MAX)
		r = err_set(err, E2BIG, "tree %s has more than %d targets", t->config->name,
		            SOURCE_JOBS_MAX);
	else
		r = job_open_ledger(j, &found, err);
	if (r < 0) {
		free(j->dir);
		free(j);
		return r;
	}
	connect_options(&config->options, &j->session_options, &j->usermap, &j->groupmap);
	/* Here nothing passes over a line, and a claim would read one file more at either end. */
	if (config->target.kind == TARGET_LOCAL)
		j->session_options.copies = false;
	job_new_engine(j);
	share_begin(j);
	if (reload_was_paused(j->instance, config->name))
		job_set_paused(j, true);
	(void)uv_timer_init(&t->instance->loop, &j->timer);
	j->timer.data = j;
	j->handles = 2; /* the timer and the source's attachment */
	j->sync_began_ns = instance_now();
	j->extras = UINT64_MAX;
	t->jobs[number] = j;
	source_expect(t->source, number, ledger_root(j->ledger) ? ledger_root(j->ledger) : "");
	source_keep_attributes(t->source, number, config->options.xattrs || config->options.acls);
	source_attach(t->source, number, j->ledger);
	engine_set_frozen(j->engine, t->health == SOURCE_FROZEN, instance_now());
	job_found(j, found);
	job_touch(j);
	return 0;
}

/* --- run --- */

void job_touch(struct job *j)
{
	if (!j->dirty) {
		j->dirty = true;
		(void)uv_async_send(&j->instance->letters_async);
	}
}

void job_run(struct job *j, int root_fd)
{
	int64_t now = instance_now(), deadline;

	j->dirty = false;
	if (j->closing)
		return;
	j->root_fd = root_fd;
	j->root_wanted = false;
	engine_run(j->engine, now, root_fd >= 0);
	j->root_fd = -1;
	if (j->compared != engine_compared(j->engine)) {
		j->compared = engine_compared(j->engine);
		verify_count_extras(j);
	}
	verify_go_on(j);
	deadline = engine_deadline(j->engine);
	if (deadline == INT64_MAX) {
		(void)uv_timer_stop(&j->timer);
		return;
	}
	uv_update_time(&j->instance->loop);
	(void)uv_timer_start(&j->timer, job_timer,
	                     deadline <= now ? 1 : (uint64_t)((deadline - now) / NS_PER_MS + 1), 0);
}

void job_status(struct job *j, struct engine_status *ret)
{
	engine_status(j->engine, ret, instance_now());
	if (!ret->text[0])
		(void)(tree_stuck(j->tree, ret->text, sizeof(ret->text)) ||
		       crew_stuck(j, ret->text, sizeof(ret->text)));
	without_note(j, ret->note, sizeof(ret->note));
}

/* --- end --- */

static void job_handle_closed(uv_handle_t *h)
{
	job_release(h->data);
}

void job_close(struct job *j)
{
	if (j->closing)
		return;
	j->closing = true;
	if (j->paused && j->instance->reloading)
		reload_note_paused(j->instance, j->config->name);
	waits_forget_job(j->instance, j);
	connect_cancel_all(j);
	share_retire(j);
	crew_quit(j);
	uv_close((uv_handle_t *)&j->timer, job_handle_closed);
	j->detach_token = ++j->instance->next_token;
	source_detach(j->tree->source, j->number, j->detach_token);
}

void job_set_paused(struct job *j, bool paused)
{
	j->paused = paused;
	engine_set_paused(j->engine, paused, instance_now());
	if (paused)
		share_retire(j);
}

void job_detached(struct job *j)
{
	job_release(j);
}

void job_release(struct job *j)
{
	if (--j->handles || !j->closing)
		return;
	struct tree *t = j->tree;

	t->jobs[j->number] = NULL;
	share_free(j);
	engine_free(j->engine);
	ledger_close(j->ledger);
	j->recents->close(j->recents);
	free(j->usermap);
	free(j->groupmap);
	free(j->dir);
	free(j);
	struct instance *in = t->instance;

	tree_job_gone(t);
	reload_continue(in);
}
