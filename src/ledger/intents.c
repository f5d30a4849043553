#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "ledger/store.h"

/*
 * A file is a row of records: le16 length, le32 checksum, path. Appends are not synced unless
 * somebody asks: they survive the end of the process, which is what they are for (I11). What does
 * not check out is skipped, and the search for the next record goes on byte by byte.
 */
#define FORMAT          1 /* seeds the checksums */
#define RECORD_HEAD     6
#define FILE_BYTES_MAX  ((size_t)256 << 20)
#define BATCH_BYTES_MAX ((size_t)64 << 20)

struct intents {
	struct intent_log base;
	int fd[2];
	atomic_bool unsynced[2];
	size_t size[2];
	int current;
	struct buf out;
};

static struct intents *intents_of(struct intent_log *log)
{
	return (struct intents *)log;
}

static uint32_t sum_of(struct bytes path)
{
	return XXH32(path.p, path.n, FORMAT << 16 | (uint32_t)path.n);
}

/* The record at the front of `left`: its length in all, or 0. */
static size_t parse_record(struct bytes left, struct bytes *ret)
{
	struct cursor c = cursor_of(left);
	size_t n = cursor_le16(&c);
	uint32_t sum = cursor_le32(&c);
	struct bytes path;

	if (c.bad || n > PATH_BYTES_MAX)
		return 0;
	path = cursor_take(&c, n);
	if (c.bad || sum_of(path) != sum || !path_valid(path))
		return 0;
	*ret = path;
	return RECORD_HEAD + n;
}

/* Calls fn (may be NULL) for each record; returns where the last good one ends. */
static size_t each_record(struct bytes text, bool (*fn)(struct bytes path, void *arg), void *arg)
{
	size_t at = 0, end = 0;

	while (at < text.n) {
		struct bytes left = {text.p + at, text.n - at}, path;
		size_t used = parse_record(left, &path);

		if (!used) {
			at++;
			continue;
		}
		at += used;
		end = at;
		if (fn && !fn(path, arg))
			break;
	}
	return end;
}

static int read_whole(int fd, size_t size, struct buf *ret)
{
	char *p;
	ssize_t n;

	buf_clear(ret);
	if (!size)
		return 0;
	p = buf_reserve(ret, size);
	if (!p)
		return -EFBIG;
	n = fd_pread_full(fd, p, size, 0);
	if (n < 0)
		return (int)n;
	ret->n = (size_t)n;
	return 0;
}

static void log_each(struct intent_log *log, bool (*fn)(struct bytes path, void *arg), void *arg)
{
	struct intents *in = intents_of(log);
	struct buf text;

	buf_init(&text, FILE_BYTES_MAX);
	for (int i = 0; i < 2; i++) {
		if (read_whole(in->fd[i], in->size[i], &text) == 0)
			(void)each_record(buf_bytes(&text), fn, arg);
	}
	buf_done(&text);
}

static int log_append(struct intent_log *log, const struct bytes *paths, size_t n)
{
	struct intents *in = intents_of(log);
	int fd = in->fd[in->current], r;
	size_t *size = &in->size[in->current];

	buf_clear(&in->out);
	for (size_t i = 0; i < n; i++) {
		buf_add_le16(&in->out, (uint16_t)paths[i].n);
		buf_add_le32(&in->out, sum_of(paths[i]));
		buf_add_bytes(&in->out, paths[i]);
	}
	if (in->out.overflowed || in->out.n > FILE_BYTES_MAX - *size)
		return -EFBIG;
	r = fd_write_full(fd, in->out.p, in->out.n);
	if (r < 0) {
		/* What is left of it would be skipped, but a full disk needs the room. */
		int cut = ftruncate(fd, (off_t)*size);

		(void)cut;
		return r;
	}
	*size += in->out.n;
	atomic_store(&in->unsynced[in->current], true);
	return 0;
}

static int log_sync(struct intent_log *log)
{
	struct intents *in = intents_of(log);
	int r = 0;

	for (int i = 0; i < 2; i++) {
		if (atomic_exchange(&in->unsynced[i], false) && fdatasync(in->fd[i]) < 0) {
			r = -errno;
			atomic_store(&in->unsynced[i], true);
		}
	}
	return r;
}

static int log_switch_over(struct intent_log *log)
{
	struct intents *in = intents_of(log);

	if (!in->size[!in->current])
		in->current = !in->current;
	return 0;
}

static int log_discard_old(struct intent_log *log)
{
	struct intents *in = intents_of(log);
	int old = !in->current;

	if (!in->size[old])
		return 0;
	if (ftruncate(in->fd[old], 0) < 0)
		return -errno;
	in->size[old] = 0;
	return 0;
}

static void log_close(struct intent_log *log)
{
	struct intents *in = intents_of(log);

	for (int i = 0; i < 2; i++) {
		if (in->fd[i] >= 0)
			(void)close(in->fd[i]); /* nothing is buffered */
	}
	buf_done(&in->out);
	free(in);
}

/* Cuts off what is not a whole record, so that the next append follows a good one. */
static int open_one(struct intents *in, int i, const char *dir, bool *found, struct err *err)
{
	autofree char *path = mem_printf("%s/intents.%d", dir, i);
	struct stat st;
	struct buf text;
	int r;

	in->fd[i] = open(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (in->fd[i] < 0 || fstat(in->fd[i], &st) < 0)
		return err_errno(err, errno, "%s", path);
	*found = *found || st.st_size > 0;
	if ((uint64_t)st.st_size > FILE_BYTES_MAX)
		st.st_size = FILE_BYTES_MAX;
	buf_init(&text, FILE_BYTES_MAX);
	r = read_whole(in->fd[i], (size_t)st.st_size, &text);
	in->size[i] = r < 0 ? 0 : each_record(buf_bytes(&text), NULL, NULL);
	buf_done(&text);
	if (r < 0)
		return err_errno(err, -r, "%s", path);
	if (ftruncate(in->fd[i], (off_t)in->size[i]) < 0)
		return err_errno(err, errno, "%s", path);
	return 0;
}

int intents_open(struct intent_log **ret, const char *dir, bool *ret_found, struct err *err)
{
	struct intents *in = mem_alloc(sizeof(*in));
	int r;

	in->base = (struct intent_log){
	        .append = log_append,
	        .switch_over = log_switch_over,
	        .discard_old = log_discard_old,
	        .each = log_each,
	        .sync = log_sync,
	        .close = log_close,
	};
	in->fd[0] = in->fd[1] = -1;
	buf_init(&in->out, BATCH_BYTES_MAX);
	*ret_found = false;
	r = open_one(in, 0, dir, ret_found, err);
	if (r == 0)
		r = open_one(in, 1, dir, ret_found, err);
	if (r < 0) {
		log_close(&in->base);
		return r;
	}
	*ret = &in->base;
	return 0;
}
