/*
 * inside: the state of one source, for the files of this folder.
 *
 * The look thread owns everything but what stands under `lock` (between reader, look thread and the
 * API) and what is set once at start. Invariants:
 *  - a directory is watched before it is listed (so nothing falls between);
 *  - a look happens in a directory whose identity was checked on the open descriptor (I5);
 *  - no descriptor beneath the root outlives the work at hand: the root can be unmounted when idle;
 *  - what could not be looked at (a directory was not where its node says) is parked on the node
 * and tried again after a later drain, when its node is attached; it goes with its node.
 */
#ifndef SOURCE_INSIDE_H
#define SOURCE_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include "base/fd.h"
#include "source/backlog.h"
#include "source/dirtab.h"
#include "source/guard.h"
#include "source/hotlist.h"
#include "source/source.h"

/* Letters to the look thread. */
enum inner_kind {
	INNER_ATTACH,
	INNER_DETACH,
	INNER_LOOK,
	INNER_WANT_ROOT,
	INNER_BARRIER, /* from the reader: a drain that began after the request is complete */
	INNER_DRAINED, /* from the reader: the backlog has something */
	INNER_MOUNTS,  /* from the reader: the mount table changed */
	INNER_ROOM,
	INNER_ADOPT,
	INNER_CRAWL,
	INNER_STOP,
};

struct inner {
	struct letter letter;
	unsigned job;
	uint64_t token, drain;
	size_t room;
	struct ledger *ledger;
	struct mark *marks; /* INNER_LOOK: paths owned, too */
	size_t count;
	int64_t at_ns; /* CLOCK_BOOTTIME of the request */
	unsigned refs; /* INNER_LOOK: places that still hold it; answered at 0 */
	bool queued;   /* INNER_LOOK: waits for the known root */
};

/* How to look, and on whose behalf. */
struct look {
	uint32_t jobs; /* bit set */
	uint64_t born;
	int64_t since_ns;
	unsigned bits;          /* enum backlog_bit; 0: no event */
	enum mark_action least; /* MARK_LOOK: none */
	unsigned flags;         /* MARK_AUDIT or 0 */
	int64_t wary_ns;       /* wall clock: what changed later may have lost its event; 0: none */
	bool by_crawl;         /* counts against the room */
	bool by_event;         /* of a crawl: events led to it */
	bool hot;              /* known to be open for writing */
	bool by_hot;           /* the writer was asked for already */
	struct inner *request; /* one reference held by whoever keeps the look; may be NULL */
	struct bytes asked; /* by the request (borrowed from it): gone with the name on its way */
};

/* A directory that is open, verified, and whose path stands in source.path. */
struct view {
	uint32_t node;
	int fd;
	size_t prefix; /* bytes of source.path before the entry's name */
};

struct crawl;
struct unread;

struct job {
	struct ledger *ledger; /* NULL: not attached */
	struct marks_letter *letter;
	uint64_t owed, owed_told; /* struct source_marks; as the last letter said */
};

struct parked {
	uint32_t node;
	bool whole; /* the directory itself has to be listed */
	bool deep;
	struct bytes name; /* owned */
	struct look look;
};

/* A name that was found gone, and whose look waits for what it may have become: that is to be sent
 * first, so that the target still has the one when the other comes. */
struct late {
	struct bytes path; /* owned */
	struct look look;  /* for one job; of a crawl: without its request, which the crawl holds */
	uint64_t owed;     /* names that the job's ledger has there */
};

struct barrier {
	uint64_t token, drain;
	size_t unread; /* what could not be read when it was asked for */
};

/* A directory that was found gone; it may be elsewhere. */
struct limbo {
	uint32_t node;
	struct bytes path; /* where it was; owned */
};

