#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "rig.h"

#define STAMPS ".lockstep/"

/* The stamp of a batch that is to be proven; NULL: it has none. */
static const char *proof_of(const struct rig_batch *b)
{
	for (size_t i = 0; i < b->count; i++)
		if (strncmp(b->path[i], STAMPS, strlen(STAMPS)) == 0 &&
		    !(b->flags[i] & WIRE_ITEM_SERVE))
			return b->path[i];
	return NULL;
}

/* A list of stamps alone that is under way; NULL: none. */
static struct rig_batch *probe(struct rig *r)
{
	for (size_t i = 0; i < r->batch_count; i++) {
		struct rig_batch *b = &r->batches[i];

		if (!b->ended && proof_of(b) && strncmp(b->path[0], STAMPS, strlen(STAMPS)) == 0)
			return b;
	}
	return NULL;
}

static void hold_at_target(struct rig *r, const char *path)
{
	rig_put(r, path, MARK_QUICK, MARK_FRESH);
	for (int i = 0; i < 3; i++) {
		rig_confirm_all(r);
		rig_wait(r, 60 * RIG_SECOND);
	}
	rig_confirm_all(r);
	assert_int_equal(rig_belief(r, path), LEDGER_CONFIRMED);
}

/* What a stamp tells may come at the end of its list. */
static void deletion_does_not_wait_for_a_long_list(void **state)
{
	struct rig *r = *state;

	hold_at_target(r, "a");
	rig_wait(r, 60 * RIG_SECOND);
	rig_put(r, "big", MARK_QUICK, MARK_FRESH);
	assert_non_null(rig_find(r, "big"));
	assert_non_null(proof_of(rig_find(r, "big")));
	rig_put(r, "a", MARK_DELETE, 0);
	assert_null(rig_find(r, "a"));
	assert_non_null(probe(r));
	rig_report(r, probe(r), proof_of(probe(r)), WIRE_PROVEN);
	rig_run(r);
	assert_non_null(rig_find(r, "a"));
}

/* It is of the time when the list was sent. */
static void late_proof_of_a_long_list_opens_no_deletions(void **state)
{
	struct rig *r = *state;

	hold_at_target(r, "a");
	rig_wait(r, 60 * RIG_SECOND);
	rig_put(r, "big", MARK_QUICK, MARK_FRESH);
	rig_put(r, "a", MARK_DELETE, 0);
	rig_wait(r, 11 * RIG_SECOND);
	rig_report(r, rig_find(r, "big"), proof_of(rig_find(r, "big")), WIRE_PROVEN);
	rig_run(r);
	assert_null(rig_find(r, "a"));
	rig_report(r, probe(r), proof_of(probe(r)), WIRE_PROVEN);
	rig_run(r);
	assert_non_null(rig_find(r, "a"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_make_stamped, rig_drop)
	const struct CMUnitTest tests[] = {
	        TEST(deletion_does_not_wait_for_a_long_list),
	        TEST(late_proof_of_a_long_list_opens_no_deletions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
