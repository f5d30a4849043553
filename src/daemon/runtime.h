/*
 * runtime: the parts of one running instance, as the daemon's own files see them.
 *
 *     daemon.c    the loop: start, signals, letters from the sources, end
 *     tree.c      one tree: its source and what its letters mean
 *     job.c       one job: ledger, engine, and the engine's outputs
 *     without.c   what its target refuses
 *     crew.c      the job's worker process and the frames to and from it
 *     connect*.c  a connected descriptor for a new session: TCP, ssh, local
 *     share.c     the connection that a job's sessions through ssh share
 *     child.c     everything that is spawned
 *     aside.c     blocking calls in threads of their own
 *     waits.c     clients that wait for a barrier, and --once
 *     verify*.c   comparing with the targets, beside the engines
 *     commands.c  the control API's verbs
 *     reload.c    from one configuration to the next
 *
 * All of it belongs to the loop thread, which never touches a tree, resolves a name or waits for a
 * peer.
 */
#ifndef DAEMON_RUNTIME_H
#define DAEMON_RUNTIME_H

#include <uv.h>
#include "base/fd.h"
#include "base/frame.h"
#include "base/mailbox.h"
#include "base/mem.h"
#include "daemon/aside.h"
#include "daemon/config.h"
#include "daemon/control.h"
#include "daemon/daemon.h"
#include "engine/engine.h"
#include "source/source.h"

#define NS_PER_MS 1000000LL
#define NS_PER_S  1000000000LL

struct tree {
	struct instance *instance;
	const struct config_tree *config;
	struct filter *filter;
	struct source *source;
	struct job *jobs[SOURCE_JOBS_MAX]; /* by source job number; NULL: free */
	bool root_asked;
	uint64_t root_token;
	enum source_health health;
	char text[600];
	char stuck[160];        /* space of a status: tree_stuck() */
	bool absent;            /* frozen, and nothing is there that could be approved */
	int64_t racy_window_ns; /* of its file system's time stamps (fingerprint_racy) */
	char root_id[160];      /* of the root that is known now; "": none was there yet */
	struct {
		bool crawling;
		uint64_t dirs, entries, overflows, watches, unreadable;
	} progress;
	size_t room_left;        /* of what source_set_room() gave */
	uint64_t attach_barrier; /* token of the barrier behind the latest attach crawl */
	bool crawl_owed;         /* it was answered while frozen */
	bool closing;            /* ends with its last job */
	struct tree *next;
};

/* One attempt to get a connected descriptor. */
struct connect;

struct job {
	struct tree *tree;
	struct instance *instance;
	unsigned number; /* the source's job number */
	const struct config_job *config;
	struct ledger *ledger;
	struct intent_log *recents; /* what the target confirmed lately */
	struct engine *engine;
	uv_timer_t timer;
	bool timer_armed, dirty, root_wanted, closing, paused;
	uint64_t detach_token;
	int root_fd; /* valid while engine_run() is called with root_ok; else -1 */
	struct crew *crew;
	struct connect *connects;
	struct share *share;     /* NULL: not through ssh, or each session by itself */
	struct connect *looking; /* the attempt that looks at the local target, even if it was
	                          * given up: while that does not answer there is no second */
	uint64_t next_session;
	uint64_t set_room;
	char *dir; /* state of this job */
	struct session_options session_options;
	char *usermap, *groupmap; /* of session_options */
	unsigned without;         /* enum session_without: of those, what the target refuses */
	uint8_t compress; /* enum session_compress: what a session settled on; NO: not known */
	uint64_t options_hash;
	unsigned foreign;   /* bits of LEDGER_FOUND_ROOT_CHANGED, _TARGET_CHANGED: held */
	bool adopt_later;   /* the ledger takes the identity of the root when one is there */
	bool root_approved; /* another root was approved and is about to be known */
	bool pin_broken;    /* the local target is not the directory it was */
	int64_t sync_began_ns;
	uint64_t extras, compared; /* extras: UINT64_MAX: not counted yet; compared: as of when */
	unsigned handles;          /* open libuv handles that hold it back from being freed */
};

