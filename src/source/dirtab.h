/*
 * dirtab: the directories of one tree, compactly: node -> parent and name, (parent, name) -> node,
 * watch descriptor -> node, device and inode. About 70 bytes a directory, names included.
 *
 * A node is a directory that was identified once, wherever it is now. It is attached (its parents
 * lead to the root) or lies in or below a detached node: it was not found where it used to be, and
 * either turns up elsewhere or is dropped. No path is stored; one is put together when needed.
 *
 * Numbers of dropped nodes are not used again before dirtab_recycle(), so a number kept in some
 * list stays recognisable as dead until its owner has thrown the list away. Belongs to one thread.
 */
#ifndef SOURCE_DIRTAB_H
#define SOURCE_DIRTAB_H

#include "base/bytes.h"

struct dirtab;

#define DIRTAB_NONE UINT32_MAX
#define DIRTAB_ROOT 0u

/* Starts with the root, unidentified and unwatched. */
struct dirtab *dirtab_new(void);
void dirtab_free(struct dirtab *t);

/* The name must be free below the parent. */
uint32_t dirtab_add(struct dirtab *t, uint32_t parent, struct bytes name);
/* Cuts the node off its parent; no-op when it is off already. Never the root. */
void dirtab_detach(struct dirtab *t, uint32_t node);
/* Puts a detached node below parent; false (and no change) when parent lies at or below it. The
 * name must be free. */
bool dirtab_attach(struct dirtab *t, uint32_t node, uint32_t parent, struct bytes name);
/* Forgets the node and everything below; `gone` is called with each watch descriptor. */
void dirtab_drop(struct dirtab *t, uint32_t node, void (*gone)(int wd, void *arg), void *arg);
void dirtab_recycle(struct dirtab *t);

bool dirtab_alive(const struct dirtab *t, uint32_t node);
uint32_t dirtab_child(const struct dirtab *t, uint32_t parent, struct bytes name);
uint32_t dirtab_by_wd(const struct dirtab *t, int wd);
uint32_t dirtab_parent(const struct dirtab *t, uint32_t node); /* DIRTAB_NONE: root or detached */
struct bytes dirtab_name(const struct dirtab *t,
                         uint32_t node); /* borrowed until the next change */
uint32_t dirtab_first_child(const struct dirtab *t, uint32_t node);
uint32_t dirtab_next_sibling(const struct dirtab *t, uint32_t node);
/* True when node is `top` or lies below it. */
bool dirtab_within(const struct dirtab *t, uint32_t node, uint32_t top);
/* Path from the root into `out` (replacing its content): 0; -ENOENT when detached; -ENAMETOOLONG.
 */
int dirtab_path(const struct dirtab *t, uint32_t node, struct buf *out);
/* The node `path` leads to, or the deepest one on the way; *rest is what is left of the path. */
uint32_t dirtab_resolve(const struct dirtab *t, struct bytes path, struct bytes *rest);

void dirtab_set_wd(struct dirtab *t, uint32_t node, int wd); /* -1: not watched */
int dirtab_wd(const struct dirtab *t, uint32_t node);
void dirtab_set_identity(struct dirtab *t, uint32_t node, uint64_t dev, uint64_t ino);
bool dirtab_is(const struct dirtab *t, uint32_t node, uint64_t dev, uint64_t ino);

/* Bit set of the jobs for which the directory was listed since its watch was made. */
uint32_t dirtab_seen(const struct dirtab *t, uint32_t node);
void dirtab_set_seen(struct dirtab *t, uint32_t node, uint32_t jobs);
/* Something at or below it could not be read. */
bool dirtab_unread(const struct dirtab *t, uint32_t node);
void dirtab_set_unread(struct dirtab *t, uint32_t node, bool unread);

size_t dirtab_count(const struct dirtab *t);
size_t dirtab_watched(const struct dirtab *t);
size_t dirtab_memory(const struct dirtab *t); /* bytes */
/* Calls fn with every watch descriptor. */
void dirtab_each_wd(const struct dirtab *t, void (*fn)(int wd, void *arg), void *arg);

#endif
