/*
 * memstore: a store and an intent log in memory, under which the real ledger runs in simulations.
 *
 * What has been committed or appended is kept until the object is freed; closing does nothing. So a
 * process killed is ledger_drop() and another ledger_new() over the same two; a power cut is that
 * with memlog_cut_power() between, which forgets appends that nothing has synced. One thread.
 */
#ifndef SIM_MEMSTORE_H
#define SIM_MEMSTORE_H

#include "ledger/store.h"

struct store *memstore_new(void);
void memstore_free(struct store *s);
/* Commits fail with -code until it is 0 again. */
void memstore_fail(struct store *s, int code);
uint64_t memstore_commits(const struct store *s);

struct intent_log *memlog_new(void);
void memlog_free(struct intent_log *log);
void memlog_fail(struct intent_log *log, int code); /* the same for appends */
void memlog_cut_power(struct intent_log *log);

#endif
