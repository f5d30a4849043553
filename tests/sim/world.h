/*
 * world: everything around one engine in the simulation: a source tree that changes, an event queue
 * that loses, merges and overflows, a look that compares with the real ledger, a target with
 * sessions, faults, power and a past, and a daemon that can die between any two steps.
 *
 * Virtual time only. Every choice comes from one seed.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stdbool.h>
#include "engine/engine.h"
#include "memstore.h"
#include "model.h"

#define MS 1000000LL
#define S  1000000000LL

#define SIM_BRAKE_FILES   4
#define SIM_BRAKE_PERCENT 10

struct event { /* a kernel event, or a look that the engine asked for */
	char path[64];
	unsigned bits;       /* enum backlog_bit; 0: crawl */
	bool subtree, asked; /* asked: a look of the engine's */
	bool walk;           /* a part of a crawl: goes on while the path set has room */
	bool over;           /* nothing to look at: what was asked for is complete */
	char gone_top[64];   /* path is at or below it, and gets this mark: */
	struct mark gone;
	bool replaced;               /* there is a file at gone_top, else nothing */
	uint64_t born, token, owner; /* owner: 0, or the same in all parts of a crawl */
	int64_t since_ns;
	int64_t wary_ns; /* of a crawl: what changed later may have lost its event; 0: none has */
	enum mark_action least;
	struct event *next;
};

struct server;
struct check;

struct world {
	uint64_t random;
	int64_t now_ns;
	/* source */
	struct model source;
	uint64_t next_content, next_ino;
	struct event *events, **events_tail;
	size_t event_count;
	uint64_t owners;
	uint64_t drain;
	bool frozen;
	/* target */
	struct model target, synced;
	struct model brought; /* the content that the worker brought last */
	int64_t synced_ns;
	uint64_t target_id, next_inode;
	bool down, full;
	char immutable[64];                        /* nothing can be done about this name there */
	int64_t immutable_until_ns, sick_until_ns; /* sick: the ledger's store cannot be written */
	bool replaced;      /* and nothing has been changed since everything was quiet */
	int64_t vouched_ns; /* when the target before the present one was proven last */
	int64_t down_until_ns, full_until_ns;
	struct server *servers;
	uint64_t next_session;
	/* daemon */
	struct store *store;
	struct intent_log *log, *recents;
	struct ledger *ledger;
	uint64_t kept_generation; /* what a crash leaves of it */
	struct engine *engine;
	bool root_wanted, paused;
	int64_t proven_ns; /* when the engine was last told that a stamp is there */
	size_t room;       /* marks the engine would like to have */
	struct mood {
		bool brake, blind, keep_deleted;
		bool renames; /* a good part of what happens at the source, and exchanges */
		bool links;   /* what was renamed is linked */
		bool copies;  /* and what was copied is claimed to be */
		size_t marks_limit;
		uint32_t letters; /* names in a directory */
	} mood;
	struct check *check;
	/* figures */
	uint64_t steps, deletions, crashes, faults, links, copies;
	bool quiet; /* no more operations and faults */
	const char *violation;
	char detail[200];
};

uint32_t world_random(struct world *w, uint32_t below);
void world_violation(struct world *w, const char *what, struct bytes path);
/* A line on standard error when SIM_LOG is set. */
void world_trace(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* source.c */
void source_grow(struct world *w, unsigned changes); /* before anybody looks */
void source_change(struct world *w);                 /* one random operation */
/* One file is written, so that there is something to send. */
void source_touch(struct world *w);
void source_event(struct world *w, struct bytes path, unsigned bits);
void source_crawl_all(struct world *w);
bool source_step(struct world *w); /* looks at one event; false: none is left */

/* target.c */
void target_open(struct world *w, uint64_t id, enum session_class class);
void target_close(struct world *w, uint64_t id);
void target_batch(struct world *w, const struct wire_batch *batch);
bool target_step(struct world *w); /* one server does one thing; false: none can */
void target_fault(struct world *w);
void target_heal(struct world *w);
/* Ends the sessions that still work in a directory that was swapped away. */
void target_forget_past(struct world *w);
/* A session's host went down, and nobody can know yet. */
bool target_unnoticed(const struct world *w);
void target_orphan_all(struct world *w);
void target_claim(struct world *w);
void target_free(struct world *w);

/* check.c */
void check_new(struct world *w);
void check_free(struct world *w);
void check_forget(struct world *w, bool target_lost); /* what was noted, at a crash or an outage */
void check_changed(struct world *w, struct bytes path);
void check_batch(struct world *w, const struct wire_batch *batch, enum session_class class);
void check_approve_all(struct world *w);
void check_gone(struct world *w, struct bytes path); /* a deletion is confirmed */
void check_superset(struct world *w);
void check_barrier(struct world *w);
void check_equal(struct world *w);

/* world.c */
void world_start_daemon(struct world *w);
void world_crash(struct world *w);
void world_drop_events(struct world *w);
void world_step(struct world *w);
void world_settle(struct world *w);

/* basis.c: gives a new file what another in its directory holds. */
void basis_copy(struct world *w, struct entry *e);

#endif
