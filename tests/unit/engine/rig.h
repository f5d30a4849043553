/*
 * rig: an engine over a ledger in memory, whose sessions, looks and batches are only written down.
 */
#ifndef UNIT_ENGINE_RIG_H
#define UNIT_ENGINE_RIG_H

#include "../../sim/memstore.h"
#include "base/bytes.h"
#include "engine/engine.h"

#define RIG_SECOND 1000000000LL
#define RIG_MAX    64

struct rig_batch {
	uint64_t id, session;
	enum session_class class;
	size_t count;
	char path[RIG_MAX][64];
	unsigned flags[RIG_MAX];  /* enum wire_item_flag */
	char former[RIG_MAX][64]; /* names that files had before, and what is above them */
	size_t formers_n;
	char basis[RIG_MAX][64]; /* names that items may be copies of */
	size_t bases_n;
	bool intended; /* every name was in the ledger when it was sent */
	bool ended;
};

struct rig_look {
	uint64_t token;
	char path[64];
	enum mark_scope scope;
	enum mark_action action;
	bool answered;
};

struct rig_session {
	uint64_t id;
	enum session_class class;
	bool ready, closed;
};

struct rig {
	struct store *store;
	struct intent_log *log, *recents;
	struct ledger *ledger;
	struct engine *engine;
	struct engine_config config;
	int64_t now_ns;
	uint64_t fp_size; /* of every file that is reported */
	int32_t protocol; /* of sessions to come, 0: 31 */
	struct rig_session sessions[4 * RIG_MAX];
	struct rig_batch batches[2 * RIG_MAX];
	struct rig_look looks[2 * RIG_MAX];
	size_t session_count, batch_count, look_count;
};

/* cmocka setup and teardown; *state is the rig, started. */
int rig_make(void **state);
/* The same with stamps. */
int rig_make_stamped(void **state);
/* The same with delete = no. */
int rig_make_keeping(void **state);
int rig_drop(void **state);

/* The config may be changed between the two. */
struct rig *rig_new(void);
void rig_start(struct rig *r);
/* The daemon dies and comes back. */
void rig_restart(struct rig *r);
void rig_free(struct rig *r);

/* Runs the engine, with the tree's root at hand; sessions it asks for get ready at once. */
void rig_run(struct rig *r);
void rig_wait(struct rig *r, int64_t ns);
/* Answers the looks that are open, as if they had found nothing. */
void rig_looked(struct rig *r);
void rig_put(struct rig *r, const char *path, enum mark_action action, unsigned flags);
/* A look found a file that the target does not have under this name. */
void rig_put_file(struct rig *r, const char *path, uint64_t ino, int64_t ctime_ns, uint64_t size);
/* The batch under way that holds the path; NULL: none. */
struct rig_batch *rig_find(struct rig *r, const char *path);
/* An open look for the path; NULL: none. */
struct rig_look *rig_find_look(struct rig *r, const char *path);
/* Acknowledged, as what the list said of it. */
int rig_report_fp(struct rig *r, struct rig_batch *b, const char *path,
                  const struct fingerprint *fp);
int rig_report(struct rig *r, struct rig_batch *b, const char *path, enum wire_result result);
void rig_done(struct rig *r, struct rig_batch *b, enum trouble trouble, bool zombie);
/* Confirms every item of every batch under way, again and again until there is none. */
void rig_confirm_all(struct rig *r);
unsigned rig_belief(struct rig *r, const char *path);

#endif
