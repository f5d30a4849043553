/*
 * model: a ledger as a plain array of names, against which the real one is checked; and the small
 * world of names and fingerprints that random runs use.
 */
#ifndef LEDGER_TEST_MODEL_H
#define LEDGER_TEST_MODEL_H

#include "ledger/ledger.h"

/* Inodes 1 to MODEL_INODES have several names, with one link or more; others mostly one. */
#define MODEL_INODES 4

struct random {
	uint64_t state;
};
uint32_t random_below(struct random *r, uint32_t n);
/* A path of one to four components out of a few names. */
struct bytes random_path(struct random *r, char *room, size_t size);
void random_fingerprint(struct random *r, struct fingerprint *ret);

struct model_entry {
	char path[64];
	size_t n;
	struct fingerprint fp;
	uint32_t intents;
};
struct model {
	struct model_entry entries[4096];
	size_t n;
};

struct model_entry *model_find(struct model *m, struct bytes path);
void model_intend(struct model *m, struct bytes path);
void model_withdraw(struct model *m, struct bytes path);
void model_confirm(struct model *m, struct bytes path, const struct fingerprint *fp);
void model_gone(struct model *m, struct bytes path);
void model_belief(struct model *m, struct bytes path, struct belief *ret);

/* Asserts that both say the same about every name, list, inode and count. */
void model_check(struct model *m, struct ledger *l);
void model_check_inodes(struct model *m, struct ledger *l);
void model_check_belief(const struct belief *a, const struct belief *b, struct bytes path);

#endif
