/*
 * The reader thread: empties the kernel's queue into the backlog, numbers the drains, and notices
 * changes of the mount table. It never touches the tree and never waits for the look thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>

#include "base/fd.h"
#include "base/mem.h"
#include "source/inotify.h"
#include "source/inside.h"

enum { READ_BYTES = 256 * 1024 };

/* Each drain wakes two more threads. While somebody writes much a drain after each event would cost
 * more than all the rest, so after a few in a row they keep this distance. */
#define DRAIN_NS    2000000
#define DRAINS_FREE 5

/* Under the lock. Returns the number of events. */
static size_t take_events(struct source *s, struct bytes chunk, uint64_t drain, int64_t now_ns)
{
	struct cursor events = cursor_of(chunk);
	struct inotify_change c;
	size_t n = 0;

	for (; inotify_parse(&events, &c); n++) {
		if (c.overflow) {
			backlog_put_tree(s->filling, drain, now_ns);
			s->overflows++;
		} else if (c.unwatched) {
			backlog_put_unwatched(s->filling, c.wd, drain, now_ns);
		} else if (c.bits) {
			backlog_put(s->filling, c.wd, c.name, c.bits, drain, now_ns);
		}
		s->check_root |= c.check_root;
	}
	return n;
}

/* Everything that was queued when it began has been read when it returns: to EAGAIN, or as many
 * events as the queue can hold, so that busy writers cannot keep a drain from ending. */
static void drain_queue(struct source *s, char *space, uint64_t drain)
{
	size_t n = 0;

	while (s->queue >= 0 && n <= s->queue_limit && !atomic_load(&s->stall)) {
		ssize_t got = read(s->queue, space, READ_BYTES);
		int64_t now_ns = clock_boot_ns();

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		(void)pthread_mutex_lock(&s->lock);
		n += take_events(s, (struct bytes){space, (size_t)got}, drain, now_ns);
		(void)pthread_mutex_unlock(&s->lock);
	}
}

static void post_barriers(struct source *s, const uint64_t *tokens, size_t n, uint64_t drain)
{
	for (size_t i = 0; i < n; i++) {
		struct inner *in = inner_new(INNER_BARRIER);

		in->token = tokens[i];
		in->drain = drain;
		mailbox_post(s->in, &in->letter);
	}
}

/* One drain. Requests taken before it began are answered by it. Returns false to stop. */
static bool serve(struct source *s, char *space)
{
	uint64_t *tokens;
	size_t ntokens;
	uint64_t drain;
	bool stop, announce, wanted;

	(void)pthread_mutex_lock(&s->lock);
	tokens = TAKE(s->tokens);
	ntokens = s->ntokens;
	s->ntokens = 0;
	wanted = s->want_drain;
	s->want_drain = false;
	drain = s->drain + 1;
	stop = s->stop_reader;
	(void)pthread_mutex_unlock(&s->lock);
	if (!stop)
		drain_queue(s, space, drain);
	(void)pthread_mutex_lock(&s->lock);
	s->drain = drain;
	announce = (wanted || s->check_root || !backlog_empty(s->filling)) && !s->announced;
	s->announced |= announce;
	(void)pthread_mutex_unlock(&s->lock);
	atomic_store(&s->pressing, true);
	if (announce && !stop)
		mailbox_post(s->in, &inner_new(INNER_DRAINED)->letter);
	post_barriers(s, tokens, stop ? 0 : ntokens, drain);
	free(tokens);
	return !stop;
}

/* Until there is something to do; *next_ns is when the next drain would be due if they had kept
 * their distance all the time. */
static void wait_for_work(struct source *s, int mounts, int64_t *next_ns)
{
	int64_t now_ns = clock_boot_ns(), early_ns = *next_ns - DRAINS_FREE * DRAIN_NS - now_ns;
	struct timespec pause = {.tv_nsec = early_ns > 0 ? early_ns : 0};
	bool paused = early_ns > 0;
	struct pollfd p[] = {
	        {.fd = s->wake, .events = POLLIN},
	        {.fd = paused || atomic_load(&s->stall) ? -1 : s->queue, .events = POLLIN},
	        {.fd = mounts, .events = POLLPRI},
	};
	uint64_t ignored;

	if (ppoll(p, ARRAY_LEN(p), paused ? &pause : NULL, NULL) < 0)
		return;
	if (p[0].revents)
		(void)!read(s->wake, &ignored, sizeof(ignored));
	if (p[1].revents)
		*next_ns = (*next_ns > now_ns ? *next_ns : now_ns) + DRAIN_NS;
	if (p[2].revents & (POLLPRI | POLLERR)) {
		atomic_store(&s->pressing, true);
		mailbox_post(s->in, &inner_new(INNER_MOUNTS)->letter);
	}
}

void *reader_run(void *source)
{
	struct source *s = source;
	autofree char *space = mem_array(READ_BYTES, 1);
	autoclose int mounts = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	int64_t next_ns = 0;

	do
		wait_for_work(s, mounts, &next_ns);
	while (serve(s, space));
	return NULL;
}
