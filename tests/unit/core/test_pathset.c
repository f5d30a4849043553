/* One case for each sentence of pathset.h; hard links: test_pathset_groups. */
#include "pathset_rig.h"

static void put_then_take_then_ack_leaves_nothing(void **state)
{
	struct pathset *set = *state;
	struct mark m = mark("d/a", MARK_QUICK, 0);
	struct batch *b;

	m.size = 12;
	pathset_put(set, &m, now);
	assert_int_equal(pathset_pending(set), 1);
	assert_int_equal(pathset_pending_bytes(set), 12);
	assert_true(pathset_has(set, BYTES("d/a")));
	assert_false(pathset_has(set, BYTES("d")));
	b = expect(take(set, BATCH_QUICK), "d/a");
	assert_int_equal(batch_class(b), BATCH_QUICK);
	assert_int_equal(pathset_pending(set), 0);
	assert_int_equal(pathset_in_flight(set), 1);
	assert_int_equal(pathset_pending_bytes(set), 0);
	batch_ack(b, 0, now);
	assert_false(batch_open(b, 0));
	assert_int_equal(batch_mark(b, 0)->size, 12);
	assert_int_equal(pathset_in_flight(set), 0);
	batch_end(b, now, 0);
	assert_false(pathset_has(set, BYTES("d/a")));
	assert_int_equal(pathset_oldest(set), INT64_MAX);
}

static void the_root_itself_can_be_marked(void **state)
{
	struct pathset *set = *state;

	put(set, "", MARK_META, MARK_DIR);
	put(set, "a", MARK_META, 0);
	ack_all(expect(take(set, BATCH_QUICK), " a"));
}

static void nack_keeps_age_and_born_and_waits_for_its_time(void **state)
{
	struct pathset *set = *state;
	struct mark m = mark("a", MARK_QUICK, 0);
	struct batch *b;

	pathset_put(set, &m, now);
	now += SECOND;
	b = expect(take(set, BATCH_QUICK), "a");
	batch_nack(b, 0, MARK_CONTENT, now, now + 5 * SECOND);
	batch_end(b, now, 0);
	assert_int_equal(pathset_deadline(set), now + 5 * SECOND);
	nothing(set);
	now += 5 * SECOND;
	b = expect(take(set, BATCH_CONTENT), "a");
	assert_int_equal(batch_mark(b, 0)->born, m.born);
	assert_int_equal(batch_mark(b, 0)->since_ns, m.since_ns);
	ack_all(b);
}

static void ending_a_batch_nacks_what_is_open_as_look(void **state)
{
	struct pathset *set = *state;
	struct batch *b;

	put(set, "a", MARK_QUICK, 0);
	put(set, "b", MARK_QUICK, 0);
	b = expect(take(set, BATCH_QUICK), "a b");
	batch_ack(b, 0, now);
	batch_end(b, now, now);
	nothing(set);
	ack_all(expect(pathset_take_looks(set, 9, false, now), "b"));
	assert_int_equal(pathset_pending(set), 0);
}

static void dropped_marks_are_gone(void **state)
{
	struct pathset *set = *state;
	struct batch *b;

	put(set, "a", MARK_DELETE, 0);
	b = expect(take(set, BATCH_DELETE), "a");
	batch_drop(b, 0, now);
	batch_end(b, now, 0);
	assert_int_equal(pathset_pending(set) + pathset_in_flight(set), 0);
}

static void a_path_in_flight_is_not_taken_again(void **state)
{
	struct pathset *set = *state;
	struct batch *b;

	put(set, "a", MARK_QUICK, 0);
	b = expect(take(set, BATCH_QUICK), "a");
	put(set, "a", MARK_QUICK, 0);
	now += 50 * SECOND;
	nothing(set);
	assert_int_equal(pathset_pending(set), 1);
	assert_int_equal(pathset_in_flight(set), 1);
	ack_all(b);
	ack_all(expect(take(set, BATCH_QUICK), "a"));
}

static void marked_in_flight_waits_twice_the_flight(void **state)
{
	struct pathset *set = *state;
	struct batch *b;
	int64_t put_at;

	put(set, "a", MARK_QUICK, 0);
	b = expect(take(set, BATCH_QUICK), "a");
	now += 100 * MS;
	put_at = now;
	put(set, "a", MARK_QUICK, 0);
	now = put_at + 20 * MS;
	ack_all(b);
	assert_in_range(pathset_deadline(set), put_at + 239 * MS, put_at + 241 * MS);
	nothing(set);
	now = put_at + 241 * MS;
	ack_all(expect(take(set, BATCH_QUICK), "a"));
}