struct wait {
	struct control_reply *reply; /* NULL: --once */
	bool verify, checksum;       /* what is settled is verified before the answer */
	struct job **jobs;
	size_t job_count;
	struct {
		struct tree *tree;
		uint64_t token, drain;
		size_t unreadable; /* entries of the source that nobody could look at */
		bool known;
	} * trees;
	size_t tree_count;
	struct wait *next;
};

struct instance {
	uv_loop_t loop;
	const struct config *config; /* in force */
	struct config *owned;        /* after a reload */
	struct config *retired;      /* still read by jobs that are ending */
	bool reloading;
	bool reload_reads;          /* the first part of it: the new configuration is being read */
	bool reload_again;          /* it was asked for once more meanwhile */
	struct paused_name *paused; /* jobs that were paused when the reload ended them */
	struct control_reply *reload_reply; /* answered when the new jobs run */
	struct run_options options;
	struct mailbox *letters;
	uv_async_t letters_async;
	struct asides asides;
	uv_signal_t signals[5];
	size_t signal_count;
	struct control *control;
	struct tree *trees;
	struct wait *waits;
	struct verify *verifies;
	uint64_t next_token;
	int64_t started_wall_ns;
	uv_timer_t stop_timer;
	bool stopping;
	bool left_alone;   /* threads of a source or aside still run, and use what is theirs */
	int once_result;   /* 1: still running */
	json_t *once_left; /* with -EUCLEAN: the answer of a wait */
};

static inline int64_t instance_now(void)
{
	return clock_boot_ns();
}

/* daemon.c */
void instance_stop(struct instance *in);
void instance_notify(struct instance *in, const char *state);
struct job *instance_find_job(struct instance *in, const char *name);
bool instance_job_ends(struct instance *in, const char *name);
#define INSTANCE_EACH_TREE(in, t) for (struct tree *t = (in)->trees; t; t = t->next)
#define TREE_EACH_JOB(t, i, j)                                                                     \
	for (unsigned i = 0; i < SOURCE_JOBS_MAX; i++)                                             \
		for (struct job *j = (t)->jobs[i]; j; j = NULL)

/* tree.c */
int tree_start(struct instance *in, const struct config_tree *config, struct err *err);
void tree_close(struct tree *t); /* closes its jobs; unlinked and freed when they have ended */
void tree_kill(struct tree *t);  /* the workers of its jobs */
void tree_crawl(struct tree *t); /* for jobs that began; engine_crawled() at its end */
void tree_letter(struct tree *t, struct letter *letter); /* consumes it */
void tree_want_root(struct tree *t);
/* Its look thread has been at one thing for twice the shortest `timeout` of its jobs; says so in
 * `text`. */
bool tree_stuck(struct tree *t, char *text, size_t n);
void tree_run_dirty(struct tree *t, int root_fd);
void tree_job_gone(struct tree *t); /* a closing job has ended */

/* job.c */
int job_start(struct tree *t, const struct config_job *config, struct err *err);
/* Ends worker and connects, detaches from the source; freed when all of that has answered. */
void job_close(struct job *j);
/* What is renamed is linked at the target. */
bool job_links_renames(const struct config_options *o);
void job_set_paused(struct job *j, bool paused);
void job_detached(struct job *j);
void job_release(struct job *j); /* one handle less; frees when closing and none is left */
/* The tree's root as it is now is what this job's target is filled from (a person said so). */
void job_adopt_identity(struct job *j);
/* The tree's root may be another one than before: held while it is not this job's. `adopted`: it is
 * the one that was there when somebody approved; an approval before is not for this one. */
void job_check_root(struct job *j, bool adopted);
/* j->without has grown: what is confirmed from now on is so without it. */
void job_options_left_out(struct job *j);
/* engine_status(), and what only the daemon knows */
void job_status(struct job *j, struct engine_status *ret);
void job_touch(struct job *j); /* engine inputs came: run it before the loop sleeps */
void job_run(struct job *j, int root_fd);
void job_log(struct job *j, int level, const char *id, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));

/* without.c */
/* The target refuses this option. True: the job does without it from now on. */
bool without_leave_out(struct job *j, struct bytes option);
/* Adds to `text` what is not as it was configured. */
void without_note(const struct job *j, char *text, size_t n);

