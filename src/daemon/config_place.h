/*
 * config_place: where a local directory really lies, however it is written.
 *
 * The existing part of a path is named by device and inode, and so are the directories above it, as
 * ".." leads to them; what does not exist yet is the text behind it. So symbolic links and bind
 * mounts do not hide that one directory lies inside another.
 */
#ifndef DAEMON_CONFIG_PLACE_H
#define DAEMON_CONFIG_PLACE_H

#include <stdbool.h>
#include <sys/types.h>

struct place_id {
	dev_t dev;
	ino_t ino;
};

struct place {
	struct place_id *ids; /* the deepest existing directory first, then those above it */
	size_t count;
	char *rest; /* components that do not exist yet, "" if all do */
};

/* `path` absolute and normalised. Never fails: what cannot be looked at counts as not existing. */
void place_init(struct place *p, const char *path);
void place_done(struct place *p);
/* `inner` is `outer` or lies somewhere below it. */
bool place_contains(const struct place *outer, const struct place *inner);

#endif
