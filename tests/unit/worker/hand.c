#include "hand.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/mem.h"

#define SETUP BYTES("\x1f\0\0\0\x81\xfe\3md5\1\2\3\4")

void hand_says(struct hand *h, struct bytes s)
{
	ssize_t n;

	assert_int_equal(send(h->peer, s.p, s.n, 0), s.n);
	link_io(h->l, POLLIN | POLLOUT, h->now_ns);
	do
		link_work(h->l, h->now_ns);
	while (link_has_work(h->l));
	link_io(h->l, POLLOUT, h->now_ns);
	n = recv(h->peer, h->got, sizeof(h->got), MSG_DONTWAIT);
	h->got_n = n > 0 ? (size_t)n : 0;
}

static void connect_peer(struct hand *h, struct rig *r)
{
	struct wire_session m = {.id = ++r->session, .kind = SESSION_PIPE, .class = SESSION_QUICK};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	h->peer = fds[1];
	h->l = link_new(&h->env, &m, fds[0], h->now_ns);
	hand_says(h, SETUP);
	assert_int_equal(h->l->state, LINK_IDLE);
}

void hand_open(struct hand *h, struct rig *r)
{
	*h = (struct hand){.env.setup = r->setup, .now_ns = HAND_SECOND};
	assert_int_equal(
	        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, h->frames), 0);
	throttle_init(&h->env.throttle, 0, h->now_ns);
	h->env.names = names_new();
	h->env.out = frame_out_new(h->frames[0]);
	h->env.slice = mem_alloc(SUPPLY_SLICE_BYTES);
	h->env.input = mem_alloc(LINK_READ_BYTES);
	h->env.repeats = repeats_new(REPEATS_MAX);
	h->reports = frame_in_new(h->frames[1]);
	connect_peer(h, r);
}

static void hang_up(struct hand *h)
{
	link_free(h->l);
	(void)close(h->peer);
}

void hand_open_next(struct hand *h, struct rig *r)
{
	hang_up(h);
	memset(h->results, 0, sizeof(h->results));
	connect_peer(h, r);
}

void hand_carry(struct hand *h, struct rig *r, const struct wire_item *items, size_t n)
{
	struct wire_batch batch = {++r->batch, r->session, (struct wire_item *)items, n,
	                           r->racy_window_ns};
	struct buf b;

	assert_true(n <= ARRAY_LEN(h->results));
	buf_init(&b, FRAME_PAYLOAD_MAX);
	wire_put_batch(&b, &batch);
	link_carry(h->l, cargo_new(buf_bytes(&b), fcntl(r->src_fd, F_DUPFD_CLOEXEC, 3)), h->now_ns);
	buf_done(&b);
	hand_says(h, HAND_KEEPALIVE);
}

static void take_report(struct hand *h, struct bytes payload)
{
	struct wire_report m;

	assert_int_equal(wire_get_report(payload, &m), 0);
	for (size_t i = 0; i < m.count; i++) {
		if (m.items[i].index == UINT32_MAX)
			continue;
		assert_true(m.items[i].index < ARRAY_LEN(h->results));
		assert_int_equal(h->results[m.items[i].index], 0);
		h->results[m.items[i].index] = m.items[i].result;
		h->flags[m.items[i].index] = m.items[i].flags;
	}
	wire_free_report(&m);
}

void hand_reports(struct hand *h)
{
	struct frame f;

	if (h->l->cargo)
		cargo_report(h->l->cargo, h->env.out);
	assert_int_equal(frame_out_flush(h->env.out), 0);
	while (frame_in_next(h->reports, &f) > 0) {
		if (f.type == WIRE_REPORT)
			take_report(h, f.payload);
	}
}

void hand_drop(struct hand *h)
{
	hang_up(h);
	frame_in_free(h->reports);
	frame_out_free(h->env.out);
	names_free(h->env.names);
	repeats_free(h->env.repeats);
	free(h->env.slice);
	free(h->env.input);
	(void)close(h->frames[0]);
	(void)close(h->frames[1]);
}
