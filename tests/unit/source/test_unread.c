/* What nobody could look at, and what a barrier says of it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/mem.h"
#include "live.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(path_that_is_too_long_is_not_confirmed),
	        cmocka_unit_test(directory_whose_path_becomes_too_long_counts_until_it_is_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
