/*
 * listing: the names of one directory in byte order, with what lstat says about each.
 *
 * Filled in steps, since a directory may have millions of names: all names first, then the entries
 * one after the other.
 */
#ifndef SOURCE_LISTING_H
#define SOURCE_LISTING_H

#include "base/bytes.h"
#include "core/fingerprint.h"

enum listed_state {
	LISTED_UNKNOWN, /* not looked at yet */
	LISTED_THERE,   /* fp is valid */
	LISTED_GONE,    /* vanished since, or nothing that is mirrored (a socket) */
	LISTED_IGNORED, /* excluded, a mount point, or could not be examined: says nothing */
};

struct listed {
	uint32_t name; /* offset in names */
	uint8_t len;
	uint8_t state; /* enum listed_state */
	struct fingerprint fp;
};

struct listing {
	struct buf names; /* NUL behind each */
	struct listed *v;
	size_t n, cap;
};

/* Reads all names of the directory open as fd; -errno: incomplete (what was read is kept). */
int listing_read(struct listing *l, int fd);
void listing_done(struct listing *l);
/* Index of a name, or SIZE_MAX. */
size_t listing_find(const struct listing *l, struct bytes name);
static inline struct bytes listing_name(const struct listing *l, size_t i)
{
	return (struct bytes){l->names.p + l->v[i].name, l->v[i].len};
}

#endif
