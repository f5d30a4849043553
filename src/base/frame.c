#include "base/frame.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"

enum {
	HEADER_BYTES = 8,
	CHUNK_BYTES = 64 * 1024, /* small frames are gathered up to this */
	READ_BYTES = 64 * 1024,
	KEEP_BYTES = 1024 * 1024 /* an idle reader gives larger buffers back */
};

/* One or more frames; the descriptors belong to the first one. */
struct chunk {
	struct chunk *next;
	struct buf data;
	size_t sent;
	int fds[FRAME_FDS_MAX];
	size_t nfds;
};

struct frame_out {
	int fd;
	struct chunk *first, *last;
	size_t pending;
};

/* Room for one message's descriptors, aligned as the kernel wants it (cmsg(3)). */
union fd_control {
	char room[CMSG_SPACE(sizeof(int) * FRAME_FDS_MAX)];
	struct cmsghdr align;
};

struct frame_out *frame_out_new(int fd)
{
	struct frame_out *o = mem_alloc(sizeof(*o));

	o->fd = fd;
	return o;
}

static void close_all(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		mem_closep(&fds[i]);
}

static void drop_first(struct frame_out *o)
{
	struct chunk *c = o->first;

	o->first = c->next;
	if (!o->first)
		o->last = NULL;
	close_all(c->fds, c->nfds);
	/* A frame may have brought a password, which must not stay in freed memory. */
	explicit_bzero(c->data.p, c->data.n);
	buf_done(&c->data);
	free(c);
}

void frame_out_free(struct frame_out *o)
{
	if (!o)
		return;
	while (o->first)
		drop_first(o);
	free(o);
}

static struct chunk *chunk_for(struct frame_out *o, size_t n, const int *fds, size_t nfds)
{
	struct chunk *c = o->last;

	if (c && nfds == 0 && c->data.n + n <= CHUNK_BYTES)
		return c;
	c = mem_alloc(sizeof(*c));
	buf_init(&c->data, HEADER_BYTES + (n > CHUNK_BYTES ? n : CHUNK_BYTES));
	(void)buf_reserve(&c->data, c->data.max); /* growing would leave copies behind */
	c->nfds = nfds;
	for (size_t i = 0; i < nfds; i++)
		c->fds[i] = fds[i];
	if (o->last)
		o->last->next = c;
	else
		o->first = c;
	o->last = c;
	return c;
}

void frame_out_add(struct frame_out *o, uint16_t type, struct bytes payload, const int *fds,
                   size_t nfds)
{
	check(payload.n <= FRAME_PAYLOAD_MAX);
	check(nfds <= FRAME_FDS_MAX);
	struct chunk *c = chunk_for(o, HEADER_BYTES + payload.n, fds, nfds);

	buf_add_le32(&c->data, (uint32_t)payload.n);
	buf_add_le16(&c->data, type);
	buf_add_le16(&c->data, (uint16_t)nfds);
	buf_add_bytes(&c->data, payload);
	check(!c->data.overflowed);
	o->pending += HEADER_BYTES + payload.n;
}