struct source {
	/* Set at start. */
	struct source_config config;
	struct mailbox *out;
	struct mailbox *in;
	pthread_t reader, looker;
	int queue;          /* inotify, or -1: none could be had */
	int wake;           /* eventfd: the reader has something besides the queue to do */
	size_t queue_limit; /* events the kernel holds at most */
	int64_t racy_window_ns, racy_at_start_ns;
	const char *remote_kind;
	char identity[160];

	/* Between threads. */
	pthread_mutex_t lock;
	char expected[SOURCE_JOBS_MAX][160]; /* roots the ledgers were filled from */
	bool attributes[SOURCE_JOBS_MAX]; /* source_keep_attributes(); not changed while attached */
	struct backlog *filling;
	uint64_t drain;  /* last complete one */
	bool announced;  /* an INNER_DRAINED is under way */
	bool want_drain; /* the look thread waits for the next one */
	bool check_root; /* the root moved, was deleted or unmounted */
	bool stop_reader;
	uint64_t overflows;
	uint64_t *tokens; /* of barriers wanted */
	size_t ntokens;
	atomic_bool pressing; /* events or letters wait: a crawl gives way */
	atomic_bool stall;    /* tests: the reader lets the queue fill up */
	/* CLOCK_BOOTTIME: the look thread got on with something; 0: it waits for work. */
	atomic_int_least64_t alive_ns;

	/* Look thread. */
	struct job jobs[SOURCE_JOBS_MAX];
	uint32_t attached;
	struct guard guard;
	struct dirtab *dirs;
	struct backlog *taken;
	uint64_t taken_drain;
	int root_fd; /* during a round, else -1 */
	struct buf path;
	struct group_marked *groups;   /* of this round; hash */
	struct parked *parked, *again; /* `again`: found in this round, tried in this round */
	size_t nparked, parked_cap, nagain, again_cap;
	struct limbo *limbo;
	size_t nlimbo, limbo_cap;
	struct late *late; /* of this round */
	size_t nlate, late_cap;
	bool late_turn;       /* their looks are due: nothing is put off again */
	uint64_t late_owed;   /* of the one that is looked at, until something tells it */
	struct crawl *crawls; /* by priority */
	struct crawl *fresh;  /* the one in `crawls` that new directories go to, or NULL */
	struct inner *held;   /* look requests while frozen */
	struct barrier *barriers;
	size_t nbarriers;
	size_t room;
	bool frozen;
	bool unseen;        /* no root was there since the start: frozen */
	bool absent;        /* frozen: nothing is at the root's place */
	bool adopted;       /* goes on by approval of what is there */
	bool remake;        /* frozen over the root's identity: watches are to be made anew */
	bool misfit;        /* frozen because the root does not fit the ledgers' sample */
	bool kicked;        /* a drain was asked for and is under way */
	bool empty_allowed; /* the operator said that an empty root is right */
	bool root_lost;     /* a name right below the root was found gone in this round */
	bool limit_hit;     /* a watch was refused, mostly for want of room */
	int watch_error;    /* errno of that */
	size_t limbo_ripe;  /* those in limbo since before the last drain */
	uint64_t frozen_born;
	int64_t frozen_since_ns;
	bool stopping;
	struct unread *unread; /* what could not be read; hash */
	bool unread_changed;
	struct hotlist hot; /* files open for writing */
	/* CLOCK_BOOTTIME; INT64_MAX: off */
	int64_t audit_at_ns, crawl_at_ns, check_at_ns;

	/* What status shows. */
	uint64_t entries_seen, dirs_seen, crawls_done;
	uint64_t unwatched;
	char mount_first[160];
	uint64_t mounts_hash;
	char frozen_text[500];
	bool told; /* at all */
	enum source_health told_health;
	char told_text[600];
	char told_root[160];
	int64_t progress_at_ns;
};

/* reader.c */
void *reader_run(void *source);

