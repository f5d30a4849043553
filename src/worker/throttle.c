#include "worker/throttle.h"

#define NS_PER_S 1000000000ULL

/* A twentieth of a second in one go looks even to those who watch, and wakes seldom. */
static uint64_t step(const struct throttle *t)
{
	uint64_t n = t->rate / 20;

	return n ? n : 1;
}

void throttle_init(struct throttle *t, uint64_t rate, int64_t now_ns)
{
	t->rate = rate;
	t->burst = rate / 10 ? rate / 10 : 1;
	t->tokens = t->burst;
	t->filled_ns = now_ns;
}

static void fill(struct throttle *t, int64_t now_ns)
{
	uint64_t passed, add;

	if (now_ns <= t->filled_ns)
		return;
	passed = (uint64_t)(now_ns - t->filled_ns);
	if (passed >= NS_PER_S) {
		t->tokens = t->burst;
		t->filled_ns = now_ns;
		return;
	}
	add = (uint64_t)((unsigned __int128)passed * t->rate / NS_PER_S);
	if (add == 0)
		return;
	/* Only the time that became whole bytes is used up, but all of that. */
	t->filled_ns += (int64_t)(((unsigned __int128)add * NS_PER_S + t->rate - 1) / t->rate);
	t->tokens = t->tokens + add > t->burst ? t->burst : t->tokens + add;
}

void throttle_divide(struct throttle *t, size_t writers, int64_t now_ns)
{
	if (t->rate == 0)
		return;
	fill(t, now_ns);
	t->share = t->tokens / (writers ? writers : 1);
	if (t->tokens < step(t))
		t->share = 0;
	else if (t->share == 0)
		t->share = 1;
}

size_t throttle_allowance(const struct throttle *t, size_t spent)
{
	uint64_t left = spent < t->share ? t->share - spent : 0;

	if (t->rate == 0)
		return SIZE_MAX;
	return (size_t)(left < t->tokens ? left : t->tokens);
}

void throttle_spend(struct throttle *t, size_t n)
{
	if (t->rate)
		t->tokens -= n < t->tokens ? n : t->tokens;
}

int64_t throttle_ready_ns(struct throttle *t, int64_t now_ns)
{
	uint64_t missing;

	if (t->rate == 0)
		return now_ns;
	fill(t, now_ns);
	if (t->tokens >= step(t))
		return now_ns;
	missing = step(t) - t->tokens;
	/* Rounded up: at that time the last byte is whole. */
	return t->filled_ns +
	       (int64_t)(((unsigned __int128)missing * NS_PER_S + t->rate - 1) / t->rate);
}