static void marked_just_after_its_ack_waits_at_most_a_second(void **state)
{
	struct pathset *set = *state;
	struct batch *b;

	put(set, "a", MARK_QUICK, 0);
	b = expect(take(set, BATCH_QUICK), "a");
	now += 700 * MS;
	ack_all(b);
	now += 900 * MS;
	put(set, "a", MARK_QUICK, 0);
	assert_int_equal(pathset_deadline(set), now - 1 + SECOND);
	now += 50 * MS;
	put(set, "a", MARK_QUICK, 0); /* does not put it off */
	assert_int_equal(pathset_deadline(set), now - 2 + 950 * MS);
	now += SECOND;
	b = expect(take(set, BATCH_QUICK), "a");
	ack_all(b);
	now += SECOND;
	put(set, "a", MARK_QUICK, 0); /* a second later it is forgotten */
	assert_int_equal(pathset_deadline(set), INT64_MAX);
	ack_all(expect(take(set, BATCH_QUICK), "a"));
}

static void hot_marks_wait_for_the_longest_wait_unless_closed(void **state)
{
	struct pathset *set = *state;
	int64_t since = now;

	put(set, "hot", MARK_QUICK, MARK_HOT);
	put(set, "closed", MARK_QUICK, MARK_HOT);
	put(set, "closed", MARK_QUICK, 0);
	ack_all(expect(take(set, BATCH_QUICK), "closed"));
	assert_int_equal(pathset_deadline(set), since + LONGEST);
	now = since + LONGEST;
	ack_all(expect(take(set, BATCH_QUICK), "hot"));
}

static void log_that_grew_waits_by_its_size_and_not_longer_than_others(void **state)
{
	const struct {
		uint64_t size;
		int64_t wait;
	} rows[] = {{100, SECOND},
	            {250 << 20, SECOND},
	            {640 << 20, 2560 * MS},
	            {UINT64_C(1) << 40, LONGEST}};
	struct pathset *set = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct mark m = {.path = BYTES("log"),
		                 .action = MARK_QUICK,
		                 .flags = MARK_HOT | MARK_GREW,
		                 .since_ns = now,
		                 .size = rows[i].size};

		pathset_put(set, &m, now);
		assert_int_equal(pathset_deadline(set), now + rows[i].wait);
		now += LONGEST;
		ack_all(expect(take(set, BATCH_QUICK), "log"));
		now += LONGEST;
	}
}

static void hurried_directory_lets_nothing_below_it_wait_to_be_closed(void **state)
{
	struct pathset *set = *state;

	put(set, "d/hot", MARK_QUICK, MARK_HOT);
	put(set, "d/e/.new.123456", MARK_QUICK, MARK_BRIEF);
	put(set, "dd/hot", MARK_QUICK, MARK_HOT);
	nothing(set);
	pathset_hurry(set, BYTES("d"), now);
	ack_all(expect(take(set, BATCH_QUICK), "d/hot d/e/.new.123456"));
	nothing(set);
}

static void count_settled(struct bytes path, void *arg)
{
	assert_true(path_below(path, BYTES("d")) || bytes_equal(path, BYTES("d")));
	++*(int *)arg;
}

static void path_acked_long_ago_may_be_hurried_stirred_and_settled(void **state)
{
	struct pathset *set = *state;
	int n = 0;

	for (int i = 0; i < 3; i++) {
		put(set, "d/e", MARK_QUICK, 0);
		ack_all(expect(take(set, BATCH_QUICK), "d/e"));
		put(set, "hot", MARK_QUICK, MARK_HOT);
		now += 2 * SECOND;
		if (i == 0)
			pathset_hurry(set, BYTES("d/e"), now);
		else if (i == 1)
			pathset_stir(set, BYTES("d/e"), now);
		else
			pathset_settle(set, BYTES("d/e"), count_settled, &n, now);
	}
	assert_int_equal(n, 0);
	nothing(set);
}

