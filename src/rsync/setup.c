/* Version, compatibility flags, checksum names and seed: all that is settled before the list. */
#include "rsync/session_internal.h"

#include <errno.h>
#include "base/mem.h"
#include "base/path.h"
#include "rsync/fault.h"

#define NAMES_MAX         255
#define PLAUSIBLE_VERSION 40

void setup_start_pipe(struct session *s)
{
	mux_out_int(&s->out, s->protocol);
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

static int take_flags(struct session *s, struct cursor *in)
{
	int rc = codec_get_varint(in, &s->compat);
	struct buf names, b;

	if (rc == -EAGAIN)
		return rc;
	if (rc < 0 || (s->compat & ~(uint32_t)COMPAT_KNOWN))
		return session_breach(s, "compatibility flags that were not offered");
	if (s->compat & COMPAT_INC_RECURSE)
		return session_breach(s, "incremental recursion, which was not offered");
	s->flags_known = true;
	s->strong = STRONG_MD5;
	if (!(s->compat & COMPAT_VARINT)) {
		s->names_known = true;
		return 0;
	}
	buf_init(&names, NAMES_MAX);
	buf_init(&b, 2 * NAMES_MAX);
	strong_names(&names);
	codec_put_vstring(&b, buf_bytes(&names));
	mux_out_data(&s->out, buf_bytes(&b));
	buf_done(&names);
	buf_done(&b);
	return 0;
}

/* Servers choose by our order or by their own; ours is the order of theirs, so that the first
 * common name is the same either way. */
static int take_names(struct session *s, struct cursor *in)
{
	struct bytes names;
	int rc = codec_get_vstring(in, NAMES_MAX, &names), id;

	if (rc == -EAGAIN)
		return rc;
	if (rc < 0)
		return session_breach(s, "a checksum list that is too long");
	id = strong_choose(names);
	if (id < 0)
		return session_fail(s, SESSION_FAULT_REFUSED, EPROTONOSUPPORT,
		                    "the server offers no checksum we know: %s", path_show(names));
	s->strong = (enum strong_id)id;
	s->names_known = true;
	return 0;
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
