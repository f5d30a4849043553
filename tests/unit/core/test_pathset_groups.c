/* The names of one inode: pending, in flight, and told of each other (I6). */
#include "pathset_rig.h"

static void a_hard_link_group_is_taken_whole(void **state)
{
	struct pathset *set = *state;
	struct batch *b;

	put(set, "x", MARK_QUICK, 0);
	put_link(set, "a", MARK_QUICK, 7);
	put_link(set, "b", MARK_CONTENT, 7);
	put_link(set, "c", MARK_META, 7);
	put_link(set, "other", MARK_QUICK, 8);
	ack_all(expect(take_of(set, 7, 2, false), "x other"));
	b = take_of(set, 7, 2, false);
	assert_int_equal(batch_class(b), BATCH_CONTENT);
	ack_all(expect(b, "a b c"));
	nothing(set);
}

/* It was written under a name that leaves before it can be sent. */
static void what_was_written_under_one_name_is_content_for_those_pending_and_in_flight(void **state)
{
	struct pathset *set = *state;
	struct batch *b;

	put_link(set, "flies", MARK_QUICK, 7);
	b = expect(take(set, BATCH_QUICK), "flies");
	put_link(set, "waits", MARK_META, 7);
	put_link(set, "leaves", MARK_CONTENT, 7);
	put(set, "leaves", MARK_DELETE, 0);
	ack_all(b);
	now += 2 * SECOND;
	b = expect(take(set, BATCH_CONTENT), "flies waits");
	assert_int_equal(batch_mark(b, 0)->action, MARK_CONTENT);
	assert_int_equal(batch_mark(b, 1)->action, MARK_CONTENT);
	put_link(set, "leaves", MARK_QUICK, 7);
	put(set, "leaves", MARK_DELETE, 0);
	ack_all(b);
	now += 2 * SECOND;
	b = expect(take(set, BATCH_QUICK), "flies waits");
	assert_int_equal(batch_mark(b, 0)->action, MARK_QUICK);
	ack_all(b);
	ack_all(expect(take(set, BATCH_DELETE), "leaves"));
	nothing(set);
}

/* It had one name when it was looked at. */
static void a_file_that_got_a_second_name_in_flight_is_told_what_is_written_under_that(void **state)
{
	struct pathset *set = *state;
	struct mark m = mark("flies", MARK_QUICK, MARK_FRESH);
	struct batch *b;

	m.ino = 7;
	pathset_put(set, &m, now++);
	b = expect(take(set, BATCH_QUICK), "flies");
	put_link(set, "second", MARK_CONTENT, 7);
	nothing(set);
	put(set, "second", MARK_DELETE, 0);
	ack_all(b);
	now += 2 * SECOND;
	b = expect(take(set, BATCH_CONTENT), "flies");
	put_link(set, "third", MARK_META, 7);
	pathset_stir(set, BYTES("flies"), now); /* written, and gone */
	put(set, "flies", MARK_DELETE, 0);
	ack_all(b);
	now += 2 * SECOND;
	ack_all(expect(take(set, BATCH_CONTENT), "third"));
	ack_all(expect(take(set, BATCH_DELETE), "second flies"));
	nothing(set);
}

/* Its content was there already, twice: what stirred it the first time does so only once. */
static void a_file_that_got_a_second_name_in_flight_lets_that_go_in_the_end(void **state)
{
	struct pathset *set = *state;
	struct mark m = mark("flies", MARK_CONTENT, 0);
	struct batch *b;

	m.ino = 7;
	pathset_put(set, &m, now++);
	b = expect(take(set, BATCH_CONTENT), "flies");
	put_link(set, "second", MARK_CONTENT, 7);
	for (int i = 0; i < 2; i++) {
		batch_nack(b, 0, MARK_META, now, now);
		batch_end(b, now, 0);
		now += 2 * SECOND;
		b = expect(take(set, i == 0 ? BATCH_CONTENT : BATCH_QUICK), "flies");
	}
	ack_all(b);
	now += 2 * SECOND;
	ack_all(expect(take(set, BATCH_CONTENT), "flies second"));
	nothing(set);
}

static void a_hard_link_group_waits_for_its_last_member(void **state)
{
	struct pathset *set = *state;
	struct batch *b, *c;

	put_link(set, "a", MARK_QUICK, 7);
	b = expect(take(set, BATCH_QUICK), "a");
	put_link(set, "b", MARK_QUICK, 7);
	nothing(set); /* one of it is in flight */
	ack_all(b);   /* and goes along again: no list lacks a name */
	put(set, "d", MARK_DELETE, MARK_DIR);
	c = expect(take(set, BATCH_DELETE), "d");
	put_link(set, "d/c", MARK_QUICK, 7);
	nothing(set); /* one of it is blocked */
	batch_drop(c, 0, now);
	batch_end(c, now, 0);
	ack_all(expect(take(set, BATCH_QUICK), "a b d/c"));
}

static void a_mark_below_a_type_change_does_not_hold_up_its_group(void **state)
{
	struct pathset *set = *state;
	struct mark flat = mark("d", MARK_QUICK, MARK_RETYPED);

	put_link(set, "d/e/a", MARK_QUICK, 7);
	put(set, "d/e", MARK_QUICK, NEW_DIR);
	expect(take_of(set, 1u << BATCH_CONTENT, 9, false), NULL);
	flat.link = 7;
	pathset_put(set, &flat, now++);
	ack_all(expect(take(set, BATCH_QUICK), "d d/e d/e/a"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        CASE(a_hard_link_group_is_taken_whole),
	        CASE(what_was_written_under_one_name_is_content_for_those_pending_and_in_flight),
	        CASE(a_file_that_got_a_second_name_in_flight_is_told_what_is_written_under_that),
	        CASE(a_file_that_got_a_second_name_in_flight_lets_that_go_in_the_end),
	        CASE(a_hard_link_group_waits_for_its_last_member),
	        CASE(a_mark_below_a_type_change_does_not_hold_up_its_group),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