static void look_that_took_in_a_hot_mark_does_not_wait(void **state)
{
	struct pathset *set = *state;
	struct batch *b;

	put(set, "f", MARK_QUICK, 0);
	b = expect(take(set, BATCH_QUICK), "f");
	put(set, "f", MARK_QUICK, MARK_HOT);
	batch_nack(b, 0, MARK_LOOK, now, now);
	batch_end(b, now, now);
	now += SECOND;
	b = pathset_take_looks(set, 9, false, now);
	assert_non_null(b);
	ack_all(b);
}

static void settled_directory_takes_along_what_is_below_but_not_deletions_and_flights(void **state)
{
	struct pathset *set = *state;
	struct batch *b;
	int n = 0;

	put(set, "d/flies", MARK_QUICK, 0);
	b = expect(take(set, BATCH_QUICK), "d/flies");
	put(set, "d/flies", MARK_QUICK, 0);
	put(set, "d", MARK_QUICK, NEW_DIR);
	put(set, "d/hot", MARK_QUICK, MARK_HOT);
	put(set, "d/e/new", MARK_QUICK, MARK_FRESH);
	put(set, "d/goes", MARK_DELETE, 0);
	put(set, "dd", MARK_QUICK, 0);
	pathset_settle(set, BYTES("d"), count_settled, &n, now);
	assert_int_equal(n, 3);
	ack_all(b);
	now += 2 * SECOND;
	ack_all(expect(take_of(set, 1u << BATCH_DELETE, 9, false), "d/goes"));
	ack_all(expect(take(set, BATCH_QUICK), "dd d/flies"));
	nothing(set);
	pathset_settle(set, BYTES("unknown"), count_settled, &n, now);
}

static void classes_are_split_and_the_oldest_decides(void **state)
{
	struct pathset *set = *state;

	put(set, "c", MARK_CONTENT, 0);
	put(set, "q", MARK_QUICK, 0);
	put(set, "m", MARK_META, 0);
	put(set, "d", MARK_DELETE, 0);
	ack_all(expect(take_of(set, 7, 9, false), "c"));
	ack_all(expect(take_of(set, 1u << BATCH_DELETE, 9, false), "d"));
	ack_all(expect(take_of(set, 7, 9, false), "q m"));
	nothing(set);
}

static void low_marks_go_only_when_asked(void **state)
{
	struct pathset *set = *state;

	put(set, "low", MARK_CONTENT, MARK_LOW);
	put(set, "high", MARK_CONTENT, 0);
	put(set, "only", MARK_QUICK, 0);
	ack_all(expect(take_of(set, 7, 9, true), "low high"));
	put(set, "low", MARK_CONTENT, MARK_LOW);
	ack_all(expect(take_of(set, 7, 9, false), "only"));
	expect(take_of(set, 7, 9, false), NULL);
	now += SECOND;
	ack_all(expect(take_of(set, 7, 9, true), "low"));
}

static void limits_hold_but_one_mark_may_exceed_the_bytes(void **state)
{
	struct pathset *set = *state;
	struct take_limits limits = {7, 2, 100, false};

	for (int i = 0; i < 5; i++) {
		char name[2] = {(char)('a' + i), 0};
		struct mark m = mark(name, MARK_QUICK, 0);

		m.size = i == 3 ? 500 : 40;
		pathset_put(set, &m, now++);
	}
	ack_all(expect(pathset_take(set, &limits, now), "a b"));
	ack_all(expect(pathset_take(set, &limits, now), "c"));
	ack_all(expect(pathset_take(set, &limits, now), "d"));
	ack_all(expect(pathset_take(set, &limits, now), "e"));
}

static void deletions_are_at_most_two_thousand_a_batch(void **state)
{
	struct pathset *set = pathset_new(10000, LONGEST);
	struct batch *b;

	(void)state;
	put(set, "d", MARK_DELETE, MARK_DIR);
	for (int i = 0; i < 2500; i++) {
		char name[20];

		snprintf(name, sizeof(name), "d/%d", i);
		put(set, name, MARK_DELETE, 0);
	}
	b = take_of(set, 7, 100000, false);
	assert_int_equal(batch_count(b), 2000);
	ack_all(b);
	b = take_of(set, 7, 100000, false);
	assert_int_equal(batch_count(b), 501);
	assert_true(bytes_equal(batch_mark(b, 500)->path, BYTES("d")));
	ack_all(b);
	pathset_free(set);
}

static void deletions_list_what_lies_below_first(void **state)
{
	struct pathset *set = *state;

	put(set, "d", MARK_DELETE, MARK_DIR);
	put(set, "d/e", MARK_DELETE, MARK_DIR);
	put(set, "d/e/f", MARK_DELETE, 0);
	put(set, "d/g", MARK_DELETE, 0);
	ack_all(expect(take(set, BATCH_DELETE), "d/e/f d/e d/g d"));
}