/* crew.c */
/* It owes an answer and has been silent for too long; says so in `text`. */
bool crew_stuck(const struct job *j, char *text, size_t n);
int crew_need(struct job *j, struct err *err); /* starts the worker if there is none */
void crew_send(struct job *j, uint16_t type, struct bytes payload, int fd); /* takes fd, -1: none */
void crew_send_id(struct job *j, enum wire_type type, uint64_t id);
void crew_quit(struct job *j);
void crew_kill(struct job *j);

/* connect.c: opens a session for the job; the outcome goes to the worker (WIRE_SESSION) or as
 * engine_session_gone() to the engine. */
void connect_begin(struct job *j, uint64_t session, enum session_class class);
/* The same for a class that compares, with session_options.extras. */
void connect_begin_extras(struct job *j, uint64_t session, enum session_class class);
void connect_cancel_all(struct job *j);
/* A session's end goes to the engine with what its child (ssh, rsync) said about it. */
void connect_session_gone(struct job *j, const struct wire_gone *m);
/* The local target's present directory is the right one from now on. */
void connect_approve_pin(struct job *j);

/* share.c */
void share_begin(struct job *j);
/* A session is ready: the login is as it should be, and the next ones may do without. */
void share_ready(struct job *j);
/* The ControlPath of a session that begins now, for connect_args(); *ret: whether it goes over the
 * shared connection. */
const char *share_control(struct job *j, bool *ret);
/* No session begins over it any more; it ends with the last. */
void share_retire(struct job *j);
void share_left(struct job *j); /* a session is over */
void share_free(struct job *j); /* its master has ended */

/* waits.c */
void waits_barrier(struct instance *in, struct tree *t, uint64_t token, uint64_t drain,
                   size_t unreadable);
void waits_check(struct instance *in);
void waits_add(struct instance *in, struct job **jobs, size_t n, struct control_reply *reply);
/* As waits_add(), and then verify_begin(). */
void waits_verify(struct instance *in, struct job **jobs, size_t n, struct control_reply *reply,
                  bool checksum);
void waits_once(struct instance *in); /* --once: ends the instance when all is proven equal */
void waits_forget(struct instance *in, struct control_reply *reply);
void waits_timed_out(struct instance *in, struct control_reply *reply);
void waits_forget_job(struct instance *in, struct job *j);

/* commands.c */
extern const struct control_ops command_ops;

/* reload.c */
/* `reply` is answered when the new jobs run, or with what is wrong; NULL: the log tells. */
void reload_apply(struct instance *in, struct control_reply *reply);
void reload_continue(struct instance *in); /* starts what waited for something to end */
/* A pause outlives the reload that ends its job and begins it again. */
void reload_note_paused(struct instance *in, const char *name);
bool reload_was_paused(const struct instance *in, const char *name);
void reload_forget_paused(struct instance *in);

/* verify.c: compares without sending; the answer lists what differs. Its sessions and batches stand
 * beside the engine's and have numbers of their own. */
#define VERIFY_NUMBER (UINT64_C(1) << 63)

static inline bool verify_owns(uint64_t number)
{
	return number & VERIFY_NUMBER;
}

/* Takes `body`, to which the differences are added. */
void verify_begin(struct instance *in, struct control_reply *reply, json_t *body, bool checksum,
                  struct job **jobs, size_t n);
/* Counts the extras of one job, without a client, while little is pending for it. */
void verify_count_extras(struct job *j);
/* After engine_run(): it may be less. */
void verify_go_on(struct job *j);
void verify_timed_out(struct instance *in, struct control_reply *reply);
void verify_forget(struct instance *in, struct control_reply *reply);
void verify_forget_job(struct job *j);
/* What the loop gets for numbers that it owns. -EPROTO: the worker is not to be believed. */
void verify_root(struct tree *t, int root_fd);
void verify_session_ready(struct job *j, const struct wire_ready *m);
void verify_session_gone(struct job *j, const struct wire_gone *m);
int verify_report(struct job *j, const struct wire_report *m);
int verify_batch_done(struct job *j, const struct wire_done *m);
void verify_worker_died(struct job *j);

/* Every letter of a source begins alike. */
static inline const struct source *source_letter_source(struct letter *letter)
{
	return container_of(letter, struct source_looked, letter)->source;
}

#endif
