#include "worker/worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/fd.h"
#include "base/mem.h"
#include "worker/link.h"
#include "worker/sandbox.h"

#define NS_PER_MS 1000000LL
/* Above this much unread by the loop, peers wait: reports are bounded by what the loop takes. */
#define REPORTS_PENDING_BYTES (8u << 20)
#define QUIT_GRACE_NS         (2000 * NS_PER_MS)

struct worker {
	struct link_env env;
	struct frame_in *in;
	int frame_fd;
	bool set_up, quitting;
	int64_t quit_ns; /* when a polite end is no longer waited for */
	struct link *links;
	struct pollfd *polled; /* [0] is the frame socket */
	size_t polled_cap;
};

static struct link *find_link(struct worker *w, uint64_t id)
{
	for (struct link *l = w->links; l; l = l->next) {
		if (l->id == id && l->state != LINK_ZOMBIE && l->state != LINK_OVER)
			return l;
	}
	return NULL;
}

static int take_setup(struct worker *w, struct bytes payload, int64_t now_ns)
{
	if (w->set_up || wire_get_setup(payload, &w->env.setup))
		return -EPROTO;
	throttle_init(&w->env.throttle, w->env.setup.bwlimit_bytes, now_ns);
	w->env.names = names_new();
	w->env.repeats = repeats_new(REPEATS_MAX);
	if (w->env.setup.sandbox)
		(void)sandbox_enter(!w->env.setup.options.numeric_ids);
	w->set_up = true;
	return 0;
}

static int take_session(struct worker *w, struct frame *f, int64_t now_ns)
{
	struct wire_session m;
	struct link *l;
	int r = wire_get_session(f->payload, &m);

	/* The password must not stay in the frame's buffer. */
	explicit_bzero((char *)f->payload.p, f->payload.n);
	if (r < 0)
		return r;
	if (f->nfds != 1) {
		wire_free_session(&m);
		return -EPROTO;
	}
	l = link_new(&w->env, &m, TAKE_FD(f->fds[0]), now_ns);
	l->next = w->links;
	w->links = l;
	wire_free_session(&m);
	if (w->quitting)
		link_close(l, now_ns);
	return 0;
}

static int take_batch(struct worker *w, struct frame *f, int64_t now_ns)
{
	struct cargo *c;
	struct link *l;

	if (f->nfds != 1)
		return -EPROTO;
	c = cargo_new(f->payload, TAKE_FD(f->fds[0]));
	if (!c)
		return -EPROTO;
	l = find_link(w, c->batch.session);
	if (l && l->state == LINK_IDLE)
		link_carry(l, c, now_ns);
	else
		link_turn_away(&w->env, c);
	return 0;
}

static int take_id(struct worker *w, const struct frame *f, int64_t now_ns)
{
	uint64_t id;
	struct link *l;

	if (wire_get_id(f->payload, &id))
		return -EPROTO;
	if (f->type == WIRE_CLOSE) {
		l = find_link(w, id);
		if (l)
			link_close(l, now_ns);
		return 0;
	}
	if (f->type == WIRE_KILLED) {
		l = find_link(w, id);
		if (l)
			link_give_up(l, TROUBLE_PROTOCOL, BYTES("the server was killed"), now_ns);
		return 0;
	}
	for (l = w->links; l; l = l->next) {
		if (l->cargo && l->cargo->batch.id == id)
			link_give_up(l, TROUBLE_NONE, BYTES("cancelled"), now_ns);
	}
	return 0;
}

static void quit(struct worker *w, int64_t now_ns)
{
	w->quitting = true;
	w->quit_ns = now_ns + QUIT_GRACE_NS;
	for (struct link *l = w->links; l; l = l->next) {
		if (l->state == LINK_CARRYING)
			link_give_up(l, TROUBLE_NONE, BYTES("the worker ends"), now_ns);
		else
			link_close(l, now_ns);
	}
}

static int take_frame(struct worker *w, struct frame *f, int64_t now_ns)
{
	if (f->type != WIRE_SETUP && f->type != WIRE_QUIT && !w->set_up)
		return -EPROTO;
	switch (f->type) {
	case WIRE_SETUP:
		return take_setup(w, f->payload, now_ns);
	case WIRE_SESSION:
		return take_session(w, f, now_ns);
	case WIRE_BATCH:
		return take_batch(w, f, now_ns);
	case WIRE_CANCEL:
	case WIRE_CLOSE:
	case WIRE_KILLED:
		return take_id(w, f, now_ns);
	case WIRE_QUIT:
		quit(w, now_ns);
		return 0;
	case WIRE_PING:
		frame_out_add(w->env.out, WIRE_PONG, (struct bytes){0}, NULL, 0);
		return 0;
	default:
		return -EPROTO;
	}
}

/* All frames that are there. 0, or -errno: the loop is gone or speaks nonsense. */
static int take_frames(struct worker *w, int64_t now_ns)
{
	struct frame f = {0};
	int r;

	while ((r = frame_in_next(w->in, &f)) > 0) {
		r = take_frame(w, &f, now_ns);
		if (r < 0)
			return r;
	}
	return r;
}

static void drop_ended_links(struct worker *w)
{
	for (struct link **at = &w->links; *at;) {
		struct link *l = *at;

		if (l->state == LINK_OVER) {
			*at = l->next;
			link_free(l);
		} else {
			at = &l->next;
		}
	}
}

static bool may_exit(const struct worker *w, int64_t now_ns)
{
	if (!w->quitting)
		return false;
	if (now_ns >= w->quit_ns)
		return true;
	for (const struct link *l = w->links; l; l = l->next) {
		if (l->state != LINK_ZOMBIE)
			return false;
	}
	return frame_out_pending(w->env.out) == 0;
}

