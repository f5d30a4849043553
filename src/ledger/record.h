/*
 * record: how beliefs are written into the tables of a store, format 1.
 *
 * Little-endian, fixed sizes, and behind each value a checksum over key and value, so that neither
 * a flipped bit nor a row under a wrong key is believed.
 *
 * - entry: (directory id, name) -> version, intents, id of the directory it is (0: none),
 *   fingerprint
 * - dir: id -> version, id of its parent, name
 * - ino: (dev, ino, directory id, name) -> version: one confirmed name of the inode;
 *   (dev, ino) -> version, fingerprint: what the names with more than one link share; it goes with
 *   the last name of the inode
 * - intent: (directory id, name) -> version: the entry has intents
 * - meta: key -> version, value
 *
 * Numbers in keys are big-endian: rows of one directory or group lie together, in byte order.
 */
#ifndef LEDGER_RECORD_H
#define LEDGER_RECORD_H

#include "base/path.h"
#include "ledger/store.h"

#define RECORD_KEY_MAX   (24 + NAME_BYTES_MAX)
#define RECORD_VALUE_MAX 512 /* of all tables but meta */

struct record_entry {
	struct fingerprint fp;
	uint32_t intents;
	uint64_t dir_id;
};

/* A key or value under construction. */
struct record_buf {
	unsigned char p[RECORD_VALUE_MAX];
	size_t n;
};
static inline struct bytes record_bytes(const struct record_buf *b)
{
	return (struct bytes){(const char *)b->p, b->n};
}

void record_key_dir(struct record_buf *key, uint64_t id);
void record_key_entry(struct record_buf *key, uint64_t dir_id, struct bytes name);
void record_key_group(struct record_buf *key, uint64_t dev, uint64_t ino);
void record_key_alias(struct record_buf *key, uint64_t dev, uint64_t ino, uint64_t dir_id,
                      struct bytes name);
/* Splits an entry's or intent's key, and an alias's; false: too short. */
bool record_split_entry(struct bytes key, uint64_t *dir_id, struct bytes *name);
bool record_split_alias(struct bytes key, uint64_t *dir_id, struct bytes *name);

void record_put_entry(struct record_buf *value, struct bytes key, const struct record_entry *e);
void record_put_dir(struct record_buf *value, struct bytes key, uint64_t parent, struct bytes name);
void record_put_group(struct record_buf *value, struct bytes key, const struct fingerprint *fp);
void record_put_mark(struct record_buf *value, struct bytes key); /* alias and intent rows */
void record_put_meta(struct buf *value, struct bytes key, struct bytes meta);

/* 0, or -EBADMSG: wrong length, version or checksum. Names are borrowed from the value. */
int record_get_entry(struct bytes value, struct bytes key, struct record_entry *ret);
int record_get_dir(struct bytes value, struct bytes key, uint64_t *ret_parent,
                   struct bytes *ret_name);
int record_get_group(struct bytes value, struct bytes key, struct fingerprint *ret);
int record_get_mark(struct bytes value, struct bytes key);
int record_get_meta(struct bytes value, struct bytes key, struct bytes *ret);

#endif
