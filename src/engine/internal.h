/*
 * internal: the parts of one engine, as its own files see them.
 *
 *     supply.c   sessions: open ahead of need, idle, busy, retired
 *     flight.c   one batch under way: encoding, intents, its end
 *     report.c   what the worker says of its items
 *     context.c  the ancestors that ride along in its list
 *     stamp.c    the stamps that ride behind its marks
 *     confirm.c  what an acknowledgement does to the ledger
 *     group.c    the names of one inode, which go together
 *     look.c     what the look thread is asked for, and for what
 *     rename.c   names that files had before
 *     copy.c     names that new files may be copies of
 *     aged.c     sets of paths with the age of the mark they came from
 *     trust.c    what stamps prove, contradictions, compare
 *     zombie.c   paths that a given-up session may still write
 *     sweep.c    temporary files that a receiver left behind
 *     failure.c  items that failed by themselves, and their retry times
 *     loss.c     what deletions would take away; whether they go, wait or are held
 *     hold.c     deletions that wait for a person
 *     engine.c   inputs, engine_run(), when to call it again
 *     status.c   questions: is it settled, what is its state
 */
#ifndef ENGINE_INTERNAL_H
#define ENGINE_INTERNAL_H

#include <uthash.h>
#include "core/pathset.h"
#include "base/path.h"
#include "engine/engine.h"

#define NS_PER_S 1000000000LL

/* A path with a mark's age, outside the path set. */
struct aged_path {
	char *p;
	size_t n;
	uint64_t born;
	int64_t since_ns;
	unsigned hold; /* id, for held paths */
	bool doubt;    /* for due content: the target may hold something else than it confirmed */
	UT_hash_handle hh;
};

struct supply_session {
	uint64_t id;
	enum session_class class;
	enum supply_state { SUPPLY_CONNECTING, SUPPLY_IDLE, SUPPLY_BUSY, SUPPLY_ENDING } state;
	int64_t since_ns; /* of the state */
	int64_t ready_ns; /* when its handshake was done */
	int64_t heard_ns; /* when the target last spoke in it */
	bool aged;        /* its successor is wanted */
	bool settled;     /* its end was reckoned with (supply_unseen) */
	UT_hash_handle hh;
};

/* How the target went out of sight. */
enum sight {
	SIGHT_GAP,     /* we had no session, or ended the last one that would have told */
	SIGHT_BROKEN,  /* a session broke off, or the worker died with it */
	SIGHT_REFUSED, /* no session could be had */
};

struct flight {
	uint64_t id, session;
	struct batch *batch; /* NULL: only stamps ride */
	enum session_class class;
	size_t *mark_of; /* wire item -> index in batch */
	/* Wire item: what was believed when it was sent. The names of an inode share their
	 * fingerprint in the ledger, so the first answer changes it for the others. */
	struct belief *known;
	enum flight_answer { FLIGHT_OPEN, FLIGHT_KNOWN, FLIGHT_UNKNOWN } * answered; /* wire item */
	size_t open, making;   /* marks without an answer; of these, names that were not there */
	size_t marks;          /* wire items that are marks; stamps or names to be swept follow */
	size_t swept;          /* DELETE: how many follow */
	uint64_t proof, serve; /* generations asked for and written; 0: none */
	bool clean;            /* no item failed so far */
	bool brought;          /* an item was confirmed */
	int64_t sent_ns;
	int64_t ready_ns;          /* of its session */
	bool heals;                /* its proof ends the compare */
	bool served, proved;       /* its stamps: confirmed */
	uint64_t born;             /* oldest of its marks: what its directories wait for */
	bool broken;               /* its session did not come to its end */
	struct context *contexts;  /* intended and not reported yet */
	struct former **former_of; /* wire item: the name its file had before; NULL: none */
	struct copy_use {
		struct copy_basis *basis;
		size_t item; /* that may be built from it */
	} * uses;
	size_t uses_n;
	UT_hash_handle hh;
};

/* An ancestor that the target did not have when the flight was sent. */
struct context {
	char *p;
	size_t n;
	bool listed; /* an item below it was */
	UT_hash_handle hh;
};

struct look_request {
	uint64_t token;
	struct batch *batch; /* NULL: a compare */
	UT_hash_handle hh;
};