/* lookthread.c */
void *lookthread_run(void *source);
/* Before anything that a dead server may keep from returning. */
static inline void lookthread_alive(struct source *s)
{
	atomic_store(&s->alive_ns, clock_boot_ns());
}
/* Carries out a look request, or holds it while frozen. */
void lookthread_handle_look(struct source *s, struct inner *in);
struct inner *inner_new(enum inner_kind kind);
void inner_free(struct inner *in);
/* Gives up one reference of a look request; answers it at the last one. */
void request_release(struct source *s, struct inner *request);
/* Asks the reader for a drain, even of nothing. */
void reader_kick(struct source *s);

/* outbox.c */
/* Returned: until the next one, for what else is to be said. */
struct mark *outbox_mark(struct source *s, unsigned job, struct bytes path, const struct look *look,
                         enum mark_action action, unsigned flags, uint64_t size, uint64_t link);
/* Posts what was gathered; the last letter of each job gets a root descriptor. */
void outbox_flush(struct source *s);
void outbox_discard(struct source *s, unsigned job);
void outbox_state(struct source *s);
void outbox_ended(struct source *s); /* the last letter */
void outbox_progress(struct source *s, bool force);

/* round.c: one turn of looks with an open root */
/* Opens the root after a guard check; false: frozen. */
bool round_begin(struct source *s);
void round_end(struct source *s);
/* text NULL: not told, since it may be over at once. */
void round_freeze(struct source *s, const char *text);
/* Keeps a look request until the source is live again. */
void round_hold(struct source *s, struct inner *request);
/* Tries to leave the frozen state; true when the source is live again. */
bool round_thaw(struct source *s, bool adopt);
/* The root lost a name: empty while a ledger is not? Then frozen, and true. */
bool round_emptied(struct source *s);
/* A job came: are the names its ledger holds here at all? May freeze. */
void round_attached(struct source *s);
/* First making of the table, or a new one for a root that was mounted anew. */
void round_remake(struct source *s, int rootfd);

/* sample.c */
/* Enough of what the ledgers hold is there. */
bool sample_fits(struct source *s, int rootfd);

/* look.c */
/* Opens the directory a node stands for and verifies it. -EAGAIN: it is not where its node says
 * (the caller parks); -EXDEV: a mount point is in the way; other -errno: unreadable. */
int look_open(struct source *s, uint32_t node, int flags, struct view *ret);
void look_close(struct view *v);
/* s->path becomes that of an entry; returns its last component, with a NUL behind. NULL: the path
 * is too long to be replicated. */
const char *look_set_name(struct source *s, const struct view *v, struct bytes name);
/* The name in s->path is too long; if it is there at all it counts as not to be read. -errno: its
 * directory cannot be asked; told as such. */
int look_too_long(struct source *s, const struct view *v, const struct look *look);
/* Looks at one name in an open directory. */
void look_name(struct source *s, struct view *v, struct bytes name, const struct look *look);
/* The same with the directory still to be opened; parked when it is not where it should be. */
void look_one(struct source *s, uint32_t node, struct bytes name, const struct look *look);
/* The name that a path leads to, or the first one on the way that is not known as a directory. Not
 * for the root. */
void look_path(struct source *s, struct bytes path, const struct look *look);
/* All names that the backlog holds for a directory. */
void look_batch(struct source *s, uint32_t node, const struct backlog_dir *dir);
/* Before the other looks of a round, while directories still have the paths that the ledgers know:
 * names of the backlog that were changed and have left. */
void look_left(struct source *s, uint32_t node, const struct backlog_dir *dir);
/* A path, and if `deep` all below it. The deepest known directory on the way is crawled, or the
 * name in it looked at: what is not known below it is found by that. */
void look_below(struct source *s, struct bytes path, bool deep, const struct look *look);
/* The root's own attributes. */
void look_root(struct source *s, const struct look *look);
/* Somebody may have a file in an open directory open for writing, or mapped so. */
bool look_has_writer(const struct view *v, const char *name);
/* Could not be opened or listed for a reason other than having moved. */
void look_failed(struct source *s, uint32_t node, int rc);
/* The name in s->path could not be examined in an open directory. */
void look_name_failed(struct source *s, const struct view *v, int rc);

