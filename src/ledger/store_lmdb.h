/*
 * store_lmdb: the store of one job in one LMDB file (tables and encoding: record.h).
 *
 * The caller keeps other processes away from the file (ledger_open() holds a lock): LMDB's own lock
 * file is only used among our threads. Before LMDB maps an existing file, its pages are walked
 * (lmdb_check.h), and then every row's checksum is verified, so that a file that was cut,
 * overwritten or flipped somewhere is refused instead of believed or crashed upon.
 *
 * Each commit is synced. A power cut leaves the last commit or the one before.
 */
#ifndef LEDGER_STORE_LMDB_H
#define LEDGER_STORE_LMDB_H

#include "ledger/store.h"

#define STORE_FORMAT 1

/* Opens or creates `path`. *ret_new: there was none. -EUCLEAN: the file is unreadable (the text
 * says where); -ENOTSUP: a newer format, the text names both; else -errno. */
int store_lmdb_open(struct store **ret, const char *path, bool *ret_new, struct err *err);

#endif
