#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "source/dirtab.h"

static const char *path_of(struct dirtab *t, uint32_t node)
{
	static char text[5000];
	struct buf b;

	buf_init(&b, 4096);
	if (dirtab_path(t, node, &b) != 0) {
		buf_done(&b);
		return NULL;
	}
	(void)snprintf(text, sizeof(text), "%.*s", (int)b.n, b.n ? b.p : "");
	buf_done(&b);
	return text;
}

static void count_wd(int wd, void *arg)
{
	(void)wd;
	++*(unsigned *)arg;
}

static void paths_after_moves_follow_the_parents(void **state)
{
	struct dirtab *t = dirtab_new();
	uint32_t a = dirtab_add(t, DIRTAB_ROOT, BYTES("a"));
	uint32_t b = dirtab_add(t, a, BYTES("b"));
	uint32_t c = dirtab_add(t, b, BYTES("c"));

	(void)state;
	assert_string_equal(path_of(t, DIRTAB_ROOT), "");
	assert_string_equal(path_of(t, c), "a/b/c");
	dirtab_detach(t, b);
	assert_null(path_of(t, c));
	assert_int_equal(dirtab_child(t, a, BYTES("b")), DIRTAB_NONE);
	assert_true(dirtab_attach(t, b, DIRTAB_ROOT, BYTES("z")));
	assert_string_equal(path_of(t, c), "z/c");
	assert_int_equal(dirtab_child(t, DIRTAB_ROOT, BYTES("z")), b);
	dirtab_free(t);
}

static void attach_below_itself_is_refused(void **state)
{
	struct dirtab *t = dirtab_new();
	uint32_t a = dirtab_add(t, DIRTAB_ROOT, BYTES("a"));
	uint32_t b = dirtab_add(t, a, BYTES("b"));

	(void)state;
	dirtab_detach(t, a);
	assert_false(dirtab_attach(t, a, b, BYTES("x")));
	assert_true(dirtab_attach(t, a, DIRTAB_ROOT, BYTES("a")));
	assert_string_equal(path_of(t, b), "a/b");
	dirtab_free(t);
}

static void drop_forgets_the_subtree_and_numbers_rest(void **state)
{
	struct dirtab *t = dirtab_new();
	uint32_t a = dirtab_add(t, DIRTAB_ROOT, BYTES("a"));
	uint32_t b = dirtab_add(t, a, BYTES("b"));
	uint32_t c = dirtab_add(t, a, BYTES("c"));
	unsigned gone = 0;

	(void)state;
	dirtab_set_wd(t, a, 7);
	dirtab_set_wd(t, b, 8);
	assert_int_equal(dirtab_by_wd(t, 8), b);
	dirtab_drop(t, a, count_wd, &gone);
	assert_int_equal(gone, 2);
	assert_int_equal(dirtab_count(t), 1);
	assert_int_equal(dirtab_by_wd(t, 8), DIRTAB_NONE);
	assert_false(dirtab_alive(t, c));
	assert_true(dirtab_add(t, DIRTAB_ROOT, BYTES("n")) > c);
	dirtab_recycle(t);
	assert_true(dirtab_add(t, DIRTAB_ROOT, BYTES("m")) <= c);
	dirtab_free(t);
}

static void resolve_stops_at_the_deepest_known(void **state)
{
	struct dirtab *t = dirtab_new();
	uint32_t a = dirtab_add(t, DIRTAB_ROOT, BYTES("a"));
	uint32_t b = dirtab_add(t, a, BYTES("b"));
	struct bytes rest;

	(void)state;
	assert_int_equal(dirtab_resolve(t, BYTES("a/b"), &rest), b);
	assert_int_equal(rest.n, 0);
	assert_int_equal(dirtab_resolve(t, BYTES("a/x/y"), &rest), a);
	assert_true(bytes_equal(rest, BYTES("x/y")));
	dirtab_free(t);
}

static void identity_is_device_and_inode(void **state)
{
	struct dirtab *t = dirtab_new();

	(void)state;
	assert_false(dirtab_is(t, DIRTAB_ROOT, 1, 2));
	dirtab_set_identity(t, DIRTAB_ROOT, 1, 2);
	assert_true(dirtab_is(t, DIRTAB_ROOT, 1, 2));
	assert_false(dirtab_is(t, DIRTAB_ROOT, 2, 2));
	dirtab_free(t);
}

/* Against a plain array of (parent, name, wd). */
static void random_operations_match_a_model(void **state)
{
	enum { N = 2000 };
	struct dirtab *t = dirtab_new();
	static uint32_t node[N];
	static int name[N];
	unsigned seed = 4711, gone = 0;
	char text[16];

	(void)state;
	print_message("# seed %u\n", seed);
	for (int round = 0; round < 40000; round++) {
		unsigned i = (unsigned)rand_r(&seed) % N;

		if (!node[i]) {
			name[i] = round;
			(void)snprintf(text, sizeof(text), "n%d", round);
			node[i] = dirtab_add(t, DIRTAB_ROOT, bytes_of(text));
			dirtab_set_wd(t, node[i], round);
		} else if (rand_r(&seed) % 3) {
			dirtab_detach(t, node[i]);
			name[i] = round;
			(void)snprintf(text, sizeof(text), "n%d", round);
			assert_true(dirtab_attach(t, node[i], DIRTAB_ROOT, bytes_of(text)));
			dirtab_set_wd(t, node[i], round);
		} else {
			dirtab_drop(t, node[i], count_wd, &gone);
			node[i] = 0;
			if (rand_r(&seed) % 50 == 0)
				dirtab_recycle(t);
		}
	}
	assert_true(gone > 0);
	for (int i = 0; i < N; i++) {
		if (!node[i])
			continue;
		(void)snprintf(text, sizeof(text), "n%d", name[i]);
		assert_int_equal(dirtab_child(t, DIRTAB_ROOT, bytes_of(text)), node[i]);
		assert_int_equal(dirtab_by_wd(t, name[i]), node[i]);
		assert_string_equal(path_of(t, node[i]), text);
	}
	dirtab_free(t);
}

static void large_table_stays_below_100_bytes_each(void **state)
{
	enum { N = 300000 };
	struct dirtab *t = dirtab_new();
	uint32_t up = DIRTAB_ROOT;
	char text[16];

	(void)state;
	for (int i = 0; i < N; i++) {
		(void)snprintf(text, sizeof(text), "dir%06d", i);
		uint32_t n = dirtab_add(t, up, bytes_of(text));

		dirtab_set_wd(t, n, i + 1);
		dirtab_set_identity(t, n, 1, (uint64_t)i + 10);
		if (i % 10 == 0)
			up = i % 100 ? n : DIRTAB_ROOT;
	}
	assert_int_equal(dirtab_count(t), N + 1);
	print_message("# %zu bytes a directory\n", dirtab_memory(t) / N);
	assert_true(dirtab_memory(t) / N < 100);
	dirtab_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(paths_after_moves_follow_the_parents),
	        cmocka_unit_test(attach_below_itself_is_refused),
	        cmocka_unit_test(drop_forgets_the_subtree_and_numbers_rest),
	        cmocka_unit_test(resolve_stops_at_the_deepest_known),
	        cmocka_unit_test(identity_is_device_and_inode),
	        cmocka_unit_test(random_operations_match_a_model),
	        cmocka_unit_test(large_table_stays_below_100_bytes_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
