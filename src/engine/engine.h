/*
 * engine: one job, from marks to confirmations; sans-I/O.
 *
 * Takes marks from looks into the job's path set, decides what goes when and in which session,
 * keeps the ledger ahead of every byte (I11), applies reports, and guards deletions (I8: guard,
 * brake, stamps). It makes no system call and asks no clock: inputs are function calls with `now`,
 * outputs are the functions of struct engine_ops. The daemon runs it over libuv and workers, the
 * simulator over a model. Belongs to the loop thread.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "core/brake.h"
#include "core/mark.h"
#include "core/pace.h"
#include "ledger/ledger.h"
#include "worker/wire.h"

struct engine;

struct engine_config {
	const char *job; /* name, copied */
	struct brake_limits brake;
	unsigned lanes;          /* sessions at work at the same time, default 4 */
	unsigned warm;           /* idle quick sessions kept open, default 2 */
	size_t marks_limit;      /* of the path set, default 65536 */
	size_t batch_marks;      /* default 1000 */
	uint64_t batch_bytes;    /* default 64 MiB */
	int64_t longest_wait_ns; /* default 30 s */
	int64_t spare_wait_ns;   /* after a flight has left a spare session is opened at its end, or
	                          * this long afterwards; 0: at once */
	int64_t zombie_ns;       /* 2 x the sessions' timeout */
	int64_t racy_window_ns;  /* of the source's time stamps */
	bool keep_deleted;       /* never delete at the target */
	bool renames;            /* the target takes links: what was renamed is linked there */
	uint64_t rename_bytes;   /* smaller files are sent again, not compared; default 1 MiB */
	bool copies; /* what is new may be built from another name of its directory at the target */
	uint64_t copy_bytes;       /* smaller files are sent; default 1 MiB */
	bool stamp;                /* keep and prove stamps; default true */
	uint64_t first_generation; /* for a target without stamps: wall clock seconds, but not the
	                            * present ones */
	bool trace;                /* an event (debug) for every result of an item */
	uint32_t seed;             /* of the jitter */
	/* Where names confirmed lately outlive the process (intents_open() in a directory of its
	 * own), borrowed until engine_free(). What it holds at the start is compared by content:
	 * nobody watched whether the target lost its power. NULL: a start compares nothing. */
	struct intent_log *recents;
};

/* Why an item needs a person or time; kept out of lag, counted in status. */
struct engine_failure {
	struct bytes path;
	const char *text; /* the server's own, escaped */
	bool source_side; /* unreadable here */
	int64_t retry_ns; /* CLOCK_BOOTTIME */
};

struct engine_ops {
	/* Wants one more session of this class; answered by engine_session_ready() or
	 * engine_session_gone(). Returns its id. */
	uint64_t (*open_session)(void *arg, enum session_class class);
	void (*close_session)(void *arg, uint64_t session);
	/* Sends the batch with the root that engine_run() was told is there. Copies what it needs.
	 */
	void (*send_batch)(void *arg, const struct wire_batch *batch);
	void (*cancel_batch)(void *arg, uint64_t batch);
	/* Hands marks to the look thread; engine_looked(token) follows after what it found. */
	void (*look)(void *arg, uint64_t token, const struct mark *marks, size_t n);
	/* Something is ready to be sent: a guard check and the tree's root, then engine_run(). */
	void (*want_root)(void *arg);
	/* Marks the path set can still take before it collapses (source_set_room). */
	void (*room)(void *arg, size_t marks);
	/* A line for the log: level as in log.h, stable id, text. */
	void (*event)(void *arg, int level, const char *id, const char *text);
};

struct engine *engine_new(const struct engine_config *config, struct ledger *ledger,
                          const struct engine_ops *ops, void *arg, int64_t now_ns);
void engine_free(struct engine *e);

/* --- inputs --- */
void engine_marks(struct engine *e, const struct mark *marks, size_t n, int64_t now_ns);
void engine_looked(struct engine *e, uint64_t token, int64_t now_ns);
void engine_session_ready(struct engine *e, const struct wire_ready *m, int64_t now_ns);
void engine_session_gone(struct engine *e, const struct wire_gone *m, int64_t now_ns);
/* 0, or -EPROTO: the worker is not to be believed; kill it and call engine_worker_died(). */
int engine_report(struct engine *e, const struct wire_report *m, int64_t now_ns);
int engine_batch_done(struct engine *e, const struct wire_done *m, int64_t now_ns);
void engine_worker_died(struct engine *e, struct bytes why, int64_t now_ns);
/* The source is frozen (nothing is sent) or live again. */
void engine_set_frozen(struct engine *e, bool frozen, int64_t now_ns);
/* So many names that the target holds were found gone at the source, but their marks come later: to
 * the brake they are going already. */
