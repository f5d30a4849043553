#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/mem.h"
#include "source/inside.h"
#include "live.h"

static void existing_tree_is_found_by_the_first_crawl(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	make(&l, "d");
	make(&l, "d/e");
	put(&l, "d/e/f", "one");
	put(&l, "g", "two");
	assert_int_equal(symlink("g", at(&l, "s")), 0);
	live_start(&l);
	live_settle(&l);
	live_assert_equal(&l);
	assert_int_equal(live_mark(&l, "d/e/f")->action, MARK_QUICK);
	assert_int_equal(live_mark(&l, "d")->flags, MARK_DIR | MARK_FRESH);
	assert_int_equal(live_mark(&l, "d/e/f")->size, 3);
	live_forget(&l);
	assert_int_equal(l.progress.entries, 5);
	live_audit(&l);
	assert_int_equal(l.progress.dirs, 3);
	assert_int_equal(l.progress.entries, 5);
	assert_int_equal(l.nmarks, 1); /* the root itself, which the model does not confirm */
	live_stop(&l);
}

static void changes_become_the_right_marks(void **state)
{
	struct live l;
	struct timespec times[2];
	struct stat st;

	(void)state;
	live_init(&l, NULL);
	l.config.store_wait_ns = 1;
	put(&l, "keep", "k");
	live_start(&l);
	live_settle(&l);
	live_forget(&l);

	/* Not carried out at first: a hot mark that was would leave nothing to say at the close. */
	l.apply = false;
	put(&l, "a", "12345");
	live_barrier(&l);
	assert_non_null(live_mark(&l, "a"));
	assert_false(live_mark(&l, "a")->flags & MARK_HOT);
	l.apply = true;
	live_audit(&l);
	live_assert_equal(&l);
	live_forget(&l);

	assert_int_equal(chmod(at(&l, "a"), 0600), 0);
	live_settle(&l);
	assert_int_equal(live_mark(&l, "a")->action, MARK_META);
	assert_int_equal(live_mark(&l, "a")->size, 0);
	live_forget(&l);

	/* Same size, and the time put back: only the event tells. */
	assert_int_equal(stat(at(&l, "a"), &st), 0);
	put(&l, "a", "54321");
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	assert_int_equal(utimensat(AT_FDCWD, at(&l, "a"), times, 0), 0);
	live_settle(&l);
	live_assert_equal(&l);
	live_forget(&l);

	assert_int_equal(truncate(at(&l, "a"), 2), 0);
	live_settle(&l);
	assert_int_equal(live_mark(&l, "a")->action, MARK_QUICK);
	assert_false(live_mark(&l, "a")->flags & MARK_HOT);
	live_forget(&l);

	int fd = open(at(&l, "a"), O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	live_settle(&l);
	/* Nothing to send; only a mark that waited for the close would be concerned. */
	for (size_t i = 0; i < l.nmarks; i++)
		assert_true(l.marks[i].flags & MARK_IF_PENDING);
	live_forget(&l);

	drop(&l, "a");
	live_settle(&l);
	assert_int_equal(live_mark(&l, "a")->action, MARK_DELETE);
	live_assert_equal(&l);
	live_stop(&l);
}

/* A store through a mapping raises no other event, and may have landed after it was read. */
static void file_changed_lately_is_compared_by_content_when_a_writer_closes_it(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	put(&l, "a", "1");
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	int fd = open(at(&l, "a"), O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	live_settle(&l);
	assert_non_null(live_mark(&l, "a"));
	assert_int_equal(live_mark(&l, "a")->action, MARK_CONTENT);
	assert_true(live_mark(&l, "a")->flags & MARK_SIGHT);
	live_stop(&l);
}

static void open_writer_makes_the_mark_hot(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	put(&l, "a", "1");
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	int fd = open(at(&l, "a"), O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(fd_write_full(fd, "2", 1), 0);
	/* Not by a barrier: that looks at what is open, too, but at nothing as hot. */
	live_await_mark(&l, "a", MARK_QUICK);
	assert_true(live_mark(&l, "a")->flags & MARK_HOT);
	assert_true(live_mark(&l, "a")->flags & MARK_GREW);
	live_settle(&l);
	live_forget(&l);
	assert_int_equal(close(fd), 0);
	live_settle(&l);
	/* Nothing was written since the hot mark was carried out. */
	assert_true(!live_mark(&l, "a") || !(live_mark(&l, "a")->flags & MARK_HOT));
	live_assert_equal(&l);
	live_stop(&l);
}

static void file_open_for_writing_is_looked_at_until_it_is_closed(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	l.config.hot_period_ns = 1000000;
	live_start(&l);
	live_settle(&l);
	/* What is written to it is told under a name that it never had. */
	int fd = open(l.root, O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
	autofree char *magic = mem_printf("/proc/self/fd/%d", fd);

	assert_true(fd >= 0);
	assert_int_equal(linkat(AT_FDCWD, magic, AT_FDCWD, at(&l, "linked"), AT_SYMLINK_FOLLOW), 0);
	live_await_mark(&l, "linked", MARK_QUICK);
	live_settle(&l);
	for (int i = 1; i <= 3; i++) {
		live_forget(&l);
		assert_int_equal(fd_write_full(fd, "more", 4), 0);
		live_await_mark(&l, "linked", MARK_QUICK);
		assert_int_equal(live_mark(&l, "linked")->size, 4 * i);
		assert_true(live_mark(&l, "linked")->flags & MARK_HOT);
	}
	live_forget(&l);
	assert_int_equal(fd_write_full(fd, "last", 4), 0);
	assert_int_equal(close(fd), 0);
	live_await_mark(&l, "linked", MARK_QUICK);
	live_settle(&l);
	live_assert_equal(&l);
	live_stop(&l);
}

static void file_mapped_for_writing_is_looked_at(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	l.config.hot_period_ns = 1000000;
	live_start(&l);
	live_settle(&l);
	int fd = open(at(&l, "mapped"), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	live_await_mark(&l, "mapped", MARK_QUICK);
	live_settle(&l);
	live_forget(&l);
	p[0] = 'x'; /* raises no event */
	live_await_mark(&l, "mapped", MARK_QUICK);
	assert_int_equal(munmap(p, 4096), 0);
	assert_int_equal(close(fd), 0);
	live_settle(&l);
	live_assert_equal(&l);
	live_stop(&l);
}

/* As if the kernel had told of it before it was done, as Linux 5.3 to 5.6 do. */
static void name_that_is_there_after_its_removal_is_looked_at_again(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	put(&l, "a", "1");
	put(&l, "stays", "1");
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	(void)pthread_mutex_lock(&l.source->lock);
	backlog_put(l.source->filling, dirtab_wd(l.source->dirs, DIRTAB_ROOT), BYTES("a"),
	            BACKLOG_GONE, l.source->drain, clock_boot_ns());
	(void)pthread_mutex_unlock(&l.source->lock);
	live_barrier(&l);
	assert_non_null(live_mark(&l, "a"));
	assert_int_equal(live_mark(&l, "a")->action, MARK_LOOK);
	drop(&l, "a");
	live_settle(&l);
	live_assert_equal(&l);
	live_stop(&l);
}

static void large_subtree_that_goes_leaves_when_there_is_room(void **state)
{
	enum { DIRS = 40, FILES = 50 };
	struct live l;
	size_t deleted = 0;
	char name[64], away[128];

	(void)state;
	live_init(&l, NULL);
	put(&l, "stays", "1");
	make(&l, "top");
	for (int i = 0; i < DIRS; i++) {
		(void)snprintf(name, sizeof(name), "top/d%d", i);
		make(&l, name);
		for (int k = 0; k < FILES; k++) {
			(void)snprintf(name, sizeof(name), "top/d%d/f%d", i, k);
			put(&l, name, "1");
		}
	}
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	l.apply = false;
	source_set_room(l.source, 0);
	(void)snprintf(away, sizeof(away), "%s/top", l.outside);
	assert_int_equal(rename(at(&l, "top"), away), 0);
	live_await_mark(&l, "top/d0/f0", MARK_DELETE);
	live_await_looked(&l, (source_look(l.source, 0, ++l.token, NULL, 0), l.token));
	assert_true(l.nmarks <= 1024 + 3);
	assert_true(live_mark(&l, "top")->flags & MARK_IF_PENDING);
	/* Told of once more, as by each event below it: that adds nothing. */
	(void)pthread_mutex_lock(&l.source->lock);
	backlog_put(l.source->filling, dirtab_wd(l.source->dirs, DIRTAB_ROOT), BYTES("top"),
	            BACKLOG_GONE, l.source->drain, clock_boot_ns());
	(void)pthread_mutex_unlock(&l.source->lock);
	live_await_looked(&l, (source_look(l.source, 0, ++l.token, NULL, 0), l.token));
	source_set_room(l.source, 100000);
	live_await_mark(&l, "top", MARK_DELETE);
	for (size_t i = 0; i < l.nmarks; i++)
		deleted +=
		        l.marks[i].action == MARK_DELETE && !(l.marks[i].flags & MARK_IF_PENDING);
	assert_int_equal(deleted, 1 + DIRS + DIRS * FILES);
	for (int i = 0; i < DIRS; i++) {
		(void)snprintf(name, sizeof(name), "top/d%d", i);
		assert_true(live_mark(&l, name) < live_mark(&l, "top"));
	}
	live_stop(&l);
}

/* Thousands of names of one removed directory may be asked about one by one. */
static void look_below_what_is_gone_tells_of_that_name_only(void **state)
{
	struct live l;
	struct mark m = {.path = BYTES("top/d/a"), .action = MARK_LOOK, .born = 1};

	(void)state;
	live_init(&l, NULL);
	put(&l, "stays", "1");
	make(&l, "top");
	make(&l, "top/d");
	put(&l, "top/d/a", "1");
	put(&l, "top/d/b", "1");
	live_start(&l);
	live_settle(&l);
	l.apply = false;
	assert_int_equal(remove_tree(at(&l, "top")), 0);
	live_barrier(&l);
	live_forget(&l);
	source_look(l.source, 0, 17, &m, 1);
	live_await_looked(&l, 17);
	assert_int_equal(l.nmarks, 1);
	assert_int_equal(live_mark(&l, "top/d/a")->action, MARK_DELETE);
	live_stop(&l);
}

static void large_subtree_that_is_back_is_not_deleted_further(void **state)
{
	struct live l;
	char name[64], away[128];
	size_t before;

	(void)state;
	live_init(&l, NULL);
	put(&l, "stays", "1");
	make(&l, "top");
	for (int k = 0; k < 3000; k++) {
		(void)snprintf(name, sizeof(name), "top/f%d", k);
		put(&l, name, "1");
	}
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	l.apply = false;
	source_set_room(l.source, 0);
	(void)snprintf(away, sizeof(away), "%s/top", l.outside);
	assert_int_equal(rename(at(&l, "top"), away), 0);
	live_await_mark(&l, "top/f0", MARK_DELETE);
	live_await_looked(&l, (source_look(l.source, 0, ++l.token, NULL, 0), l.token));
	before = l.nmarks;
	assert_int_equal(rename(away, at(&l, "top")), 0);
	source_set_room(l.source, 100000);
	live_barrier(&l);
	for (size_t i = before; i < l.nmarks; i++)
		assert_int_not_equal(l.marks[i].action, MARK_DELETE);
	live_stop(&l);
}

static void renamed_directory_is_deleted_and_found_again(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	make(&l, "d");
	make(&l, "d/e");
	put(&l, "d/e/f", "one");
	put(&l, "k", "k");
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	move(&l, "d", "n");
	live_settle(&l);
	live_assert_equal(&l);
	assert_int_equal(live_mark(&l, "d/e/f")->action, MARK_DELETE);
	assert_int_equal(live_mark(&l, "d")->flags, MARK_DIR);
	put(&l, "n/e/f", "other");
	live_settle(&l);
	live_assert_equal(&l);
	/* Out of the tree, changed there, and back. */
	char out[128];
	(void)snprintf(out, sizeof(out), "%s/n", l.outside);
	move(&l, "n", out);
	live_settle(&l);
	live_assert_equal(&l);
	(void)snprintf(out, sizeof(out), "%s/n/new", l.outside);
	put(&l, out, "x");
	(void)snprintf(out, sizeof(out), "%s/n", l.outside);
	move(&l, out, "back");
	live_settle(&l);
	live_assert_equal(&l);
	live_stop(&l);
}

static bool told_left(const struct live *l, const char *path)
{
	const unsigned flags = MARK_DIR | MARK_IF_PENDING;

	for (size_t i = 0; i < l->nmarks; i++)
		if (bytes_equal(l->marks[i].path, bytes_of(path)) &&
		    (l->marks[i].flags & flags) == flags && l->marks[i].action == MARK_META)
			return true;
	return false;
}

/* A file that is open in one of them is closed at its new place: a mark for the old one would wait
 * for that in vain. */
static void exchanged_directories_have_left_both_their_places(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	make(&l, "d");
	make(&l, "p");
	make(&l, "p/e");
	put(&l, "p/e/f", "1");
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	assert_int_equal(syscall(SYS_renameat2, AT_FDCWD, at(&l, "d"), AT_FDCWD, at(&l, "p/e"),
	                         2u /* RENAME_EXCHANGE */),
	                 0);
	live_settle(&l);
	assert_true(told_left(&l, "d"));
	assert_true(told_left(&l, "p/e"));
	assert_false(told_left(&l, "p"));
	live_assert_equal(&l);
	live_stop(&l);
}

static void type_swaps_are_retyped(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	make(&l, "x");
	put(&l, "x/a", "1");
	put(&l, "y", "1");
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	drop(&l, "x/a");
	drop(&l, "x");
	put(&l, "x", "file");
	drop(&l, "y");
	make(&l, "y");
	put(&l, "y/z", "1");
	live_settle(&l);
	live_assert_equal(&l);
	assert_true(live_count(&l, "x/a") >= 1);
	assert_int_equal(live_mark(&l, "x/a")->action, MARK_DELETE);
	drop(&l, "y/z");
	drop(&l, "y");
	assert_int_equal(mkfifo(at(&l, "y"), 0600), 0);
	live_settle(&l);
	live_assert_equal(&l);
	live_stop(&l);
}

/* Nobody knows it as a directory: it was on its way with what is in it when nobody could tell. */
static void what_is_intended_below_a_name_that_is_no_directory_is_deleted(void **state)
{
	struct bytes intended = BYTES("x/d/a");
	struct mark m = {.path = BYTES("x"), .action = MARK_LOOK, .born = 1};
	struct live l;

	(void)state;
	live_init(&l, NULL);
	live_start(&l);
	live_settle(&l);
	l.apply = false;
	assert_int_equal(symlink("nowhere", at(&l, "x")), 0);
	live_barrier(&l);
	live_forget(&l);
	assert_int_equal(ledger_intend(l.ledger, &intended, 1), 0);
	source_look(l.source, 0, 17, &m, 1);
	live_await_looked(&l, 17);
	assert_int_equal(live_mark(&l, "x/d/a")->action, MARK_DELETE);
	assert_int_equal(live_mark(&l, "x/d")->action, MARK_DELETE);
	assert_int_equal(live_mark(&l, "x")->action, MARK_QUICK);
	assert_true(live_mark(&l, "x")->flags & MARK_RETYPED);
	live_stop(&l);
}

static void hard_link_aliases_are_marked_together(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	make(&l, "d");
	put(&l, "a", "1");
	assert_int_equal(link(at(&l, "a"), at(&l, "d/b")), 0);
	live_start(&l);
	live_settle(&l);
	assert_true(live_mark(&l, "a")->link != 0);
	assert_int_equal(live_mark(&l, "a")->link, live_mark(&l, "d/b")->link);
	live_forget(&l);
	put(&l, "a", "22");
	live_settle(&l);
	assert_non_null(live_mark(&l, "d/b"));
	live_assert_equal(&l);
	live_forget(&l);
	assert_int_equal(link(at(&l, "a"), at(&l, "c")), 0);
	live_settle(&l);
	assert_false(live_mark(&l, "c")->flags & MARK_HOT);
	live_assert_equal(&l);
	live_stop(&l);
}

static void what_was_written_under_a_new_link_is_content_for_the_others(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	put(&l, "a", "1");
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	source_test_stall(l.source, true);
	assert_int_equal(link(at(&l, "a"), at(&l, "b")), 0);
	put(&l, "b", "2");
	source_test_stall(l.source, false);
	live_settle(&l);
	assert_int_equal(live_mark(&l, "a")->action, MARK_CONTENT);
	live_assert_equal(&l);
	live_stop(&l);
}

/* No event tells of what was written below a directory that nobody watches yet. */
static void what_may_have_been_written_under_a_link_that_a_crawl_found_is_content(void **state)
{
	struct live l;
	char out[128], link_out[132];
	struct timespec times[2];
	struct stat st;

	(void)state;
	live_init(&l, NULL);
	put(&l, "f", "one");
	live_start(&l);
	live_settle(&l);
	(void)snprintf(out, sizeof(out), "%s/o", l.outside);
	(void)snprintf(link_out, sizeof(link_out), "%s/g", out);
	make(&l, out);
	assert_int_equal(stat(at(&l, "f"), &st), 0);
	assert_int_equal(link(at(&l, "f"), link_out), 0);
	put(&l, link_out, "two");
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	assert_int_equal(utimensat(AT_FDCWD, link_out, times, 0), 0);
	live_settle(&l);
	live_forget(&l);
	move(&l, out, "o");
	live_settle(&l);
	assert_int_equal(live_mark(&l, "f")->action, MARK_CONTENT);
	live_assert_equal(&l);
	live_stop(&l);
}

/* The descriptor belongs to a name that is gone, so its events name another one. */
static void what_is_written_under_a_lost_name_is_found_by_a_barrier(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	put(&l, "first", "one");
	live_start(&l);
	live_settle(&l);
	int fd = open(at(&l, "first"), O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(link(at(&l, "first"), at(&l, "second")), 0);
	live_settle(&l);
	drop(&l, "first");
	live_settle(&l);
	assert_int_equal(fd_write_full(fd, "two", 3), 0);
	live_settle(&l);
	live_assert_equal(&l);
	assert_int_equal(fd_write_full(fd, "three", 5), 0);
	assert_int_equal(close(fd), 0);
	live_settle(&l);
	live_assert_equal(&l);
	live_stop(&l);
}

/* The directory is gone before anybody looks. */
static void what_was_written_below_a_directory_that_left_is_told_to_the_links(void **state)
{
	struct timespec old[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000000000}};
	struct live l;
	char out[128];

	(void)state;
	live_init(&l, NULL);
	make(&l, "d");
	put(&l, "d/f", "one");
	assert_int_equal(link(at(&l, "d/f"), at(&l, "g")), 0);
	assert_int_equal(utimensat(AT_FDCWD, at(&l, "g"), old, 0), 0);
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	(void)snprintf(out, sizeof(out), "%s/d", l.outside);
	(void)pthread_mutex_lock(&l.source->lock);
	put(&l, "d/f", "two");
	assert_int_equal(utimensat(AT_FDCWD, at(&l, "d/f"), old, 0), 0);
	move(&l, "d", out);
	(void)pthread_mutex_unlock(&l.source->lock);
	live_settle(&l);
	assert_non_null(live_mark(&l, "g"));
	live_assert_equal(&l);
	live_stop(&l);
}

static void what_was_written_under_a_name_that_left_is_looked_for_under_the_others(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	make(&l, "d");
	make(&l, "d/e");
	put(&l, "a", "1");
	assert_int_equal(link(at(&l, "a"), at(&l, "d/e/b")), 0);
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	source_test_stall(l.source, true);
	put(&l, "d/e/b", "2");
	assert_int_equal(unlink(at(&l, "d/e/b")), 0);
	assert_int_equal(rmdir(at(&l, "d/e")), 0);
	source_test_stall(l.source, false);
	live_settle(&l);
	assert_int_equal(live_mark(&l, "a")->action, MARK_CONTENT);
	live_assert_equal(&l);
	assert_int_equal(link(at(&l, "a"), at(&l, "d/c")), 0);
	live_settle(&l);
	live_forget(&l);
	source_test_stall(l.source, true);
	assert_int_equal(chmod(at(&l, "d/c"), 0600), 0);
	assert_int_equal(unlink(at(&l, "d/c")), 0);
	source_test_stall(l.source, false);
	live_settle(&l);
	assert_non_null(live_mark(&l, "a"));
	live_assert_equal(&l);
	live_stop(&l);
}

static void excluded_names_raise_nothing(void **state)
{
	static const char *const rules[] = {"*.tmp", "/skip/", NULL};
	struct live l;

	(void)state;
	live_init(&l, rules);
	make(&l, "skip");
	put(&l, "skip/a", "1");
	put(&l, "a.tmp", "1");
	put(&l, "b", "1");
	live_start(&l);
	live_settle(&l);
	put(&l, "skip/b", "1");
	put(&l, "c.tmp", "1");
	live_settle(&l);
	assert_null(live_mark(&l, "skip"));
	assert_null(live_mark(&l, "skip/b"));
	assert_null(live_mark(&l, "a.tmp"));
	assert_null(live_mark(&l, "c.tmp"));
	assert_non_null(live_mark(&l, "b"));
	live_stop(&l);
}

static void look_requests_raise_the_action_and_are_answered(void **state)
{
	struct live l;
	struct mark m = {.path = BYTES("d/a"), .action = MARK_CONTENT, .born = 1, .since_ns = 7};

	(void)state;
	live_init(&l, NULL);
	make(&l, "d");
	put(&l, "d/a", "1");
	put(&l, "d/b", "1");
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	source_look(l.source, 0, 91, &m, 1);
	live_await_looked(&l, 91);
	assert_int_equal(l.nmarks, 1);
	assert_int_equal(live_mark(&l, "d/a")->action, MARK_CONTENT);
	assert_int_equal(live_mark(&l, "d/a")->born, 1);
	assert_int_equal(live_mark(&l, "d/a")->since_ns, 7);
	live_forget(&l);
	m = (struct mark){.path = BYTES("d"), .scope = MARK_SUBTREE, .action = MARK_META};
	source_look(l.source, 0, 92, &m, 1);
	live_await_looked(&l, 92);
	assert_int_equal(live_mark(&l, "d")->action, MARK_META);
	assert_int_equal(live_mark(&l, "d/a")->action, MARK_META);
	assert_int_equal(live_mark(&l, "d/b")->action, MARK_META);
	live_forget(&l);
	/* What was never there, in a directory that was never there: only what waits for it. */
	m = (struct mark){.path = BYTES("no/such/name"), .action = MARK_LOOK};
	source_look(l.source, 0, 93, &m, 1);
	live_await_looked(&l, 93);
	assert_int_equal(l.nmarks, 1);
	assert_int_equal(live_mark(&l, "no/such/name")->flags, MARK_IF_PENDING);
	live_forget(&l);
	source_detach(l.source, 0, 94);
	live_await_looked(&l, 94);
	put(&l, "d/a", "changed");
	live_barrier(&l);
	assert_int_equal(l.nmarks, 0);
	live_stop(&l);
}

static void crawl_waits_for_room_and_events_do_not(void **state)
{
	struct live l;
	char name[32];

	(void)state;
	live_init(&l, NULL);
	for (int i = 0; i < 20; i++) {
		(void)snprintf(name, sizeof(name), "d%d", i);
		make(&l, name);
		(void)snprintf(name, sizeof(name), "d%d/f", i);
		put(&l, name, "x");
	}
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	struct mark m = {.path = {NULL, 0}, .scope = MARK_SUBTREE, .action = MARK_META};
	source_set_room(l.source, 1);
	source_look(l.source, 0, 5, &m, 1);
	put(&l, "d3/f", "y");
	live_await_mark(&l, "d3/f", MARK_QUICK);
	assert_true(l.nmarks < 40);
	source_set_room(l.source, 1000);
	live_await_looked(&l, 5);
	assert_true(l.nmarks >= 40);
	live_stop(&l);
}

static atomic_bool noise_ends;

static void *make_noise(void *arg)
{
	struct live *l = arg;
	char a[128], b[128];

	for (unsigned i = 0; !atomic_load(&noise_ends); i++) {
		(void)snprintf(a, sizeof(a), "%s/noise%u", l->root, i % 50);
		(void)snprintf(b, sizeof(b), "%s/noise%u", l->root, (i + 7) % 50);
		int fd = open(a, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		if (fd >= 0)
			(void)close(fd);
		(void)rename(a, b);
	}
	return NULL;
}

/* Every change whose system call returned before the barrier was asked for is posted before it. */
static void barrier_comes_after_every_earlier_change(void **state)
{
	enum { ROUNDS = 2000 };
	struct live l;
	pthread_t noise;
	char path[64], sub[80], away[80];

	(void)state;
	live_init(&l, NULL);
	put(&l, "k", "k");
	live_start(&l);
	live_settle(&l);
	l.apply = false;
	assert_int_equal(pthread_create(&noise, NULL, make_noise, &l), 0);
	for (int i = 0; i < ROUNDS; i++) {
		live_forget(&l);
		(void)snprintf(path, sizeof(path), "f%d", i);
		(void)snprintf(sub, sizeof(sub), "f%d/in", i);
		(void)snprintf(away, sizeof(away), "moved%d", i);
		switch (i % 4) {
		case 0:
			put(&l, path, "1");
			break;
		case 1:
			make(&l, path);
			put(&l, sub, "1");
			break;
		case 2:
			assert_int_equal(symlink("x", at(&l, path)), 0);
			break;
		default:
			make(&l, path);
			make(&l, sub);
			move(&l, path, away);
			break;
		}
		live_barrier(&l);
		if (i % 4 == 3) {
			(void)snprintf(sub, sizeof(sub), "moved%d/in", i);
			assert_non_null(live_mark(&l, away));
			assert_non_null(live_mark(&l, sub));
		} else {
			assert_non_null(live_mark(&l, path));
			if (i % 4 == 1)
				assert_non_null(live_mark(&l, sub));
		}
	}
	atomic_store(&noise_ends, true);
	assert_int_equal(pthread_join(noise, NULL), 0);
	live_stop(&l);
}

static void overflow_is_healed_by_a_crawl(void **state)
{
	struct live l;
	char path[64];

	(void)state;
	live_init(&l, NULL);
	make(&l, "d");
	make(&l, "gone");
	put(&l, "gone/x", "1");
	live_start(&l);
	live_settle(&l);
	source_test_stall(l.source, true);
	assert_int_equal(remove_tree(at(&l, "gone")), 0);
	for (int i = 0; i < 9000; i++) {
		(void)snprintf(path, sizeof(path), "d/f%d", i);
		put(&l, path, "x");
	}
	make(&l, "late");
	put(&l, "late/a", "1");
	live_resume(&l);
	put(&l, "late/a", "after");
	live_settle(&l);
	live_assert_equal(&l);
	live_audit(&l);
	assert_true(l.progress.overflows > 0);
	live_stop(&l);
}

static void second_job_is_crawled_alone(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	put(&l, "a", "1");
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	/* The same ledger stands for another target here: nothing new for job 0. */
	source_attach(l.source, 1, l.ledger);
	live_barrier(&l);
	assert_int_equal(l.nmarks, 0);
	source_detach(l.source, 1, 77);
	live_await_looked(&l, 77);
	live_stop(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(existing_tree_is_found_by_the_first_crawl),
	        cmocka_unit_test(changes_become_the_right_marks),
	        cmocka_unit_test(
	                file_changed_lately_is_compared_by_content_when_a_writer_closes_it),
	        cmocka_unit_test(open_writer_makes_the_mark_hot),
	        cmocka_unit_test(file_open_for_writing_is_looked_at_until_it_is_closed),
	        cmocka_unit_test(file_mapped_for_writing_is_looked_at),
	        cmocka_unit_test(name_that_is_there_after_its_removal_is_looked_at_again),
	        cmocka_unit_test(large_subtree_that_goes_leaves_when_there_is_room),
	        cmocka_unit_test(look_below_what_is_gone_tells_of_that_name_only),
	        cmocka_unit_test(large_subtree_that_is_back_is_not_deleted_further),
	        cmocka_unit_test(renamed_directory_is_deleted_and_found_again),
	        cmocka_unit_test(exchanged_directories_have_left_both_their_places),
	        cmocka_unit_test(type_swaps_are_retyped),
	        cmocka_unit_test(what_is_intended_below_a_name_that_is_no_directory_is_deleted),
	        cmocka_unit_test(hard_link_aliases_are_marked_together),
	        cmocka_unit_test(what_was_written_under_a_new_link_is_content_for_the_others),
	        cmocka_unit_test(
	                what_may_have_been_written_under_a_link_that_a_crawl_found_is_content),
	        cmocka_unit_test(what_is_written_under_a_lost_name_is_found_by_a_barrier),
	        cmocka_unit_test(what_was_written_below_a_directory_that_left_is_told_to_the_links),
	        cmocka_unit_test(
	                what_was_written_under_a_name_that_left_is_looked_for_under_the_others),
	        cmocka_unit_test(excluded_names_raise_nothing),
	        cmocka_unit_test(look_requests_raise_the_action_and_are_answered),
	        cmocka_unit_test(crawl_waits_for_room_and_events_do_not),
	        cmocka_unit_test(barrier_comes_after_every_earlier_change),
	        cmocka_unit_test(overflow_is_healed_by_a_crawl),
	        cmocka_unit_test(second_job_is_crawled_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
