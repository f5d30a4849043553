/*
 * server: one simulated session and the process at its other end, for target.c and fault.c.
 */
#ifndef SIM_SERVER_H
#define SIM_SERVER_H

#include "world.h"

struct server_item {
	struct wire_item item;
	char path[64];
	struct entry seen; /* of the source, at list time */
	bool exists, done, exclusive;
	bool late;       /* carried out, not told yet */
	char former[64]; /* listed as another link of it */
	bool with_former;
	char basis[64]; /* that it may be a copy of; "": none */
	enum wire_result result;
	struct fingerprint fp;
	unsigned flags;
};

enum server_state { SERVER_CONNECTING, SERVER_READY, SERVER_LISTED, SERVER_ZOMBIE, SERVER_OVER };

struct server { /* one session and its server process */
	uint64_t id, batch;
	enum session_class class;
	enum server_state state;
	struct server_item *items;
	size_t count, at;
	struct model above;  /* directories that its list names above its items, still to be made */
	struct model stands; /* those above former names that the source does not have */
	bool orphan;         /* its daemon died */
	bool dead;           /* its host lost its power: nobody knows until over_ns */
	int64_t sent_ns;     /* when it got its list */
	bool unnoticed;      /* nobody could know then that the target had lost its power */
	uint64_t target_id;  /* the directory it works in (a swap gives new sessions another one) */
	int64_t over_ns;     /* zombie: when its process is gone */
	struct server *next;
};

void server_free(struct world *w, struct server *s);
/* Tells the engine: an item's result, the end of the batch, the end of the session. */
void server_report(struct world *w, struct server *s, size_t index, enum wire_result result,
                   const struct fingerprint *fp, unsigned flags);
void server_finish(struct world *w, struct server *s, enum trouble t, bool zombie);
void server_gone(struct world *w, struct server *s, enum trouble t, bool zombie_over);
/* Its process is killed: the file in work may stay behind under its temporary name. */
void server_killed(struct world *w, const struct server *s);
/* Carries an item out at the target. */
void server_apply(struct world *w, struct server *s, size_t i);

/* basis.c: names that new files may be copies of. */
void basis_list(struct server *s, const struct wire_batch *batch);
/* What the worker tells of the claim when it has written this content. */
unsigned basis_apply(struct world *w, const struct server_item *it, uint64_t content);

/* former.c: the names that files had before. */
/* As the worker does: lists those that the source bears out. */
void former_list(struct world *w, struct server *s, const struct wire_batch *batch);
/* As the receiver does: links the new name to the former one, or writes both. False: the item has
 * no former name. */
bool former_apply(struct world *w, struct server *s, struct server_item *it, unsigned *flags);
/* At the end of the list: directories that were not there when it was made, and are. */
void former_end(struct world *w, struct server *s);
/* I6: nothing else is sent at a former name or with what excludes it. */
void former_check(struct world *w, const struct server_item *x, const struct server_item *y);
/* What a list says of a file is said of all its names. */
void former_set(struct world *w, struct entry *t, const struct fingerprint *fp);

/* above.c: the list names the directories above `path` as they are at the source. */
void above_list(struct world *w, struct server *s, struct bytes path);
/* It has been sent: what stands there is about to be overwritten by name. */
void above_claim(struct world *w, struct bytes path);
/* There is no room for them, but what is none has made way by then. */
void above_make_way(struct world *w, const struct server *s, struct bytes path);
/* Made, or not listed after all. */
void above_leave(struct server *s, struct bytes dir);
/* They ride along and are confirmed with what was listed of them. */
void above_ensure(struct world *w, struct server *s, struct bytes path);
/* Nobody reads the answers any more, and what is listed may be long gone. */
void above_ensure_late(struct world *w, struct server *s, struct bytes path);

#endif
