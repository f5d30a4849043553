/* Version, compatibility flags, checksum, compression and seed: all that is settled before the
 * list. */
#include "rsync/session_internal.h"

#include <errno.h>
#include <stdio.h>
#include "base/mem.h"
#include "base/path.h"
#include "rsync/fault.h"
#include "rsync/packer.h"

#define NAMES_MAX         255
#define PLAUSIBLE_VERSION 40

/* What is compressed goes by a method that both choose from the names they exchange. */
static bool chooses_method(const struct session *s)
{
	return s->compress != SESSION_COMPRESS_NO && s->compress != SESSION_COMPRESS_ZLIBX;
}

static void put_name(struct session *s, const char *name)
{
	struct buf b;

	buf_init(&b, NAMES_MAX);
	codec_put_vstring(&b, bytes_of(name));
	mux_out_data(&s->out, buf_bytes(&b));
	buf_done(&b);
}

void setup_names_ahead(struct session *s)
{
	const struct session_past *past = &s->o.past;
	bool method = chooses_method(s);

	if (past->protocol == 0 || past->protocol > s->protocol || !past->names ||
	    (method && past->compress == SESSION_COMPRESS_NO))
		return;
	s->names_ahead = true;
	put_name(s, strong_table[past->checksum].name);
	if (method)
		put_name(s, session_compress_name(past->compress));
}

void setup_start_pipe(struct session *s)
{
	mux_out_int(&s->out, s->protocol);
	setup_names_ahead(s);
}

/* Without daemon each side just sends its version. A remote shell that prints something of its own
 * ends up here, too. */
static int take_version(struct session *s, struct cursor *in)
{
	int32_t version;

	if (codec_get_int(in, &version) < 0)
		return -EAGAIN;
	if (version < 20 || version > PLAUSIBLE_VERSION)
		return session_fail(s, SESSION_FAULT_PROTOCOL, EPROTO,
		                    "the remote side printed something that is not rsync (a shell "
		                    "profile?): \"%s\"",
		                    path_show(session_raw(s)));
	if (version < PROTOCOL_MIN)
		return session_fail(s, SESSION_FAULT_REFUSED, EPROTONOSUPPORT,
		                    "the server speaks protocol %d; lockstep needs %d or newer "
		                    "(rsync 3.0.0)",
		                    version, PROTOCOL_MIN);
	if (version < s->protocol)
		s->protocol = version;
	s->state = SESSION_SETUP;
	return 0;
}

/* A daemon may still refuse in words, when a command of its configuration fails. */
static int take_late_refusal(struct session *s)
{
	struct bytes line;

	if (!session_line(s, 1024, &line))
		return s->state == SESSION_FAILED ? -s->error.code : -EAGAIN;
	if (bytes_starts(line, BYTES("@ERROR: "))) {
		line.p += 8;
		line.n -= 8;
	}
	return session_fail(s, fault_of_refusal(line), EACCES, "the server says: %s",
	                    path_show(line));
}

static int changed_its_mind(struct session *s)
{
	return session_fail(s, SESSION_FAULT_PROTOCOL, EPROTO,
	                    "the server is another one than before: it settles on other things");
}

static int refuse_choice(struct session *s, const char *why)
{
	(void)snprintf(s->refused, sizeof(s->refused), "compress-choice");
	return session_fail(s, SESSION_FAULT_REFUSED, EPROTONOSUPPORT,
	                    "the server refuses --compress-choice: %s", why);
}

/* It exchanges no names. A daemon that is going to refuse one of our letters has read none of those
 * behind it, and settles on less than it could: its refusal follows (2.4 of docs/PROTOCOL.md). */
static int without_names(struct session *s)
{
	bool refuses =
	        s->kind == SESSION_DAEMON && s->protocol >= 31 && !(s->compat & COMPAT_SAFE_LIST);

	s->names_known = true;
	if (s->names_ahead)
		return changed_its_mind(s);
	if (chooses_method(s) && !refuses)
		return refuse_choice(s, "it is older than rsync 3.2");
	if (refuses)
		s->compress = SESSION_COMPRESS_NO;
	return 0;
}

static int take_flags(struct session *s, struct cursor *in)
{
	int rc = codec_get_varint(in, &s->compat);

	if (rc == -EAGAIN)
		return rc;
	if (rc < 0 || (s->compat & ~(uint32_t)COMPAT_KNOWN))
		return session_breach(s, "compatibility flags that were not offered");
	if (s->compat & COMPAT_INC_RECURSE)
		return session_breach(s, "incremental recursion, which was not offered");
	s->flags_known = true;
	s->strong = STRONG_MD5;
	return s->compat & COMPAT_VARINT ? 0 : without_names(s);
}

/* Servers choose by our order or by their own, which their environment may change. So they get only
 * the name that is chosen. It costs nothing: they tell all theirs before they read any. */
static int choose(struct session *s, struct bytes sums, struct bytes methods)
{
	int id = strong_choose(sums);
	bool method = chooses_method(s);

	if (id < 0)
		return session_fail(s, SESSION_FAULT_REFUSED, EPROTONOSUPPORT,
		                    "the server offers no checksum we know: %s", path_show(sums));
	s->strong = (enum strong_id)id;
	if (method)
		s->compress = packer_choose(methods, s->compress);
	if (s->names_ahead)
		return id == s->o.past.checksum && (!method || s->compress == s->o.past.compress)
		               ? 0
		               : changed_its_mind(s);
	put_name(s, strong_table[id].name);
	if (!method)
		return 0;
	if (s->compress == SESSION_COMPRESS_NO)
		return refuse_choice(s, "it lacks the method");
	put_name(s, session_compress_name(s->compress));
	return 0;
}

static int take_names(struct session *s, struct cursor *in)
{
	struct bytes sums, methods = {"", 0};
	int rc = codec_get_vstring(in, NAMES_MAX, &sums);

	if (rc == 0 && chooses_method(s))
		rc = codec_get_vstring(in, NAMES_MAX, &methods);
	if (rc == -EAGAIN)
		return rc;
	if (rc < 0)
		return session_breach(s, "a list of names that is too long");
	rc = choose(s, sums, methods);
	s->names_known = rc == 0;
	return rc;
}

static int take_seed(struct session *s, struct cursor *in)
{
	int32_t seed;

	if (codec_get_int(in, &seed) < 0)
		return -EAGAIN;
	s->seed = (struct sum_seed){(uint32_t)seed, s->compat & COMPAT_SEED_FIRST};
	s->out.framed = true;
	s->state = SESSION_READY;
	return 0;
}

static bool at_refusal(const struct session *s, const struct cursor *in)
{
	/* No set of flags that we could be sent reads as "@". */
	return s->kind == SESSION_DAEMON && !s->flags_known && cursor_left(in) && *in->p == '@';
}

int setup_feed(struct session *s)
{
	while (s->state == SESSION_GREETING || s->state == SESSION_SETUP) {
		struct cursor in = cursor_of(session_raw(s));
		int rc;

		if (s->state == SESSION_GREETING)
			rc = take_version(s, &in);
		else if (at_refusal(s, &in))
			rc = take_late_refusal(s);
		else if (!s->flags_known)
			rc = take_flags(s, &in);
		else if (!s->names_known)
			rc = take_names(s, &in);
		else
			rc = take_seed(s, &in);
		if (rc == -EAGAIN)
			return 0;
		if (rc < 0)
			return rc;
		s->raw_at = s->raw.n - cursor_left(&in);
	}
	return 0;
}
