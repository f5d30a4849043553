/*
 * line: a link in this process, a real rsync behind it, and between them a relay that cuts, damages
 * or holds back the bytes at one place.
 *
 * The link's clock is a number here: it is put forward when a fault has happened and nothing moves
 * any more. A session without a fault never sees it move.
 */
#ifndef TESTS_WORKER_LINE_H
#define TESTS_WORKER_LINE_H

#include "rig.h"
#include "worker/link.h"

enum fault_kind {
	FAULT_NONE,
	FAULT_CUT,   /* both ends see the end of file */
	FAULT_FLIP,  /* one bit of the byte */
	FAULT_STALL, /* nothing passes this way any more */
	FAULT_KILL,  /* SIGKILL to the server */
};

struct fault {
	enum fault_kind kind;
	bool down; /* of what the server says, else of what it is told */
	uint64_t at;
	uint8_t bit;
};

struct line {
	struct rig *rig;
	struct link_env env;
	struct link *l;
	struct frame_in *reports;
	int frames[2];
	int ours, server; /* the relay's two ends; -1: closed */
	pid_t pid;
	int alive; /* at its end when no process of the server is left */
	int64_t now_ns;
	struct fault fault;
	bool faulted, up_over; /* the link has shut its side down */
	uint64_t passed[2];    /* up, down */
	const struct wire_item *items;
	size_t n;
	uint8_t results[64];
	bool ready, done, gone;
	struct wire_gone last; /* its texts are gone */
};

/* Spawns the server and connects. DAEMON: with user and password. Ends are the caller's: line_run()
 * up to line_drop(). */
void line_open(struct line *y, struct rig *r, enum session_kind kind, enum session_class class,
               struct fault fault);
/* Until the link is ready or over; then, if there are items, until it is over. Each is answered
 * once. */
void line_run(struct line *y, const struct wire_item *items, size_t n);
/* Kills what is left of the server, and knows that it is gone. */
void line_drop(struct line *y);

#endif