struct failure {
	char *p;
	size_t n;
	char *text;
	bool source_side, waiting; /* waiting: its mark is out of the path set until retry_ns */
	unsigned tries;
	int64_t retry_ns, since_ns;
	uint64_t born;
	UT_hash_handle hh;
};

struct hold {
	unsigned id;
	char *rule;
	size_t count; /* of held paths with this id */
	size_t told;  /* count in the last line of the log */
	bool shown;   /* a person has seen it: what is approved is exactly this */
	int64_t since_ns;
	struct hold *next;
};

#define RECENT_MAX     65536
#define CONTRADICTIONS 4
struct recent {
	char *p;
	size_t n;
	int64_t at_ns;
	bool compared; /* a compare confirmed what was believed: only broken sessions ask for
	                * another */
};

struct engine {
	struct engine_config config;
	char *job;
	struct ledger *ledger;
	const struct engine_ops *ops;
	void *arg;
	struct pathset *set;
	struct brake brake;
	uint64_t standing; /* what the brake counts */
	uint64_t owed;     /* engine_set_owed() */
	bool owed_told;    /* since the last engine_run() */
	int64_t owed_ns;   /* when it was told */
	uint32_t random;

	/* supply */
	struct supply_session *sessions;
	unsigned lanes_now; /* fewer than config.lanes after "max connections" */
	int64_t lanes_grow_ns;
	int64_t last_need_ns; /* when a session was last used: idle ones retire behind it */
	int64_t unseen_ns;    /* nobody can vouch for the target since then; 0: somebody does */
	enum sight unseen;
	int64_t open_ns; /* that a quick session takes to open, a mean; 0: not known yet */
	size_t more;     /* idle sessions to be kept beyond config.warm */
	int64_t more_ns; /* when that number changed */
	int protocol;
	bool whole_seconds; /* engine_set_whole_seconds() */

	/* flights and looks */
	struct flight *flights;
	struct look_request *looks;
	uint64_t next_batch, next_token;
	struct aged_path *content_due; /* a look must bring these out as CONTENT */
	/* A compare goes on: marks of it may have become mere looks (merged, collapsed), so every
	 * look is at least this, until nothing is left. */
	bool comparing;
	enum mark_action least;
	/* Deletions that wait for trust must not fill the path set, on which the way to trust
	 * depends: beyond a quarter of it they are found again afterwards. */
	bool aside;
	uint64_t aside_born;
	int64_t aside_since_ns;

	/* trouble */
	enum trouble trouble;
	char text[600];
	unsigned failures;
	int64_t trouble_since_ns, retry_ns;
	bool trouble_sending; /* a batch met it: only a batch that goes well ends it */

	/* trust */
	int64_t proven_ns, generation_ns; /* last proof, last growth */
	int64_t trusted_from_ns; /* sessions opened before prove nothing: trouble was later */
	uint64_t trial;   /* stamp written since trust was lost, before the compare; what proves it
	                   * at the end has been the same target throughout. 0: none yet */
	bool compare_due; /* waits for the trial to be written */
	/* The ledger may be wrong about the types of what is to be deleted: the target may have
	 * been put back to an earlier state. Until all deletions found meanwhile have gone. */
	bool types_unsure;
	bool confirmed_since, probe_due, unproven, stamp_refused, compare_running;
	bool compare_open; /* begun, and what it found is not all dealt with */
	uint64_t compare_token, compared;
	int64_t contradiction_ns[CONTRADICTIONS];
	struct recent *recents;
	size_t recent_first, recent_count;
	int64_t recent_turned_ns;
	bool recent_failed;
	bool recalled;          /* config.recents holds what an earlier run noted */
	int64_t recent_lost_ns; /* youngest that fell out of the full ring */

