/*
 * lmdb_impl: what the files of the LMDB store share. A view is a read transaction.
 */
#ifndef LEDGER_LMDB_IMPL_H
#define LEDGER_LMDB_IMPL_H

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include "ledger/record.h"
#include "ledger/store_lmdb.h"

#define DIR_NONE     0 /* holds the root's own record, under the empty name */
#define DIR_ROOT     1
#define IDLE_TXN_MAX 8

enum lmdb_table {
	TABLE_META,
	TABLE_DIR,
	TABLE_ENTRY,
	TABLE_INO,
	TABLE_INTENT,
	TABLES,
};

struct store_lmdb {
	struct store base;
	MDB_env *env;
	MDB_dbi table[TABLES];
	atomic_bool damaged; /* a row did not match its checksum: nothing more is written */
	atomic_uint_fast64_t entries;
	uint64_t next_dir;

	pthread_mutex_t lock; /* guards what follows */
	MDB_txn *idle[IDLE_TXN_MAX];
	size_t nidle, views;
};

static inline struct store_lmdb *lmdb_of(struct store *s)
{
	return (struct store_lmdb *)s;
}
static inline MDB_txn *lmdb_txn(struct store_view *v)
{
	return (MDB_txn *)v;
}
static inline MDB_val lmdb_val(struct bytes b)
{
	return (MDB_val){b.n, (void *)b.p};
}
static inline struct bytes lmdb_bytes(MDB_val v)
{
	return (struct bytes){v.mv_data, v.mv_size};
}

/* -errno for what LMDB returned. */
int lmdb_errno(int rc);

/* 1 found, 0 not there, -errno. A row with a wrong checksum marks the store damaged: -EBADMSG. */
int lmdb_get_row(struct store_lmdb *s, MDB_txn *txn, enum lmdb_table table, struct bytes key,
                 struct bytes *ret);
int lmdb_get_entry(struct store_lmdb *s, MDB_txn *txn, uint64_t dir_id, struct bytes name,
                   struct record_entry *ret);
/* The id of a directory; 0 found nothing (no names below it). */
int lmdb_get_dir_id(struct store_lmdb *s, MDB_txn *txn, struct bytes path, uint64_t *ret);
/* Directory id and name that an entry's key is made of. */
struct lmdb_place {
	uint64_t dir_id;
	struct bytes name;
};
int lmdb_find_place(struct store_lmdb *s, MDB_txn *txn, struct bytes path, struct lmdb_place *ret);
int lmdb_damage(struct store_lmdb *s, int code);

/* The readers and the writer of struct store. */
bool lmdb_read_get(struct store *s, struct store_view *v, struct bytes path,
                   struct store_record *ret);
void lmdb_read_list(struct store *s, struct store_view *v, struct bytes dir,
                    bool (*fn)(struct bytes name, const struct store_record *r, void *arg),
                    void *arg);
void lmdb_read_aliases(struct store *s, struct store_view *v, uint64_t dev, uint64_t ino,
                       bool (*fn)(struct bytes path, void *arg), void *arg);
void lmdb_read_intended(struct store *s, struct store_view *v,
                        bool (*fn)(struct bytes path, void *arg), void *arg);
/* Every row of every table against its checksum. */
int lmdb_read_verify(struct store_lmdb *s, MDB_txn *txn, struct err *err);

int lmdb_write_commit(struct store *s, const struct store_change *changes, size_t n,
                      const char *const *meta_keys, const struct bytes *meta_values, size_t metas,
                      struct err *err);
int lmdb_write_meta(struct store_lmdb *s, MDB_txn *txn, const char *key, struct bytes value);
int lmdb_write_meta_number(struct store_lmdb *s, MDB_txn *txn, const char *key, uint64_t value);
bool lmdb_read_meta(struct store_lmdb *s, MDB_txn *txn, const char *key, struct buf *ret);
bool lmdb_read_meta_number(struct store_lmdb *s, MDB_txn *txn, const char *key, uint64_t *ret);

#endif
