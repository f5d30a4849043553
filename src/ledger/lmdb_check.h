/*
 * lmdb_check: whether an LMDB data file can be handed to LMDB, which trusts every page number and
 * offset that it reads.
 *
 * Reads the file by itself (format 1 of LMDB 0.9, 64-bit little-endian: lmdb.h and mdb.c, structs
 * MDB_page, MDB_meta, MDB_db, MDB_node): both meta pages, then every page that can be reached from
 * the newer one: numbers, kinds, bounds of all nodes, keys in order, no page used twice, free pages
 * not in use, counts as recorded. Cost: one pass over the file.
 */
#ifndef LEDGER_LMDB_CHECK_H
#define LEDGER_LMDB_CHECK_H

#include "base/bytes.h"
#include "base/err.h"

/* 0; -EUCLEAN: unusable, the text says why; else -errno of opening it. */
int lmdb_check_file(const char *path, struct err *err);
/* The same over a file's content; `what` names it in messages. Never reads outside it. */
int lmdb_check_bytes(struct bytes file, const char *what, struct err *err);

#endif