/* Fills w->polled in the order of the links; returns their number plus one. When to wake is told by
 * what the links are in now: what was true before the last write no longer counts. */
static size_t prepare_poll(struct worker *w, int64_t now_ns, int64_t *wake_ns)
{
	bool blocked = frame_out_pending(w->env.out) > REPORTS_PENDING_BYTES;
	int64_t tokens_ns = throttle_ready_ns(&w->env.throttle, now_ns);
	size_t n = 1;

	for (struct link *l = w->links; l; l = l->next, n++) {
		int64_t wake = link_wake_ns(l);

		if (n + 1 >= w->polled_cap) {
			w->polled_cap = w->polled_cap ? 2 * w->polled_cap : 16;
			w->polled = mem_realloc(w->polled, w->polled_cap, sizeof(*w->polled));
		}
		w->polled[n] = (struct pollfd){.fd = blocked ? -1 : l->fd,
		                               .events = link_poll_events(l, tokens_ns <= now_ns)};
		if (wake < *wake_ns)
			*wake_ns = wake;
		if (tokens_ns > now_ns && tokens_ns < *wake_ns && session_output(l->session).n)
			*wake_ns = tokens_ns;
		if (link_has_work(l))
			*wake_ns = now_ns;
	}
	w->polled[0] = (struct pollfd){.fd = w->frame_fd, .events = POLLIN};
	if (frame_out_pending(w->env.out))
		w->polled[0].events |= POLLOUT;
	if (w->quitting && w->quit_ns < *wake_ns)
		*wake_ns = w->quit_ns;
	return n;
}

static int wait_for_something(struct worker *w, size_t n, int64_t wake_ns)
{
	int64_t now_ns = clock_boot_ns();
	struct timespec ts = {0};
	int r;

	if (wake_ns > now_ns) {
		ts.tv_sec = (time_t)((wake_ns - now_ns) / (1000 * NS_PER_MS));
		ts.tv_nsec = (long)((wake_ns - now_ns) % (1000 * NS_PER_MS));
	}
	r = ppoll(w->polled, n, wake_ns == INT64_MAX ? NULL : &ts, NULL);
	if (r < 0 && errno == EINTR) {
		for (size_t i = 0; i < n; i++)
			w->polled[i].revents = 0;
		return 0;
	}
	return r < 0 ? -errno : 0;
}

/* Those that will want to write count, too: what they read now leaves in this round. */
static void share_bandwidth(struct worker *w, int64_t now_ns)
{
	size_t writers = 0;

	for (struct link *l = w->links; l; l = l->next) {
		if (l->state != LINK_ZOMBIE && l->state != LINK_OVER)
			writers += session_output_pending(l->session) || link_has_work(l);
		l->written = 0;
	}
	throttle_divide(&w->env.throttle, writers, now_ns);
}

/* One round over all links after poll; the new ones of this round come last in no order. */
static void run_links(struct worker *w, size_t n, int64_t now_ns)
{
	size_t i = 1;

	share_bandwidth(w, now_ns);
	for (struct link *l = w->links; l && i < n; l = l->next, i++) {
		link_io(l, w->polled[i].revents, now_ns);
		if (l->state != LINK_OVER && now_ns >= link_wake_ns(l))
			link_timer(l, now_ns);
		link_work(l, now_ns);
		if (l->fd >= 0 && l->state != LINK_ZOMBIE && l->state != LINK_OVER)
			link_write(l, now_ns);
	}
}

static int run(struct worker *w)
{
	for (;;) {
		int64_t now_ns = clock_boot_ns(), wake_ns = INT64_MAX;
		size_t n = prepare_poll(w, now_ns, &wake_ns);
		int r = wait_for_something(w, n, wake_ns);

		if (r < 0)
			return r;
		now_ns = clock_boot_ns();
		/* Links first: frames may add links, whose place in the poll list comes next time.
		 */
		run_links(w, n, now_ns);
		if (w->polled[0].revents & (POLLIN | POLLHUP | POLLERR)) {
			r = take_frames(w, now_ns);
			if (r < 0)
				return r == -ECONNRESET ? 0 : r;
		}
		drop_ended_links(w);
		r = frame_out_flush(w->env.out);
		if (r < 0)
			return 0;
		if (may_exit(w, now_ns))
			return 0;
	}
}

static void prepare_process(void)
{
	static const int ignored[] = {SIGPIPE, SIGTERM, SIGINT, SIGHUP};
	struct rlimit files;

	for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

int worker_main(int frame_fd)
{
	struct worker w = {.frame_fd = frame_fd, .polled_cap = 16};
	int r;

	mem_return_freed();
	prepare_process();
	(void)fd_set_nonblock(frame_fd);
	w.polled = mem_array(w.polled_cap, sizeof(*w.polled));
	w.in = frame_in_new(frame_fd);
	w.env.out = frame_out_new(frame_fd);
	w.env.slice = mem_alloc(SUPPLY_SLICE_BYTES);
	w.env.input = mem_alloc(LINK_READ_BYTES);
	r = run(&w);
	for (struct link *l = w.links; l;) {
		struct link *next = l->next;

		link_free(l);
		l = next;
	}
	frame_out_free(w.env.out);
	frame_in_free(w.in);
	free(w.polled);
	names_free(w.env.names);
	repeats_free(w.env.repeats);
	free(w.env.slice);
	free(w.env.input);
	if (w.set_up)
		wire_free_setup(&w.env.setup);
	return r < 0;
}
