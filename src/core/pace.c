#include "core/pace.h"

#include "base/mem.h"

#define SECOND_NS INT64_C(1000000000)

const char *trouble_word(enum trouble t)
{
	switch (t) {
	case TROUBLE_NONE:
		return "none";
	case TROUBLE_UNREACHABLE:
		return "unreachable";
	case TROUBLE_BUSY:
		return "busy";
	case TROUBLE_LOGIN:
		return "login";
	case TROUBLE_READONLY:
		return "read-only";
	case TROUBLE_FULL:
		return "full";
	case TROUBLE_MISSING:
		return "missing";
	case TROUBLE_TIMEOUT:
		return "timeout";
	case TROUBLE_PROTOCOL:
		return "protocol";
	case TROUBLE_REFUSED:
		return "refused";
	case TROUBLE_LOCAL:
		return "local";
	case TROUBLE_KINDS:
		break;
	}
	return "unknown";
}

const char *trouble_step(enum trouble t)
{
	switch (t) {
	case TROUBLE_BUSY:
		return "The target's `max connections` are used up: raise it if this lasts.";
	case TROUBLE_LOGIN:
		return "`lockstep check` tries the login and says what to look at.";
	case TROUBLE_READONLY:
		return "It has to be writable: `read only = no`, and a file system that is.";
	case TROUBLE_MISSING:
		return "Mount or create the directory at the target.";
	case TROUBLE_REFUSED:
		return "Take that option out of `refuse options` at the target, or update its "
		       "rsync.";
	case TROUBLE_NONE:
	case TROUBLE_UNREACHABLE:
	case TROUBLE_FULL:
	case TROUBLE_TIMEOUT:
	case TROUBLE_PROTOCOL:
	case TROUBLE_LOCAL:
	case TROUBLE_KINDS:
		break;
	}
	return "";
}

bool trouble_is_break(enum trouble t)
{
	return t == TROUBLE_PROTOCOL || t == TROUBLE_UNREACHABLE || t == TROUBLE_TIMEOUT;
}

struct retry {
	int first_s, last_s;
};

/* Trouble that only a person ends is retried slowly from the start, so that it does not feed log
 * files and address bans at the target. */
static struct retry retry_of(enum trouble t)
{
	switch (t) {
	case TROUBLE_LOGIN:
	case TROUBLE_REFUSED:
		return (struct retry){300, 300};
	case TROUBLE_READONLY:
	case TROUBLE_MISSING:
		return (struct retry){30, 60};
	case TROUBLE_FULL:
		return (struct retry){10, 60};
	case TROUBLE_NONE:
	case TROUBLE_UNREACHABLE:
	case TROUBLE_BUSY:
	case TROUBLE_TIMEOUT:
	case TROUBLE_PROTOCOL:
	case TROUBLE_LOCAL:
	case TROUBLE_KINDS:
		break;
	}
	return (struct retry){1, 60};
}

int64_t pace_backoff_ns(enum trouble t, unsigned failures, uint32_t random)
{
	struct retry r = retry_of(t);
	int64_t s = r.first_s, span_ns;

	check(failures >= 1);
	while (--failures > 0 && s < r.last_s)
		s *= 2;
	if (s > r.last_s)
		s = r.last_s;
	span_ns = s * SECOND_NS / 2;
	return s * SECOND_NS / 4 * 3 + (span_ns >> 16) * (int64_t)(random >> 16);
}
