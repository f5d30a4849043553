#include "worker/supply.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "worker/manifest.h"
#include "worker/verdict.h"

#define FILE_FLAGS        (O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
#define UNASKED_BYTES_MAX (128u << 10)

void supply_init(struct supply *v)
{
	*v = (struct supply){.fd = -1};
	basis_init(&v->basis);
}

/* Ready for the next file. */
static void leave_file(struct supply *v)
{
	mem_closep(&v->fd);
	v->fd = -1;
	v->part = NULL;
	basis_leave(&v->basis);
}

void supply_done(struct supply *v)
{
	mem_closep(&v->fd);
	basis_done(&v->basis);
	hasher_free(v->hasher);
	supply_init(v);
}

int supply_open(const struct cargo *c, const struct part *part, uint64_t *size)
{
	struct stat st;
	struct bytes path = part->kind == PART_FORMER ? part->file : part->path;
	int fd = fd_open_beneath(c->root_fd, path, FILE_FLAGS | O_NOATIME, c->cross_mounts);

	if (fd == -EPERM) /* not its owner */
		fd = fd_open_beneath(c->root_fd, path, FILE_FLAGS, c->cross_mounts);
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

/* It cannot be read any more. An earlier copy may still arrive, or has: then that is for the
 * receiver to say, and what is not here would stay there unknown if it were taken for never sent
 * (I11). */
static void give_up_reading(struct cargo *c, struct part *part, int error, unsigned earlier)
{
	if (earlier)
		part->moved = true;
	else
		supply_blame_errno(c, part, error);
}

/* The receiver has thrown it away. Was it never asked for, then what came before was not its
 * confirmation. */
static void forget_copy(struct part *part)
{
	part->redo = true;
	if (part->flags & WIRE_CLAIMED)
		part->flags |= WIRE_MISTAKEN;
	if (part->copies)
		part->copies--;
	if (part->unasked && !part->asked) {
		part->successes = 0;
		part->success = false;
	}
}

/* As blocks of another file, or whole. */
static void begin_answer(struct supply *v, struct session *s, const struct cargo *c, bool redo)
{
	struct bytes basis;

	if (!redo && basis_find(&v->basis, c, v->part, v->fd, &basis)) {
		if (session_answer_claim(s, basis, v->basis.size, v->left)) {
			v->part->flags |= WIRE_CLAIMED;
			return;
		}
		basis_leave(&v->basis);
	}
	session_answer_begin(s, v->left);
}

void supply_request(struct supply *v, struct session *s, struct cargo *c, struct part *part,
                    const struct session_event *ev)
{
	uint64_t size = 0;
	int fd;

	if (ev->redo)
		forget_copy(part);
	verdict_item(c, part, ev->flags);
	if (part->kind == PART_STAMP) {
		supply_stamp(s, c, part, ev->flags);
		return;
	}
	if ((part->kind != PART_FILE && part->kind != PART_FORMER) || !S_ISREG(part->fp.mode) ||
	    part->settled) {
		session_no_send(s);
		return;
	}
	fd = supply_open(c, part, &size);
	if (fd < 0) {
		give_up_reading(c, part, -fd, part->copies);
		session_no_send(s);
		return;
	}
	v->fd = fd;
	v->part = part;
	v->left = size;
	v->at = 0;
	part->flags |= WIRE_DATA_SENT;
	part->copies++;
	part->hashed = part->lost = false;
	v->hasher = v->hasher ? v->hasher : hasher_new(STRONG_XXH128);
	hasher_begin(v->hasher);
	begin_answer(v, s, c, ev->redo);
}

/* What is listed with its former name is to be linked to that, and would be in vain. */
static bool may_go_unasked(const struct cargo *c, const struct part *part)
{
	return !c->no_ack && !c->xattrs && !c->acls && part->kind == PART_FILE && !part->settled &&
	       S_ISREG(part->fp.mode) && part->fp.nlink == 1 &&
	       part->fp.mtime_ns == part->fp.ctime_ns && part->fp.size <= UNASKED_BYTES_MAX &&
	       !part->success && !(part->flags & WIRE_DATA_SENT) &&
	       (c->batch.items[part->item].flags & WIRE_ITEM_UNASKED) &&
	       !c->with_former[part->item];
}

/* What cannot be read as it was listed is left to its request. */
static void send_unasked(struct supply *v, struct session *s, struct cargo *c, struct part *part,
                         char *buffer)
{
	struct fingerprint now;
	uint64_t size = 0;
	struct stat st;
	autoclose int fd = supply_open(c, part, &size);
	ssize_t n = fd >= 0 && size <= UNASKED_BYTES_MAX ? fd_read_full(fd, buffer, size) : -1;
	struct bytes content = {buffer, (size_t)n};

	if (n < 0 || fstat(fd, &st))
		return;
	fingerprint_of(&now, &st);
	if (fingerprint_moved(&part->fp, &now) ||
	    !session_answer_unasked(s, part->entry, content.n))
		return;
	session_answer_data(s, content);
	session_answer_end(s);
	part->flags |= WIRE_DATA_SENT;
	part->unasked = part->hashed = c->unasked = true;
	part->copies++;
	v->hasher = v->hasher ? v->hasher : hasher_new(STRONG_XXH128);
	hasher_begin(v->hasher);
	hasher_update(v->hasher, content);
	hasher_end(v->hasher, part->digest);
}

void supply_unasked(struct supply *v, struct session *s, struct cargo *c, char *buffer)
{
	while (v->fd < 0 && v->ahead < c->listed_n &&
	       session_output_pending(s) < SUPPLY_SLICE_BYTES) {
		struct part *part = &c->parts[c->listed[v->ahead++]];

		if (may_go_unasked(c, part))
			send_unasked(v, s, c, part, buffer);
	}
}

bool supply_has_unasked(const struct supply *v, const struct cargo *c)
{
	return v->ahead < c->listed_n;
}

static bool under_way(const struct part *part)
{
	return (part->flags & WIRE_DATA_SENT) && !part->settled && !part->success && !part->lost;
}

/* What was sent unasked came too early, maybe: its request counts. */
static bool waits_for_request(struct session *s, struct part *part)
{
	if (!part->unasked || !session_unasked_failed(s, part->entry))
		return false;
	cargo_blame(part, (struct bytes){0}, TROUBLE_NONE);
	part->blocked = false;
	part->lost = true; /* until it is sent again */
	return true;
}

/* Whichever the error was about. */
static bool some_wait_for_requests(struct session *s, struct cargo *c)
{
	bool some = false;

	for (size_t i = 0; session_unasked(s) && i < c->parts_n; i++)
		some = waits_for_request(s, &c->parts[i]) || some;
	return some;
}

void supply_overdue(struct session *s, struct cargo *c)
{
	if (some_wait_for_requests(s, c))
		c->unasked_overdue = true;
}

/* A server that was only slow has confirmed both copies by the end. */
bool supply_was_ignored(const struct cargo *c)
{
	for (size_t i = 0; c->unasked_overdue && c->phase && i < c->parts_n; i++) {
		const struct part *part = &c->parts[i];

		if (part->unasked && part->copies > 1 && part->successes == 1)
			return true;
	}
	return false;
}

void supply_failed(struct session *s, struct cargo *c, const struct blame *named)
{
	if (c->no_ack) /* nothing is counted then */
		return;
	for (size_t i = 0; i < named->n; i++) {
		if (waits_for_request(s, named->parts[i])) {
			c->unasked_refused = true;
		} else if (under_way(named->parts[i])) {
			named->parts[i]->lost = true;
			session_write_off(s, named->parts[i]->entry);
		}
	}
	if (named->n == 0 && some_wait_for_requests(s, c)) {
		c->unasked_refused = true;
		return;
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
		give_up_reading(c, v->part, (int)-n, v->part->copies - 1U);
		session_answer_abort(s);
		leave_file(v);
		return;
	}
	if (n) {
		hasher_update(v->hasher, (struct bytes){buffer, (size_t)n});
		if (v->basis.fd >= 0)
			basis_answer(&v->basis, s, (struct bytes){buffer, (size_t)n}, v->at);
		else
			session_answer_data(s, (struct bytes){buffer, (size_t)n});
	}
	v->left -= (uint64_t)n;
	v->at += (uint64_t)n;
	if (v->left == 0 || (size_t)n < want)
		finish(v, s, c);
}
