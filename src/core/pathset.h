/*
 * pathset: the paths one job still has to bring into line, and the batches in flight.
 *
 * A tree of names. A name may carry a pending mark, be in flight in one batch, or both (marked
 * again while in flight). Marks only move: put -> pending -> batch -> gone (ack) or back (nack)
 * (I2).
 *
 * Bounded: above `limit` pending marks those of crowded directories are each replaced by one
 * (directory, SUBTREE, LOOK) mark, which keeps the oldest born and since: directories with many
 * marks of their own first, else the deepest one below which enough lie. A round makes room for an
 * eighth of the limit. Precision drops, a mark never does.
 *
 * What may fly together (I6): no path twice; exclusive marks (mark_exclusive) keep everything above
 * and below out of OTHER batches; within one batch a new directory and what lies in it go together.
 * A hard-link group (same link; DELETE, LOOK and directory marks have none, and a mark below a
 * pending type change to something else than a directory loses its own) is taken whole or waits;
 * its class is CONTENT when one of its marks is. What a mark put for one name tells of the content
 * holds for the others, too, should that name leave: CONTENT raises those pending, and one in
 * flight goes again after its ack, as CONTENT or QUICK. A batch holds either only DELETE marks or
 * only others; QUICK/META and CONTENT are split. LOOK marks (so all SUBTREE ones) touch no target:
 * they block nothing and wait for nothing but their own path.
 *
 * What waits for what is pending. A DELETE or RETYPED mark waits for the DELETE marks below it (or
 * goes behind them in the same batch). Any other mark waits for the pending exclusive marks above
 * it (or goes behind them in the same batch). DELETE marks wait for nothing pending above. So
 * deletions go upwards, then everything else downwards, and no two marks can wait for each other.
 * Of a directory that goes, marks other than DELETE below it wait therefore for its deletion; when
 * that (or a type change) is acked they become LOOK, as does a mark put at the name itself while
 * its deletion was in flight: they were found before.
 *
 * Fairness: the oldest mark blocked by something in flight reserves its scope until it is taken or
 * has to wait for something pending: nothing younger that conflicts with it is taken, except what
 * it waits for itself. LOW marks reserve nothing.
 *
 * When: a mark is ready at once unless its path was in flight when it was put, or was acked within
 * the last second; then it waits min(2 x that flight's duration, 1 s) from its put, and at least
 * for the end of the flight. Looks do not count as flights. HOT marks (LOOK marks are never HOT)
 * wait for `longest_wait_ns` from since_ns, those that GREW for a millisecond for each 256 KB, at
 * least a second and not longer than that; BRIEF ones for 1 s. nack can name a time before which
 * it is not retried. Age is since_ns.
 *
 * Costs: put and ack O(depth + log marks), take amortised the same for each mark taken: a blocked
 * mark is parked and looked at again only when what blocked it has changed.
 *
 * Knows no file system, clock or target. Belongs to one thread.
 */
#ifndef CORE_PATHSET_H
#define CORE_PATHSET_H

#include "core/mark.h"

struct pathset;
struct batch;

struct pathset *pathset_new(size_t limit, int64_t longest_wait_ns);
void pathset_free(struct pathset *set); /* batches must have been ended before */

/* Adds a mark (the path is copied). Merges with a pending one; collapses when over the limit. */
void pathset_put(struct pathset *set, const struct mark *mark, int64_t now_ns);

/* `path` is neither at the source nor believed at the target: what is pending for it and below
 * leaves, except deletions and what is in flight (whose end decides). `settled` is told each path
 * that left and must not change the set. */
void pathset_settle(struct pathset *set, struct bytes path,
                    void (*settled)(struct bytes path, void *arg), void *arg, int64_t now_ns);

/* The file that is pending or in flight under this name has been written: its other names go with
 * their content. */
void pathset_stir(struct pathset *set, struct bytes path, int64_t now_ns);

/* What was below `path` is gone or somewhere else: nobody closes it there, so HOT and BRIEF marks
 * below it wait no longer. O(1) when nothing waits for its time, else O(marks below). */
void pathset_hurry(struct pathset *set, struct bytes path, int64_t now_ns);

