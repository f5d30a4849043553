/* What the peer says beside the stream. */
#include "rsync/session_internal.h"

#include <errno.h>
#include "base/mem.h"
#include "base/path.h"

#define TIMEOUT_MAX_S 86400
/* Words are no progress: who only talks comes to an end. What a server deletes it may complain
 * about, and a deletion is only told where one can be. */
#define TEXTS_SPARE   1000
#define TEXTS_EACH    16
#define DELETIONS_MAX (UINT64_C(1) << 24)
#define SUCCESSES_MAX 4 /* of one entry */

static void add_message(struct session *s, struct bytes text, enum session_level level)
{
	struct session_event event = {SESSION_EV_MESSAGE, .text = text, .level = level};

	event_queue_add(&s->events, &event);
}

/* Before a list the server has nothing to complain about but what it was asked for as a whole, and
 * it hangs up next. Later its words may be about single files. */
static int take_error(struct session *s, struct bytes text, enum session_level level)
{
	char option[sizeof(s->refused)];
	enum session_fault fault = session_fault_of_text(text, option, sizeof(option));

	/* The line that every rsync ends with says less than what stood before it. */
	bool last_line = bytes_starts(text, BYTES("rsync error: "));

	add_message(s, text, level);
	if (fault != SESSION_FAULT_NONE ||
	    (s->hint == SESSION_FAULT_NONE && !(last_line && s->hint_text.code))) {
		s->hint = fault;
		err_set(&s->hint_text, EACCES, "the server says: %s", path_show(text));
		if (fault == SESSION_FAULT_REFUSED)
			memcpy(s->refused, option, sizeof(option));
	}
	if (fault != SESSION_FAULT_NONE && s->state == SESSION_READY)
		return session_fail(s, fault, EACCES, "%s", s->hint_text.text);
	return 0;
}

int messages_hangup(struct session *s, const char *otherwise)
{
	if (s->hint != SESSION_FAULT_NONE)
		return session_fail(s, s->hint, ECONNRESET, "%s", s->hint_text.text);
	if (s->hint_text.code)
		return session_fail(s, SESSION_FAULT_HANGUP, ECONNRESET, "%s; before that, %s",
		                    otherwise, s->hint_text.text);
	return session_fail(s, SESSION_FAULT_HANGUP, ECONNRESET, "%s", otherwise);
}

static bool too_many_texts(struct session *s)
{
	return ++s->texts > TEXTS_SPARE + TEXTS_EACH * (s->nlisted + s->nrules + s->deletions);
}

/* A server that was asked for confirmations; others say this to nobody. */
static bool confirms(const struct session *s)
{
	return !s->o.no_ack && (s->class == SESSION_QUICK || s->class == SESSION_CONTENT);
}

static int take_success(struct session *s, struct bytes payload)
{
	struct cursor in = cursor_of(payload);
	uint32_t ndx = cursor_le32(&in);
	struct session_event event = {SESSION_EV_SUCCESS};
	struct listed *l;

	if (in.bad || cursor_left(&in) || !session_list_sent(s) || ndx >= s->nlisted)
		return session_breach(s, "a confirmation of something that was not listed");
	l = &s->listed[ndx];
	/* What the target has already is confirmed before anybody has asked for it. */
	if (l->answered_at > s->out.total && (l->requests || !l->early))
		return session_breach(s, "a confirmation of a file that was not sent yet");
	if (++l->successes > SUCCESSES_MAX)
		return session_breach(s, "too many confirmations of one file");
	if (!confirms(s))
		return 0;
	event.index = l->caller;
	event_queue_add(&s->events, &event);
	serve_settle_unasked(s, &s->listed[ndx], true);
	return 0;
}

static int take_deleted(struct session *s, struct bytes payload)
{
	struct session_event event = {SESSION_EV_DELETED, .text = payload};

	if (!session_has_rules(s) || !session_list_sent(s))
		return session_breach(s, "a deletion that nobody asked for");
	if (++s->deletions > DELETIONS_MAX)
		return session_breach(s, "deletions without end");
	/* A directory's name has a NUL behind it. */
	if (event.text.n && event.text.p[event.text.n - 1] == '\0') {
		event.text.n--;
		event.is_dir = true;
	}
	event_queue_add(&s->events, &event);
	return 0;
}

static int take_timeout(struct session *s, struct bytes payload)
{
	struct cursor in = cursor_of(payload);
	uint32_t seconds = cursor_le32(&in);

	if (in.bad || cursor_left(&in) || !seconds || seconds > TIMEOUT_MAX_S)
		return session_breach(s, "a timeout out of range");
	if (!s->peer_timeout_s || seconds < s->peer_timeout_s)
		s->peer_timeout_s = seconds;
	return 0;
}

static int take_exit(struct session *s, struct bytes payload)
{
	struct cursor in = cursor_of(payload);
	uint32_t code = cursor_le32(&in);
	char text[64] = "the server ended the session";

	if (payload.n && (in.bad || cursor_left(&in) || code > 255))
		return session_breach(s, "an exit code out of range");
	if (s->goodbye_done)
		return 0;
	if (payload.n) {
		struct err e;

		err_set(&e, ECONNRESET, "the server ended the session with exit code %u", code);
		memcpy(text, e.text, sizeof(text) - 1);
		text[sizeof(text) - 1] = '\0';
	}
	(void)messages_hangup(s, text);
	/* The server waits for this word before it closes. */
	if (payload.n)
		mux_out_message(&s->out, MUX_ERROR_EXIT, (struct bytes){NULL, 0});
	return -s->error.code;
}

int messages_take(struct session *s, unsigned code, struct bytes payload)
{
	if (code != MUX_NOOP && code != MUX_SUCCESS && code != MUX_DELETED && too_many_texts(s))
		return session_breach(s, "words without end");
	switch (code) {
	case MUX_ERROR_XFER:
		return take_error(s, bytes_without_newline(payload), SESSION_ERROR_XFER);
	case MUX_ERROR:
		return take_error(s, bytes_without_newline(payload), SESSION_ERROR);
	case MUX_WARNING:
		add_message(s, bytes_without_newline(payload), SESSION_WARNING);
		return 0;
	case MUX_INFO:
		add_message(s, bytes_without_newline(payload), SESSION_INFO);
		return 0;
	case MUX_IO_ERROR:
		/* What it stands for was said in words as well. */
		return payload.n == 4 ? 0 : session_breach(s, "a malformed message");
	case MUX_IO_TIMEOUT:
		return take_timeout(s, payload);
	case MUX_NOOP:
		return payload.n == 0 ? 0 : session_breach(s, "a malformed message");
	case MUX_ERROR_EXIT:
		return take_exit(s, payload);
	case MUX_SUCCESS:
		return take_success(s, payload);
	case MUX_DELETED:
		return take_deleted(s, payload);
	default:
		return session_breach(s, "a message that a server does not send");
	}
}
