/*
 * model: a tree of entries as plain memory, for both sides of the simulation.
 */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include <uthash.h>
#include "base/bytes.h"
#include "core/fingerprint.h"

struct entry {
	char path[64];
	struct fingerprint fp;
	uint64_t content; /* stands for the bytes: equal contents have equal numbers */
	uint64_t inode;   /* target: names with the same are links of one file; 0: of none other */
	bool foreign;     /* target: somebody else put it there */
	bool unclaimed;   /* and we have never since tried to write there */
	bool temp;        /* target: what a receiver left behind that was cut off */
	UT_hash_handle hh;
};

struct model {
	struct entry *entries; /* without the root */
};

struct entry *model_find(const struct model *m, struct bytes path);
struct entry *model_put(struct model *m, struct bytes path); /* finds or adds */
void model_remove(struct model *m, struct entry *e);         /* that one only */
void model_remove_tree(struct model *m, struct bytes path);
void model_copy(struct model *to, const struct model *from);
void model_clear(struct model *m);
bool model_has_below(const struct model *m, struct bytes dir);
bool model_has_foreign(const struct model *m, struct bytes dir);
size_t model_count(const struct model *m);
/* Entries in path order (parents first); *ret by malloc. */
size_t model_sorted(const struct model *m, struct entry ***ret);
static inline struct bytes entry_path(const struct entry *e)
{
	return bytes_of(e->path);
}

#endif
