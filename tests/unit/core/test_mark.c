#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "core/mark.h"

static struct mark mark(enum mark_action action, unsigned flags)
{
	return (struct mark){
	        .path = BYTES("a"), .action = action, .flags = flags, .born = 5, .since_ns = 50};
}

static struct mark merged(struct mark into, struct mark next)
{
	mark_merge(&into, &next);
	return into;
}

static void merging_actions_takes_the_stronger_and_later_looks_decide_existence(void **state)
{
	static const enum mark_action table[5][5] = {
	        /* earlier META ... LOOK, each with later META ... LOOK */
	        {MARK_META, MARK_QUICK, MARK_CONTENT, MARK_DELETE, MARK_LOOK},
	        {MARK_QUICK, MARK_QUICK, MARK_CONTENT, MARK_DELETE, MARK_LOOK},
	        {MARK_CONTENT, MARK_CONTENT, MARK_CONTENT, MARK_DELETE, MARK_LOOK},
	        {MARK_CONTENT, MARK_CONTENT, MARK_CONTENT, MARK_DELETE, MARK_LOOK},
	        {MARK_LOOK, MARK_LOOK, MARK_LOOK, MARK_LOOK, MARK_LOOK},
	};

	(void)state;
	for (unsigned was = MARK_META; was <= MARK_LOOK; was++) {
		for (unsigned next = MARK_META; next <= MARK_LOOK; next++)
			assert_int_equal(merged(mark((enum mark_action)was, 0),
			                        mark((enum mark_action)next, 0))
			                         .action,
			                 table[was][next]);
	}
}

static void merging_subtree_with_entry_gives_subtree_and_look(void **state)
{
	struct mark tree = mark(MARK_LOOK, MARK_DIR);

	(void)state;
	tree.scope = MARK_SUBTREE;
	assert_int_equal(merged(tree, mark(MARK_QUICK, 0)).scope, MARK_SUBTREE);
	assert_int_equal(merged(tree, mark(MARK_QUICK, 0)).action, MARK_LOOK);
	assert_int_equal(merged(mark(MARK_QUICK, 0), tree).scope, MARK_SUBTREE);
	assert_int_equal(merged(mark(MARK_QUICK, 0), tree).action, MARK_LOOK);
}

static void merging_takes_the_older_born_and_since_in_either_order(void **state)
{
	struct mark old = mark(MARK_META, 0), young = mark(MARK_META, 0);

	(void)state;
	young.born = BORN_NONE;
	young.since_ns = 60;
	assert_int_equal(merged(old, young).born, 5);
	assert_int_equal(merged(young, old).born, 5);
	assert_int_equal(merged(old, young).since_ns, 50);
	assert_int_equal(merged(young, old).since_ns, 50);
}

static void merging_keeps_low_hot_and_audit_only_when_both_have_them(void **state)
{
	static const unsigned flags[] = {MARK_LOW, MARK_HOT, MARK_AUDIT, MARK_SIGHT};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		assert_int_equal(merged(mark(MARK_META, flags[i]), mark(MARK_META, flags[i])).flags,
		                 flags[i]);
		assert_int_equal(merged(mark(MARK_META, flags[i]), mark(MARK_META, 0)).flags, 0);
		assert_int_equal(merged(mark(MARK_META, 0), mark(MARK_LOOK, flags[i])).flags, 0);
	}
}

static void merging_takes_type_size_and_link_from_the_later_look(void **state)
{
	struct mark was = mark(MARK_QUICK, MARK_DIR | MARK_FRESH),
	            next = mark(MARK_QUICK, MARK_RETYPED);
	struct mark look = mark(MARK_LOOK, 0);

	(void)state;
	next.size = 7;
	next.link = 9;
	assert_int_equal(merged(was, next).flags, MARK_RETYPED);
	assert_int_equal(merged(was, next).size, 7);
	assert_int_equal(merged(was, next).link, 9);
	assert_int_equal(merged(next, look).flags, MARK_RETYPED);
	assert_int_equal(merged(next, look).size, 7);
	assert_int_equal(merged(look, next).link, 9);
}

static void exclusive_are_deletions_type_changes_and_new_directories(void **state)
{
	(void)state;
	assert_true(mark_exclusive(&(struct mark){.action = MARK_DELETE}));
	assert_true(mark_exclusive(&(struct mark){.action = MARK_QUICK, .flags = MARK_RETYPED}));
	assert_true(mark_exclusive(
	        &(struct mark){.action = MARK_QUICK, .flags = MARK_DIR | MARK_FRESH}));
	assert_false(mark_exclusive(&(struct mark){.action = MARK_QUICK, .flags = MARK_FRESH}));
	assert_false(mark_exclusive(&(struct mark){.action = MARK_META, .flags = MARK_DIR}));
	assert_false(mark_exclusive(
	        &(struct mark){.action = MARK_LOOK, .flags = MARK_DIR | MARK_FRESH}));
	assert_false(mark_exclusive(&(struct mark){.action = MARK_LOOK, .scope = MARK_SUBTREE}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(
	                merging_actions_takes_the_stronger_and_later_looks_decide_existence),
	        cmocka_unit_test(merging_subtree_with_entry_gives_subtree_and_look),
	        cmocka_unit_test(merging_takes_the_older_born_and_since_in_either_order),
	        cmocka_unit_test(merging_keeps_low_hot_and_audit_only_when_both_have_them),
	        cmocka_unit_test(merging_takes_type_size_and_link_from_the_later_look),
	        cmocka_unit_test(exclusive_are_deletions_type_changes_and_new_directories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