static void a_directory_is_not_deleted_before_what_lies_below_has_gone(void **state)
{
	struct pathset *set = *state;
	struct batch *b;

	put(set, "d", MARK_DELETE, MARK_DIR);
	put(set, "d/a", MARK_DELETE, 0);
	put(set, "d/b", MARK_DELETE, 0);
	b = expect(take_of(set, 7, 1, false), "d/a");
	ack_all(expect(take_of(set, 7, 1, false), "d/b"));
	nothing(set);
	ack_all(b);
	ack_all(expect(take(set, BATCH_DELETE), "d"));
}

static void new_directories_go_before_what_lies_in_them_in_one_batch(void **state)
{
	struct pathset *set = *state;

	put(set, "d/e/a", MARK_QUICK, MARK_FRESH);
	put(set, "d/e", MARK_QUICK, NEW_DIR);
	put(set, "d/b", MARK_QUICK, MARK_FRESH);
	put(set, "d", MARK_QUICK, NEW_DIR);
	ack_all(expect(take(set, BATCH_QUICK), "d d/e d/b d/e/a"));
}

static void a_new_directory_in_flight_blocks_what_lies_below(void **state)
{
	struct pathset *set = *state;
	struct batch *b;

	put(set, "d", MARK_QUICK, NEW_DIR);
	put(set, "d/a", MARK_QUICK, 0);
	b = expect(take_of(set, 7, 1, false), "d");
	put(set, "d/e/b", MARK_CONTENT, 0);
	put(set, "x", MARK_QUICK, 0);
	ack_all(expect(take_of(set, 7, 9, true), "x"));
	nothing(set);
	batch_ack(b, 0, now);
	batch_end(b, now, 0);
	ack_all(expect(take(set, BATCH_QUICK), "d/a"));
	ack_all(expect(take(set, BATCH_CONTENT), "d/e/b"));
}

static void a_new_directory_that_must_wait_blocks_what_lies_below(void **state)
{
	struct pathset *set = *state;
	struct batch *b;

	put(set, "d", MARK_QUICK, NEW_DIR);
	b = expect(take(set, BATCH_QUICK), "d");
	batch_nack(b, 0, MARK_QUICK, now, now + 30 * SECOND);
	batch_end(b, now, 0);
	put(set, "d/a", MARK_QUICK, 0);
	nothing(set);
	now += 30 * SECOND;
	ack_all(expect(take(set, BATCH_QUICK), "d d/a"));
}

static void exclusive_marks_wait_for_flights_above_and_below(void **state)
{
	struct pathset *set = *state;
	struct batch *above, *under;

	put(set, "d", MARK_META, MARK_DIR);
	put(set, "d/e/a", MARK_QUICK, 0);
	above = expect(take_of(set, 7, 1, false), "d");
	under = expect(take_of(set, 7, 1, false), "d/e/a");
	put(set, "d/e", MARK_DELETE, MARK_DIR);
	nothing(set);
	ack_all(above);
	nothing(set);
	ack_all(under);
	ack_all(expect(take(set, BATCH_DELETE), "d/e"));
}

static void a_known_directory_excludes_only_itself(void **state)
{
	struct pathset *set = *state;
	struct batch *b;

	put(set, "d", MARK_META, MARK_DIR);
	b = expect(take(set, BATCH_QUICK), "d");
	put(set, "d/a", MARK_QUICK, 0);
	put(set, "d/e", MARK_META, MARK_DIR);
	ack_all(expect(take(set, BATCH_QUICK), "d/a d/e"));
	ack_all(b);
}

static void marks_below_a_deletion_wait_and_become_looks(void **state)
{
	struct pathset *set = *state;
	struct batch *b;

	put(set, "d/a", MARK_QUICK, 0);
	put(set, "d", MARK_DELETE, MARK_DIR);
	expect(take(set, BATCH_QUICK), NULL);
	b = expect(take(set, BATCH_DELETE), "d");
	put(set, "d", MARK_META, MARK_DIR);
	nothing(set);
	ack_all(b);
	now += SECOND;
	nothing(set);
	ack_all(expect(pathset_take_looks(set, 9, false, now), "d/a d"));
	assert_int_equal(pathset_pending(set), 0);
}

