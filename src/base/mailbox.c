#include "base/mailbox.h"

#include <pthread.h>
#include <time.h>

#include "base/fd.h"
#include "base/mem.h"

struct mailbox {
	pthread_mutex_t lock;
	pthread_cond_t filled; /* used without a wake function */
	mailbox_wake_fn *wake;
	void *wake_arg;
	struct letter *first, **last;
};

struct mailbox *mailbox_new(mailbox_wake_fn *wake, void *arg)
{
	struct mailbox *box = mem_alloc(sizeof(*box));
	pthread_condattr_t attr;

	check(pthread_mutex_init(&box->lock, NULL) == 0);
	check(pthread_condattr_init(&attr) == 0);
	check(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	check(pthread_cond_init(&box->filled, &attr) == 0);
	(void)pthread_condattr_destroy(&attr);
	box->wake = wake;
	box->wake_arg = arg;
	box->last = &box->first;
	return box;
}

void mailbox_free(struct mailbox *box, void (*drop)(struct letter *))
{
	if (!box)
		return;
	for (struct letter *l = mailbox_take(box), *next; l; l = next) {
		next = l->next;
		if (drop)
			drop(l);
		else
			free(l);
	}
	(void)pthread_cond_destroy(&box->filled);
	(void)pthread_mutex_destroy(&box->lock);
	free(box);
}

void mailbox_post(struct mailbox *box, struct letter *letter)
{
	letter->next = NULL;
	check(pthread_mutex_lock(&box->lock) == 0);
	bool was_empty = !box->first;

	*box->last = letter;
	box->last = &letter->next;
	if (was_empty && !box->wake)
		(void)pthread_cond_signal(&box->filled);
	(void)pthread_mutex_unlock(&box->lock);
	if (was_empty && box->wake)
		box->wake(box->wake_arg);
}

struct letter *mailbox_take(struct mailbox *box)
{
	check(pthread_mutex_lock(&box->lock) == 0);
	struct letter *all = box->first;

	box->first = NULL;
	box->last = &box->first;
	(void)pthread_mutex_unlock(&box->lock);
	return all;
}

/* A condition variable cannot wait on CLOCK_BOOTTIME. In steps of an hour, a deadline that passes
 * while the machine sleeps is noticed at most that late, and nobody is woken to look at the clock.
 */
static struct timespec next_step(int64_t left_ns)
{
	struct timespec until;
	const int64_t second_ns = 1000000000, most_ns = 3600 * second_ns;
	int64_t step_ns = left_ns < most_ns ? left_ns : most_ns;

	check(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
	until.tv_sec += step_ns / second_ns;
	until.tv_nsec += (long)(step_ns % second_ns);
	if (until.tv_nsec >= second_ns) {
		until.tv_sec++;
		until.tv_nsec -= second_ns;
	}
	return until;
}

bool mailbox_wait(struct mailbox *box, int64_t deadline_ns)
{
	check(!box->wake);
	check(pthread_mutex_lock(&box->lock) == 0);
	while (!box->first) {
		if (deadline_ns == INT64_MAX) {
			(void)pthread_cond_wait(&box->filled, &box->lock);
			continue;
		}
		int64_t now_ns = clock_boot_ns();

		if (now_ns >= deadline_ns)
			break;
		struct timespec until = next_step(deadline_ns - now_ns);

		(void)pthread_cond_timedwait(&box->filled, &box->lock, &until);
	}
	bool filled = box->first != NULL;

	(void)pthread_mutex_unlock(&box->lock);
	return filled;
}
