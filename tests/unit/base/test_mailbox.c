#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <time.h>

#include "base/fd.h"
#include "base/mailbox.h"
#include "base/mem.h"

enum { POSTERS = 4, LETTERS = 5000 };

struct numbered {
	struct letter head;
	int poster, number;
};

static void post_numbered(struct mailbox *box, int poster, int number)
{
	struct numbered *n = mem_alloc(sizeof(*n));

	n->poster = poster;
	n->number = number;
	mailbox_post(box, &n->head);
}

static void count_wake(void *arg)
{
	(*(int *)arg)++;
}

static void mailbox_take_gives_letters_in_order(void **state)
{
	struct mailbox *box = mailbox_new(NULL, NULL);

	(void)state;
	assert_null(mailbox_take(box));
	for (int i = 0; i < 3; i++)
		post_numbered(box, 0, i);
	struct letter *l = mailbox_take(box);
	for (int i = 0; i < 3; i++) {
		struct letter *next = l->next;

		assert_int_equal(container_of(l, struct numbered, head)->number, i);
		free(l);
		l = next;
	}
	assert_null(l);
	assert_null(mailbox_take(box));
	mailbox_free(box, NULL);
}

static void mailbox_post_wakes_only_when_empty_before(void **state)
{
	int wakes = 0;
	struct mailbox *box = mailbox_new(count_wake, &wakes);

	(void)state;
	post_numbered(box, 0, 0);
	post_numbered(box, 0, 1);
	assert_int_equal(wakes, 1);
	for (struct letter *l = mailbox_take(box), *next; l; l = next) {
		next = l->next;
		free(l);
	}
	post_numbered(box, 0, 2);
	assert_int_equal(wakes, 2);
	mailbox_free(box, NULL);
}

static int dropped;

static void drop_counted(struct letter *l)
{
	dropped++;
	free(l);
}

static void mailbox_free_gives_leftovers_to_drop(void **state)
{
	struct mailbox *box = mailbox_new(NULL, NULL);

	(void)state;
	dropped = 0;
	post_numbered(box, 0, 0);
	post_numbered(box, 0, 1);
	mailbox_free(box, drop_counted);
	assert_int_equal(dropped, 2);
	mailbox_free(NULL, NULL);
}

static struct mailbox *waited; /* gets a letter in place of a wait */
static int64_t asked_ns;

int __wrap_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *at);
int __real_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *at);

int __wrap_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *at)
{
	struct timespec now;

	if (!waited)
		return __real_pthread_cond_timedwait(c, m, at);
	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
	asked_ns = (at->tv_sec - now.tv_sec) * 1000000000LL + at->tv_nsec - now.tv_nsec;
	assert_int_equal(pthread_mutex_unlock(m), 0);
	mailbox_post(waited, mem_alloc(sizeof(struct letter)));
	assert_int_equal(pthread_mutex_lock(m), 0);
	return 0;
}

/* Whoever waits for a day must not be woken each second to look at the clock. */
static void mailbox_wait_for_long_is_one_wait(void **state)
{
	const int64_t minute_ns = 60 * 1000000000LL;

	(void)state;
	waited = mailbox_new(NULL, NULL);
	assert_true(mailbox_wait(waited, clock_boot_ns() + 10 * minute_ns));
	assert_true(asked_ns > 9 * minute_ns);
	mailbox_free(waited, NULL);
	waited = NULL;
}

static void mailbox_wait_past_deadline_returns_state(void **state)
{
	struct mailbox *box = mailbox_new(NULL, NULL);

	(void)state;
	assert_false(mailbox_wait(box, clock_boot_ns() - 1));
	assert_false(mailbox_wait(box, clock_boot_ns() + 1000000));
	post_numbered(box, 0, 0);
	assert_true(mailbox_wait(box, 0));
	assert_true(mailbox_wait(box, INT64_MAX));
	mailbox_free(box, NULL);
}

struct poster {
	struct mailbox *box;
	int id;
};

static void *post_many(void *arg)
{
	const struct poster *p = arg;

	for (int i = 0; i < LETTERS; i++)
		post_numbered(p->box, p->id, i);
	return NULL;
}

static void mailbox_many_posters_nothing_lost_each_in_order(void **state)
{
	struct mailbox *box = mailbox_new(NULL, NULL);
	struct poster posters[POSTERS];
	pthread_t threads[POSTERS];
	int expected[POSTERS] = {0}, seen = 0;

	(void)state;
	for (int i = 0; i < POSTERS; i++) {
		posters[i] = (struct poster){box, i};
		assert_int_equal(pthread_create(&threads[i], NULL, post_many, &posters[i]), 0);
	}
	while (seen < POSTERS * LETTERS) {
		assert_true(mailbox_wait(box, INT64_MAX));
		for (struct letter *l = mailbox_take(box), *next; l; l = next) {
			struct numbered *n = container_of(l, struct numbered, head);

			next = l->next;
			assert_int_equal(n->number, expected[n->poster]);
			expected[n->poster]++;
			seen++;
			free(n);
		}
	}
	for (int i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_null(mailbox_take(box));
	mailbox_free(box, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(mailbox_take_gives_letters_in_order),
	        cmocka_unit_test(mailbox_post_wakes_only_when_empty_before),
	        cmocka_unit_test(mailbox_free_gives_leftovers_to_drop),
	        cmocka_unit_test(mailbox_wait_for_long_is_one_wait),
	        cmocka_unit_test(mailbox_wait_past_deadline_returns_state),
	        cmocka_unit_test(mailbox_many_posters_nothing_lost_each_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