static void what_waits_for_a_deletion_does_not_stir(void **state)
{
	struct pathset *set = *state;
	struct batch *b;

	put(set, "d", MARK_DELETE, MARK_DIR);
	assert_false(pathset_stirs(set, now));
	put(set, "d/a", MARK_QUICK, 0);
	assert_true(pathset_stirs(set, now)); /* as long as nobody has tried to take it */
	expect(take(set, BATCH_QUICK), NULL);
	assert_false(pathset_stirs(set, now));
	put(set, "b", MARK_QUICK, MARK_HOT);
	assert_true(pathset_stirs(set, now));
	now += LONGEST;
	b = expect(take(set, BATCH_QUICK), "b");
	assert_false(pathset_stirs(set, now)); /* what is in flight is its batch's business */
	ack_all(b);
	put(set, "e", MARK_LOOK, 0);
	assert_true(pathset_stirs(set, now));
}

static void deletion_is_known_pending_and_in_flight(void **state)
{
	struct pathset *set = *state;
	struct batch *b;

	put(set, "d/a", MARK_DELETE, 0);
	put(set, "d/b", MARK_QUICK, 0);
	assert_true(pathset_goes(set, bytes_of("d/a")));
	assert_false(pathset_goes(set, bytes_of("d/b")));
	assert_false(pathset_goes(set, bytes_of("d")));
	b = take(set, BATCH_DELETE);
	assert_true(pathset_goes(set, bytes_of("d/a")));
	ack_all(b);
	assert_false(pathset_goes(set, bytes_of("d/a")));
}

static void a_type_change_waits_for_deletions_below(void **state)
{
	struct pathset *set = *state;
	struct batch *b;

	put(set, "d", MARK_QUICK, MARK_RETYPED);
	put(set, "d/a", MARK_DELETE, 0);
	put(set, "d/b", MARK_CONTENT, 0);
	expect(take(set, BATCH_QUICK), NULL);
	b = expect(take_of(set, 7, 9, false), "d/a");
	nothing(set);
	ack_all(b);
	b = expect(take_of(set, 7, 9, false), "d");
	ack_all(b);
	nothing(set);
	ack_all(expect(pathset_take_looks(set, 9, false, now), "d/b"));
}

static void the_oldest_blocked_mark_is_not_starved_from_above(void **state)
{
	struct pathset *set = *state;
	struct batch *b;

	put(set, "d", MARK_META, MARK_DIR);
	b = expect(take(set, BATCH_QUICK), "d");
	put(set, "d/a", MARK_DELETE, 0);
	expect(take(set, BATCH_DELETE), NULL); /* blocked: reserves */
	now += SECOND;
	put(set, "d", MARK_META, MARK_DIR);
	ack_all(b);
	now += 2 * SECOND;
	expect(take(set, BATCH_QUICK), NULL); /* younger, would block it again */
	b = expect(take(set, BATCH_DELETE), "d/a");
	expect(take(set, BATCH_QUICK), NULL);
	ack_all(b);
	ack_all(expect(take(set, BATCH_QUICK), "d"));
}

static void the_oldest_blocked_mark_is_not_starved_from_below(void **state)
{
	struct pathset *set = *state;
	struct batch *b;

	put(set, "d/1", MARK_DELETE, 0);
	b = expect(take(set, BATCH_DELETE), "d/1");
	put(set, "d", MARK_META, MARK_DIR);
	expect(take(set, BATCH_QUICK), NULL);
	put(set, "d/2", MARK_DELETE, 0);
	put(set, "e/3", MARK_DELETE, 0);
	ack_all(expect(take(set, BATCH_DELETE), "e/3"));
	ack_all(b);
	expect(take(set, BATCH_DELETE), NULL);
	ack_all(expect(take(set, BATCH_QUICK), "d"));
	ack_all(expect(take(set, BATCH_DELETE), "d/2"));
}

