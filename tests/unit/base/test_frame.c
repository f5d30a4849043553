#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/frame.h"
#include "base/mem.h"

struct pair {
	int ends[2];
	struct frame_out *out;
	struct frame_in *in;
};

static int make_pair(void **state)
{
	struct pair *p = mem_alloc(sizeof(*p));

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, p->ends) < 0)
		return -1;
	p->out = frame_out_new(p->ends[0]);
	p->in = frame_in_new(p->ends[1]);
	*state = p;
	return 0;
}

static int drop_pair(void **state)
{
	struct pair *p = *state;

	frame_out_free(p->out);
	frame_in_free(p->in);
	mem_closep(&p->ends[0]);
	mem_closep(&p->ends[1]);
	free(p);
	return 0;
}

static size_t open_descriptors(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int numbered_pipe(unsigned char number)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(write(ends[1], &number, 1), 1);
	(void)close(ends[1]);
	return ends[0];
}

static int number_in(int fd)
{
	unsigned char number;

	assert_int_equal(read(fd, &number, 1), 1);
	return number;
}

static void assert_frame(struct frame_in *in, struct frame *f, uint16_t type, struct bytes payload)
{
	assert_int_equal(frame_in_next(in, f), 1);
	assert_int_equal(f->type, type);
	assert_true(bytes_equal(f->payload, payload));
}

static void frames_in_one_write_all_arrive(void **state)
{
	struct pair *p = *state;
	struct frame f;

	frame_out_add(p->out, 1, BYTES("one"), NULL, 0);
	frame_out_add(p->out, 2, BYTES(""), NULL, 0);
	frame_out_add(p->out, 65535, BYTES("a\0b"), NULL, 0);
	assert_int_equal(frame_out_pending(p->out), 3 * 8 + 6);
	assert_int_equal(frame_out_flush(p->out), 0);
	assert_int_equal(frame_out_pending(p->out), 0);
	assert_frame(p->in, &f, 1, BYTES("one"));
	assert_frame(p->in, &f, 2, BYTES(""));
	assert_frame(p->in, &f, 65535, BYTES("a\0b"));
	assert_int_equal(frame_in_next(p->in, &f), 0);
}

static void frames_split_at_every_byte_arrive_whole(void **state)
{
	static const char wire[] = "\x03\0\0\0\x01\0\0\0abc"
	                           "\0\0\0\0\x02\0\0\0"
	                           "\x01\0\0\0\x03\0\0\0z";
	const size_t n = sizeof(wire) - 1;
	struct pair *p = *state;
	struct frame f;

	for (size_t cut = 0; cut <= n; cut++) {
		unsigned types = 0;

		for (int part = 0; part < 2; part++) {
			size_t from = part ? cut : 0, to = part ? n : cut;

			assert_int_equal(fd_write_full(p->ends[0], wire + from, to - from), 0);
			while (frame_in_next(p->in, &f) == 1) {
				types = types * 10 + f.type;
				if (f.type == 1)
					assert_true(bytes_equal(f.payload, BYTES("abc")));
				if (f.type == 3)
					assert_true(bytes_equal(f.payload, BYTES("z")));
			}
		}
		assert_int_equal(types, 123);
	}
}

static void frames_byte_by_byte_arrive_whole(void **state)
{
	static const char wire[] = "\x03\0\0\0\x01\0\0\0abc";
	struct pair *p = *state;
	struct frame f;

	for (size_t i = 0; i < sizeof(wire) - 2; i++) {
		assert_int_equal(write(p->ends[0], wire + i, 1), 1);
		assert_int_equal(frame_in_next(p->in, &f), 0);
	}
	assert_int_equal(write(p->ends[0], "c", 1), 1);
	assert_frame(p->in, &f, 1, BYTES("abc"));
}

