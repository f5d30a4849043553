/* Commits, and the thread that makes them. */
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include "base/mem.h"
#include "ledger/ledger_impl.h"

#define NS_PER_MS       1000000ll
#define GATHER_NS       (100 * NS_PER_MS) /* from the first change on */
#define PAUSE_NS        (500 * NS_PER_MS) /* between commits under constant load */
#define CHANGES_MAX     8192              /* more are not waited for */
#define RETRY_NS        (1000 * NS_PER_MS)
#define RETRY_DOUBLINGS 5

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 * NS_PER_MS + ts.tv_nsec;
}

bool ledger_dirty_locked(const struct ledger *l)
{
	return l->back || l->meta_changed || overlay_changes(l->front) > 0;
}

void ledger_touched_locked(struct ledger *l)
{
	if (!l->threaded)
		return;
	if (!l->dirty_since_ns) {
		l->dirty_since_ns = now_ns();
		pthread_cond_signal(&l->wake);
	} else if (overlay_changes(l->front) >= CHANGES_MAX) {
		pthread_cond_signal(&l->wake);
	}
}

void ledger_note_trouble_locked(struct ledger *l, const char *text)
{
	l->troubled = true;
	(void)snprintf(l->trouble, sizeof(l->trouble), "%s", text);
}

const char *ledger_trouble(struct ledger *l)
{
	static _Thread_local char text[sizeof(l->trouble)];
	bool troubled;

	ledger_lock(l);
	troubled = l->troubled;
	memcpy(text, l->trouble, sizeof(text));
	ledger_unlock(l);
	return troubled ? text : NULL;
}

size_t ledger_uncommitted(struct ledger *l)
{
	size_t n;

	ledger_lock(l);
	n = overlay_changes(l->front) + (l->back ? overlay_changes(l->back) : 0);
	ledger_unlock(l);
	return n;
}

uint64_t ledger_confirmed_commits(struct ledger *l)
{
	uint64_t n;

	ledger_lock(l);
	n = l->confirmed_commits;
	ledger_unlock(l);
	return n;
}

void ledger_sync_first(struct ledger *l, struct intent_log *log)
{
	atomic_store(&l->sync_first, log);
}

/* What one commit writes. */
#define METAS 8
struct commit {
	struct overlay *layer; /* borrowed: back */
	bool confirmed;
	const char *keys[METAS];
	struct bytes values[METAS];
	size_t metas;
	struct buf text; /* what the values point into */
};

static void commit_add_number(struct commit *c, const char *key, uint64_t v)
{
	c->keys[c->metas] = key;
	c->values[c->metas++].n = 8;
	buf_add_le64(&c->text, v);
}

static void commit_add_text(struct commit *c, const char *key, const char *v)
{
	c->keys[c->metas] = key;
	c->values[c->metas++].n = v ? strlen(v) : 0;
	buf_add_bytes(&c->text, bytes_of(v ? v : ""));
}

static void commit_add_meta(struct commit *c, const struct ledger_meta *m)
{
	size_t at = 0;

	commit_add_text(c, "root", m->root);
	commit_add_text(c, "target", m->target);
	commit_add_number(c, "filter", m->filter_hash);
	commit_add_number(c, "options", m->options_hash);
	commit_add_number(c, "phase", m->phase);
	commit_add_number(c, "generation", m->generation);
	commit_add_text(c, "boot", m->boot);
	commit_add_number(c, "clean", m->clean);
	for (size_t i = 0; i < c->metas; i++) {
		c->values[i].p = c->text.p + at;
		at += c->values[i].n;
	}
}

/* With the lock held. A layer left by a failure is written again before the next one; the files of
 * intents are switched at the very moment at which front becomes back (I11). */
static void commit_begin_locked(struct ledger *l, struct commit *c)
{
	*c = (struct commit){0};
	buf_init(&c->text, SIZE_MAX);
	if (!l->back && overlay_changes(l->front)) {
		l->back = l->front;
		l->front = overlay_new();
		(void)l->log->switch_over(l->log); /* failing, it goes on with the current file */
	}
	if (!overlay_changes(l->front))
		l->dirty_since_ns = 0;
	c->layer = l->back;
	c->confirmed = l->confirmed;
	l->confirmed = false;
	if (l->meta_changed)
		commit_add_meta(c, &l->meta);
	l->meta_changed = false;
}

