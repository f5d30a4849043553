/*
 * frame: typed, length-prefixed messages with descriptors on a SOCK_STREAM socketpair.
 *
 * Wire: le32 payload length, le16 type, le16 number of descriptors, payload. Descriptors travel by
 * SCM_RIGHTS with the first byte of their frame. Both ends are ours, but the worker's end is held
 * by a process that parses bytes from a peer: the reader checks every length against its maximum
 * and closes descriptors that nobody asked for.
 */
#ifndef BASE_FRAME_H
#define BASE_FRAME_H

#include "base/bytes.h"

#define FRAME_PAYLOAD_MAX (16u << 20)
#define FRAME_FDS_MAX     4

/* Outgoing queue of one end. */
struct frame_out;
struct frame_out *frame_out_new(int fd);  /* borrows fd, which is non-blocking */
void frame_out_free(struct frame_out *o); /* closes queued descriptors */
/* Queues one frame; takes the descriptors (closed after sending). */
void frame_out_add(struct frame_out *o, uint16_t type, struct bytes payload, const int *fds,
                   size_t nfds);
/* Writes what the socket takes: 0 all written, 1 more waits for POLLOUT, -errno. */
int frame_out_flush(struct frame_out *o);
size_t frame_out_pending(const struct frame_out *o); /* bytes */

struct frame {
	uint16_t type;
	struct bytes payload; /* borrowed until the next frame_in_next() */
	int fds[FRAME_FDS_MAX];
	size_t nfds; /* the receiver owns them; set fds[i] = -1 for those kept */
};

struct frame_in;
struct frame_in *frame_in_new(int fd); /* borrows fd, non-blocking */
void frame_in_free(struct frame_in *i);
/* 1: *ret filled; 0: nothing complete now; -ECONNRESET end of file; -EPROTO broken framing; other
 * -errno; errors stay. Call again until it says 0, with the same struct frame: descriptors left in
 * it (not -1) are closed then. */
int frame_in_next(struct frame_in *i, struct frame *ret);

#endif
