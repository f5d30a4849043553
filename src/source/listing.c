#include "source/listing.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "base/mem.h"
#include "base/path.h"

enum { READ_BYTES = 64 * 1024 };

/* What getdents64(2) returns; libc's readdir(3) reads in smaller pieces and hides errors. */
struct dirent_head {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

static void add(struct listing *l, const char *name)
{
	size_t n = strnlen(name, NAME_BYTES_MAX + 1);

	if (n == 0 || n > NAME_BYTES_MAX ||
	    (name[0] == '.' && (n == 1 || (n == 2 && name[1] == '.'))))
		return;
	if (l->n == l->cap) {
		l->cap = l->cap * 2 + 32;
		l->v = mem_realloc(l->v, l->cap, sizeof(*l->v));
	}
	l->v[l->n] = (struct listed){.name = (uint32_t)l->names.n, .len = (uint8_t)n};
	buf_add(&l->names, name, n);
	buf_add_u8(&l->names, 0);
	l->n++;
}

static int by_name(const void *a, const void *b, void *arg)
{
	const struct listing *l = arg;
	const struct listed *x = a, *y = b;

	/* Names hold no NUL, so the terminated order is the byte order. */
	return strcmp(l->names.p + x->name, l->names.p + y->name);
}

int listing_read(struct listing *l, int fd)
{
	autofree char *space = mem_array(READ_BYTES, 1);
	int rc = 0;

	l->n = 0;
	buf_init(&l->names, UINT32_MAX);
	for (;;) {
		long got = syscall(SYS_getdents64, fd, space, (size_t)READ_BYTES);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			rc = -errno;
		if (got <= 0)
			break;
		for (long at = 0; at < got;) {
			uint16_t reclen;

			memcpy(&reclen, space + at + offsetof(struct dirent_head, reclen),
			       sizeof(reclen));
			add(l, space + at + offsetof(struct dirent_head, name));
			at += reclen;
		}
	}
	if (l->names.overflowed)
		rc = -EOVERFLOW;
	if (l->n > 1)
		qsort_r(l->v, l->n, sizeof(*l->v), by_name, l);
	return rc;
}

void listing_done(struct listing *l)
{
	buf_done(&l->names);
	free(l->v);
	*l = (struct listing){0};
}

size_t listing_find(const struct listing *l, struct bytes name)
{
	size_t lo = 0, hi = l->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int d = bytes_compare(listing_name(l, mid), name);

		if (d == 0)
			return mid;
		if (d < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return SIZE_MAX;
}