static void looks_block_nothing_and_are_counted_until_acked(void **state)
{
	struct pathset *set = *state;
	struct mark tree = mark("", MARK_LOOK, MARK_DIR);
	struct batch *b;

	tree.scope = MARK_SUBTREE;
	pathset_put(set, &tree, now);
	put(set, "a", MARK_LOOK, 0);
	put(set, "d", MARK_QUICK, NEW_DIR);
	ack_all(expect(take(set, BATCH_QUICK), "d"));
	ack_all(expect(pathset_take_looks(set, 9, false, now), "a"));
	b = expect(pathset_take_looks(set, 9, true, now), "");
	assert_int_equal(batch_class(b), BATCH_CLASSES);
	assert_int_equal(pathset_in_flight(set), 1);
	assert_false(pathset_settled(set, tree.born));
	put(set, "", MARK_META, MARK_DIR); /* an answer to the look: ready at once */
	put(set, "a/b", MARK_QUICK, 0);
	ack_all(expect(take(set, BATCH_QUICK), " a/b"));
	pathset_put(set, &tree, now);
	expect(pathset_take_looks(set, 9, true, now), NULL); /* one look at a time */
	ack_all(b);
	now += SECOND;
	ack_all(expect(pathset_take_looks(set, 9, true, now), ""));
	assert_true(pathset_settled(set, UINT64_MAX));
}

static void looks_are_limited_and_oldest_first(void **state)
{
	struct pathset *set = *state;

	put(set, "b", MARK_LOOK, 0);
	put(set, "a", MARK_LOOK, 0);
	put(set, "c", MARK_LOOK, 0);
	ack_all(expect(pathset_take_looks(set, 2, true, now), "b a"));
	expect(pathset_take_looks(set, 0, true, now), NULL);
	ack_all(expect(pathset_take_looks(set, 2, true, now), "c"));
}

static void settled_asks_pending_and_flying_marks(void **state)
{
	struct pathset *set = *state;
	struct mark old = mark("a", MARK_QUICK, 0), young = mark("b", MARK_CONTENT, 0);
	struct batch *b;

	old.born = 10;
	young.born = 20;
	assert_true(pathset_settled(set, UINT64_MAX));
	pathset_put(set, &young, now);
	pathset_put(set, &old, now);
	assert_true(pathset_settled(set, 9));
	assert_false(pathset_settled(set, 10));
	b = expect(take(set, BATCH_QUICK), "a");
	assert_false(pathset_settled(set, 10));
	ack_all(b);
	assert_true(pathset_settled(set, 19));
	assert_false(pathset_settled(set, 20));
}

static bool count_until(const struct mark *mark, bool in_flight, void *arg)
{
	int *left = arg;

	assert_true(mark->path.n > 0);
	assert_int_equal(in_flight, bytes_equal(mark->path, BYTES("d/a")));
	return --*left > 0;
}

static void each_visits_a_subtree_until_told_to_stop(void **state)
{
	struct pathset *set = *state;
	struct batch *b;
	int left = 100;

	put(set, "d/a", MARK_QUICK, 0);
	b = expect(take(set, BATCH_QUICK), "d/a");
	put(set, "d", MARK_META, MARK_DIR);
	put(set, "d/b/c", MARK_QUICK, 0);
	put(set, "dd", MARK_QUICK, 0);
	pathset_each(set, BYTES("d"), count_until, &left);
	assert_int_equal(left, 97);
	pathset_each(set, BYTES("nowhere"), count_until, &left);
	assert_int_equal(left, 97);
	left = 2;
	pathset_each(set, BYTES(""), count_until, &left);
	assert_int_equal(left, 0);
	ack_all(b);
}

static void over_the_limit_a_crowded_directory_collapses(void **state)
{
	struct pathset *set = pathset_new(100, LONGEST);
	struct mark first = mark("crowd/first", MARK_CONTENT, 0);
	struct batch *b;

	(void)state;
	pathset_put(set, &first, now);
	now += SECOND;
	for (int i = 0; i < 50; i++) {
		char name[20];

		snprintf(name, sizeof(name), "crowd/%d", i);
		put(set, name, MARK_QUICK, 0);
		snprintf(name, sizeof(name), "thin/%d/x", i);
		put(set, name, MARK_QUICK, 0);
	}
	assert_int_equal(pathset_pending(set), 51);
	assert_int_equal(pathset_oldest(set), first.since_ns);
	b = expect(pathset_take_looks(set, 9, true, now), "crowd");
	assert_int_equal(batch_mark(b, 0)->scope, MARK_SUBTREE);
	assert_int_equal(batch_mark(b, 0)->born, first.born);
	assert_int_equal(batch_mark(b, 0)->since_ns, first.since_ns);
	ack_all(b);
	b = take(set, BATCH_QUICK);
	assert_int_equal(batch_count(b), 50);
	ack_all(b);
	pathset_free(set);
}

