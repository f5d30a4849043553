/*
 * listattr: the extended attributes and ACLs of all that one list holds.
 *
 * They lie in memory until the list is written, so there is a limit to them. The names of one inode
 * share what was read for the first, and what became of that: a list that lacks one of them could
 * leave it behind (I6).
 */
#ifndef WORKER_LISTATTR_H
#define WORKER_LISTATTR_H

#include <sys/stat.h>
#include <uthash.h>
#include "core/fingerprint.h"
#include "worker/fileattr.h"
#include "worker/wire.h"

#define LISTATTR_BYTES_MAX (64u << 20)

/* Why something is not listed; result 0: it is. */
struct refusal {
	enum wire_result result;
	const char *why; /* static; NULL: nothing to be said */
};

/* One with several names. */
struct listattr_inode {
	struct listattr_key {
		uint64_t dev, ino;
	} key;
	struct fileattr *attrs; /* of the list; NULL: not listed so far */
	struct fingerprint fp;  /* before they were read */
	struct refusal refused; /* the first name */
	UT_hash_handle hh;
};

struct listattr {
	struct fileattr_reader *reader; /* NULL: nothing of the kind is kept */
	bool xattrs, acls;
	size_t bytes;
	struct fileattr *all;
	struct listattr_inode *inodes;
};

void listattr_init(struct listattr *l, bool xattrs, bool acls);
void listattr_done(struct listattr *l);
/* Owned by the caller until listattr_add(). There is a reader. */
struct fileattr *listattr_read(struct listattr *l, int fd, mode_t mode);
/* Takes them, and gives them to an entry. */
void listattr_add(struct listattr *l, struct session_entry *entry, struct fileattr *a);
/* Gives an entry what is there already. */
void listattr_share(struct session_entry *entry, const struct fileattr *a);
/* Whether there is room for so many more, where the directories above have so many: without them it
 * cannot be listed (I12). FAILED: not in any list; UNSENT: in the next. */
struct refusal listattr_room(const struct listattr *l, size_t bytes, size_t above);
/* The inode; a new one has neither attributes nor a refusal. */
struct listattr_inode *listattr_inode(struct listattr *l, uint64_t dev, uint64_t ino);

#endif