/* adopt.c */
/* Makes sure that the directory `name` in v has a node and a watch: *ret is the node, *ret_new says
 * that it was unknown or has moved here, so its content is to be crawled. st may be taken anew.
 * -ENOENT: gone meanwhile; -EAGAIN: looks like its own ancestor (stale), parked; -EXDEV: a mount.
 */
int adopt_dir(struct source *s, struct view *v, struct bytes name, struct stat *st,
              const struct look *look, uint32_t *ret, bool *ret_new);
/* Watches an open directory for a node that has no watch. */
void adopt_watch(struct source *s, uint32_t node, int fd);

/* compare.c */
/* Compares what exists under s->path with one job's belief and makes the marks. flags: more of enum
 * mark_flag for what comes out. False: the target has it as it is. */
bool compare_entry(struct source *s, unsigned job, const struct fingerprint *seen,
                   const struct belief *belief, const struct look *look, unsigned flags);
/* What had the name in s->path was changed and has left it: its other names, as far as the targets
 * are believed to have them, are due for `action`. */
void compare_left(struct source *s, enum mark_action action, const struct look *look);
/* At the end of each round. */
void compare_forget_groups(struct source *s);

/* park.c */
void park_name(struct source *s, uint32_t node, struct bytes name, const struct look *look);
void park_dir(struct source *s, uint32_t node, bool deep, const struct look *look);
/* The node was not where it should be: look at its name in its parent, in this round. */
void park_suspect(struct source *s, uint32_t node, const struct look *look);
bool park_take_suspect(struct source *s, struct parked *ret);
/* Tries what is parked on attached nodes; keeps the rest. */
void park_retry(struct source *s);
bool park_holds(const struct source *s, uint64_t drain);
void park_limbo(struct source *s, uint32_t node);
/* Takes the directory from its place, and tells the jobs that what they have pending below it may
 * be elsewhere. */
void park_detach(struct source *s, uint32_t node);
/* Drops those that were in limbo before the last drain (`ripe` of them) and are still lost; the
 * others ripen by another drain. */
void park_limbo_turn(struct source *s, size_t ripe);
void park_clear(struct source *s);
void park_release(struct source *s, struct parked *p);

/* unread.c */
void unread_add(struct source *s, struct bytes path, int error);
/* It was read, or is gone. */
void unread_forget(struct source *s, struct bytes path);
void unread_forget_below(struct source *s, struct bytes path);
size_t unread_count(const struct source *s);
void unread_explain(const struct source *s, struct buf *text);
/* In a round: what seems to be readable by now is looked at, with all below it. */
void unread_retry(struct source *s, const struct look *look);
void unread_clear(struct source *s);

/* hot.c */
int64_t hot_add(struct source *s, uint32_t node, struct bytes name, const struct fingerprint *seen);
/* Of the mark of a file that is hot since then: MARK_HOT, with MARK_GREW if it is longer than what
 * the target holds and may be shown already. */
unsigned hot_flags(const struct belief *belief, const struct fingerprint *seen, int64_t since_ns);
void hot_turn(struct source *s);
/* Looks at all of them, for a barrier. */
void hot_look_all(struct source *s, const struct look *look);

/* gone.c */
/* An attribute may have been set that a job keeps and a fingerprint does not have: the ctime has
 * moved, or by what an event told within its tick. */
bool compare_attributes(const struct source *s, unsigned job, const struct belief *belief,
                        const struct fingerprint *seen, unsigned bits, bool racy);
/* Everything the job's ledger holds at the path in s->path and below is gone; children first. */
void gone_report(struct source *s, unsigned job, const struct belief *belief,
                 const struct look *look);
/* Everything below it, and then this mark for itself (it has become something else). dir: the
 * target is sure to hold a directory there. */
