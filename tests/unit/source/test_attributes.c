/* Extended attributes and ACLs are in no fingerprint: what tells a job of them that keeps them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "live.h"
#include "source/inside.h"

static void set(struct live *l, const char *path, const char *value)
{
	if (setxattr(at(l, path), "user.test", value, strlen(value), 0) == 0)
		return;
	if (errno != EOPNOTSUPP)
		fail_msg("%s: %s", path, strerror(errno));
	print_message("# SKIPPED: no extended attributes in %s\n", l->root);
	live_stop(l);
	skip();
}

static void assert_meta(struct live *l, const char *path, unsigned flags)
{
	const struct mark *m = live_mark(l, path);

	assert_non_null(m);
	assert_int_equal(m->action, MARK_META);
	assert_int_equal(m->flags & MARK_DIR, flags);
}

static void attribute_that_is_set_marks_its_entry(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	l.attributes = true;
	make(&l, "d");
	put(&l, "d/f", "1");
	live_start(&l);
	live_settle(&l);
	for (int i = 0; i < 3; i++) {
		char value[] = {(char)('a' + i), '\0'};

		live_forget(&l);
		set(&l, "d", value);
		set(&l, "d/f", value);
		set(&l, "", value);
		live_settle(&l);
		assert_meta(&l, "d", MARK_DIR);
		assert_meta(&l, "d/f", 0);
		assert_meta(&l, "", MARK_DIR);
	}
	live_forget(&l);
	live_audit(&l);
	/* The model knows nothing of the root. */
	assert_null(live_mark(&l, "d"));
	assert_null(live_mark(&l, "d/f"));
	live_stop(&l);
}

/* Its inode has no other trace of it. */
static void job_without_attributes_leaves_directories_alone(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	make(&l, "d");
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	set(&l, "d", "1");
	live_settle(&l);
	assert_int_equal(l.nmarks, 0);
	live_stop(&l);
}

static void crawl_finds_a_directory_whose_attributes_changed_unseen(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	l.attributes = true;
	make(&l, "d");
	make(&l, "same");
	live_start(&l);
	live_settle(&l);
	live_end(&l);
	live_forget(&l);
	set(&l, "d", "1");
	live_start(&l);
	live_settle(&l);
	assert_meta(&l, "d", MARK_DIR);
	assert_null(live_mark(&l, "same"));
	live_stop(&l);
}

static void second_change_within_a_tick_is_believed(void **state)
{
	struct belief b = {LEDGER_CONFIRMED, {.mode = S_IFREG | 0644, .ctime_ns = 5, .ino = 7}};
	struct fingerprint seen = b.fp;
	struct source *s = calloc(1, sizeof(*s));

	(void)state;
	assert_non_null(s);
	assert_false(compare_attributes(s, 0, &b, &seen, BACKLOG_META, true));
	s->attributes[0] = true;
	assert_true(compare_attributes(s, 0, &b, &seen, BACKLOG_META, true));
	assert_false(compare_attributes(s, 0, &b, &seen, BACKLOG_META, false));
	assert_false(compare_attributes(s, 0, &b, &seen, 0, true));
	assert_false(compare_attributes(s, 1, &b, &seen, BACKLOG_META, true));
	seen.ctime_ns++;
	assert_true(compare_attributes(s, 0, &b, &seen, 0, false));
	b.state = LEDGER_INTENDED;
	assert_false(compare_attributes(s, 0, &b, &seen, 0, false));
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(attribute_that_is_set_marks_its_entry),
	        cmocka_unit_test(job_without_attributes_leaves_directories_alone),
	        cmocka_unit_test(crawl_finds_a_directory_whose_attributes_changed_unseen),
	        cmocka_unit_test(second_change_within_a_tick_is_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