	struct zombie *zombies;
	struct sweep *sweeps;
	struct sweep_dir *sweep_dirs;
	bool sweep_due;                /* as of the last sweep_step() */
	int64_t sweep_next_ns;         /* none of them is due before */
	struct former *formers;        /* names that may be links of newer ones at the target */
	struct awaited *awaited;       /* names that newer ones are to be linked to */
	struct aged_path *rename_dirs; /* of the list being made: above what waits */
	unsigned rename_refusals;      /* in a row */
	bool renames_off;
	struct copy_size *copy_sizes; /* of the large files in copy_dir */
	char *copy_dir;               /* NULL: none was read yet */
	size_t copy_dir_bytes;
	int64_t copy_again_ns;         /* until then no other directory is read */
	struct copy_basis *copy_bases; /* named in lists under way */
	unsigned copy_mistakes;        /* in a row */
	bool copies_off;
	struct failure *failed;
	size_t failed_waiting;
	int64_t failed_next_ns;
	struct hold *holds;
	struct aged_path *held_paths; /* of all holds */
	unsigned next_hold;
	struct aged_path *approved;
	/* Deletions wait for what may make up for them; since then, or since the loss was last
	 * smaller. 0: they do not. */
	int64_t defer_since_ns;
	uint64_t defer_loss;

	bool frozen, paused, crawled;
	char *held_why;
	int64_t recheck_ns; /* engine_run() wants to be called again then */
	int64_t sent_ns;    /* when the last flight left */
	int64_t spare_ns;   /* when a spare session is opened, be that flight over or not */

	uint64_t confirmed, bytes_out, bytes_in;
	size_t kept;
	int64_t last_confirmed_ns;
	uint64_t unkept; /* confirmations that lacked an attribute */
	char unkept_text[400];
};

