#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/mem.h"
#include "live.h"

/* Several writers do everything at once to a small set of names, so that they keep meeting: renames
 * of directories over each other, out of the tree and back, exchanges, type swaps, removals. */
struct storm {
	struct live *live;
	unsigned seed;
	int operations;
	atomic_int *running;
};

static void random_path(struct storm *t, char *out, size_t size)
{
	unsigned depth = (unsigned)rand_r(&t->seed) % 4;
	size_t n = (size_t)snprintf(out, size, "%s",
	                            rand_r(&t->seed) % 12 ? t->live->root : t->live->outside);

	for (unsigned i = 0; i <= depth; i++)
		n += (size_t)snprintf(out + n, size - n, "/%c",
		                      (i == depth
		                               ? "abcdefgh"
		                               : "ABCD")[rand_r(&t->seed) % (i == depth ? 8 : 4)]);
}

static void random_dir(struct storm *t, char *out, size_t size)
{
	unsigned depth = (unsigned)rand_r(&t->seed) % 3;
	size_t n = (size_t)snprintf(out, size, "%s",
	                            rand_r(&t->seed) % 8 ? t->live->root : t->live->outside);

	for (unsigned i = 0; i <= depth; i++)
		n += (size_t)snprintf(out + n, size - n, "/%c", "ABCD"[rand_r(&t->seed) % 4]);
}

static void write_some(struct storm *t, const char *path, int flags)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%u", (unsigned)rand_r(&t->seed));
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | flags, 0644);

	if (fd < 0)
		return;
	(void)!write(fd, text, (size_t)n);
	(void)close(fd);
}

static void make_chain(struct storm *t, char *path)
{
	for (char *p = path + strlen(t->live->dir) + 1; (p = strchr(p + 1, '/'));) {
		*p = '\0';
		(void)mkdir(path, 0755);
		*p = '/';
	}
	(void)mkdir(path, 0755);
}

static void operate(struct storm *t)
{
	char a[256], b[256];

	random_path(t, a, sizeof(a));
	switch (rand_r(&t->seed) % 16) {
	case 0:
	case 1:
	case 2:
		write_some(t, a, O_CREAT | O_TRUNC);
		break;
	case 3:
		write_some(t, a, O_APPEND);
		break;
	case 4:
	case 5:
		random_dir(t, a, sizeof(a));
		make_chain(t, a);
		break;
	case 6:
		random_path(t, b, sizeof(b));
		(void)rename(a, b);
		break;
	case 7:
	case 8:
	case 9:
		random_dir(t, a, sizeof(a));
		random_dir(t, b, sizeof(b));
		(void)rename(a, b);
		break;
	case 10:
		random_dir(t, a, sizeof(a));
		random_dir(t, b, sizeof(b));
		(void)syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2u /* RENAME_EXCHANGE */);
		break;
	case 11:
		(void)unlink(a);
		break;
	case 12:
		random_dir(t, a, sizeof(a));
		(void)remove_tree(a);
		break;
	case 13:
		(void)chmod(a, rand_r(&t->seed) % 2 ? 0600 : 0640);
		break;
	case 14:
		(void)unlink(a);
		(void)!symlink(rand_r(&t->seed) % 2 ? "x" : "y", a);
		break;
	default:
		(void)!truncate(a, rand_r(&t->seed) % 20);
		break;
	}
}

static void *storm_run(void *arg)
{
	struct storm *t = arg;

	for (int i = 0; i < t->operations; i++)
		operate(t);
	atomic_fetch_sub(t->running, 1);
	return NULL;
}

static void run_storm(unsigned seed, int operations, int rounds)
{
	struct live l;
	pthread_t threads[2];
	struct storm storms[2];
	atomic_int running;

	print_message("# seed %u\n", seed);
	live_init(&l, NULL);
	put(&l, "stays", "so that the root is never empty");
	live_start(&l); /* the first crawl runs in the storm, too */
	for (int round = 0; round < rounds; round++) {
		atomic_store(&running, 2);
		for (unsigned i = 0; i < 2; i++) {
			storms[i] = (struct storm){&l, seed + i + 10 * (unsigned)round, operations,
			                           &running};
			assert_int_equal(pthread_create(&threads[i], NULL, storm_run, &storms[i]),
			                 0);
		}
		while (atomic_load(&running))
			live_barrier(&l);
		for (int i = 0; i < 2; i++)
			assert_int_equal(pthread_join(threads[i], NULL), 0);
		live_settle(&l);
		live_assert_equal(&l);
		live_forget(&l);
	}
	/* And nothing is left for a crawl to find. */
	live_audit(&l);
	for (size_t i = 0; i < l.nmarks; i++)
		assert_true(l.marks[i].action == MARK_META || (l.marks[i].flags & MARK_LOW));
	live_stop(&l);
}

static void storm_ends_equal_with_one_seed(void **state)
{
	(void)state;
	run_storm(1, 4000, 5);
}

static void storm_ends_equal_with_many_seeds(void **state)
{
	(void)state;
	for (unsigned seed = 100; seed < 500; seed += 100)
		run_storm(seed, 1500, 2);
}

/* The reader is held up again and again, so the queue overflows in the middle of everything. */
static void *stall_run(void *arg)
{
	struct storm *t = arg;
	char path[256];

	for (int round = 0; round < 4; round++) {
		source_test_stall(t->live->source, true);
		for (int i = 0; i < 7000; i++) {
			(void)snprintf(path, sizeof(path), "%s/flood%d", t->live->root, i);
			write_some(t, path, O_CREAT);
			(void)unlink(path);
		}
		for (int i = 0; i < 2000; i++)
			operate(t);
		source_test_stall(t->live->source, false);
		for (int i = 0; i < 500; i++)
			operate(t);
	}
	atomic_store(t->running, 0);
	return NULL;
}

static void *until_over(void *arg)
{
	struct storm *t = arg;

	while (atomic_load(t->running))
		operate(t);
	return NULL;
}

static void storm_with_overflows_ends_equal(void **state)
{
	struct live l;
	pthread_t threads[2];
	atomic_int running = 1;

	(void)state;
	live_init(&l, NULL);
	put(&l, "stays", "s");
	live_start(&l);
	live_settle(&l);
	struct storm a = {&l, 7, 0, &running}, b = {&l, 8, 0, &running};
	assert_int_equal(pthread_create(&threads[0], NULL, until_over, &a), 0);
	assert_int_equal(pthread_create(&threads[1], NULL, stall_run, &b), 0);
	while (atomic_load(&running))
		live_barrier(&l);
	assert_int_equal(pthread_join(threads[0], NULL), 0);
	assert_int_equal(pthread_join(threads[1], NULL), 0);
	live_settle(&l);
	live_assert_equal(&l);
	live_audit(&l);
	print_message("# %llu overflows\n", (unsigned long long)l.progress.overflows);
	assert_true(l.progress.overflows > 0);
	live_assert_equal(&l);
	live_stop(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(storm_ends_equal_with_one_seed),
	        cmocka_unit_test(storm_ends_equal_with_many_seeds),
	        cmocka_unit_test(storm_with_overflows_ends_equal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
