/* The text lines at the start of a conversation with a daemon. */
#include "rsync/session_internal.h"

#include <errno.h>
#include <stdlib.h>
#include "base/mem.h"
#include "base/path.h"
#include "rsync/auth.h"
#include "rsync/fault.h"

#define LINE_MAX_BYTES 1024
#define MOTD_MAX_BYTES 65536

/* Both lines go at once: the daemon reads one after the other anyway. */
void greeting_start(struct session *s)
{
	struct buf b, names;

	buf_init(&b, 4 * LINE_MAX_BYTES);
	buf_printf(&b, "@RSYNCD: %d.0 ", s->protocol);
	buf_init(&names, LINE_MAX_BYTES);
	auth_digest_names(&names, s->o.min_digest);
	buf_add_bytes(&b, buf_bytes(&names));
	buf_done(&names);
	buf_printf(&b, "\n%s\n", s->module);
	mux_out_data(&s->out, buf_bytes(&b));
	buf_done(&b);
}

/* A decimal number at the front of *text, or -1. */
static int take_number(struct bytes *text)
{
	int value = -1;

	while (text->n && *text->p >= '0' && *text->p <= '9' && value < 10000) {
		value = (value < 0 ? 0 : value * 10) + (*text->p - '0');
		text->p++;
		text->n--;
	}
	return value;
}

static int refuse_version(struct session *s, int protocol)
{
	return session_fail(s, SESSION_FAULT_REFUSED, EPROTONOSUPPORT,
	                    "the server speaks protocol %d; lockstep needs %d or newer "
	                    "(rsync 3.0.0)",
	                    protocol, PROTOCOL_MIN);
}

/* "@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4" */
static int read_greeting(struct session *s, struct bytes line)
{
	struct bytes rest = line;
	int protocol, sub = -1;

	if (!bytes_starts(line, BYTES("@RSYNCD: ")))
		return session_fail(s, SESSION_FAULT_PROTOCOL, EPROTO,
		                    "not an rsync daemon: it greets with \"%s\"", path_show(line));
	rest.p += 9;
	rest.n -= 9;
	protocol = take_number(&rest);
	if (protocol < 0)
		return session_breach(s, "a greeting without version");
	if (protocol < PROTOCOL_MIN)
		return refuse_version(s, protocol);
	if (rest.n && *rest.p == '.') {
		rest.p++;
		rest.n--;
		sub = take_number(&rest);
	}
	if (sub < 0)
		return session_breach(s, "a greeting without sub-version");
	if (sub > 0) /* a pre-release: what is new in it is not settled yet */
		protocol--;
	if (protocol < PROTOCOL_MIN)
		return refuse_version(s, protocol);
	if (protocol < s->protocol)
		s->protocol = protocol;
	s->peer_digests = mem_dup(rest.p, rest.n);
	s->state = SESSION_AUTH;
	return 0;
}

static void send_args(struct session *s)
{
	for (char **arg = s->args; *arg; arg++)
		mux_out_data(&s->out, (struct bytes){*arg, strlen(*arg) + 1});
	mux_out_data(&s->out, (struct bytes){"", 1});
	setup_names_ahead(s);
}

static int authenticate(struct session *s, struct bytes challenge)
{
	const char *digest = auth_digest_choose(bytes_of(s->peer_digests), s->o.min_digest);
	struct buf line;
	int rc;

	if (!s->user || !s->password)
		return session_fail(s, SESSION_FAULT_LOGIN, EACCES,
		                    "module %s asks for a user and password, none is configured",
		                    s->module);
	if (!digest)
		return session_fail(s, SESSION_FAULT_LOGIN, EACCES,
		                    "the server offers no authentication as strong as configured");
	buf_init(&line, 4 * LINE_MAX_BYTES);
	buf_printf(&line, "%s ", s->user);
	rc = auth_response(&line, digest, s->password, challenge);
	if (rc < 0) {
		buf_done(&line);
		return session_fail(s, SESSION_FAULT_LOGIN, ENOTSUP, "the crypto library lacks %s",
		                    digest);
	}
	buf_add_u8(&line, '\n');
	mux_out_data(&s->out, buf_bytes(&line));
	buf_done(&line);
	mem_free_secret(TAKE(s->password));
	/* A server that lets us in no more may close over what it has not read, and its words may
	 * be lost by that. So not before it has let us in once. */
	s->args_ahead = s->o.past.protocol == s->protocol;
	if (s->args_ahead)
		send_args(s);
	return 0;
}

static int read_answer(struct session *s, struct bytes line)
{
	static const struct bytes challenge = {"@RSYNCD: AUTHREQD ", 18};

	if (bytes_starts(line, BYTES("@ERROR"))) {
		struct bytes words = line;

		if (bytes_starts(line, BYTES("@ERROR: "))) {
			words.p += 8;
			words.n -= 8;
		}
		return session_fail(s, fault_of_refusal(words), EACCES, "the server says: %s",
		                    path_show(words));
	}
	if (bytes_equal(line, BYTES("@RSYNCD: OK"))) {
		mem_free_secret(TAKE(s->password));
		if (!s->args_ahead)
			send_args(s);
		s->state = SESSION_SETUP;
		return 0;
	}
	if (bytes_starts(line, challenge) && !s->args_ahead)
		return authenticate(s, (struct bytes){line.p + challenge.n, line.n - challenge.n});
	if (bytes_starts(line, BYTES("@RSYNCD: EXIT")))
		return session_breach(s, "an end before the module was opened");
	/* A line of the message of the day. */
	s->text_bytes += line.n + 1;
	if (s->text_bytes > MOTD_MAX_BYTES)
		return session_breach(s, "a message of the day without end");
	return 0;
}

int greeting_feed(struct session *s)
{
	struct bytes line;

	while (s->state == SESSION_GREETING || s->state == SESSION_AUTH) {
		int rc;

		if (!session_line(s, LINE_MAX_BYTES, &line))
			return s->state == SESSION_FAILED ? -s->error.code : 0;
		rc = s->state == SESSION_GREETING ? read_greeting(s, line) : read_answer(s, line);
		if (rc < 0)
			return rc;
	}
	return 0;
}
