/*
 * linkgroup: which names of a list are one inode.
 */
#ifndef WORKER_LINKGROUP_H
#define WORKER_LINKGROUP_H

#include "rsync/session.h"
#include "worker/cargo.h"

/* Numbers the groups of listed names that go as one inode, in the parts and in their entries. */
void linkgroup_number(struct cargo *c, struct session_entry *entries);

#endif
