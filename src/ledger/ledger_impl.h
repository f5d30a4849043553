/*
 * ledger_impl: what the files of the ledger share.
 *
 * Belief is read through three layers: `front` takes changes, `back` is being written by a commit
 * (or waits for another try), the store is below. A commit makes front the back one and begins a
 * new front; when it has been written, back is dropped. back never changes.
 *
 * What holds for the layers together, and keeps the store's tree whole:
 * - a name that is believed has all its parents believed; a record with neither fingerprint nor
 *   intents is such a parent and goes with the last name below it;
 * - a confirmed name has only confirmed directories above it.
 */
#ifndef LEDGER_LEDGER_IMPL_H
#define LEDGER_LEDGER_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include "ledger/ledger.h"
#include "ledger/overlay.h"

struct ledger_meta {
	char *root, *target;
	uint64_t filter_hash, options_hash;
	enum ledger_phase phase;
	uint64_t generation;
	char *boot;
	bool clean;
};

struct ledger {
	struct store *store;
	struct intent_log *log;
	_Atomic(struct intent_log *) sync_first; /* ledger_sync_first() */

	pthread_mutex_t lock; /* guards everything down to the next mark */
	struct overlay *front, *back;
	uint64_t entries;
	struct ledger_meta meta;
	bool meta_changed;
	bool confirmed; /* something was confirmed in front */
	uint64_t confirmed_commits;
	bool troubled;
	char trouble[sizeof(((struct err *)0)->text)];

	/* The writer thread, if there is one. */
	pthread_cond_t wake;
	bool threaded, stop;
	int64_t dirty_since_ns; /* CLOCK_MONOTONIC; 0: nothing waits */
	int64_t not_before_ns;
	unsigned failures;
	pthread_t writer;

	pthread_mutex_t committing; /* taken before `lock`: one commit at a time */
	struct buf found;           /* intents read back at open: le16 length, path */
	char *dir;
	int lock_fd;
};

/* A directory that is there only for the names below it. */
static inline bool ledger_mere_parent(const struct store_record *record)
{
	return !record->fp.mode && !record->intents;
}

/* With the lock held. */
bool ledger_find_locked(struct ledger *l, struct bytes path, struct store_record *ret);
bool ledger_dirty_locked(const struct ledger *l);
/* Something has been changed: wakes the writer when it has to know. */
void ledger_touched_locked(struct ledger *l);
void ledger_note_trouble_locked(struct ledger *l, const char *text);

/* Names directly in dir with their records; record.parent: there may be names below. */
typedef bool ledger_record_fn(struct bytes name, const struct store_record *record, void *arg);
void ledger_list_records(struct ledger *l, struct bytes dir, ledger_record_fn *fn, void *arg);

/* The names an intent log and the store have as intended, as intended names. */
void ledger_read_intents(struct ledger *l);
/* Intends without an append. */
void ledger_add_intent_locked(struct ledger *l, struct bytes path);

void ledger_load_meta(struct ledger *l);
void ledger_meta_done(struct ledger_meta *m);

int ledger_start_writer(struct ledger *l);
void ledger_stop_writer(struct ledger *l);

static inline void ledger_lock(struct ledger *l)
{
	pthread_mutex_lock(&l->lock);
}
static inline void ledger_unlock(struct ledger *l)
{
	pthread_mutex_unlock(&l->lock);
}

#endif