void engine_say(struct engine *e, int level, const char *id, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
uint32_t engine_random(struct engine *e);
bool engine_can_send(const struct engine *e, int64_t now_ns);
/* Enters RETRYING (or stays in it) because of `t`. */
void engine_trouble(struct engine *e, enum trouble t, struct bytes text, int64_t now_ns);
void engine_well(struct engine *e, int64_t now_ns);
/* Trust is back. */
void engine_take_up(struct engine *e, int64_t now_ns);
void engine_comparing(struct engine *e, enum mark_action least);
/* A mark whose look must not lose that content has to be compared. */
void engine_put_look(struct engine *e, struct bytes path, uint64_t born, int64_t since_ns,
                     bool content, int64_t now_ns);

/* A look at the path must come out as CONTENT. */
void engine_content_due(struct engine *e, struct bytes path, uint64_t born, int64_t since_ns,
                        bool doubt);

/* Paths with an age: a set. */
struct aged_path *aged_add(struct aged_path **set, struct bytes path, uint64_t born,
                           int64_t since_ns);
struct aged_path *aged_find(struct aged_path *set, struct bytes path); /* NULL: none */
bool aged_has(struct aged_path *set, struct bytes path);
bool aged_has_below(struct aged_path *set, struct bytes dir);
void aged_remove(struct aged_path **set, struct bytes path);
void aged_clear(struct aged_path **set);
struct mark mark_copy(const struct mark *m); /* path on the heap */

/* look.c */
void look_send_all(struct engine *e, int64_t now_ns);
void look_step_compare(struct engine *e);
void look_tell_room(struct engine *e, int64_t now_ns);

/* supply.c */
struct supply_session *supply_idle(struct engine *e, enum session_class class);
/* Opens what is needed: `needed` bit set of session classes. One attempt at a time. */
void supply_order(struct engine *e, unsigned needed, int64_t now_ns);
void supply_close_idle(struct engine *e, int64_t now_ns);
void supply_retire(struct engine *e, int64_t now_ns);
int64_t supply_deadline(const struct engine *e);
bool supply_connecting(const struct engine *e);
size_t supply_count(const struct engine *e, bool ready_only);
void supply_lost_all(struct engine *e);
void supply_clear(struct engine *e);
/* A session has ended, or is about to be ended by us. */
void supply_unseen(struct engine *e, struct supply_session *s, enum sight how, int64_t now_ns);
/* A session that has been open for long enough tells that the target has not gone down since. */
bool supply_in_sight(const struct engine *e, int64_t now_ns);
void supply_heard(struct engine *e, uint64_t session, int64_t now_ns);

/* flight.c */
enum session_class flight_class(enum batch_class class);
/* Sends `batch` (may be NULL: stamps only) on an idle session. */
void flight_send(struct engine *e, struct supply_session *s, struct batch *batch, int64_t now_ns);

/* report.c */
/* What one item's result means for the i-th mark of its batch. */
void flight_mark_result(struct engine *e, struct flight *f, size_t i,
                        const struct wire_result_item *r, int64_t now_ns);
/* Sent, and looked at again, its content compared. `doubt`: since the answer is not to be believed;
 * else since it may have changed here. */
void flight_again(struct engine *e, struct flight *f, size_t i, bool doubt, int64_t now_ns,
                  int64_t not_before_ns);
/* To be sent again as `action`. A name with other links is looked at first: sent alone as CONTENT
 * it would become an inode of its own at the target. */
void flight_back(struct engine *e, struct flight *f, size_t i, enum mark_action action, bool linked,
                 int64_t now_ns);

/* context.c */
/* Intends the ancestors of the items that the target is not believed to hold. */
void context_intend(struct engine *e, struct flight *f, const struct wire_item *items, size_t n);
/* It tells what the target was not known to hold: that may be lost with its power. */
bool context_is_news(struct engine *e, const struct wire_result_item *r);
/* An ancestor that rode along: confirmed, and due for its attributes if it moved meanwhile. */
void context_result(struct engine *e, struct flight *f, const struct wire_result_item *r,
                    int64_t now_ns);
/* What was just confirmed, or is gone with all `below`, may still be made by a list that is under
 * way: it stays intended (I11), and what that flight takes back at its end is its own intent. */
void context_keep(struct engine *e, struct bytes path, bool below);
/* It may be listed above an item that is under way, or not be after all: nobody can say before that
 * flight has ended. */
bool context_is_open(const struct engine *e, struct bytes path);
/* The item was in the list, and so are the directories above it. */
void context_listed(struct flight *f, struct bytes path);
/* `unknown`: the session broke off, so what was not reported may be at the target. */
void context_end(struct engine *e, struct flight *f, bool unknown, int64_t now_ns);

/* group.c */
/* A name that turned out to have other links than it was looked at with, or whose partner was
 * confirmed when it had one, was sent without the others: the target has a copy. They are sent
 * together. */
void group_join(struct engine *e, const struct belief *known, const struct mark *m,
                const struct fingerprint *fp, int64_t now_ns);
/* What is about to be sent without a name that the target has for the same inode goes back, and
 * that name is marked: it was confirmed after the look. */
void group_hold_parts(struct engine *e, struct batch *batch, int64_t now_ns);
/* The content under this name was not compared: under the others it is due as well, whatever
 * becomes of this one. */
void group_doubt(struct engine *e, const struct flight *f, const struct mark *m,
                 const struct fingerprint *fp, int64_t now_ns);
/* What is or was on its way under this name has been written (CONTENT), or its attributes have been
 * changed (QUICK), and it has left the name: its other names go with their content, or are looked
 * at, be they pending, in flight, or confirmed meanwhile. */
void group_left(struct engine *e, const struct mark *m, int64_t now_ns);
/* After the marks of a letter were put: names that were confirmed since the look that made them
 * were listed before it, and do not know what it saw; the name that does may leave. */
void group_catch_up(struct engine *e, const struct mark *marks, size_t n, int64_t now_ns);

/* stamp.c */
/* An item for the stamp of a generation: to be written, or only proven. buf_done() the path. */
void stamp_add(struct wire_item *item, struct buf *path, struct engine *e, uint64_t generation,
               bool serve);
void stamp_result(struct engine *e, struct flight *f, size_t item, const struct wire_result_item *r,
                  int64_t now_ns);

/* confirm.c */
/* False: not recorded, because names are believed held below what is no directory. */
bool flight_confirm(struct engine *e, const struct flight *f, const struct mark *m,
                    const struct wire_result_item *r, int64_t now_ns);
/* The path is gone here and stays at the target, where nobody compares it with anything: if the
 * target is in doubt just now, the path will be sent should it come back as it was. */
void confirm_doubt_kept(struct engine *e, struct bytes path);
void flight_was_approved(struct engine *e, struct bytes path);
void flight_acked(struct engine *e, struct flight *f, size_t i, const struct wire_result_item *r,
                  int64_t now_ns);
uint32_t flight_sure_type(const struct belief *known);
/* The answer to one of its items. */
void flight_answer(struct flight *f, const struct wire_result_item *r);
/* Deletions under way that nothing is known about yet. */
size_t flight_deletions(const struct engine *e);
/* Names on their way that the target was not known to hold, and that nothing is known about yet. */
size_t flight_creations(const struct engine *e);
void flight_lost(struct engine *e, struct flight *f, bool zombie, int64_t now_ns);

/* loss.c */
/* Tells the brake how many names stand. */
void loss_count(struct engine *e, int64_t now_ns);
/* Whether a batch of deletions may go. When not, they wait or are held, and the batch is gone. */
bool loss_allows(struct engine *e, struct batch *b, int64_t now_ns);

/* trust.c */
bool trust_allows_deletions(const struct engine *e, int64_t now_ns);
/* A batch of stamps alone is due (to prove before deletions, or to grow the generation). */
bool trust_wants_probe(const struct engine *e, bool deletions, int64_t now_ns);
uint64_t trust_proof(const struct engine *e);
uint64_t trust_serve(const struct engine *e, int64_t now_ns);
bool trust_healed(const struct engine *e, int64_t now_ns);
void trust_step(struct engine *e, int64_t now_ns);
void trust_served(struct engine *e, const struct flight *f, int64_t now_ns);
void trust_proven(struct engine *e, const struct flight *f, int64_t now_ns);
void trust_disproved(struct engine *e, const struct flight *f, int64_t now_ns);
void trust_contradiction(struct engine *e, struct bytes path, int64_t now_ns);
/* It may not have reached the target's disk when that loses its power. `compared`: nothing new. */
void trust_confirmed(struct engine *e, struct bytes path, bool compared, int64_t now_ns);
/* Puts what is about to be confirmed where the next start finds it. Before the ledger believes it:
 * when a power loss spares the one, the other must be there, too. */
void trust_note(struct engine *e, const struct bytes *confirmed, size_t count, int64_t now_ns);
void trust_recall(struct engine *e, int64_t now_ns);
void trust_forget(struct engine *e, int64_t now_ns);
/* The target was out of sight since then, and is back. */
void trust_away(struct engine *e, int64_t since_ns, enum sight how, int64_t now_ns);
/* What was confirmed lately may be lost: nobody saw the target for too long. */
bool trust_doubts(const struct engine *e, int64_t now_ns);
int64_t trust_deadline(const struct engine *e);
void trust_done(struct engine *e);

/* zombie.c */
void zombie_add(struct engine *e, uint64_t session, const struct mark *m, int64_t now_ns);
void zombie_over(struct engine *e, uint64_t session, int64_t now_ns);
void zombie_step(struct engine *e, int64_t now_ns);
void zombie_intend(struct engine *e, struct bytes path, bool below);
int64_t zombie_deadline(const struct engine *e);
bool zombie_settled(const struct engine *e, uint64_t born);
/* A zombie may write the path, or look at it. */
bool zombie_has(const struct engine *e, struct bytes path);
size_t zombie_count(const struct engine *e);
void zombie_clear(struct engine *e);

/* sweep.c */
/* The items of a list of deletions: marks, what is swept with them, and from `owned` on what is
 * spared, whose paths sweep_load_done() frees. */
struct sweep_load {
	struct wire_item *items;
	size_t count, cap, owned;
};
/* The session that carried this mark has ended uncleanly, and nothing of it writes any more. */
void sweep_add(struct engine *e, const struct mark *m);
/* What was just confirmed may still have to be swept: then it stays intended (I11). */
void sweep_intend(struct engine *e, struct bytes path);
/* The path is gone at the target, and all below it. */
void sweep_deleted(struct engine *e, const struct flight *f, struct bytes path);
/* It stays, with something in it. True: that may be what is still to be swept, and was not in that
 * list. */
bool sweep_kept(struct engine *e, const struct flight *f, struct bytes path);
/* It waits to be swept, or is. */
bool sweep_has(const struct engine *e, struct bytes path);
/* While a name is swept its new temporary file would go, too; and its directory, which is listed,
 * would be made anew (I6). */
bool sweep_blocks(const struct engine *e, const struct mark *m);
void sweep_step(struct engine *e, int64_t now_ns);
/* Adds to the f->marks items that are there already what goes with them. */
void sweep_load(struct engine *e, const struct flight *f, struct sweep_load *l, int64_t now_ns);
void sweep_load_done(struct sweep_load *l);
void sweep_result(struct engine *e, const struct flight *f, const struct wire_result_item *r,
                  int64_t now_ns);
void sweep_landed(struct engine *e, const struct flight *f);
int64_t sweep_deadline(const struct engine *e);
bool sweep_settled(const struct engine *e, uint64_t born);
void sweep_clear(struct engine *e);

/* rename.c */
/* The names in a list that files had before; paths are borrowed from the flight's formers. */
struct rename_load {
	struct wire_former *formers;
	size_t count, cap, bytes;
	struct bytes last;
};
/* A mark from a look: what it takes to link it, or to part what is linked. */
void rename_marked(struct engine *e, struct mark *m, int64_t now_ns);
/* It must wait: a former name is listed there now, or is still needed. */
bool rename_blocks(struct engine *e, const struct mark *m, const struct belief *known,
                   int64_t now_ns);
/* Finds and intends the former names of a flight's marks. */
void rename_load(struct engine *e, struct flight *f, struct rename_load *l);
void rename_load_done(struct rename_load *l);
/* The answer to a mark, before it is applied. */
void rename_result(struct engine *e, struct flight *f, const struct wire_result_item *r);
/* It failed for want of links, and goes back to be sent. False: it did not. */
bool rename_refused(struct engine *e, struct flight *f, size_t i, const struct wire_result_item *r,
                    int64_t now_ns);
/* The flight's session writes no more, or is a zombie. */
void rename_landed(struct engine *e, struct flight *f, bool zombie, int64_t now_ns);
/* The target does not have that name any more, or as an inode of its own. */
void rename_parted(struct engine *e, struct bytes path);
/* A former name was confirmed as itself. */
void rename_confirmed(struct engine *e, struct bytes path, const struct wire_result_item *r);
void rename_quiet(struct engine *e); /* nothing is pending or under way */
void rename_clear(struct engine *e);

/* copy.c */
/* The names in a list that new files may be copies of; paths are borrowed from the flight. */
struct copy_load {
	struct wire_basis *bases;
	size_t count;
};
/* A mark from a look: in the class in which it can be built from another name. */
void copy_marked(struct engine *e, struct mark *m, int64_t now_ns);
/* It must wait: a list under way builds on the name. */
bool copy_blocks(const struct engine *e, const struct mark *m);
void copy_load(struct engine *e, struct flight *f, struct copy_load *l, int64_t now_ns);
void copy_load_done(struct copy_load *l);
/* The answer to a mark, before it is applied. */
void copy_result(struct engine *e, const struct flight *f, const struct wire_result_item *r,
                 int64_t now_ns);
/* The session broke off because the target does not have a name that a file was to be built from:
 * no trouble of the target's. */
bool copy_broke(struct engine *e, const struct flight *f, const struct wire_done *m,
                int64_t now_ns);
/* It failed for want of that name, and goes back to be sent. False: it did not. */
bool copy_refused(struct engine *e, struct flight *f, size_t i, const struct wire_result_item *r,
                  int64_t now_ns);
void copy_landed(struct engine *e, struct flight *f);
void copy_confirmed(struct engine *e, struct bytes path, const struct fingerprint *fp);
void copy_clear(struct engine *e);

/* failure.c */
void failure_add(struct engine *e, const struct mark *m, struct bytes text, bool source_side,
                 int64_t now_ns);
/* It has failed, and its retry is not due. */
bool failure_waits(const struct engine *e, struct bytes path);
void failure_gone(struct engine *e, struct bytes path);
void failure_looked(struct engine *e, struct bytes path);
void failure_marked(struct engine *e, struct mark *m);
void failure_step(struct engine *e, bool all, int64_t now_ns);
void failure_clear(struct engine *e);

/* hold.c */
/* Holds the removal of a directory, too, when something below it is held. */
bool hold_with_children(struct engine *e, const struct mark *m);
void hold_add(struct engine *e, struct batch *b, const char *rule, int64_t now_ns);
bool hold_has(const struct engine *e, struct bytes path);
void hold_leave(struct engine *e, struct bytes path);
size_t hold_count(const struct engine *e);
void hold_clear(struct engine *e);

#endif