static ssize_t send_chunk(int fd, const struct chunk *c)
{
	struct iovec part = {c->data.p + c->sent, c->data.n - c->sent};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
	union fd_control control = {0};
	ssize_t n;

	if (c->nfds) {
		msg.msg_control = control.room;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * c->nfds);
		struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int) * c->nfds);
		memcpy(CMSG_DATA(head), c->fds, sizeof(int) * c->nfds);
	}
	do {
		n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int frame_out_flush(struct frame_out *o)
{
	while (o->first) {
		struct chunk *c = o->first;
		ssize_t n = send_chunk(o->fd, c);

		if (n == -EAGAIN)
			return 1;
		if (n < 0)
			return (int)n;
		close_all(c->fds, c->nfds);
		c->nfds = 0;
		c->sent += (size_t)n;
		o->pending -= (size_t)n;
		if (c->sent == c->data.n)
			drop_first(o);
	}
	return 0;
}

size_t frame_out_pending(const struct frame_out *o)
{
	return o->pending;
}

/*
 * Descriptors as they came with one recvmsg(). The kernel ends a read behind the message that
 * carries them (unix(7)), so they belong to a frame that begins before `end`.
 */
struct parcel {
	struct parcel *next;
	uint64_t end; /* stream offset behind the bytes they came with */
	int fds[FRAME_FDS_MAX];
	size_t nfds;
};

struct frame_in {
	int fd;
	struct buf data;
	size_t start;    /* of the next frame in data */
	uint64_t offset; /* of data.p[0] in the stream */
	struct parcel *first, **last;
	const struct frame *lent; /* the caller's frame, while it may hold descriptors */
	int given[FRAME_FDS_MAX]; /* those it was given */
	int failed;               /* 0 or -errno, for good */
};

struct frame_in *frame_in_new(int fd)
{
	struct frame_in *i = mem_alloc(sizeof(*i));

	i->fd = fd;
	i->last = &i->first;
	buf_init(&i->data, HEADER_BYTES + FRAME_PAYLOAD_MAX + READ_BYTES);
	return i;
}

static void drop_parcel(struct frame_in *i)
{
	struct parcel *p = i->first;

	i->first = p->next;
	if (!i->first)
		i->last = &i->first;
	close_all(p->fds, p->nfds);
	free(p);
}

void frame_in_free(struct frame_in *i)
{
	if (!i)
		return;
	while (i->first)
		drop_parcel(i);
	buf_done(&i->data);
	free(i);
}

static void close_unkept(struct frame_in *i, struct frame *f)
{
	if (i->lent == f) {
		for (size_t k = 0; k < FRAME_FDS_MAX; k++) {
			if (i->given[k] >= 0 && f->fds[k] == i->given[k])
				mem_closep(&f->fds[k]);
		}
	}
	i->lent = NULL;
	*f = (struct frame){.fds = {-1, -1, -1, -1}};
}

/* Hands the descriptors of the frame at stream offset `at` over. */
static int take_parcel(struct frame_in *i, uint64_t at, struct frame *f, size_t nfds)
{
	while (i->first && i->first->end <= at)
		drop_parcel(i);
	if (nfds == 0)
		return 0;
	struct parcel *p = i->first;

	if (!p || p->nfds != nfds)
		return -EPROTO;
	for (size_t k = 0; k < FRAME_FDS_MAX; k++)
		f->fds[k] = i->given[k] = k < nfds ? TAKE_FD(p->fds[k]) : -1;
	f->nfds = nfds;
	i->lent = f;
	drop_parcel(i);
	return 0;
}

/* 1: a frame was complete in memory; 0: more bytes are wanted; -EPROTO. */
static int parse_frame(struct frame_in *i, struct frame *f)
{
	if (i->data.n - i->start < HEADER_BYTES)
		return 0;
	struct bytes unread = {i->data.p + i->start, i->data.n - i->start};
	struct cursor c = cursor_of(unread);
	uint32_t length = cursor_le32(&c);
	uint16_t type = cursor_le16(&c), nfds = cursor_le16(&c);

	if (length > FRAME_PAYLOAD_MAX || nfds > FRAME_FDS_MAX)
		return -EPROTO;
	if (cursor_left(&c) < length)
		return 0;
	int r = take_parcel(i, i->offset + i->start, f, nfds);

	if (r < 0)
		return r;
	f->type = type;
	f->payload = cursor_take(&c, length);
	i->start += HEADER_BYTES + length;
	return 1;
}

static int keep_parcel(struct frame_in *i, struct msghdr *msg, uint64_t end)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		struct parcel *p = mem_alloc(sizeof(*p));

		p->end = end;
		p->nfds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		check(p->nfds <= FRAME_FDS_MAX);
		memcpy(p->fds, CMSG_DATA(c), sizeof(int) * p->nfds);
		*i->last = p;
		i->last = &p->next;
	}
	/* More descriptors than any frame has: the kernel has closed the rest. */
	return msg->msg_flags & MSG_CTRUNC ? -EPROTO : 0;
}

static void make_room(struct frame_in *i)
{
	size_t used = i->start;

	buf_drop(&i->data, used);
	i->start = 0;
	i->offset += used;
	if (i->data.n == 0 && i->data.cap > KEEP_BYTES)
		buf_done(&i->data);
}

/* 1: bytes were read; 0: none there now; -errno. */
static int read_more(struct frame_in *i)
{
	union fd_control control;
	ssize_t n;

	make_room(i);
	struct iovec part = {buf_reserve(&i->data, READ_BYTES), READ_BYTES};
	struct msghdr msg = {
	        .msg_iov = &part,
	        .msg_iovlen = 1,
	        .msg_control = control.room,
	        .msg_controllen = sizeof(control.room),
	};

	check(part.iov_base);
	do {
		n = recvmsg(i->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	i->data.n += (size_t)n;
	int r = keep_parcel(i, &msg, i->offset + i->data.n);

	if (r < 0)
		return r;
	return n == 0 ? -ECONNRESET : 1;
}

int frame_in_next(struct frame_in *i, struct frame *ret)
{
	close_unkept(i, ret);
	while (!i->failed) {
		int r = parse_frame(i, ret);

		if (r == 0) {
			r = read_more(i);
			if (r == 0)
				return 0;
			if (r > 0)
				continue;
		}
		if (r > 0)
			return 1;
		i->failed = r;
	}
	return i->failed;
}
