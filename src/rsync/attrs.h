/*
 * attrs: extended attributes and ACLs as a list carries them, and as its receiver asks for them.
 *
 * Both come in sets. A set that was sent before in the same list is named by its place among the
 * sets, so each is kept until the session ends. Of a value above 32 bytes the list has a digest
 * only; the receiver asks for those that it does not have by their place in the set, and gets what
 * was listed, whatever the file holds by then: it keeps one value for all entries with this set.
 */
#ifndef RSYNC_ATTRS_H
#define RSYNC_ATTRS_H

#include "rsync/session.h"

#define ATTRS_SET_NONE UINT32_MAX

struct attrs_tables;

/* The values of one set that the receiver wants: their places in the set, ascending. */
struct attrs_wanted {
	bool follow; /* there is such a list, maybe an empty one */
	uint32_t *places;
	size_t n;
};

struct attrs_tables *attrs_new(void);
void attrs_free(struct attrs_tables *t);

/* Why the attributes of an entry cannot be listed; NULL: they can. */
const char *attrs_fault(const struct session_entry *e);
/* The ACLs of an entry (no link): its own, and for a directory the default one. */
void attrs_put_acls(struct attrs_tables *t, struct buf *out, const struct session_entry *e);
/* The extended attributes of an entry; its set. */
uint32_t attrs_put_xattrs(struct attrs_tables *t, struct buf *out, const struct session_entry *e);

/* Which values of a set the receiver wants. 0, and the places are the caller's to free; -EAGAIN or
 * -EPROTO as the codec. */
int attrs_get_wanted(const struct attrs_tables *t, uint32_t set, struct cursor *in,
                     struct attrs_wanted *ret);
/* They are going to be sent. -EPROTO: too often. */
int attrs_note_wanted(struct attrs_tables *t, uint32_t set, const struct attrs_wanted *wanted);
/* These values, as they were listed. */
void attrs_put_wanted(const struct attrs_tables *t, uint32_t set, struct buf *out,
                      const struct attrs_wanted *wanted);

#endif