struct gone_mark {
	enum mark_action action;
	unsigned flags;
	uint64_t size, link;
};
void gone_below(struct source *s, unsigned job, const struct look *look, bool dir,
                const struct gone_mark *last);
/* The rest of a large subtree. */
struct gone;
/* Deals with at most so many names; true: all are marked. */
bool gone_step(struct source *s, struct gone *g, const struct look *look, size_t most);
/* Its top is not there again. */
bool gone_stands(struct source *s, const struct gone *g);
struct bytes gone_top(const struct gone *g); /* borrowed */
void gone_free(struct source *s, struct gone *g);
/* The names that would be marked for s->path and below. */
uint64_t gone_count(struct source *s, unsigned job);

/* One directory of a ledger, copied out. */
struct held_name {
	uint32_t off;
	uint8_t len;
	struct belief belief;
};
struct held_list {
	struct buf names;
	struct held_name *v;
	size_t n, cap;
};
void held_list_read(struct held_list *l, struct ledger *ledger, struct bytes dir);
void held_list_done(struct held_list *l);
static inline struct bytes held_list_name(const struct held_list *l, size_t i)
{
	return (struct bytes){l->names.p + l->v[i].off, l->v[i].len};
}

/* late.c */
/* Puts off the look that found the name in s->path gone; false: it is reported at once. */
bool late_take(struct source *s, const struct look *look);
/* The same for the name in s->path into a list; false: that is full. */
bool late_add(struct source *s, struct late **v, size_t *n, size_t *cap, const struct look *look);
/* Takes one into a list; false: that is full. */
bool late_put(struct late **v, size_t *n, size_t *cap, struct late *late);
void late_forget_job(struct source *s, struct late *v, size_t n, unsigned job);
/* Looks at one, and ends it. */
void late_look(struct source *s, struct late *late);
/* What was moved in this round has its marks, or a crawl of its own to wait for. */
void late_turn(struct source *s);
void late_clear(struct source *s, struct late **v, size_t *n, size_t *cap);
/* Marks for n of the names that are owed to a job are made, or it has come to nothing. */
void late_told(struct source *s, unsigned job, uint64_t *owed, uint64_t n);

/* crawl.c */
/* Looked at when the round's own crawl is through; false: there is none. Takes the path. */
bool crawl_after(struct source *s, struct late *late);
enum crawl_prio { CRAWL_FRESH, CRAWL_REQUEST, CRAWL_TREE, CRAWL_AUDIT };
struct crawl *crawl_new(struct source *s, enum crawl_prio prio, const struct look *look);
void crawl_push(struct crawl *c, uint32_t node, uint32_t jobs, bool deep);
/* The round's own crawl: directories that events brought. */
void crawl_fresh(struct source *s, uint32_t node, bool deep, const struct look *look);
/* A crawl under way tells the job already that what was at `top` is gone, for the same event or an
 * older one. */
bool crawl_tells_gone(const struct source *s, unsigned job, struct bytes top,
                      const struct look *look);
/* Goes on with a removed subtree; takes g. */
void crawl_gone(struct source *s, unsigned job, struct gone *g, const struct look *look);
/* The whole tree; merged with one that has not begun. */
void crawl_tree(struct source *s, enum crawl_prio prio, const struct look *look);
/* Goes on for a while; false when there is nothing to do (or no room). */
bool crawl_step(struct source *s);
bool crawl_holds(const struct source *s, uint64_t drain);
bool crawl_busy(const struct source *s); /* a crawl of the whole tree that is no audit */
bool crawl_any(const struct source *s);
void crawl_forget_job(struct source *s, unsigned job);
void crawl_clear(struct source *s);
void crawl_each_request(struct source *s, void (*fn)(struct source *s, struct inner *request));
void crawl_lowest(const struct source *s, uint64_t *born, int64_t *since_ns);

#endif
