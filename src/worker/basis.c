#include "worker/basis.h"

#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"

#define FILE_FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK)

void basis_init(struct basis *b)
{
	*b = (struct basis){.fd = -1};
}

void basis_done(struct basis *b)
{
	mem_closep(&b->fd);
	free(b->buffer);
	basis_init(b);
}

void basis_leave(struct basis *b)
{
	mem_closep(&b->fd);
	b->fd = -1;
}

/* As it was confirmed, or -1. */
static int open_as_believed(const struct cargo *c, const struct wire_basis *basis)
{
	int fd = fd_open_beneath(c->root_fd, basis->path, FILE_FLAGS, c->cross_mounts);
	struct fingerprint now;
	struct stat st;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0) {
		fingerprint_of(&now, &st);
		if (fingerprint_compare(&basis->fp, &now) == FP_SAME)
			return fd;
	}
	(void)close(fd);
	return -1;
}

/* Its first block, or all of the shorter one. */
static bool begins_alike(struct basis *b, int fd)
{
	char *theirs = b->buffer + SESSION_CLAIM_BLOCK;
	ssize_t n = fd_pread_full(fd, b->buffer, SESSION_CLAIM_BLOCK, 0);

	return n > 0 && fd_pread_full(b->fd, theirs, (size_t)n, 0) == n &&
	       memcmp(b->buffer, theirs, (size_t)n) == 0;
}

static bool try_basis(struct basis *b, const struct cargo *c, const struct wire_basis *basis,
                      int fd)
{
	b->fd = open_as_believed(c, basis);
	if (b->fd < 0)
		return false;
	b->size = basis->fp.size;
	if (!b->buffer)
		b->buffer = mem_alloc(2 * (size_t)SESSION_CLAIM_BLOCK);
	if (begins_alike(b, fd))
		return true;
	basis_leave(b);
	return false;
}

bool basis_find(struct basis *b, const struct cargo *c, const struct part *part, int fd,
                struct bytes *ret_name)
{
	if (part->kind != PART_FILE || part->item == CARGO_NONE || c->with_former[part->item])
		return false;
	for (size_t i = 0; i < c->batch.bases_n; i++) {
		const struct wire_basis *basis = &c->batch.bases[i];

		if (basis->item != part->item ||
		    !bytes_equal(path_parent(basis->path), path_parent(part->path)) ||
		    bytes_equal(basis->path, part->path) || !try_basis(b, c, basis, fd))
			continue;
		*ret_name = path_name(basis->path);
		return true;
	}
	return false;
}

void basis_answer(struct basis *b, struct session *s, struct bytes slice, uint64_t at)
{
	while (slice.n) {
		size_t n = slice.n < SESSION_CLAIM_BLOCK ? slice.n : SESSION_CLAIM_BLOCK;
		struct bytes block = {slice.p, n};
		bool whole = n == SESSION_CLAIM_BLOCK || at + n == b->size;

		if (whole && fd_pread_full(b->fd, b->buffer, n, (off_t)at) == (ssize_t)n &&
		    memcmp(b->buffer, block.p, n) == 0)
			session_answer_copy(s, block, at);
		else
			session_answer_data(s, block);
		slice.p += n;
		slice.n -= n;
		at += n;
	}
}
