/*
 * walk: the directories of one batch, entered one after the other beneath the tree's root.
 *
 * A stack of open directories from the root down. Each is opened by its own name in its parent,
 * without following symbolic links (I5), and once as long as paths come in path_compare() order. A
 * directory that cannot be entered keeps its errno, and so does everything below it. At most
 * WALK_OPEN_MAX descriptors are held, whatever the depth.
 */
#ifndef WORKER_WALK_H
#define WORKER_WALK_H

#include <sys/stat.h>
#include "base/bytes.h"

#define WALK_OPEN_MAX 64

struct walk_level {
	struct bytes path; /* borrowed from the path it was entered for */
	int fd;            /* O_PATH; -1: faulty, or closed for want of room */
	int fault;         /* errno of entering it, 0: entered */
	/* The user's. */
	bool doomed;   /* inherited from the level above */
	uint32_t part; /* UINT32_MAX when pushed */
	size_t bytes;  /* 0 when pushed, and so those that follow */
	uint8_t refused;
	const char *why; /* static */
};

struct walk {
	int root_fd; /* borrowed */
	bool cross_mounts;
	struct walk_level *levels; /* [0] is the root */
	size_t depth, cap;
};

void walk_init(struct walk *w, int root_fd, bool cross_mounts);
void walk_done(struct walk *w);
/* Leaves every directory that is neither `dir` nor above it. */
void walk_leave(struct walk *w, struct bytes dir);
/* After walk_leave(dir): enters the next directory on the way to `dir`, whose memory must outlive
 * the level; false: `dir` is the top. */
bool walk_push(struct walk *w, struct bytes dir);
struct walk_level *walk_top(struct walk *w);
/* The descriptor of levels[i] (borrowed until the next call), or -errno. */
int walk_level_fd(struct walk *w, size_t i);
/* The top's descriptor (borrowed until the next call), or -errno. */
int walk_fd(struct walk *w);
/* lstat of `path`: enters its parent and looks. 0 or -errno. */
int walk_stat(struct walk *w, struct bytes path, struct stat *ret);
/* lstat of a name in the top directory; "" is that directory. 0 or -errno. */
int walk_look(struct walk *w, struct bytes name, struct stat *ret);

#endif