void engine_set_owed(struct engine *e, uint64_t names);
/* The root that appeared may be on another file system than the one that was there before. */
void engine_set_racy_window(struct engine *e, int64_t racy_window_ns);
/* The receiver's quick check is in whole seconds, or against times of its own: what it cannot tell
 * goes by its content. */
void engine_set_whole_seconds(struct engine *e);
/* The target does not let us name what a file is built from. */
void engine_set_copies_off(struct engine *e);
void engine_set_paused(struct engine *e, bool paused, int64_t now_ns);
/* The ledger belongs to another root or target: nothing is sent until approved. NULL: lifted. */
void engine_set_held(struct engine *e, const char *why, int64_t now_ns);
/* The first crawl's marks have all been put (SOURCE_BARRIER after attach): NEVER -> FIRST_SYNC ->
 * LIVE when they are confirmed. */
void engine_crawled(struct engine *e, int64_t now_ns);
/* Compares everything with the target: META... every entry at least `action` (QUICK or CONTENT). */
void engine_compare(struct engine *e, enum mark_action action, uint64_t born, int64_t now_ns);
/* How often everything has been compared with the target, the first sync included: grows when what
 * was found has been dealt with. */
uint64_t engine_compared(const struct engine *e);
/* Tries again at once what waits for a retry time. */
void engine_kick(struct engine *e, int64_t now_ns);

/* Does what can be done now: asks for sessions, takes and sends batches. root_ok: the guard was
 * checked just now and the root's descriptor is at hand; deletions and everything else go out only
 * then. */
void engine_run(struct engine *e, int64_t now_ns, bool root_ok);
/* When engine_run() has something to do without another input; INT64_MAX: never. */
int64_t engine_deadline(const struct engine *e);

/* --- questions --- */
enum engine_settled {
	ENGINE_SETTLED,
	ENGINE_PENDING,
	ENGINE_STUCK, /* only failed, held, paused or frozen items remain */
};
enum engine_settled engine_settled(struct engine *e, uint64_t born, int64_t now_ns);

/* Marks that are pending or in flight. */
size_t engine_left(const struct engine *e);
/* Paused or held: nothing goes out until a person says so. */
bool engine_idle(const struct engine *e);

enum engine_state {
	ENGINE_CONNECTING,
	ENGINE_FIRST_SYNC,
	ENGINE_IS_LIVE,
	ENGINE_RETRYING,
	ENGINE_FROZEN,
	ENGINE_PAUSED,
	ENGINE_HELD,
	ENGINE_STATES
};
const char *engine_state_word(enum engine_state s);

struct engine_status {
	enum engine_state state;
	enum trouble trouble;
	char text[600];   /* of the trouble or hold */
	int64_t lag_ns;   /* 0: nothing waits */
	int64_t retry_ns; /* CLOCK_BOOTTIME, 0: none */
	size_t pending, in_flight, failed, held, kept, zombies, sessions;
	uint64_t pending_bytes, confirmed, bytes_out, bytes_in, entries;
	int64_t last_confirmed_ns; /* CLOCK_BOOTTIME, 0: never */
	uint64_t generation;
	bool stamp_proven;
	int protocol;
	char note[600]; /* what is not kept although it is configured */
};
void engine_status(struct engine *e, struct engine_status *ret, int64_t now_ns);

void engine_each_failure(struct engine *e, bool (*fn)(const struct engine_failure *f, void *arg),
                         void *arg);

/* Bytes of content in the batch in flight that has most. */
uint64_t engine_heaviest_flight(const struct engine *e);

/* Every mark that is pending or in flight, for tests and dumps. */
void engine_each_mark(struct engine *e,
                      bool (*fn)(const struct mark *mark, bool in_flight, void *arg), void *arg);

struct engine_hold {
	unsigned id;
	const char *rule; /* what held it, in words */
	size_t count;
	struct bytes *paths; /* borrowed */
	int64_t since_ns;
};
void engine_each_hold(struct engine *e, bool (*fn)(const struct engine_hold *h, void *arg),
                      void *arg);
/* Lets exactly that set go; -ENOENT. id 0: lifts engine_set_held(). */
int engine_approve(struct engine *e, unsigned id, int64_t now_ns);

#endif
