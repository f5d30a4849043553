/*
 * link_time: how long a link waits, for what, and when it has to be looked at again (I14).
 */
#include "worker/link.h"

#include <sys/stat.h>

#define NS_PER_S 1000000000LL
/* On top of the time after which the server itself gives up: its word comes first. */
#define PATIENCE_MARGIN_S 10
#define TIMEOUT_DEFAULT_S 30
#define KEEPALIVE_MAX_S   20
/* A receiver that compares, flushes or only hashes sends nothing else but empty frames meanwhile;
 * so does one that waits for ever. */
#define LULL_S           600
#define LULL_BYTES_PER_S (4u << 20) /* of all that was listed: a disk that is slow and busy */
#define LULL_SPARE_MAX_S (7 * 86400)
/* Small files, of which one after the other is told: a disk that takes longer for one gets it
 * twice. */
#define UNASKED_S 10

int64_t link_timeout_ns(const struct link *l)
{
	unsigned s = l->env->setup.options.timeout_s;

	return (s ? s : TIMEOUT_DEFAULT_S) * NS_PER_S;
}

/* Silence after which a running batch is given up: later than the server would, whose word for it
 * is better than ours. */
static int64_t patience_ns(const struct link *l)
{
	int64_t asked = l->env->setup.idle_timeout_s * NS_PER_S;
	int64_t least = link_timeout_ns(l) + PATIENCE_MARGIN_S * NS_PER_S;

	return asked > least ? asked : least;
}

int64_t link_lull_spare_ns(const struct manifest *list)
{
	static const uint64_t max = (uint64_t)LULL_SPARE_MAX_S * LULL_BYTES_PER_S;
	uint64_t bytes = 0;

	for (size_t i = 0; i < list->count && bytes < max; i++) {
		uint64_t size = S_ISREG(list->entries[i].mode) ? list->entries[i].size : 0;

		bytes += size < max ? size : max;
	}
	return (int64_t)((bytes < max ? bytes : max) / LULL_BYTES_PER_S) * NS_PER_S;
}

void link_progress(struct link *l, int64_t now_ns)
{
	if (l->state != LINK_CARRYING)
		return;
	l->deadline_ns = now_ns + patience_ns(l);
	l->lull_ns = l->deadline_ns + LULL_S * NS_PER_S + l->lull_spare_ns;
	l->unasked_ns = now_ns + UNASKED_S * NS_PER_S;
}

bool link_waits_for_unasked(const struct link *l)
{
	return l->state == LINK_CARRYING && session_unasked(l->session) && l->supply.fd < 0 &&
	       session_output_pending(l->session) == 0;
}

void link_kept_alive(struct link *l, int64_t now_ns)
{
	int64_t until_ns = now_ns + patience_ns(l);

	if (until_ns > l->lull_ns)
		until_ns = l->lull_ns;
	if (l->state == LINK_CARRYING && until_ns > l->deadline_ns)
		l->deadline_ns = until_ns;
}

/* The silence after which the server would hang up decides when an empty frame is due. */
void link_wrote(struct link *l, int64_t now_ns)
{
	unsigned limit = session_peer_timeout_s(l->session), own = l->env->setup.options.timeout_s;
	int64_t interval_ns = KEEPALIVE_MAX_S * NS_PER_S;

	if (own && (limit == 0 || own < limit))
		limit = own;
	if (limit && limit * NS_PER_S / 3 < interval_ns)
		interval_ns = limit * NS_PER_S / 3;
	l->keepalive_ns = limit == 0 && l->pipe ? INT64_MAX : now_ns + interval_ns;
	/* A frozen peer's buffers take empty frames for hours. */
	if (!l->only_keepalive)
		link_progress(l, now_ns);
	l->only_keepalive = false;
}

bool link_keeps_alive(const struct link *l)
{
	return l->state == LINK_IDLE || l->state == LINK_CARRYING;
}

int64_t link_wake_ns(const struct link *l)
{
	int64_t at_ns = l->deadline_ns;

	if (link_keeps_alive(l) && l->keepalive_ns < at_ns)
		at_ns = l->keepalive_ns;
	if (link_waits_for_unasked(l) && l->unasked_ns < at_ns)
		at_ns = l->unasked_ns;
	if (l->cargo && l->cargo->answers_n && l->report_ns < at_ns)
		at_ns = l->report_ns;
	return at_ns;
}
