/*
 * overlay: one layer of what is believed on top of a store, in memory: a tree of names in which a
 * node may say "this record", "nothing here", or nothing at all; and may hide whatever lies below
 * it in the layers underneath.
 *
 * Knows neither locks nor the layers underneath. A layer that is being committed is only read.
 * Names with more than one link find their fingerprint in the layer's groups: the one put last. All
 * confirmed names of the layer, directories apart, can be found by their inode.
 */
#ifndef LEDGER_OVERLAY_H
#define LEDGER_OVERLAY_H

#include "ledger/store.h"

struct overlay;

enum overlay_answer {
	OVERLAY_UNKNOWN, /* ask the layer underneath */
	OVERLAY_ABSENT,
	OVERLAY_PRESENT,
};

struct overlay *overlay_new(void);
void overlay_free(struct overlay *o);

/* *ret is filled with OVERLAY_PRESENT; record.parent says whether this layer has nodes below. */
enum overlay_answer overlay_find(const struct overlay *o, struct bytes path,
                                 struct store_record *ret);
void overlay_put(struct overlay *o, struct bytes path, const struct store_record *record);
/* Nothing at path nor below, here and underneath. */
void overlay_remove(struct overlay *o, struct bytes path);
/* Nothing below path; path itself is left as it is. */
void overlay_clear_below(struct overlay *o, struct bytes path);

/* The fingerprint this layer has for a group. */
bool overlay_group(const struct overlay *o, uint64_t dev, uint64_t ino, struct fingerprint *ret);
bool overlay_has_groups(const struct overlay *o);
/* Paths of this layer that have this inode, in no order, until fn returns false; then false. */
bool overlay_aliases(const struct overlay *o, uint64_t dev, uint64_t ino,
                     bool (*fn)(struct bytes path, void *arg), void *arg);

/* What the layer says about the names directly in a directory, in byte order. */
struct overlay_child {
	struct bytes name; /* owned by the listing */
	enum overlay_answer answer;
	struct store_record record;
};
struct overlay_listing {
	struct overlay_child *children;
	size_t n;
	char *names;
	bool hides; /* nothing of the layers underneath shows in this directory */
};
/* OVERLAY_UNKNOWN children are left out unless something lies below them. */
void overlay_list(const struct overlay *o, struct bytes dir, struct overlay_listing *ret);
/* Lays `upper` over `lower`: the result is in `upper`; `lower` is done with. */
void overlay_listing_merge(struct overlay_listing *upper, struct overlay_listing *lower);
void overlay_listing_done(struct overlay_listing *listing);

size_t overlay_changes(const struct overlay *o); /* nodes that say something, and groups */

/* The layer as changes for a store, parents first. */
struct overlay_export {
	struct store_change *changes;
	size_t n;
	struct buf paths; /* what the changes' paths point into */
};
void overlay_export(const struct overlay *o, struct overlay_export *ret);
void overlay_export_done(struct overlay_export *e);

#endif