size_t pathset_pending(const struct pathset *set);   /* marks not in flight */
size_t pathset_in_flight(const struct pathset *set); /* marks in batches */
uint64_t pathset_pending_bytes(const struct pathset *set);
/* since_ns of the oldest mark, pending or in flight; INT64_MAX when there is none. O(marks). */
int64_t pathset_oldest(const struct pathset *set);
/* No mark, pending or in flight, has born <= `born`. O(1). */
bool pathset_settled(struct pathset *set, uint64_t born);
/* Earliest time at which a mark that waits only for its time becomes ready; INT64_MAX: none. */
int64_t pathset_deadline(const struct pathset *set);

/* What a batch may take. */
enum batch_class { BATCH_QUICK, BATCH_CONTENT, BATCH_DELETE, BATCH_CLASSES };

struct take_limits {
	unsigned classes;   /* bit set of 1 << enum batch_class that a lane is free for */
	size_t max_marks;   /* > 0; BATCH_DELETE: at most 2000 */
	uint64_t max_bytes; /* of content; one mark, or group, alone may exceed both */
	bool low;           /* take MARK_LOW marks, too */
};

/* Moves ready marks, oldest first, into a new batch of one class, LOW ones last; in the batch
 * ancestors precede what lies below them (deletions: the other way round). Returns NULL when
 * nothing can be taken. The batch belongs to the caller until batch_end(). */
struct batch *pathset_take(struct pathset *set, const struct take_limits *limits, int64_t now_ns);

/* Moves up to `max` ready LOOK marks (SUBTREE only if `subtrees`) out of the set: the caller hands
 * them to the look thread, which answers with a put or with nothing. They are in a batch of class
 * BATCH_CLASSES so that they stay counted until the answer: batch_ack() each when the look's marks
 * have been put. NULL when there is none. */
struct batch *pathset_take_looks(struct pathset *set, size_t max, bool subtrees, int64_t now_ns);

enum batch_class batch_class(const struct batch *b);
size_t batch_count(const struct batch *b);
const struct mark *batch_mark(const struct batch *b, size_t i); /* borrowed until the batch ends */
bool batch_open(const struct batch *b, size_t i);               /* neither acked nor nacked yet */
void batch_ack(struct batch *b, size_t i, int64_t now_ns);
/* Back into the set with `action` (MARK_LOOK if what is known about it may be stale), not ready
 * before not_before_ns. Age and born are kept. */
void batch_nack(struct batch *b, size_t i, enum mark_action action, int64_t now_ns,
                int64_t not_before_ns);
/* Takes the mark out of circulation (failed, held): the caller has recorded it elsewhere. */
void batch_drop(struct batch *b, size_t i, int64_t now_ns);
/* Nacks what is open as LOOK and frees. */
void batch_end(struct batch *b, int64_t now_ns, int64_t not_before_ns);

/* Calls fn for every pending and in-flight mark below `dir` (or at it), until it returns false. fn
 * must not change the set. */
void pathset_each(struct pathset *set, struct bytes dir,
                  bool (*fn)(const struct mark *mark, bool in_flight, void *arg), void *arg);
/* Whether `path` itself is pending or in flight. */
bool pathset_has(const struct pathset *set, struct bytes path);
/* What may keep `path` from being sent, of what is at it and above it. O(depth). */
enum pathset_above {
	PATHSET_SHUT = 1,  /* in flight itself, or something in flight above excludes it (I6) */
	PATHSET_GOING = 2, /* a deletion or a type change is pending or in flight above */
};
unsigned pathset_above(const struct pathset *set, struct bytes path);
/* Whether a deletion of `path` itself is pending or in flight. */
bool pathset_goes(const struct pathset *set, struct bytes path);
/* The batch in which `path` itself is in flight (not: being looked at); NULL when in none. */
const struct batch *pathset_flight(const struct pathset *set, struct bytes path);
/* Bit set of 1 << enum batch_class (1 << BATCH_CLASSES: looks) for which a mark is due by its time
 * and not known to be blocked. */
unsigned pathset_ready(struct pathset *set, int64_t now_ns);
/* Whether a pending mark other than DELETE can be taken, or waits only for its time. Any other
 * waits for one that can, for a flight, or for a deletion. O(marks that wait for their time). */
bool pathset_stirs(struct pathset *set, int64_t now_ns);
/* Pending DELETE marks. */
size_t pathset_pending_deletions(const struct pathset *set);

#endif
