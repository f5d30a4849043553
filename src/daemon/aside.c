/*
 * aside: see aside.h.
 */
#include <pthread.h>
#include "base/mem.h"
#include "daemon/aside.h"

struct aside {
	struct letter letter;
	struct asides *all;
	aside_fn *work, *done;
	void *arg;
	pthread_t thread;
};

static void *aside_main(void *arg)
{
	struct aside *s = arg;

	s->work(s->arg);
	mailbox_post(s->all->ended, &s->letter);
	return NULL;
}

static void aside_wake(void *arg)
{
	struct asides *a = arg;

	(void)uv_async_send(&a->async);
}

static void aside_ended(uv_async_t *async)
{
	struct asides *a = async->data;
	struct letter *next;

	for (struct letter *l = mailbox_take(a->ended); l; l = next) {
		struct aside *s = container_of(l, struct aside, letter);
		aside_fn *done = s->done;
		void *arg = s->arg;

		next = l->next;
		(void)pthread_join(s->thread, NULL); /* it may still be waking us, no more */
		free(s);
		a->running--;
		done(arg);
	}
}

void asides_init(struct asides *a, uv_loop_t *loop)
{
	*a = (struct asides){.ended = mailbox_new(aside_wake, a)};
	(void)uv_async_init(loop, &a->async, aside_ended);
	a->async.data = a;
}

void asides_close(struct asides *a)
{
	check(a->running == 0);
	uv_close((uv_handle_t *)&a->async, NULL);
}

void asides_done(struct asides *a)
{
	mailbox_free(a->ended, NULL);
}

int aside_run(struct asides *a, aside_fn *work, aside_fn *done, void *arg, struct err *err)
{
	struct aside *s = mem_alloc(sizeof(*s));
	int rc;

	s->all = a;
	s->work = work;
	s->done = done;
	s->arg = arg;
	/* The thread does not read its own number, and the letter comes to this one. */
	rc = pthread_create(&s->thread, NULL, aside_main, s);
	if (rc) {
		free(s);
		return err_errno(err, rc, "cannot start a thread");
	}
	a->running++;
	return 0;
}
