#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/path.h"
#include "ledger/ledger.h"
#include "ledger/ledger_impl.h"
#include "ledger/store_lmdb.h"
#include "memstore.h"
#include "scratch.h"

static const struct ledger_identity identity = {"fs-1 ino-2", "rsync://h/m", 11, 22};

static struct ledger *open_as(const char *dir, const struct ledger_identity *id, unsigned expected)
{
	struct ledger *l;
	struct err err = {0};
	unsigned found;

	if (ledger_open(&l, dir, id, &found, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(found, expected);
	return l;
}

static struct ledger *open_ledger(const char *dir, unsigned expected)
{
	return open_as(dir, &identity, expected);
}

static struct fingerprint file(uint64_t size)
{
	return (struct fingerprint){S_IFREG | 0644, 1, 2, 1, size, 5, 6, 7, 1000 + size};
}

static struct fingerprint linked(uint64_t ino, uint64_t size, uint32_t nlink)
{
	return (struct fingerprint){S_IFREG | 0644, 1, 2, nlink, size, 5, 6, 7, ino};
}

static void confirm(struct ledger *l, const char *path, struct fingerprint fp)
{
	ledger_confirm(l, bytes_of(path), &fp);
}

static void intend(struct ledger *l, const char *path)
{
	struct bytes b = bytes_of(path);

	assert_int_equal(ledger_intend(l, &b, 1), 0);
}

static struct belief get(struct ledger *l, const char *path)
{
	struct belief b;

	ledger_get(l, bytes_of(path), &b);
	return b;
}

static void assert_size(struct ledger *l, const char *path, uint64_t size)
{
	struct belief b = get(l, path);

	assert_int_equal(b.state, LEDGER_CONFIRMED);
	assert_int_equal(b.fp.size, size);
}

static bool gather_path(struct bytes path, void *arg)
{
	buf_add_bytes(arg, path);
	buf_add_u8(arg, '|');
	return true;
}

static bool gather_name(struct bytes name, const struct belief *belief, void *arg)
{
	assert_true(belief->state != LEDGER_ABSENT);
	return gather_path(name, arg);
}

static void assert_text(struct buf *text, const char *expected)
{
	buf_add_u8(text, '\0');
	assert_string_equal(text->p, expected);
	buf_done(text);
}

static void assert_list(struct ledger *l, const char *dir, const char *expected)
{
	struct buf text;

	buf_init(&text, 1u << 20);
	ledger_list(l, bytes_of(dir), gather_name, &text);
	assert_text(&text, expected);
	assert_int_equal(ledger_has_below(l, bytes_of(dir)), expected[0] != '\0');
}

static void assert_intended(struct ledger *l, const char *expected)
{
	struct buf text;

	buf_init(&text, 1u << 20);
	ledger_each_intended(l, gather_path, &text);
	assert_text(&text, expected);
}

static void assert_aliases(struct ledger *l, uint64_t ino, const char *expected)
{
	struct buf text;

	buf_init(&text, 1u << 20);
	ledger_aliases(l, 7, ino, gather_path, &text);
	assert_text(&text, expected);
}

static void ledger_closed_and_reopened_holds_the_same(void **state)
{
	char *dir = scratch_make();
	struct ledger *l = open_ledger(dir, LEDGER_FOUND_NEW);

	(void)state;
	assert_int_equal(ledger_phase(l), LEDGER_NEVER);
	assert_int_equal(ledger_generation(l), 0);
	confirm(l, "a/b/one", file(1));
	confirm(l, "a/b/two", file(2));
	confirm(l, "", (struct fingerprint){.mode = S_IFDIR | 0755});
	ledger_set_phase(l, LEDGER_LIVE);
	ledger_set_generation(l, 77);
	ledger_close(l);
	l = open_ledger(dir, 0);
	assert_int_equal(ledger_entries(l), 4);
	assert_list(l, "", "a|");
	assert_list(l, "a/b", "one|two|");
	assert_list(l, "a/b/one", "");
	assert_list(l, "nowhere", "");
	assert_size(l, "a/b/two", 2);
	assert_int_equal(get(l, "a").fp.mode, S_IFDIR);
	assert_int_equal(get(l, "").fp.mode, S_IFDIR | 0755);
	assert_int_equal(get(l, "a/c").state, LEDGER_ABSENT);
	assert_int_equal(ledger_phase(l), LEDGER_LIVE);
	assert_int_equal(ledger_generation(l), 77);
	assert_null(ledger_trouble(l));
	ledger_close(l);
	scratch_remove(dir);
}

static void ledger_of_somebody_else_says_what_differs_until_adopted(void **state)
{
	const struct ledger_identity other = {"fs-9 ino-2", "rsync://h/n", 12, 23};
	const unsigned all = LEDGER_FOUND_ROOT_CHANGED | LEDGER_FOUND_TARGET_CHANGED |
	                     LEDGER_FOUND_FILTER_CHANGED | LEDGER_FOUND_OPTIONS_CHANGED;
	char *dir = scratch_make();
	struct ledger *l = open_ledger(dir, LEDGER_FOUND_NEW);

	(void)state;
	ledger_close(l);
	ledger_close(open_as(dir, &other, all));
	l = open_as(dir, &other, all);
	ledger_adopt(l, &other);
	ledger_close(l);
	ledger_close(open_as(dir, &other, 0));
	scratch_remove(dir);
}

static void ledger_opened_twice_names_the_holder(void **state)
{
	char *dir = scratch_make();
	struct ledger *l = open_ledger(dir, LEDGER_FOUND_NEW), *second;
	autofree char *pid = mem_printf("process %ld", (long)getpid());
	struct err err = {0};
	unsigned found;

	(void)state;
	assert_int_equal(ledger_open(&second, dir, &identity, &found, &err), -EBUSY);
	assert_non_null(strstr(err.text, pid));
	ledger_close(l);
	ledger_close(open_ledger(dir, 0));
	scratch_remove(dir);
}

static void ledger_after_a_kill_lists_what_was_intended(void **state)
{
	char *dir = scratch_make();
	struct ledger *l;
	pid_t child = fork();
	int status;

	(void)state;
	if (child == 0) {
		l = open_ledger(dir, LEDGER_FOUND_NEW);
		intend(l, "early");
		(void)ledger_commit(l);
		/* On a busy machine it would come to commit what follows. */
		ledger_stop_writer(l);
		confirm(l, "early", file(1));
		intend(l, "x/late");
		intend(l, "x/later");
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	l = open_ledger(dir, LEDGER_FOUND_UNCLEAN);
	assert_int_equal(get(l, "x/late").state, LEDGER_INTENDED);
	assert_int_equal(get(l, "x").state, LEDGER_INTENDED);
	assert_true(get(l, "early").state & LEDGER_INTENDED);
	assert_intended(l, "early|x/late|x/later|");
	ledger_confirm_gone(l, BYTES("x/late"));
	confirm(l, "early", file(2));
	assert_intended(l, "x/later|");
	/* A clean end does not settle what was not confirmed. */
	ledger_close(l);
	l = open_ledger(dir, 0);
	assert_intended(l, "x/later|");
	ledger_close(l);
	scratch_remove(dir);
}

static void ledger_after_a_reboot_without_clean_end_says_so(void **state)
{
	char *dir = scratch_make();
	autofree char *path = mem_printf("%s/ledger.mdb", dir);
	autofree char *clean = mem_printf("%s/clean", dir);
	const char *keys[] = {"boot"};
	struct bytes values[] = {BYTES("another boot")};
	struct store *store;
	struct err err = {0};
	bool fresh;

	(void)state;
	ledger_close(open_ledger(dir, LEDGER_FOUND_NEW));
	assert_int_equal(store_lmdb_open(&store, path, &fresh, &err), 0);
	assert_int_equal(store->commit(store, NULL, 0, keys, values, 1, &err), 0);
	store->close(store);
	ledger_close(open_ledger(dir, 0));
	assert_int_equal(store_lmdb_open(&store, path, &fresh, &err), 0);
	assert_int_equal(store->commit(store, NULL, 0, keys, values, 1, &err), 0);
	store->close(store);
	assert_int_equal(unlink(clean), 0);
	ledger_close(open_ledger(dir, LEDGER_FOUND_UNCLEAN | LEDGER_FOUND_REBOOTED));
	scratch_remove(dir);
}

static void ledger_withdraw_restores_the_earlier_belief(void **state)
{
	char *dir = scratch_make();
	struct ledger *l = open_ledger(dir, LEDGER_FOUND_NEW);

	(void)state;
	confirm(l, "known", file(1));
	intend(l, "known");
	assert_int_equal(get(l, "known").state, LEDGER_INTENDED | LEDGER_CONFIRMED);
	assert_int_equal(ledger_commit(l), 0);
	ledger_withdraw(l, BYTES("known"));
	assert_size(l, "known", 1);
	intend(l, "p/q/new");
	assert_int_equal(ledger_entries(l), 4);
	ledger_withdraw(l, BYTES("p/q/new"));
	assert_int_equal(ledger_entries(l), 1);
	assert_list(l, "", "known|");
	/* The first one may have left its bytes: withdrawing the second leaves it. */
	intend(l, "twice");
	assert_int_equal(ledger_commit(l), 0);
	intend(l, "twice");
	ledger_withdraw(l, BYTES("twice"));
	assert_int_equal(get(l, "twice").state, LEDGER_INTENDED);
	ledger_withdraw(l, BYTES("never"));
	assert_int_equal(get(l, "never").state, LEDGER_ABSENT);
	ledger_close(l);
	scratch_remove(dir);
}

static void ledger_hard_links_share_one_fingerprint(void **state)
{
	char *dir = scratch_make();
	struct ledger *l = open_ledger(dir, LEDGER_FOUND_NEW);

	(void)state;
	confirm(l, "d/a", linked(50, 1, 3));
	confirm(l, "b", linked(50, 1, 3));
	confirm(l, "e/c", linked(50, 1, 3));
	assert_aliases(l, 50, "d/a|b|e/c|");
	assert_int_equal(ledger_commit(l), 0);
	confirm(l, "b", linked(50, 9, 3));
	assert_size(l, "d/a", 9);
	assert_int_equal(ledger_commit(l), 0);
	assert_size(l, "e/c", 9);
	ledger_confirm_gone(l, BYTES("e"));
	assert_aliases(l, 50, "b|d/a|");
	/* Rewritten under its name with one link, it leaves the others as they were. */
	confirm(l, "b", linked(50, 10, 1));
	assert_size(l, "d/a", 9);
	assert_size(l, "b", 10);
	assert_aliases(l, 50, "d/a|b|");
	ledger_close(l);
	l = open_ledger(dir, 0);
	assert_aliases(l, 50, "b|d/a|");
	assert_size(l, "d/a", 9);
	ledger_confirm_gone(l, BYTES("d/a"));
	assert_aliases(l, 50, "b|");
	confirm(l, "b", linked(51, 10, 1));
	assert_aliases(l, 50, "");
	ledger_close(l);
	l = open_ledger(dir, 0);
	assert_aliases(l, 50, "");
	ledger_close(l);
	scratch_remove(dir);
}

static void ledger_file_with_one_link_is_found_by_its_inode(void **state)
{
	char *dir = scratch_make();
	struct ledger *l = open_ledger(dir, LEDGER_FOUND_NEW);

	(void)state;
	confirm(l, "d/old", linked(60, 1, 1));
	confirm(l, "d/other", linked(61, 1, 1));
	confirm(l, "d", (struct fingerprint){.mode = S_IFDIR, .nlink = 2, .dev = 7, .ino = 62});
	assert_aliases(l, 60, "d/old|");
	assert_aliases(l, 62, "");
	assert_int_equal(ledger_commit(l), 0);
	assert_aliases(l, 60, "d/old|");
	intend(l, "d/old");
	assert_aliases(l, 60, "d/old|");
	/* Another inode under the name: in the layer, then in the store. */
	confirm(l, "d/old", linked(63, 1, 1));
	assert_aliases(l, 60, "");
	assert_aliases(l, 63, "d/old|");
	assert_int_equal(ledger_commit(l), 0);
	assert_aliases(l, 60, "");
	assert_aliases(l, 63, "d/old|");
	/* A second name brings both into the group, the first one when it is confirmed again. */
	confirm(l, "new", linked(63, 2, 2));
	assert_aliases(l, 63, "d/old|new|");
	assert_size(l, "d/old", 1);
	confirm(l, "d/old", linked(63, 2, 2));
	assert_int_equal(ledger_commit(l), 0);
	confirm(l, "new", linked(63, 3, 2));
	assert_size(l, "d/old", 3);
	ledger_confirm_gone(l, BYTES("d"));
	assert_aliases(l, 61, "");
	ledger_close(l);
	l = open_ledger(dir, 0);
	assert_aliases(l, 61, "");
	assert_aliases(l, 63, "new|");
	ledger_forget(l, BYTES("new"));
	assert_int_equal(ledger_commit(l), 0);
	assert_aliases(l, 63, "");
	ledger_close(l);
	scratch_remove(dir);
}

static void ledger_removed_directory_takes_everything_below(void **state)
{
	char *dir = scratch_make();
	struct ledger *l = open_ledger(dir, LEDGER_FOUND_NEW);
	char deep[PATH_BYTES_MAX + 1];

	(void)state;
	for (size_t i = 0; i < PATH_BYTES_MAX; i++)
		deep[i] = i % 2 ? '/' : 'd';
	deep[PATH_BYTES_MAX] = '\0';
	confirm(l, deep, file(1));
	confirm(l, "e", file(2));
	assert_int_equal(ledger_entries(l), 2049);
	assert_int_equal(ledger_commit(l), 0);
	ledger_confirm_gone(l, BYTES("d"));
	assert_int_equal(ledger_entries(l), 1);
	assert_int_equal(get(l, deep).state, LEDGER_ABSENT);
	confirm(l, "d/x", file(3));
	assert_list(l, "d", "x|");
	assert_int_equal(ledger_commit(l), 0);
	assert_list(l, "d", "x|");
	assert_int_equal(get(l, deep).state, LEDGER_ABSENT);
	/* A file in its place has nothing below it, either. */
	confirm(l, "d", file(4));
	assert_int_equal(ledger_entries(l), 2);
	ledger_close(l);
	l = open_ledger(dir, 0);
	assert_list(l, "", "d|e|");
	assert_int_equal(get(l, "d/x").state, LEDGER_ABSENT);
	ledger_confirm_gone(l, BYTES(""));
	assert_int_equal(ledger_entries(l), 0);
	ledger_close(l);
	scratch_remove(dir);
}

static void set_file_limit(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void ledger_that_cannot_be_written_goes_on_and_recovers(void **state)
{
	char *dir = scratch_make();
	struct ledger *l = open_ledger(dir, LEDGER_FOUND_NEW);
	char name[300];

	(void)state;
	confirm(l, "before", file(1));
	assert_int_equal(ledger_commit(l), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	set_file_limit(16384);
	for (int i = 0; i < 500; i++) {
		struct bytes path = {name, (size_t)snprintf(name, sizeof(name), "%0200d", i)};

		(void)ledger_intend(l, &path, 1);
		confirm(l, name, file((uint64_t)i));
	}
	assert_true(ledger_commit(l) < 0);
	assert_non_null(ledger_trouble(l));
	confirm(l, "during", file(2));
	assert_true(ledger_commit(l) < 0);
	assert_size(l, "before", 1);
	assert_size(l, "during", 2);
	assert_int_equal(ledger_entries(l), 502);
	set_file_limit(RLIM_INFINITY);
	intend(l, "after");
	assert_int_equal(ledger_commit(l), 0);
	assert_null(ledger_trouble(l));
	assert_int_equal(ledger_uncommitted(l), 0);
	ledger_close(l);
	l = open_ledger(dir, 0);
	assert_int_equal(ledger_entries(l), 503);
	assert_size(l, "during", 2);
	assert_int_equal(get(l, "after").state, LEDGER_INTENDED);
	ledger_close(l);
	scratch_remove(dir);
}

static void ledger_closed_while_unwritable_is_unclean(void **state)
{
	char *dir = scratch_make();
	struct ledger *l = open_ledger(dir, LEDGER_FOUND_NEW);

	(void)state;
	(void)signal(SIGXFSZ, SIG_IGN);
	intend(l, "a");
	set_file_limit(0);
	confirm(l, "b", file(1));
	ledger_close(l);
	set_file_limit(RLIM_INFINITY);
	l = open_ledger(dir, LEDGER_FOUND_UNCLEAN);
	assert_int_equal(get(l, "a").state, LEDGER_INTENDED);
	ledger_close(l);
	scratch_remove(dir);
}

static void ledger_writer_commits_by_itself(void **state)
{
	char *dir = scratch_make();
	struct ledger *l = open_ledger(dir, LEDGER_FOUND_NEW);

	(void)state;
	confirm(l, "a", file(1));
	while (ledger_uncommitted(l))
		sched_yield();
	ledger_set_generation(l, 5);
	confirm(l, "b", file(1));
	while (ledger_confirmed_commits(l) < 2)
		sched_yield();
	assert_int_equal(ledger_uncommitted(l), 0);
	ledger_close(l);
	scratch_remove(dir);
}

#define NAMES 40
struct reader {
	struct ledger *l;
	atomic_bool stop;
	size_t lists;
};

static bool count_name(struct bytes name, const struct belief *belief, void *arg)
{
	(void)name;
	assert_int_equal(belief->state, LEDGER_CONFIRMED);
	++*(size_t *)arg;
	return true;
}

static void *reader_main(void *arg)
{
	struct reader *r = arg;

	while (!atomic_load(&r->stop)) {
		size_t names = 0;

		ledger_list(r->l, BYTES("dir"), count_name, &names);
		assert_int_equal(names, NAMES);
		assert_int_equal(get(r->l, "dir/name 7").state, LEDGER_CONFIRMED);
		r->lists++;
	}
	return NULL;
}

static void ledger_read_during_changes_and_commits_misses_nothing(void **state)
{
	char *dir = scratch_make();
	struct ledger *l = open_ledger(dir, LEDGER_FOUND_NEW);
	struct reader r = {.l = l};
	pthread_t thread;
	char name[32];

	(void)state;
	for (int i = 0; i < NAMES; i++) {
		(void)snprintf(name, sizeof(name), "dir/name %d", i);
		confirm(l, name, i % 3 ? file(1) : linked(90, 1, 2));
	}
	assert_int_equal(pthread_create(&thread, NULL, reader_main, &r), 0);
	for (uint64_t round = 2; round < 60; round++) {
		for (int i = 0; i < NAMES; i++) {
			(void)snprintf(name, sizeof(name), "dir/name %d", i);
			confirm(l, name, i % 3 ? file(round) : linked(90, round, 2));
		}
		assert_int_equal(ledger_commit(l), 0);
	}
	atomic_store(&r.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(r.lists > 0);
	assert_size(l, "dir/name 0", 59);
	ledger_close(l);
	scratch_remove(dir);
}

struct noted {
	struct intent_log base;
	struct store *store;
	uint64_t synced, commits_before; /* the store's commits at the last sync */
};

static int noted_sync(struct intent_log *log)
{
	struct noted *n = (struct noted *)log;

	n->synced++;
	n->commits_before = memstore_commits(n->store);
	return 0;
}

static void ledger_commit_begins_with_the_sync_of_what_was_noted(void **state)
{
	struct store *store = memstore_new();
	struct intent_log *log = memlog_new();
	struct noted noted = {.base = {.sync = noted_sync}, .store = store};
	struct ledger *l = ledger_new(store, log);
	struct fingerprint fp = file(1);

	(void)state;
	ledger_sync_first(l, &noted.base);
	for (uint64_t i = 1; i <= 3; i++) {
		fp = file(i);
		ledger_confirm(l, BYTES("f"), &fp);
		assert_int_equal(ledger_commit(l), 0);
		assert_int_equal(noted.synced, i);
		assert_int_equal(noted.commits_before, i - 1);
		assert_int_equal(memstore_commits(store), i);
	}
	ledger_drop(l);
	memlog_free(log);
	memstore_free(store);
}

/* What version 1 wrote; made by make_fixture.c, and never made again. */
static void ledger_of_format_1_is_read(void **state)
{
	char *dir = scratch_make();
	struct ledger *l;

	(void)state;
	scratch_copy(FIXTURES "/ledger-1", dir);
	l = open_ledger(dir, LEDGER_FOUND_UNCLEAN | LEDGER_FOUND_REBOOTED);
	assert_int_equal(ledger_entries(l), 7);
	assert_list(l, "", "docs|intended|logged|odd\n\xff|");
	assert_list(l, "docs", "link-1|link-2|plain|");
	assert_size(l, "docs/plain", 1);
	assert_size(l, "docs/link-2", 9);
	assert_size(l, "odd\n\xff", 3);
	assert_aliases(l, 50, "docs/link-1|docs/link-2|");
	assert_aliases(l, 40, "docs/plain|");
	assert_aliases(l, 42, "");
	assert_intended(l, "intended|logged|");
	assert_int_equal(ledger_phase(l), LEDGER_LIVE);
	assert_int_equal(ledger_generation(l), 12);
	ledger_close(l);
	scratch_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(ledger_closed_and_reopened_holds_the_same),
	        cmocka_unit_test(ledger_of_somebody_else_says_what_differs_until_adopted),
	        cmocka_unit_test(ledger_opened_twice_names_the_holder),
	        cmocka_unit_test(ledger_after_a_kill_lists_what_was_intended),
	        cmocka_unit_test(ledger_after_a_reboot_without_clean_end_says_so),
	        cmocka_unit_test(ledger_withdraw_restores_the_earlier_belief),
	        cmocka_unit_test(ledger_hard_links_share_one_fingerprint),
	        cmocka_unit_test(ledger_file_with_one_link_is_found_by_its_inode),
	        cmocka_unit_test(ledger_removed_directory_takes_everything_below),
	        cmocka_unit_test(ledger_that_cannot_be_written_goes_on_and_recovers),
	        cmocka_unit_test(ledger_closed_while_unwritable_is_unclean),
	        cmocka_unit_test(ledger_writer_commits_by_itself),
	        cmocka_unit_test(ledger_read_during_changes_and_commits_misses_nothing),
	        cmocka_unit_test(ledger_commit_begins_with_the_sync_of_what_was_noted),
	        cmocka_unit_test(ledger_of_format_1_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