static void thinly_spread_marks_collapse_at_the_deepest_common_directory(void **state)
{
	struct pathset *set = pathset_new(100, LONGEST);

	(void)state;
	put(set, "other", MARK_QUICK, 0);
	for (int i = 0; i < 100; i++) {
		char name[40];

		snprintf(name, sizeof(name), "a/b/%d/%d/x", i % 10, i);
		put(set, name, MARK_QUICK, 0);
	}
	assert_int_equal(pathset_pending(set), 2);
	ack_all(expect(pathset_take_looks(set, 9, true, now), "a/b"));
	ack_all(expect(take(set, BATCH_QUICK), "other"));
	pathset_free(set);
}

/* Blocked marks are parked: a take that looked at all of them each time would not come to an end.
 */
static void many_marks_below_one_in_flight_are_not_looked_at_again(void **state)
{
	enum { MARKS = 60000, TAKES = 200000 };
	struct pathset *set = pathset_new(2 * MARKS, LONGEST);
	struct batch *b;
	size_t taken = 0;

	(void)state;
	put(set, "d", MARK_QUICK, NEW_DIR);
	b = expect(take_of(set, 7, 1, false), "d");
	for (int i = 0; i < MARKS; i++) {
		char name[20];

		snprintf(name, sizeof(name), "d/%d", i);
		put(set, name, MARK_QUICK, MARK_FRESH);
	}
	for (int i = 0; i < TAKES; i++)
		expect(take_of(set, 7, 100, true), NULL);
	ack_all(b);
	while ((b = take_of(set, 7, 100, false))) {
		taken += batch_count(b);
		ack_all(b);
	}
	assert_int_equal(taken, MARKS);
	pathset_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        CASE(put_then_take_then_ack_leaves_nothing),
	        CASE(the_root_itself_can_be_marked),
	        CASE(nack_keeps_age_and_born_and_waits_for_its_time),
	        CASE(ending_a_batch_nacks_what_is_open_as_look),
	        CASE(dropped_marks_are_gone),
	        CASE(a_path_in_flight_is_not_taken_again),
	        CASE(marked_in_flight_waits_twice_the_flight),
	        CASE(marked_just_after_its_ack_waits_at_most_a_second),
	        CASE(hot_marks_wait_for_the_longest_wait_unless_closed),
	        CASE(log_that_grew_waits_by_its_size_and_not_longer_than_others),
	        CASE(path_acked_long_ago_may_be_hurried_stirred_and_settled),
	        CASE(hurried_directory_lets_nothing_below_it_wait_to_be_closed),
	        CASE(look_that_took_in_a_hot_mark_does_not_wait),
	        CASE(settled_directory_takes_along_what_is_below_but_not_deletions_and_flights),
	        CASE(classes_are_split_and_the_oldest_decides),
	        CASE(low_marks_go_only_when_asked),
	        CASE(limits_hold_but_one_mark_may_exceed_the_bytes),
	        CASE(deletions_are_at_most_two_thousand_a_batch),
	        CASE(deletions_list_what_lies_below_first),
	        CASE(a_directory_is_not_deleted_before_what_lies_below_has_gone),
	        CASE(new_directories_go_before_what_lies_in_them_in_one_batch),
	        CASE(a_new_directory_in_flight_blocks_what_lies_below),
	        CASE(a_new_directory_that_must_wait_blocks_what_lies_below),
	        CASE(exclusive_marks_wait_for_flights_above_and_below),
	        CASE(a_known_directory_excludes_only_itself),
	        CASE(marks_below_a_deletion_wait_and_become_looks),
	        CASE(what_waits_for_a_deletion_does_not_stir),
	        CASE(deletion_is_known_pending_and_in_flight),
	        CASE(a_type_change_waits_for_deletions_below),
	        CASE(the_oldest_blocked_mark_is_not_starved_from_above),
	        CASE(the_oldest_blocked_mark_is_not_starved_from_below),
	        CASE(looks_block_nothing_and_are_counted_until_acked),
	        CASE(looks_are_limited_and_oldest_first),
	        CASE(settled_asks_pending_and_flying_marks),
	        CASE(each_visits_a_subtree_until_told_to_stop),
	        CASE(over_the_limit_a_crowded_directory_collapses),
	        CASE(thinly_spread_marks_collapse_at_the_deepest_common_directory),
	        CASE(many_marks_below_one_in_flight_are_not_looked_at_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
