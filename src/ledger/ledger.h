/*
 * ledger: what one job's target is believed to hold.
 *
 * A store (LMDB) that survives, and on top of it the overlay: what has been intended or confirmed
 * since and is not committed yet. Together they are a superset of what the target may hold (I11):
 * a name is recorded as intended before its first byte leaves and stays until its removal is
 * confirmed; a deletion, too, is intended first.
 *
 * Threads: the loop thread calls intend/withdraw/confirm/...; the look thread and the loop read;
 * the writer thread (started by ledger_open) commits groups every 100-500 ms. One mutex guards the
 * overlay; readers copy out of it.
 *
 * If the store cannot be written, replication goes on: ledger_trouble() says so and the next start
 * compares with the target.
 */
#ifndef LEDGER_LEDGER_H
#define LEDGER_LEDGER_H

#include "base/bytes.h"
#include "base/err.h"
#include "core/fingerprint.h"
#include "ledger/store.h"

struct ledger;

enum ledger_phase { LEDGER_NEVER, LEDGER_FIRST_SYNC, LEDGER_LIVE };

/* Who the ledger belongs to; compared at open. */
struct ledger_identity {
	const char *root_id;  /* guard_identity(): file system id and root inode */
	const char *target;   /* as configured, without password */
	uint64_t filter_hash; /* filter_hash() */
	uint64_t options_hash;
};

enum ledger_found {
	LEDGER_FOUND_NEW = 1,     /* no ledger was there */
	LEDGER_FOUND_CORRUPT = 2, /* unreadable: set aside as ledger.mdb.corrupt-N (N at most 4,
	                           * the last is overwritten), and a new one was begun */
	LEDGER_FOUND_ROOT_CHANGED = 4,   /* source identity differs: hold (approve) */
	LEDGER_FOUND_TARGET_CHANGED = 8, /* target differs: hold (approve) */
	LEDGER_FOUND_FILTER_CHANGED = 16,
	LEDGER_FOUND_OPTIONS_CHANGED = 32,
	LEDGER_FOUND_UNCLEAN = 64,  /* the daemon did not close it: intents were read back */
	LEDGER_FOUND_REBOOTED = 128 /* another boot id, and unclean */
};

/* Opens or creates DIR/ledger.mdb and DIR/intents.{0,1}; DIR exists. *ret_found: bits of enum
 * ledger_found. Intents found become intended entries (I13: zombie paths), listed by
 * ledger_each_intended(). -ENOTSUP: made by a newer version (message names both); -EBUSY: another
 * process has it open (message names its id). */
int ledger_open(struct ledger **ret, const char *dir, const struct ledger_identity *id,
                unsigned *ret_found, struct err *err);
/* The same logic over a caller's store and intent log, without thread: tests call ledger_commit().
 */
struct ledger *ledger_new(struct store *store, struct intent_log *log);
/* Ends the writer thread, commits and marks clean (left undone while the store cannot be written),
 * closes store and log. */
void ledger_close(struct ledger *l);
/* Frees without writing or closing anything, as the end of the process would: for the simulator,
 * over ledger_new(). */
void ledger_drop(struct ledger *l);
/* Accepts a changed root/target/filter/options as the new identity. */
void ledger_adopt(struct ledger *l, const struct ledger_identity *id);
/* Identity of the root it was filled from; NULL: none yet. Loop thread; valid until ledger_adopt().
 */
const char *ledger_root(const struct ledger *l);

/* One entry's belief. */
enum ledger_state {
	LEDGER_ABSENT = 0,
	LEDGER_INTENDED =
	        1, /* bytes may have left; nothing confirmed about the newest push/deletion.
	            * Unconfirmed parents of an intended name count as intended with it */
	LEDGER_CONFIRMED =
	        2, /* the fingerprint is what the target confirmed; bits may both be set */
};
struct belief {
	unsigned state;        /* bits of enum ledger_state */
	struct fingerprint fp; /* valid with LEDGER_CONFIRMED */
};

/* Any thread. */
void ledger_get(struct ledger *l, struct bytes path, struct belief *ret);
/* Every name believed to be directly in `dir`, in byte order; stops when fn returns false. The
 * snapshot is consistent; fn runs without the lock. */
void ledger_list(struct ledger *l, struct bytes dir,
                 bool (*fn)(struct bytes name, const struct belief *belief, void *arg), void *arg);
/* Whether a name is believed to be in `dir`, itself a directory or not. */
bool ledger_has_below(struct ledger *l, struct bytes dir);
/* Full paths of the names confirmed for this inode, whatever their number of links was then; stops
 * when fn returns false. fn runs with the lock: it must not call the ledger. Directories are not
 * among them. */
void ledger_aliases(struct ledger *l, uint64_t dev, uint64_t ino,
                    bool (*fn)(struct bytes path, void *arg), void *arg);
uint64_t ledger_entries(struct ledger *l); /* confirmed or intended names */

/* Loop thread. Intends n paths in one append (I11); they stay LEDGER_INTENDED until confirmed or
 * withdrawn. Returns -errno when the log cannot be written: replication goes on, the ledger is
 * marked unclean. */
int ledger_intend(struct ledger *l, const struct bytes *paths, size_t n);
/* The bytes never left: the intent ends and the earlier belief stands, an earlier intent included.
 * Each intend is withdrawn at most once; confirming ends them all. */
void ledger_withdraw(struct ledger *l, struct bytes path);
/* Confirmed to hold exactly this. Parents that are not known are created as directories without
 * fingerprint (mode S_IFDIR only). */
void ledger_confirm(struct ledger *l, struct bytes path, const struct fingerprint *fp);
/* Confirmed not to hold it, nor anything below. */
void ledger_confirm_gone(struct ledger *l, struct bytes path);
/* No longer ours (newly excluded): forgotten, with everything below, never deleted. */
void ledger_forget(struct ledger *l, struct bytes path);
/* Intents read back at open (zombie paths of the previous run). */
void ledger_each_intended(struct ledger *l, bool (*fn)(struct bytes path, void *arg), void *arg);

enum ledger_phase ledger_phase(struct ledger *l);
void ledger_set_phase(struct ledger *l, enum ledger_phase phase);
uint64_t ledger_generation(struct ledger *l); /* stamp generation, 0: none yet */
void ledger_set_generation(struct ledger *l, uint64_t generation);

/* What is noted in `log` before something is confirmed here is on disk before the commit that says
 * so: each commit begins with log->sync(). Borrowed until ledger_close(), NULL: none. */
void ledger_sync_first(struct ledger *l, struct intent_log *log);
/* Commits what is in the overlay now; returns -errno. The writer thread calls it; tests, too. */
int ledger_commit(struct ledger *l);
/* Text of the last commit failure, or NULL while all is well. Valid until the thread's next call.
 */
const char *ledger_trouble(struct ledger *l);
size_t ledger_uncommitted(struct ledger *l);
/* Commits so far that held something confirmed: when it grows, the stamp generation may. */
uint64_t ledger_confirmed_commits(struct ledger *l);

#endif
