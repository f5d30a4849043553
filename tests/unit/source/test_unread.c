/* What nobody could look at, and what a barrier says of it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/mem.h"
#include "live.h"
#include "source/inside.h"
#include "source/listing.h"

/* A chain of directories whose path has just room enough for the model, and for one short name. */
enum { CHAIN = 16, LINK_BYTES = 250, NAME_BYTES = 200 };

struct chain {
	char path[CHAIN * (LINK_BYTES + 1)];
	char name[NAME_BYTES + 1]; /* too long in there */
	int fd;                    /* the innermost directory */
};

static void chain_make(struct chain *c, struct live *l)
{
	size_t n = 0;

	memset(c->name, 'n', NAME_BYTES);
	c->name[NAME_BYTES] = '\0';
	for (int i = 0; i < CHAIN; i++) {
		if (i)
			c->path[n++] = '/';
		memset(c->path + n, 'a' + i, LINK_BYTES);
		n += LINK_BYTES;
		c->path[n] = '\0';
		make(l, c->path);
	}
	c->fd = open(at(l, c->path), O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(c->fd >= 0);
}

static void chain_put(const struct chain *c, const char *name)
{
	int fd = openat(c->fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
}

static void path_that_is_too_long_is_not_confirmed(void **state)
{
	static const char *const exclude[] = {"*.tmp", NULL};
	struct live l;
	struct chain c;
	char name[NAME_BYTES + 8];

	(void)state;
	live_init(&l, exclude);
	chain_make(&c, &l);
	chain_put(&c, c.name);
	(void)snprintf(name, sizeof(name), "%s.tmp", c.name);
	chain_put(&c, name);
	live_start(&l);
	live_settle(&l);
	assert_int_equal(l.unreadable, 1);
	assert_non_null(strstr(l.text, "1 entries cannot be replicated: path too long (aaa"));
	live_forget(&l);
	(void)snprintf(name, sizeof(name), "%s2", c.name);
	chain_put(&c, name);
	live_settle(&l);
	assert_int_equal(l.unreadable, 2);
	assert_int_equal(live_mark(&l, c.path)->action, MARK_META); /* its time */
	live_audit(&l);
	assert_int_equal(l.unreadable, 2);
	assert_int_equal(unlinkat(c.fd, name, 0), 0);
	assert_int_equal(unlinkat(c.fd, c.name, 0), 0);
	live_settle(&l);
	assert_int_equal(l.unreadable, 0);
	assert_int_equal(l.text[0], '\0');
	(void)snprintf(name, sizeof(name), "%s.tmp", c.name);
	assert_int_equal(unlinkat(c.fd, name, 0), 0);
	live_settle(&l);
	live_assert_equal(&l);
	assert_int_equal(close(c.fd), 0);
	live_stop(&l);
}

/* What is below it keeps its watches, and nothing else of the tree is in doubt. */
static void directory_whose_path_becomes_too_long_counts_until_it_is_short(void **state)
{
	struct live l;
	struct chain c;
	char top[LINK_BYTES + 1] = "";

	(void)state;
	live_init(&l, NULL);
	chain_make(&c, &l);
	memcpy(top, c.path, LINK_BYTES);
	move(&l, top, "short");
	assert_int_equal(mkdirat(c.fd, c.name, 0755), 0);
	autoclose int fd = openat(c.fd, c.name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(fd, "sub", 0755), 0);
	live_start(&l);
	live_settle(&l);
	assert_int_equal(l.unreadable, 0);
	live_assert_equal(&l);
	move(&l, "short", top);
	live_settle(&l);
	assert_int_equal(l.unreadable, 1);
	assert_int_equal(mkdirat(fd, "sub/new", 0755), 0);
	live_settle(&l);
	assert_int_equal(l.unreadable, 1);
	assert_null(strstr(l.text, "cannot be read"));
	move(&l, top, "short");
	live_settle(&l);
	assert_int_equal(l.unreadable, 0);
	live_assert_equal(&l);
	assert_int_equal(close(c.fd), 0);
	live_stop(&l);
}

static struct stat removed;
static _Atomic(struct live *) removing; /* until that is done */

int __real_listing_read(struct listing *l, int dirfd);
int __wrap_listing_read(struct listing *l, int dirfd);

/* The directory is removed when it has been opened, and nobody hears of that. */
int __wrap_listing_read(struct listing *l, int dirfd)
{
	struct live *live = atomic_load(&removing);
	struct stat st;

	if (live && fstat(dirfd, &st) == 0 && st.st_ino == removed.st_ino) {
		source_test_stall(live->source, true);
		drop(live, "d");
		atomic_store(&removing, NULL);
	}
	return __real_listing_read(l, dirfd);
}

static void directory_removed_before_it_is_listed_is_not_unreadable(void **state)
{
	struct live l;
	char out[128];

	(void)state;
	live_init(&l, NULL);
	put(&l, "stays", "1");
	live_start(&l);
	live_settle(&l);
	(void)snprintf(out, sizeof(out), "%s/d", l.outside);
	make(&l, out);
	assert_int_equal(stat(out, &removed), 0);
	atomic_store(&removing, &l);
	move(&l, out, "d");
	while (atomic_load(&removing))
		live_await_looked(&l, (source_look(l.source, 0, ++l.token, NULL, 0), l.token));
	/* What was said when it was met. */
	live_await_looked(&l, (source_look(l.source, 0, ++l.token, NULL, 0), l.token));
	assert_int_equal(l.text[0], '\0');
	source_test_stall(l.source, false);
	live_settle(&l);
	assert_int_equal(l.unreadable, 0);
	live_assert_equal(&l);
	live_stop(&l);
}

/* In a tree where something new is always found it would let nobody go else. */
static void barrier_waits_for_what_became_readable_and_not_for_what_came_after(void **state)
{
	struct mark after = {.path = BYTES("wide"), .scope = MARK_SUBTREE, .action = MARK_CONTENT};
	struct live l;
	struct chain c;
	uint64_t token;

	(void)state;
	live_init(&l, NULL);
	chain_make(&c, &l);
	chain_put(&c, c.name);
	make(&l, "wide");
	make(&l, "wide/sub");
	live_start(&l);
	live_settle(&l);
	assert_int_equal(l.unreadable, 1);
	source_set_room(l.source, 0); /* no crawl goes on */
	source_look(l.source, 0, ++l.token, NULL, 0);
	live_await_looked(&l, l.token);
	make(&l, "before");
	live_await_mark(&l, "before", MARK_META);
	source_want_barrier(l.source, token = ++l.token);
	put(&l, "asked", "1");
	live_await_mark(&l, "asked", MARK_QUICK);
	live_forget(&l);
	assert_int_equal(unlinkat(c.fd, c.name, 0), 0);
	live_await_mark(&l, c.path, MARK_META); /* it is known to be gone */
	(void)pthread_mutex_lock(&l.source->lock);
	after.born = l.source->drain + 1;
	(void)pthread_mutex_unlock(&l.source->lock);
	put(&l, "later", "1");
	live_await_mark(&l, "later", MARK_QUICK);
	source_look(l.source, 0, ++l.token, &after, 1);
	source_set_room(l.source, 1); /* enough for the crawl of before/, not for all of wide/ */
	live_await_barrier(&l, token);
	assert_int_equal(l.unreadable, 0);
	source_set_room(l.source, SIZE_MAX);
	live_settle(&l);
	live_assert_equal(&l);
	assert_int_equal(close(c.fd), 0);
	live_stop(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(path_that_is_too_long_is_not_confirmed),
	        cmocka_unit_test(directory_whose_path_becomes_too_long_counts_until_it_is_short),
	        cmocka_unit_test(directory_removed_before_it_is_listed_is_not_unreadable),
	        cmocka_unit_test(
	                barrier_waits_for_what_became_readable_and_not_for_what_came_after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
