#include "worker/link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/mem.h"
#include "worker/blame.h"
#include "worker/verdict.h"

#define NS_PER_S            1000000000LL
#define HANDSHAKE_DEFAULT_S 15
#define EOF_WAIT_S          10
/* Answers leave at once, but then so many of them, or for so long, are gathered. */
#define REPORT_ANSWERS 256
#define WRITE_BYTES    (64u << 10)
#define REPORT_NS      2000000

static void prepare_socket(struct link *l)
{
	static const int on = 1;
	int domain = 0;
	socklen_t n = sizeof(domain);

	(void)fd_set_nonblock(l->fd);
	if (getsockopt(l->fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0)
		l->tcp = domain == AF_INET || domain == AF_INET6;
	if (l->tcp)
		(void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

struct link *link_new(struct link_env *env, const struct wire_session *m, int fd, int64_t now_ns)
{
	struct link *l = mem_alloc(sizeof(*l));
	struct session_login login = {m->module, m->user, m->password};
	struct session_options options = env->setup.options;
	unsigned patience = env->setup.handshake_timeout_s;

	l->env = env;
	l->id = m->id;
	l->class = (enum session_class)m->class;
	l->fd = fd;
	l->pipe = m->kind == SESSION_PIPE;
	l->indirect = m->tls || m->remote_exit;
	l->deadline_ns = now_ns + (patience ? patience : HANDSHAKE_DEFAULT_S) * NS_PER_S;
	l->keepalive_ns = INT64_MAX;
	supply_init(&l->supply);
	prepare_socket(l);
	l->extras = options.extras =
	        m->extras && (l->class == SESSION_COMPARE || l->class == SESSION_CHECKSUM);
	session_leave_out(&options, m->without);
	if (env->past_without == m->without)
		options.past = env->past;
	l->xattrs = options.xattrs;
	l->acls = options.acls;
	l->no_ack = options.no_ack;
	l->without = m->without;
	l->session = session_new((enum session_kind)m->kind, l->class, &options,
	                         m->path ? m->path : "", l->pipe ? NULL : &login);
	return l;
}

void link_free(struct link *l)
{
	supply_done(&l->supply);
	checksums_free(l->checksums);
	cargo_free(l->cargo);
	session_free(l->session);
	mem_closep(&l->fd);
	free(l->last_error);
	free(l);
}

static void close_socket(struct link *l)
{
	mem_closep(&l->fd);
	l->fd = -1;
}

/* A server that refuses what it was not asked for gets no further by leaving it out. */
static struct bytes refused_option(const struct link *l)
{
	struct bytes option = bytes_of(session_refused_option(l->session));

	if (session_without(option) & l->without)
		return (struct bytes){0};
	return option;
}

static void say_gone(struct link *l, enum trouble trouble, struct bytes text, bool zombie_over)
{
	struct wire_gone gone = {
	        .session = l->id,
	        .trouble = (uint8_t)trouble,
	        .was_ready = l->was_ready,
	        .zombie_over = zombie_over,
	        .text = text,
	        .refused_option = refused_option(l),
	};
	struct buf b;

	if (!l->was_ready && trouble != TROUBLE_NONE)
		l->env->past = (struct session_past){0}; /* for all we know it was to blame */
	buf_init(&b, FRAME_PAYLOAD_MAX);
	wire_put_gone(&b, &gone);
	frame_out_add(l->env->out, WIRE_SESSION_GONE, buf_bytes(&b), NULL, 0);
	buf_done(&b);
	close_socket(l);
	l->state = LINK_OVER;
}

static void say_done(struct link_env *env, const struct cargo *c, const struct wire_done *done)
{
	struct wire_done m = *done;
	struct buf b;

	m.batch = c->batch.id;
	m.session = c->batch.session;
	buf_init(&b, FRAME_PAYLOAD_MAX);
	wire_put_done(&b, &m);
	frame_out_add(env->out, WIRE_BATCH_DONE, buf_bytes(&b), NULL, 0);
	buf_done(&b);
}

/* Stock servers end the session over an unasked file that their filter excludes. A line that breaks
 * looks the same, but for their words, and does not do so each time. What else ends a session is
 * told and has nothing to do with it. */
static void note_unasked(struct link *l, enum trouble trouble)
{
	const struct cargo *c = l->cargo;
	bool suspect = session_unasked(l->session) || c->unasked_refused || c->unasked_overdue;

	if (!c->unasked)
		return;
	if (trouble == TROUBLE_NONE && c->phase)
		l->env->unasked_breaks = 0;
	else if ((trouble == TROUBLE_PROTOCOL || trouble == TROUBLE_TIMEOUT) && suspect)
		l->env->unasked_breaks++;
	if (l->env->unasked_breaks > (c->unasked_refused ? 0 : 2) || supply_was_ignored(c))
		l->env->asked_only = true;
}

/* Every item is answered: reports, then the word that this was all. */
static void end_cargo(struct link *l, enum trouble trouble, bool zombie, struct bytes text)
{
	struct wire_done done = {
	        .trouble = (uint8_t)trouble,
	        .zombie = zombie,
	        .bytes_out = session_bytes_out(l->session),
	        .bytes_in = session_bytes_in(l->session),
	        .text = text,
	};

	note_unasked(l, trouble);
	supply_done(&l->supply);
	checksums_free(TAKE(l->checksums));
	cargo_report(l->cargo, l->env->out);
	say_done(l->env, l->cargo, &done);
	cargo_free(TAKE(l->cargo));
}

void link_turn_away(struct link_env *env, struct cargo *c)
{
	struct wire_done done = {.text = BYTES("the session had ended before the batch came")};

	for (size_t i = 0; i < c->batch.count; i++)
		cargo_answer(c, (uint32_t)i, WIRE_UNSENT, (struct bytes){0});
	cargo_report(c, env->out);
	say_done(env, c, &done);
	cargo_free(c);
}

/* End of file or reset that is waiting behind what was read. */
static bool peer_closed(struct link *l)
{
	char byte;
	ssize_t n;

	if (l->fd < 0 || l->peer_gone)
		return true;
	n = recv(l->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

void link_give_up(struct link *l, enum trouble trouble, struct bytes text, int64_t now_ns)
{
	bool begun, gone, zombie;

	if (l->state == LINK_ZOMBIE || l->state == LINK_OVER)
		return;
	begun = l->cargo && session_list_begun(l->session);
	gone = peer_closed(l);
	zombie = begun && (!gone || l->indirect);
	if (l->cargo) {
		verdict_end(l->cargo, begun, session_fault(l->session) == SESSION_FAULT_PROTOCOL);
		end_cargo(l, trouble, zombie, text);
	}
	if (!zombie) {
		say_gone(l, trouble, text, false);
		return;
	}
	l->state = LINK_ZOMBIE;
	l->trouble = trouble;
	l->deadline_ns = now_ns + 2 * link_timeout_ns(l);
	if (gone)
		close_socket(l);
	else
		(void)shutdown(l->fd, SHUT_WR);
}

static enum trouble trouble_of_fault(enum session_fault fault)
{
	switch (fault) {
	case SESSION_FAULT_BUSY:
		return TROUBLE_BUSY;
	case SESSION_FAULT_LOGIN:
		return TROUBLE_LOGIN;
	case SESSION_FAULT_READONLY:
		return TROUBLE_READONLY;
	case SESSION_FAULT_MISSING:
		return TROUBLE_MISSING;
	case SESSION_FAULT_REFUSED:
		return TROUBLE_REFUSED;
	case SESSION_FAULT_NONE:
	case SESSION_FAULT_PROTOCOL:
	case SESSION_FAULT_HANGUP:
		break;
	}
	return TROUBLE_PROTOCOL;
}

/* The session FAILED: its own reason, or what the server said before it hung up. */
static void fail(struct link *l, int64_t now_ns)
{
	enum trouble trouble = trouble_of_fault(session_fault(l->session));
	const char *words = l->cargo ? l->cargo->last_error : l->last_error;
	struct bytes text = bytes_of(session_error(l->session)->text);
	autofree char *said = NULL;

	if (trouble == TROUBLE_PROTOCOL && words) {
		enum trouble told = blame_trouble(bytes_of(words));

		if (told != TROUBLE_NONE)
			trouble = told;
		if (session_fault(l->session) == SESSION_FAULT_HANGUP || told != TROUBLE_NONE) {
			said = mem_strdup(words);
			text = bytes_of(said);
		}
	}
	link_give_up(l, trouble, text, now_ns);
}

static enum trouble trouble_of_errno(const struct link *l, int error)
{
	switch (error) {
	case ECONNREFUSED:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EHOSTDOWN:
		return TROUBLE_UNREACHABLE;
	case ETIMEDOUT:
		return l->was_ready ? TROUBLE_TIMEOUT : TROUBLE_UNREACHABLE;
	default:
		return TROUBLE_PROTOCOL;
	}
}

void link_ended(struct link *l, int error, int64_t now_ns)
{
	if (l->state != LINK_ZOMBIE)
		link_take_events(l, now_ns); /* what it said before */
	if (l->state == LINK_OVER)
		return;
	l->peer_gone = true;
	if (l->state == LINK_ZOMBIE) {
		close_socket(l);
		if (!l->indirect)
			say_gone(l, l->trouble, (struct bytes){0}, true);
		return;
	}
	session_eof(l->session);
	/* In the goodbye that passes for its end; with items open it is not. */
	if (l->cargo && session_state(l->session) == SESSION_CLOSED) {
		link_give_up(l, TROUBLE_PROTOCOL, BYTES("the server hung up in the goodbye"),
		             now_ns);
		return;
	}
	link_take_events(l, now_ns);
	if (l->state == LINK_LEAVING)
		say_gone(l, TROUBLE_NONE, (struct bytes){0}, false);
	else if (trouble_of_errno(l, error) != TROUBLE_PROTOCOL)
		link_give_up(l, trouble_of_errno(l, error), bytes_of(strerror(error)), now_ns);
	else
		fail(l, now_ns);
}

/* For the next one. Deletions go without compression. */
static void remember(const struct link *l)
{
	struct session_past past = session_settled(l->session);

	if (l->class == SESSION_DELETE)
		past.compress = l->env->past.compress;
	l->env->past = past;
	l->env->past_without = l->without;
}

static void become_ready(struct link *l, int64_t now_ns)
{
	struct wire_ready ready = {
	        .session = l->id,
	        .protocol = session_protocol(l->session),
	        .peer_timeout_s = session_peer_timeout_s(l->session),
	        .compress = (uint8_t)session_compress(l->session),
	};
	struct buf b;

	buf_init(&b, FRAME_PAYLOAD_MAX);
	wire_put_ready(&b, &ready);
	frame_out_add(l->env->out, WIRE_READY, buf_bytes(&b), NULL, 0);
	buf_done(&b);
	remember(l);
	l->was_ready = true;
	l->state = LINK_IDLE;
	l->deadline_ns = INT64_MAX; /* the loop retires idle sessions */
	link_wrote(l, now_ns);
}

static void take_message(struct link *l, const struct session_event *ev)
{
	struct blame named = {0};

	if (verdict_message(l->cargo, ev->level, ev->text, &named))
		supply_failed(l->session, l->cargo, &named);
}

static void take_event(struct link *l, const struct session_event *ev)
{
	struct cargo *c = l->cargo;
	struct part *part = NULL;

	if (!c) {
		if (ev->kind == SESSION_EV_REQUEST)
			session_no_send(l->session);
		if (ev->kind == SESSION_EV_MESSAGE &&
		    (ev->level == SESSION_ERROR || ev->level == SESSION_ERROR_XFER) &&
		    !(l->last_error && blame_is_echo(ev->text))) {
			free(l->last_error);
			l->last_error = mem_dup(ev->text.p, ev->text.n);
		}
		return;
	}
	if (ev->kind == SESSION_EV_REQUEST || ev->kind == SESSION_EV_ITEM ||
	    ev->kind == SESSION_EV_SUCCESS)
		part = cargo_at_entry(c, ev->index);
	switch (ev->kind) {
	case SESSION_EV_REQUEST:
		check(part);
		supply_request(&l->supply, l->session, c, part, ev);
		break;
	case SESSION_EV_ITEM:
		check(part);
		verdict_item(c, part, ev->flags);
		break;
	case SESSION_EV_SUCCESS:
		check(part);
		verdict_success(c, part);
		break;
	case SESSION_EV_MESSAGE:
		take_message(l, ev);
		break;
	case SESSION_EV_PHASE:
		verdict_phase(c);
		break;
	case SESSION_EV_CLOSED:
		verdict_closed(c);
		break;
	case SESSION_EV_DELETED: /* of deletions: confirmed by the phase, not one by one (I9) */
		verdict_extra(c, ev->text, ev->is_dir);
		break;
	case SESSION_EV_NONE:
		break;
	}
}

void link_take_events(struct link *l, int64_t now_ns)
{
	struct session_event ev;

	while (l->state != LINK_ZOMBIE && l->state != LINK_OVER) {
		session_next(l->session, &ev);
		if (ev.kind == SESSION_EV_NONE)
			break;
		take_event(l, &ev);
		if (l->cargo && l->cargo->phase && l->cargo->unsettled == 0) {
			end_cargo(l, TROUBLE_NONE, false, (struct bytes){0});
			l->state = LINK_LEAVING;
			l->deadline_ns = now_ns + link_timeout_ns(l) + EOF_WAIT_S * NS_PER_S;
		}
	}
	if (l->state == LINK_ZOMBIE || l->state == LINK_OVER || l->peer_gone)
		return;
	if (session_state(l->session) == SESSION_FAILED) {
		if (l->state == LINK_LEAVING)
			say_gone(l, TROUBLE_NONE, bytes_of(session_error(l->session)->text), false);
		else
			fail(l, now_ns);
	} else if (l->state == LINK_OPENING && session_state(l->session) == SESSION_READY) {
		become_ready(l, now_ns);
	}
}

static void leave(struct link *l, int64_t now_ns)
{
	session_quit(l->session);
	l->state = LINK_LEAVING;
	l->deadline_ns = now_ns + EOF_WAIT_S * NS_PER_S;
}

/* Sends the list, or ends the batch where nothing is left of it or it is not accepted. */
static void send_list(struct link *l, const struct manifest *list, int64_t now_ns)
{
	struct err err = {0};
	int r = 0;

	l->lull_spare_ns = link_lull_spare_ns(list);
	if (list->count && l->cargo->unsettled) {
		names_tell(l->env->names, l->session, &l->env->setup, list, now_ns);
		r = session_list(l->session, list->entries, list->count, list->rules, list->rules_n,
		                 &err);
	}
	if (list->count == 0 || l->cargo->unsettled == 0 || r < 0) {
		verdict_end(l->cargo, false, false);
		end_cargo(l, r < 0 ? TROUBLE_LOCAL : TROUBLE_NONE, false, bytes_of(err.text));
		leave(l, now_ns);
	} else {
		link_progress(l, now_ns);
		if (l->env->asked_only)
			l->supply.ahead = SIZE_MAX;
		supply_unasked(&l->supply, l->session, l->cargo, l->env->slice);
	}
}

void link_carry(struct link *l, struct cargo *c, int64_t now_ns)
{
	struct manifest list;

	l->cargo = c;
	c->cross_mounts = l->env->setup.cross_mounts;
	c->no_ack = l->no_ack;
	c->compare = l->class == SESSION_COMPARE || l->class == SESSION_CHECKSUM;
	c->extras = l->extras;
	c->xattrs = l->xattrs && l->class != SESSION_DELETE;
	c->acls = l->acls && l->class != SESSION_DELETE;
	c->repeats = l->env->repeats;
	l->state = LINK_CARRYING;
	link_progress(l, now_ns);
	manifest_build(&list, c, &l->env->setup, l->class, clock_wall_ns());
	if (l->class == SESSION_CHECKSUM && list.count) {
		l->checksums = checksums_new(&list, session_checksum_name(l->session));
		return;
	}
	if (l->class == SESSION_CONTENT)
		l->checksums = checksums_new_repeats(&list, c);
	if (l->checksums)
		return;
	send_list(l, &list, now_ns);
	manifest_done(&list);
}

/* One step; after the last the list goes. */
static void work_on_checksums(struct link *l, int64_t now_ns)
{
	struct checksums *done;

	link_progress(l, now_ns);
	if (checksums_step(l->checksums, l->cargo, l->env->slice))
		return;
	done = TAKE(l->checksums);
	send_list(l, checksums_list(done), now_ns);
	checksums_free(done);
}

bool link_has_work(const struct link *l)
{
	size_t pending = session_output_pending(l->session);

	if (l->checksums || !l->cargo)
		return l->checksums != NULL;
	if (l->supply.fd >= 0)
		return pending < SUPPLY_PENDING_BYTES;
	return pending < SUPPLY_SLICE_BYTES && supply_has_unasked(&l->supply, l->cargo);
}

/* Small files leave together: a packet for each would cost both hosts more than the file. */
static void supply_some(struct link *l, int64_t now_ns)
{
	do {
		if (l->supply.fd >= 0)
			supply_slice(&l->supply, l->session, l->cargo, l->env->slice);
		else
			supply_unasked(&l->supply, l->session, l->cargo, l->env->slice);
		link_progress(l, now_ns);
		link_take_events(l, now_ns);
	} while (link_has_work(l) && session_output_pending(l->session) < WRITE_BYTES);
}

void link_work(struct link *l, int64_t now_ns)
{
	link_take_events(l, now_ns);
	if (l->checksums) {
		work_on_checksums(l, now_ns);
	} else if (link_has_work(l)) {
		supply_some(l, now_ns);
	}
	if (!l->cargo || !l->cargo->answers_n)
		return;
	if (now_ns < l->report_ns && l->cargo->answers_n < REPORT_ANSWERS)
		return;
	cargo_report(l->cargo, l->env->out);
	l->report_ns = now_ns + REPORT_NS;
}

void link_close(struct link *l, int64_t now_ns)
{
	if (l->state == LINK_OPENING)
		say_gone(l, TROUBLE_NONE, (struct bytes){0}, false);
	else if (l->state == LINK_IDLE)
		leave(l, now_ns);
}

static void time_is_up(struct link *l, int64_t now_ns)
{
	switch (l->state) {
	case LINK_OPENING:
		link_give_up(l, TROUBLE_TIMEOUT, BYTES("no answer to the greeting in time"),
		             now_ns);
		break;
	case LINK_IDLE:
		link_close(l, now_ns);
		break;
	case LINK_CARRYING:
		link_give_up(l, TROUBLE_TIMEOUT, BYTES("no progress in time"), now_ns);
		break;
	case LINK_LEAVING:
		say_gone(l, TROUBLE_NONE, BYTES("the goodbye was not finished in time"), false);
		break;
	case LINK_ZOMBIE:
		say_gone(l, l->trouble, (struct bytes){0}, true);
		break;
	case LINK_OVER:
		break;
	}
}

void link_timer(struct link *l, int64_t now_ns)
{
	enum session_state state = session_state(l->session);

	if (now_ns >= l->deadline_ns) {
		time_is_up(l, now_ns);
		return;
	}
	if (link_waits_for_unasked(l) && now_ns >= l->unasked_ns) {
		supply_overdue(l->session, l->cargo);
		link_take_events(l, now_ns);
	}
	if (!link_keeps_alive(l) || now_ns < l->keepalive_ns)
		return;
	if (session_output(l->session).n == 0 &&
	    (state == SESSION_READY || state == SESSION_SERVING)) {
		session_keepalive(l->session);
		l->only_keepalive = true;
	}
	l->keepalive_ns = now_ns + NS_PER_S;
}