static void commit_end_locked(struct ledger *l, const struct commit *c, int r,
                              const struct err *err)
{
	if (r < 0) {
		ledger_note_trouble_locked(l, err->text);
		l->meta_changed = l->meta_changed || c->metas;
		l->confirmed = l->confirmed || c->confirmed;
		return;
	}
	l->troubled = false;
	l->confirmed_commits += c->confirmed;
	if (c->layer) {
		l->back = NULL;
		(void)l->log->discard_old(l->log); /* superfluous intents do no harm */
	}
}

static int commit_write(struct ledger *l, const struct commit *c, struct err *err)
{
	struct intent_log *first = atomic_load(&l->sync_first);
	struct overlay_export e = {0};
	int r;

	if (first && first->sync)
		(void)first->sync(first); /* failing, it is no better than a disk that lies */
	if (c->layer)
		overlay_export(c->layer, &e);
	r = l->store->commit(l->store, e.changes, e.n, c->keys, c->values, c->metas, err);
	if (c->layer)
		overlay_export_done(&e);
	return r;
}

int ledger_commit(struct ledger *l)
{
	struct err err = {0};
	struct commit c;
	int r = 0;
	bool again;

	pthread_mutex_lock(&l->committing);
	do {
		ledger_lock(l);
		again = l->back != NULL; /* an earlier one failed: then front is still to come */
		commit_begin_locked(l, &c);
		ledger_unlock(l);
		if (c.layer || c.metas)
			r = commit_write(l, &c, &err);
		ledger_lock(l);
		commit_end_locked(l, &c, r, &err);
		ledger_unlock(l);
		if (r == 0)
			overlay_free(c.layer);
		buf_done(&c.text);
	} while (r == 0 && again);
	pthread_mutex_unlock(&l->committing);
	return r;
}

/* When the writer has to commit what waits now. */
static int64_t due_locked(const struct ledger *l)
{
	int64_t due = l->dirty_since_ns + GATHER_NS;

	if (l->failures)
		return l->not_before_ns;
	if (overlay_changes(l->front) >= CHANGES_MAX)
		return 0;
	return due > l->not_before_ns ? due : l->not_before_ns;
}

static void wait_until_locked(struct ledger *l, int64_t at_ns)
{
	struct timespec ts = {.tv_sec = (time_t)(at_ns / (1000 * NS_PER_MS)),
	                      .tv_nsec = (long)(at_ns % (1000 * NS_PER_MS))};

	(void)pthread_cond_timedwait(&l->wake, &l->lock, &ts);
}

static void commit_unlocked(struct ledger *l)
{
	int64_t pause = PAUSE_NS;
	int r;

	ledger_unlock(l);
	r = ledger_commit(l);
	ledger_lock(l);
	if (r < 0) {
		pause = RETRY_NS << (l->failures < RETRY_DOUBLINGS ? l->failures : RETRY_DOUBLINGS);
		l->failures++;
	} else {
		l->failures = 0;
	}
	l->not_before_ns = now_ns() + pause;
}

static void *writer_main(void *arg)
{
	struct ledger *l = arg;

	ledger_lock(l);
	while (!l->stop) {
		if (!ledger_dirty_locked(l))
			pthread_cond_wait(&l->wake, &l->lock);
		else if (now_ns() < due_locked(l))
			wait_until_locked(l, due_locked(l));
		else
			commit_unlocked(l);
	}
	ledger_unlock(l);
	return NULL;
}

int ledger_start_writer(struct ledger *l)
{
	int r = pthread_create(&l->writer, NULL, writer_main, l);

	l->threaded = r == 0;
	return -r;
}

void ledger_stop_writer(struct ledger *l)
{
	if (!l->threaded)
		return;
	ledger_lock(l);
	l->stop = true;
	pthread_cond_signal(&l->wake);
	ledger_unlock(l);
	pthread_join(l->writer, NULL);
	l->threaded = false;
}