static void large_frame_flushed_in_parts_arrives(void **state)
{
	struct pair *p = *state;
	size_t n = FRAME_PAYLOAD_MAX;
	autofree char *payload = mem_alloc(n);
	struct frame f;
	int r, waits = 0;

	for (size_t i = 0; i < n; i++)
		payload[i] = (char)(i * 2654435761u >> 24);
	frame_out_add(p->out, 7, (struct bytes){payload, n}, NULL, 0);
	frame_out_add(p->out, 8, BYTES("behind"), NULL, 0);
	do {
		r = frame_out_flush(p->out);
		assert_true(r >= 0);
		waits += r;
	} while (frame_in_next(p->in, &f) == 0);
	assert_true(waits > 1);
	assert_int_equal(f.type, 7);
	assert_true(bytes_equal(f.payload, (struct bytes){payload, n}));
	assert_int_equal(frame_out_flush(p->out), 0);
	assert_frame(p->in, &f, 8, BYTES("behind"));
	assert_int_equal(frame_in_next(p->in, &f), 0);
}

static void descriptors_travel_with_their_frame(void **state)
{
	struct pair *p = *state;
	struct frame f;
	int two[] = {numbered_pipe(11), numbered_pipe(12)}, one[] = {numbered_pipe(21)};
	size_t before = open_descriptors();

	frame_out_add(p->out, 1, BYTES("plain"), NULL, 0);
	frame_out_add(p->out, 2, BYTES("two"), two, 2);
	frame_out_add(p->out, 3, BYTES("plain"), NULL, 0);
	frame_out_add(p->out, 4, BYTES("one"), one, 1);
	assert_int_equal(frame_out_flush(p->out), 0);
	assert_int_equal(open_descriptors(), before - 3);
	assert_frame(p->in, &f, 1, BYTES("plain"));
	assert_int_equal(f.nfds, 0);
	assert_frame(p->in, &f, 2, BYTES("two"));
	assert_int_equal(f.nfds, 2);
	assert_int_equal(number_in(f.fds[0]), 11);
	assert_int_equal(number_in(f.fds[1]), 12);
	assert_int_equal(fcntl(f.fds[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_frame(p->in, &f, 3, BYTES("plain"));
	assert_int_equal(f.nfds, 0);
	assert_frame(p->in, &f, 4, BYTES("one"));
	assert_int_equal(f.nfds, 1);
	autoclose int kept = TAKE_FD(f.fds[0]);
	assert_int_equal(frame_in_next(p->in, &f), 0);
	assert_int_equal(number_in(kept), 21);
	assert_int_equal(open_descriptors(), before - 2);
}

static void descriptors_behind_full_socket_still_arrive(void **state)
{
	struct pair *p = *state;
	size_t n = 1 << 20, frames = 0;
	autofree char *payload = mem_alloc(n);
	struct frame f;
	int fd = numbered_pipe(5), r;

	frame_out_add(p->out, 1, (struct bytes){payload, n}, NULL, 0);
	frame_out_add(p->out, 2, (struct bytes){payload, n}, &fd, 1);
	frame_out_add(p->out, 3, BYTES(""), NULL, 0);
	while (frames < 3) {
		assert_true(frame_out_flush(p->out) >= 0);
		while ((r = frame_in_next(p->in, &f)) == 1) {
			frames++;
			assert_int_equal(f.type, frames);
			assert_int_equal(f.nfds, f.type == 2);
			if (f.type == 2)
				assert_int_equal(number_in(f.fds[0]), 5);
		}
		assert_int_equal(r, 0);
	}
}

static void send_raw(int fd, struct bytes wire, const int *fds, size_t nfds)
{
	struct iovec part = {(void *)wire.p, wire.n};
	_Alignas(struct cmsghdr) char room[CMSG_SPACE(sizeof(int) * 8)] = {0};
	struct msghdr msg = {.msg_iov = &part,
	                     .msg_iovlen = 1,
	                     .msg_control = room,
	                     .msg_controllen = CMSG_SPACE(sizeof(int) * nfds)};
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
	memcpy(CMSG_DATA(head), fds, sizeof(int) * nfds);
	assert_int_equal(sendmsg(fd, &msg, 0), wire.n);
}

static void descriptors_not_announced_are_closed(void **state)
{
	struct pair *p = *state;
	struct frame f;
	autoclose int fd = numbered_pipe(1);
	size_t before = open_descriptors();

	send_raw(p->ends[0], BYTES("\0\0\0\0\x01\0\0\0"), &fd, 1);
	assert_frame(p->in, &f, 1, BYTES(""));
	assert_int_equal(f.nfds, 0);
	assert_int_equal(fd_write_full(p->ends[0], "\0\0\0\0\x02\0\0\0", 8), 0);
	assert_frame(p->in, &f, 2, BYTES(""));
	assert_int_equal(open_descriptors(), before);
}

static void descriptors_of_earlier_frame_not_taken_by_later_one(void **state)
{
	struct pair *p = *state;
	struct frame f;
	autoclose int fd = numbered_pipe(1);
	size_t before = open_descriptors();

	send_raw(p->ends[0], BYTES("\0\0\0\0\x01\0\0\0"), &fd, 1);
	assert_int_equal(fd_write_full(p->ends[0], "\0\0\0\0\x02\0\x01\0", 8), 0);
	assert_frame(p->in, &f, 1, BYTES(""));
	assert_int_equal(frame_in_next(p->in, &f), -EPROTO);
	assert_int_equal(frame_in_next(p->in, &f), -EPROTO);
	assert_int_equal(open_descriptors(), before);
}

static void descriptors_too_many_refused_and_closed(void **state)
{
	struct pair *p = *state;
	struct frame f;
	int fds[8];

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = numbered_pipe(1);
	size_t before = open_descriptors();
	send_raw(p->ends[0], BYTES("\0\0\0\0\x01\0\x04\0"), fds, ARRAY_LEN(fds));
	assert_int_equal(frame_in_next(p->in, &f), -EPROTO);
	frame_in_free(p->in);
	p->in = NULL;
	assert_int_equal(open_descriptors(), before);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		mem_closep(&fds[i]);
}

static void frame_out_free_closes_queued_descriptors(void **state)
{
	struct pair *p = *state;
	size_t before = open_descriptors();
	int fd = numbered_pipe(1);

	frame_out_add(p->out, 1, BYTES(""), &fd, 1);
	frame_out_free(p->out);
	p->out = NULL;
	assert_int_equal(open_descriptors(), before);
}

static void frame_too_long_or_too_many_descriptors_eproto(void **state)
{
	struct pair *p = *state;
	struct frame f;

	assert_int_equal(fd_write_full(p->ends[0], "\x01\0\0\x01\x01\0\0\0", 8), 0);
	assert_int_equal(frame_in_next(p->in, &f), -EPROTO);
	frame_in_free(p->in);
	p->in = frame_in_new(p->ends[1]);
	assert_int_equal(fd_write_full(p->ends[0], "\0\0\0\0\x01\0\x05\0", 8), 0);
	assert_int_equal(frame_in_next(p->in, &f), -EPROTO);
}

static void end_of_file_after_last_frame_reset(void **state)
{
	struct pair *p = *state;
	struct frame f;

	assert_int_equal(fd_write_full(p->ends[0], "\x01\0\0\0\x01\0\0\0x\x01\0", 11), 0);
	mem_closep(&p->ends[0]);
	p->ends[0] = -1;
	assert_frame(p->in, &f, 1, BYTES("x"));
	assert_int_equal(frame_in_next(p->in, &f), -ECONNRESET);
	assert_int_equal(frame_in_next(p->in, &f), -ECONNRESET);
}

static void frame_out_flush_reader_gone_epipe(void **state)
{
	struct pair *p = *state;

	mem_closep(&p->ends[1]);
	p->ends[1] = -1;
	frame_out_add(p->out, 1, BYTES("x"), NULL, 0);
	assert_int_equal(frame_out_flush(p->out), -EPIPE);
}

#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, make_pair, drop_pair)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        WITH_PAIR(frames_in_one_write_all_arrive),
	        WITH_PAIR(frames_split_at_every_byte_arrive_whole),
	        WITH_PAIR(frames_byte_by_byte_arrive_whole),
	        WITH_PAIR(large_frame_flushed_in_parts_arrives),
	        WITH_PAIR(descriptors_travel_with_their_frame),
	        WITH_PAIR(descriptors_behind_full_socket_still_arrive),
	        WITH_PAIR(descriptors_not_announced_are_closed),
	        WITH_PAIR(descriptors_of_earlier_frame_not_taken_by_later_one),
	        WITH_PAIR(descriptors_too_many_refused_and_closed),
	        WITH_PAIR(frame_out_free_closes_queued_descriptors),
	        WITH_PAIR(frame_too_long_or_too_many_descriptors_eproto),
	        WITH_PAIR(end_of_file_after_last_frame_reset),
	        WITH_PAIR(frame_out_flush_reader_gone_epipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
