/*
 * live: a source with its real threads on a temporary tree, a real ledger, and a model target that
 * does what marks say by looking at the tree at that moment. Nothing is timed: tests wait for
 * barriers and answers.
 */
#ifndef TESTS_SOURCE_LIVE_H
#define TESTS_SOURCE_LIVE_H

#include "base/mailbox.h"
#include "source/source.h"

struct held;

struct live {
	char dir[64];     /* temporary, removed by live_stop() */
	char root[80];    /* the tree */
	char outside[80]; /* on the same file system */
	struct source_config config;
	struct filter *filter;
	struct mailbox *box;
	struct source *source;
	struct ledger *ledger;
	struct held *target; /* the model: by path */
	bool attributes;     /* source_keep_attributes() for job 0 */
	bool apply;          /* carry marks out (default); otherwise only record them */
	struct mark *marks;  /* every mark of job 0 since live_forget(), paths owned */
	size_t nmarks, cap;
	uint64_t token;
	size_t unreadable; /* as the last barrier said */
	enum source_health health;
	char text[600];
	int64_t racy_window_ns; /* as the last state said */
	struct source_progress progress;
	unsigned relooks;
	uint64_t owed, owed_most; /* as the last letter said; the most since live_forget() */
};

/* Makes the directories and the ledger; `rules` are filter rules, NULL-terminated list or NULL. */
void live_init(struct live *l, const char *const *exclude);
void live_start(struct live *l); /* also attaches job 0 */
void live_end(struct live *l);   /* the source alone: what else there is can be looked at */
void live_stop(struct live *l);
/* Takes letters until the barrier that is asked for now is answered. */
void live_barrier(struct live *l);
/* The same for one that was asked for with this token. */
void live_await_barrier(struct live *l, uint64_t token);
/* Barrier, and again while something had moved while it was "sent". */
void live_settle(struct live *l);
/* Ends source_test_stall(): what happened meanwhile comes in one piece. Settles, and is equal. */
void live_resume(struct live *l);
/* Takes letters until the source says this health. */
void live_await_health(struct live *l, enum source_health health);
/* Takes letters until the look request with this token is answered. */
void live_await_looked(struct live *l, uint64_t token);
/* Takes letters until a mark for the path has at least this action, or is a deletion. */
void live_await_mark(struct live *l, const char *path, enum mark_action action);
/* A crawl of the whole tree, to its end. */
void live_audit(struct live *l);
void live_forget(struct live *l);
/* The last recorded mark for a path, or NULL. */
const struct mark *live_mark(const struct live *l, const char *path);
size_t live_count(const struct live *l, const char *path);
/* Fails unless the model equals the tree. */
void live_assert_equal(struct live *l);

/* Shorthands below the root (or an absolute path); they fail the test when they fail. */
void put(struct live *l, const char *path, const char *content);
void make(struct live *l, const char *path);
void drop(struct live *l, const char *path);
void move(struct live *l, const char *from, const char *to);
const char *at(struct live *l, const char *path);
int remove_tree(const char *path);

#endif
