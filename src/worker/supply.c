#include "worker/supply.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "worker/manifest.h"
#include "worker/verdict.h"

#define FILE_FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK)

void supply_init(struct supply *v)
{
	*v = (struct supply){.fd = -1};
}

/* Ready for the next file. */
static void leave_file(struct supply *v)
{
	mem_closep(&v->fd);
	v->fd = -1;
	v->part = NULL;
}

void supply_done(struct supply *v)
{
	mem_closep(&v->fd);
	hasher_free(v->hasher);
	supply_init(v);
}

int supply_open(const struct cargo *c, const struct part *part, uint64_t *size)
{
	struct stat st;
	int fd = fd_open_beneath(c->root_fd, part->path, FILE_FLAGS | O_NOATIME, c->cross_mounts);

	if (fd == -EPERM) /* not its owner */
		fd = fd_open_beneath(c->root_fd, part->path, FILE_FLAGS, c->cross_mounts);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_dev != part->fp.dev ||
	    (uint64_t)st.st_ino != part->fp.ino) {
		(void)close(fd);
		return -ENOENT;
	}
	*size = (uint64_t)st.st_size;
	return fd;
}

void supply_blame_errno(struct cargo *c, struct part *part, int error)
{
	cargo_blame(part, bytes_of(strerror(error)), TROUBLE_NONE);
	cargo_settle(c, part, manifest_errno_result(error));
}

static void supply_stamp(struct session *s, struct cargo *c, struct part *part, unsigned iflags)
{
	if (!part->serve) {
		/* Serving would heal the evidence. */
		verdict_stamp_request(c, part, iflags);
		session_no_send(s);
		return;
	}
	session_answer_begin(s, 0);
	session_answer_end(s);
	part->flags |= WIRE_DATA_SENT;
}

void supply_request(struct supply *v, struct session *s, struct cargo *c, struct part *part,
                    const struct session_event *ev)
{
	uint64_t size = 0;
	int fd;

	verdict_item(c, part, ev->flags);
	if (ev->redo)
		part->redo = true;
	if (part->kind == PART_STAMP) {
		supply_stamp(s, c, part, ev->flags);
		return;
	}
	if (part->kind != PART_FILE || !S_ISREG(part->fp.mode) || part->settled) {
		session_no_send(s);
		return;
	}
	fd = supply_open(c, part, &size);
	if (fd < 0) {
		supply_blame_errno(c, part, -fd);
		session_no_send(s);
		return;
	}
	v->fd = fd;
	v->part = part;
	v->left = size;
	part->flags |= WIRE_DATA_SENT;
	part->hashed = false;
	v->hasher = v->hasher ? v->hasher : hasher_new(STRONG_XXH128);
	hasher_begin(v->hasher);
	session_answer_begin(s, size);
}

static bool under_way(const struct part *part)
{
	return (part->flags & WIRE_DATA_SENT) && !part->settled && !part->success && !part->lost;
}

void supply_failed(struct session *s, struct cargo *c, const struct blame *named)
{
	if (c->no_ack) /* nothing is counted then */
		return;
	for (size_t i = 0; i < named->n; i++) {
		if (under_way(named->parts[i])) {
			named->parts[i]->lost = true;
			session_write_off(s, named->parts[i]->entry);
		}
	}
	/* It is the number that matters, so any may stand in for the one that is not known, and
	 * fail itself later; but in place of a name of several the receiver would ask for the next.
	 */
	for (size_t i = 0; named->n == 0 && i < c->parts_n; i++) {
		if (under_way(&c->parts[i]) && !c->parts[i].group) {
			session_write_off(s, c->parts[i].entry);
			break;
		}
	}
}

/* The names of one inode have moved together. */
static void mark_moved(struct cargo *c, struct part *part)
{
	part->moved = true;
	for (size_t i = 0; part->group && i < c->parts_n; i++) {
		if (c->parts[i].group == part->group)
			c->parts[i].moved = true;
	}
}

/* The names of one inode have the same content. */
static void keep_digest(struct supply *v, struct cargo *c)
{
	struct part *part = v->part;

	hasher_end(v->hasher, part->digest);
	part->hashed = true;
	for (size_t i = 0; part->group && i < c->parts_n; i++) {
		if (c->parts[i].group != part->group || &c->parts[i] == part)
			continue;
		memcpy(c->parts[i].digest, part->digest, sizeof(part->digest));
		c->parts[i].hashed = true;
	}
}

static void finish(struct supply *v, struct session *s, struct cargo *c)
{
	struct fingerprint now;
	struct stat st;

	if (fstat(v->fd, &st))
		mark_moved(c, v->part);
	else {
		fingerprint_of(&now, &st);
		if (fingerprint_moved(&v->part->fp, &now))
			mark_moved(c, v->part);
	}
	keep_digest(v, c);
	session_answer_end(s);
	leave_file(v);
}

void supply_slice(struct supply *v, struct session *s, struct cargo *c, char *buffer)
{
	size_t want = v->left < SUPPLY_SLICE_BYTES ? (size_t)v->left : SUPPLY_SLICE_BYTES;
	ssize_t n = want ? fd_read_full(v->fd, buffer, want) : 0;

	if (n < 0) {
		supply_blame_errno(c, v->part, (int)-n);
		session_answer_abort(s);
		leave_file(v);
		return;
	}
	if (n) {
		hasher_update(v->hasher, (struct bytes){buffer, (size_t)n});
		session_answer_data(s, (struct bytes){buffer, (size_t)n});
	}
	v->left -= (uint64_t)n;
	if (v->left == 0 || (size_t)n < want)
		finish(v, s, c);
}
