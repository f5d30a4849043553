#include "worker/link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

/* Buffers per call: one busy peer does not keep the others waiting. */
#define READS_MAX  4
#define WRITES_MAX 16

/* Without it the kernel holds acknowledgements back, and a peer that waits for one sends nothing
 * for 40 ms; the kernel drops the setting again and again, so it is renewed after each read. */
static void acknowledge_at_once(const struct link *l)
{
	static const int on = 1;

	if (l->tcp)
		(void)setsockopt(l->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

void link_read(struct link *l, int64_t now_ns)
{
	for (int i = 0; i < READS_MAX && l->fd >= 0; i++) {
		uint64_t news = session_news(l->session);
		ssize_t n = recv(l->fd, l->env->input, LINK_READ_BYTES, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0) {
			link_ended(l, n < 0 ? errno : 0, now_ns);
			return;
		}
		acknowledge_at_once(l);
		if (l->state == LINK_ZOMBIE || l->state == LINK_OVER)
			continue;
		(void)session_feed(l->session, (struct bytes){l->env->input, (size_t)n});
		if (session_news(l->session) != news)
			link_progress(l, now_ns);
		else
			link_kept_alive(l, now_ns);
		/* Events are taken before more is fed: their number stays that of one buffer. */
		link_take_events(l, now_ns);
		if ((size_t)n < LINK_READ_BYTES)
			return;
	}
}

void link_write(struct link *l, int64_t now_ns)
{
	for (int i = 0; i < WRITES_MAX && l->fd >= 0 && !l->write_broken; i++) {
		struct bytes out = session_output(l->session);
		size_t allowed = throttle_allowance(&l->env->throttle, l->written);
		ssize_t n;

		if (out.n == 0 || allowed == 0)
			return;
		if (out.n > allowed)
			out.n = allowed;
		n = send(l->fd, out.p, out.n, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n < 0) {
			/* What it said before it closed is worth more than our errno. */
			l->write_broken = true;
			return;
		}
		throttle_spend(&l->env->throttle, (size_t)n);
		l->written += (size_t)n;
		session_sent(l->session, (size_t)n);
		link_wrote(l, now_ns);
	}
}

short link_poll_events(const struct link *l, bool may_write)
{
	short events = 0;

	if (l->fd < 0 || l->state == LINK_OVER)
		return 0;
	events = POLLIN;
	if (l->state != LINK_ZOMBIE && may_write && !l->write_broken &&
	    session_output(l->session).n)
		events |= POLLOUT;
	return events;
}

void link_io(struct link *l, short revents, int64_t now_ns)
{
	if (l->fd >= 0 && (revents & (POLLIN | POLLHUP | POLLERR)))
		link_read(l, now_ns);
	if (l->fd >= 0 && (revents & POLLOUT) && l->state != LINK_ZOMBIE && l->state != LINK_OVER)
		link_write(l, now_ns);
}
