#include "ledger/record.h"
#include <errno.h>
#include <endian.h>
#include <xxhash.h>
#include "base/mem.h"

#define RECORD_VERSION 1
#define SUM_BYTES      4

static void add(struct record_buf *b, const void *p, size_t n)
{
	check(n <= sizeof(b->p) - b->n);
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
}

static void add_u8(struct record_buf *b, uint8_t v)
{
	add(b, &v, 1);
}

static void add_le32(struct record_buf *b, uint32_t v)
{
	v = htole32(v);
	add(b, &v, sizeof(v));
}

static void add_le64(struct record_buf *b, uint64_t v)
{
	v = htole64(v);
	add(b, &v, sizeof(v));
}

static void add_be64(struct record_buf *b, uint64_t v)
{
	v = htobe64(v);
	add(b, &v, sizeof(v));
}

static void add_fingerprint(struct record_buf *b, const struct fingerprint *fp)
{
	add_le32(b, fp->mode);
	add_le32(b, fp->uid);
	add_le32(b, fp->gid);
	add_le32(b, fp->nlink);
	add_le64(b, fp->size);
	add_le64(b, (uint64_t)fp->mtime_ns);
	add_le64(b, (uint64_t)fp->ctime_ns);
	add_le64(b, fp->dev);
	add_le64(b, fp->ino);
}

static void take_fingerprint(struct cursor *c, struct fingerprint *ret)
{
	ret->mode = cursor_le32(c);
	ret->uid = cursor_le32(c);
	ret->gid = cursor_le32(c);
	ret->nlink = cursor_le32(c);
	ret->size = cursor_le64(c);
	ret->mtime_ns = (int64_t)cursor_le64(c);
	ret->ctime_ns = (int64_t)cursor_le64(c);
	ret->dev = cursor_le64(c);
	ret->ino = cursor_le64(c);
}

static uint32_t sum_of(struct bytes key, struct bytes value)
{
	return XXH32(value.p, value.n, XXH32(key.p, key.n, RECORD_VERSION));
}

static void begin(struct record_buf *value)
{
	value->n = 0;
	add_u8(value, RECORD_VERSION);
}

static void seal(struct record_buf *value, struct bytes key)
{
	add_le32(value, sum_of(key, record_bytes(value)));
}

/* Checks version and checksum; *ret: what lies between them. */
static int unseal(struct bytes value, struct bytes key, struct cursor *ret)
{
	struct cursor sum;

	if (value.n < 1 + SUM_BYTES)
		return -EBADMSG;
	sum = cursor_of((struct bytes){value.p + value.n - SUM_BYTES, SUM_BYTES});
	value.n -= SUM_BYTES;
	if (cursor_le32(&sum) != sum_of(key, value))
		return -EBADMSG;
	*ret = cursor_of(value);
	return cursor_u8(ret) == RECORD_VERSION ? 0 : -EBADMSG;
}

static int ended(const struct cursor *c)
{
	return c->bad || cursor_left(c) ? -EBADMSG : 0;
}

void record_key_dir(struct record_buf *key, uint64_t id)
{
	key->n = 0;
	add_be64(key, id);
}

void record_key_entry(struct record_buf *key, uint64_t dir_id, struct bytes name)
{
	record_key_dir(key, dir_id);
	add(key, name.p, name.n);
}

void record_key_group(struct record_buf *key, uint64_t dev, uint64_t ino)
{
	key->n = 0;
	add_be64(key, dev);
	add_be64(key, ino);
}

void record_key_alias(struct record_buf *key, uint64_t dev, uint64_t ino, uint64_t dir_id,
                      struct bytes name)
{
	record_key_group(key, dev, ino);
	add_be64(key, dir_id);
	add(key, name.p, name.n);
}

static bool split(struct bytes key, size_t skip, uint64_t *dir_id, struct bytes *name)
{
	uint64_t id;

	if (key.n < skip + sizeof(id))
		return false;
	memcpy(&id, key.p + skip, sizeof(id));
	*dir_id = be64toh(id);
	skip += sizeof(id);
	*name = (struct bytes){key.p + skip, key.n - skip};
	return true;
}

bool record_split_entry(struct bytes key, uint64_t *dir_id, struct bytes *name)
{
	return split(key, 0, dir_id, name);
}

bool record_split_alias(struct bytes key, uint64_t *dir_id, struct bytes *name)
{
	return split(key, 16, dir_id, name);
}

void record_put_entry(struct record_buf *value, struct bytes key, const struct record_entry *e)
{
	begin(value);
	add_le32(value, e->intents);
	add_le64(value, e->dir_id);
	add_fingerprint(value, &e->fp);
	seal(value, key);
}

void record_put_dir(struct record_buf *value, struct bytes key, uint64_t parent, struct bytes name)
{
	begin(value);
	add_le64(value, parent);
	add(value, name.p, name.n);
	seal(value, key);
}

void record_put_group(struct record_buf *value, struct bytes key, const struct fingerprint *fp)
{
	begin(value);
	add_fingerprint(value, fp);
	seal(value, key);
}

void record_put_mark(struct record_buf *value, struct bytes key)
{
	begin(value);
	seal(value, key);
}

void record_put_meta(struct buf *value, struct bytes key, struct bytes meta)
{
	buf_clear(value);
	buf_add_u8(value, RECORD_VERSION);
	buf_add_bytes(value, meta);
	buf_add_le32(value, sum_of(key, buf_bytes(value)));
}

int record_get_entry(struct bytes value, struct bytes key, struct record_entry *ret)
{
	struct cursor c;
	int r = unseal(value, key, &c);

	if (r < 0)
		return r;
	ret->intents = cursor_le32(&c);
	ret->dir_id = cursor_le64(&c);
	take_fingerprint(&c, &ret->fp);
	return ended(&c);
}

int record_get_dir(struct bytes value, struct bytes key, uint64_t *ret_parent,
                   struct bytes *ret_name)
{
	struct cursor c;
	int r = unseal(value, key, &c);

	if (r < 0)
		return r;
	*ret_parent = cursor_le64(&c);
	*ret_name = cursor_take(&c, cursor_left(&c));
	return ended(&c);
}

int record_get_group(struct bytes value, struct bytes key, struct fingerprint *ret)
{
	struct cursor c;
	int r = unseal(value, key, &c);

	if (r < 0)
		return r;
	take_fingerprint(&c, ret);
	return ended(&c);
}

int record_get_mark(struct bytes value, struct bytes key)
{
	struct cursor c;
	int r = unseal(value, key, &c);

	return r < 0 ? r : ended(&c);
}

int record_get_meta(struct bytes value, struct bytes key, struct bytes *ret)
{
	struct cursor c;
	int r = unseal(value, key, &c);

	if (r < 0)
		return r;
	*ret = cursor_take(&c, cursor_left(&c));
	return ended(&c);
}
