/*
 * entry: the order of a file list and the wire form of its entries.
 *
 * The receiver sorts what it gets and both sides name entries by their place in that order, so ours
 * must be exactly its (protocol 29 and later): component by component, bytewise; at one level
 * everything that is no directory comes first; a directory compares with "/" behind its name; the
 * root is first of all.
 */
#ifndef RSYNC_ENTRY_H
#define RSYNC_ENTRY_H

#include "rsync/attrs.h"
#include "rsync/session.h"

int entry_compare(struct bytes a, bool a_dir, struct bytes b, bool b_dir);

/* What the last entry was: fields that are the same are left out. */
struct entry_writer {
	const struct session_options *o; /* as the session's class uses them */
	int protocol;
	bool varint_flags;          /* COMPAT_VARINT */
	bool checksums;             /* CHECKSUM class */
	struct attrs_tables *attrs; /* of lists with xattrs or acls */
	bool started;               /* there is a previous entry to be the same as */
	char name[4096];
	size_t name_n;
	uint32_t mode, uid, gid;
	int64_t mtime_s;
};

/* What an entry is beside its attributes. */
struct entry_role {
	bool no_content, top; /* directories: the flags of the wire */
	bool linked;          /* one of several names of its inode */
	int32_t first;        /* place of the first name; -1: this is it */
};

/* The entry's set of extended attributes, ATTRS_SET_NONE where they are not listed. */
uint32_t entry_put(struct buf *out, struct entry_writer *w, const struct session_entry *e,
                   const struct entry_role *role);
/* End of the list, without errors. */
void entry_put_end(struct buf *out, const struct entry_writer *w);

#endif
