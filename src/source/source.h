/*
 * source: one tree and where its changes come from; a reader thread and a look thread.
 *
 * The reader owns the kernel queue and nothing else. The look thread owns the directory table,
 * turns kernel events into looks, crawls, checks the guard, and compares what it sees with the
 * ledgers of all attached jobs. What comes out are letters in the loop's mailbox: per job, marks to
 * put into its path set (never events). Directory nodes stay inside (I5).
 *
 * Barrier: reading the kernel queue to EAGAIN gets a number (drain). Marks carry the lowest drain
 * merged into them as born. SOURCE_BARRIER n means: every mark with born <= n has been posted
 * before this letter.
 */
#ifndef SOURCE_SOURCE_H
#define SOURCE_SOURCE_H

#include "base/err.h"
#include "base/mailbox.h"
#include "core/filter.h"
#include "core/mark.h"
#include "ledger/ledger.h"

#define SOURCE_JOBS_MAX 32

struct source_config {
	const char *name;          /* of the tree */
	const char *root;          /* absolute */
	struct filter *filter;     /* borrowed, outlives the source */
	bool cross_mounts;         /* default off: a mount below the root is frozen and reported */
	int64_t audit_period_ns;   /* time between audit rounds, 0: never */
	int64_t degraded_crawl_ns; /* period of the crawl when the watch limit was hit; default 60 s
	                            */
	int64_t hot_period_ns; /* until the first look again at a file open for writing; the longest
	                          is 60 times that; default 5 s */
	int64_t store_wait_ns; /* a store may land so long after its stamp; default 10 s */
	bool renames;          /* what comes is told before what has left for it */
	unsigned letter_marks; /* most marks a letter carries; default 512 */
};

struct source;

enum source_letter_kind {
	SOURCE_MARKS,    /* struct source_marks */
	SOURCE_ROOT,     /* struct source_root: answer to source_want_root() */
	SOURCE_BARRIER,  /* struct source_barrier: answer to source_want_barrier() */
	SOURCE_STATE,    /* struct source_state: guard, degraded mode, problems; one at start, then
	                    changes */
	SOURCE_PROGRESS, /* struct source_progress: of the crawl */
	SOURCE_LOOKED, /* struct source_looked: a looks request was answered; its marks were posted
	                  before */
	SOURCE_ENDED,  /* struct source_ended: nothing comes after it */
};

/* Letters: heap memory (one block plus what source_letter_free() knows about). */
struct source_marks {
	struct letter letter;
	struct source *source;
	unsigned job;
	struct mark *marks; /* paths owned by the letter */
	size_t count;
	/* Names of the job's ledger that were found gone, but are not marked yet: what they may
	 * have become goes first, or there are too many of them. As after these marks. */
	uint64_t owed;
	int root_fd; /* O_PATH root opened after a guard check just now, or -1; the receiver closes
	                it */
};
struct source_root {
	struct letter letter;
	struct source *source;
	uint64_t token;
	int root_fd; /* -1: frozen */
};
struct source_barrier {
	struct letter letter;
	struct source *source;
	uint64_t token;
	uint64_t drain;    /* the one asked for, or a later one */
	size_t unreadable; /* entries that nobody could look at */
};
struct source_looked {
	struct letter letter;
	struct source *source;
	unsigned job;
	uint64_t token;
};
enum source_health {
	SOURCE_LIVE,
	SOURCE_FROZEN, /* unmounted, replaced, or empty where the ledger is not: nothing is sent */
	SOURCE_DEGRADED, /* watch limit or file system without events: periodic crawl */
};
struct source_state {
	struct letter letter;
	struct source *source;
	enum source_health health;
	char text[600];         /* what, why, what to do (e.g. the sysctl line) */
	char root_id[160];      /* source_identity() of the root that is known now */
	bool absent;            /* frozen, and nothing is there that could be adopted */
	bool adopted;           /* and it is known by source_adopt() */
	int64_t racy_window_ns; /* resolution of its time stamps (fingerprint_racy) */
};
struct source_progress {
	struct letter letter;
	struct source *source;
	bool crawling; /* first crawl or crawl after an overflow is running */
	uint64_t dirs, entries, overflows, watches, unreadable;
	uint64_t crawls; /* of the whole tree that came to their end, audits included */
};
struct source_ended {
	struct letter letter;
	struct source *source;
};
void source_letter_free(struct letter *letter);

/* Opens the root, identifies it, starts both threads; letters go to `out`. Does not crawl by
 * itself. A root that is not there yet (its disk is not mounted) is no error: the source begins
 * frozen, and the first root that appears is the one that the start would have found. */
int source_start(struct source **ret, const struct source_config *config, struct mailbox *out,
                 struct err *err);
/* Asks both threads to end; SOURCE_ENDED tells that they do. With a file system that does not
 * answer it never comes. */
void source_end(struct source *s);
/* After source_end(): waits for both threads and frees; letters already posted stay in the mailbox.
 */
void source_free(struct source *s);

/* Identity that survives restarts ("uuid=... ino=..." or "sample"): for ledger_identity. That of
 * the start, "" if there was no root; struct source_state tells when another root is the known one.
 */
const char *source_identity(const struct source *s);
/* Resolution window of the file system's time stamps (fingerprint_racy): that of the start, and
 * the longest there is if there was no root; struct source_state tells when it changes. */
int64_t source_racy_window_ns(const struct source *s);

/* Before source_attach(): `job` was filled from the root of this identity. When that comes in place
 * of the one found at the start, it is the known root. */
void source_expect(struct source *s, unsigned job, const char *root_id);

/* Before source_attach(): the target of `job` keeps attributes that only the ctime tells of, and of
 * several changes within one tick not even that. Off by default. */
void source_keep_attributes(struct source *s, unsigned job, bool on);

/* How long the look thread has not got on with what it does; 0: it waits for work. A file system
 * whose server does not answer holds it for as long. */
int64_t source_silent_ns(struct source *s, int64_t now_ns);

/* All of these post to the look thread and return at once. */
/* From now on findings are compared with this ledger and posted for `job` (< SOURCE_JOBS_MAX). The
 * ledger must outlive source_detach() + its SOURCE_LOOKED answer (token). A crawl of the whole tree
 * follows. */
void source_attach(struct source *s, unsigned job, struct ledger *ledger);
void source_detach(struct source *s, unsigned job, uint64_t token);
/* Looks again at these marks for one job (scope ENTRY or SUBTREE, born and since are kept in what
 * is found; action LOOK, or the least action that must come out: META for "all attributes", CONTENT
 * for "compare the content"). */
void source_look(struct source *s, unsigned job, uint64_t token, const struct mark *marks,
                 size_t n);
/* Guard check, then the root's descriptor. */
void source_want_root(struct source *s, uint64_t token);
void source_want_barrier(struct source *s, uint64_t token);
/* Flow control for crawls: how many more marks the loop can take (absolute, not added). Event looks
 * ignore it. */
void source_set_room(struct source *s, size_t marks);
/* Operator approved the present root as the known one; without one there is nothing to approve. */
void source_adopt(struct source *s);
/* A full crawl now (audit round, SIGHUP, `verify`). */
void source_crawl(struct source *s);

/* For tests: while on, the reader leaves the kernel's queue alone, so that it can overflow. */
void source_test_stall(struct source *s, bool on);

#endif
