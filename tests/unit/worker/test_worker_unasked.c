/* New small files go with the list that names them (worker/supply.h). */
#include "hand.h"

#include <stdio.h>

#include "base/mem.h"

#define FILES 1500

static void unasked_files_arrive_and_are_known_as_brought(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/d/a", "hello", 0);
	rig_write(r, "src/empty", "", 0);
	rig_write(r, "src/big", "", 0);
	rig_fill(r, "src/big", 1u << 20);
	rig_mkdir(r, "dst/d");
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r,
	          (struct wire_item[]){ITEM("d/a", WIRE_ITEM_UNASKED),
	                               ITEM("empty", WIRE_ITEM_UNASKED),
	                               ITEM("big", WIRE_ITEM_UNASKED)},
	          3);
	for (size_t i = 0; i < 3; i++) {
		assert_result(r, i, WIRE_ACKED);
		assert_true(r->items[i].flags & WIRE_DATA_SENT);
	}
	rig_assert_content(r, "dst/d/a", "hello");
	rig_assert_content(r, "dst/empty", "");
	assert_int_equal(rig_stat(r, "dst/big").st_size, 1u << 20);
	assert_int_equal(rig_stat(r, "dst/d/a").st_mtime, rig_stat(r, "src/d/a").st_mtime);
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, (struct wire_item[]){ITEM("d/a", WIRE_ITEM_UNLESS_SAME)}, 1);
	assert_result(r, 0, WIRE_SAME);
}

static void unasked_files_below_new_directories_arrive(void **state)
{
	struct rig *r = *state;
	static char paths[FILES][16];
	struct wire_item *items = mem_array(FILES, sizeof(*items));

	for (size_t i = 0; i < FILES; i++) {
		char src[32];

		(void)snprintf(paths[i], sizeof(paths[i]), "d%zu/f%zu", i % 100, i);
		(void)snprintf(src, sizeof(src), "src/%s", paths[i]);
		rig_write(r, src, paths[i], 0);
		items[i] = ITEM(paths[i], WIRE_ITEM_UNASKED);
	}
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, items, FILES);
	for (size_t i = 0; i < FILES; i++) {
		char dst[32];

		assert_result(r, i, WIRE_ACKED);
		assert_int_equal(r->items[i].trouble, TROUBLE_NONE);
		(void)snprintf(dst, sizeof(dst), "dst/%s", paths[i]);
		rig_assert_content(r, dst, paths[i]);
	}
	free(items);
}

static void unasked_file_that_is_blocked_fails_alone(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a", "x", 0);
	rig_write(r, "src/blocked", "x", 0);
	rig_write(r, "dst/blocked/foreign", "x", 0);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r,
	          (struct wire_item[]){ITEM("a", WIRE_ITEM_UNASKED),
	                               ITEM("blocked", WIRE_ITEM_UNASKED)},
	          2);
	assert_result(r, 0, WIRE_ACKED);
	assert_result(r, 1, WIRE_FAILED);
	rig_assert_content(r, "dst/blocked/foreign", "x");
}

/* Stock servers end the session over a file that their filter excludes. */
static void server_that_excludes_an_unasked_file_is_asked_from_then_on(void **state)
{
	struct rig *r = *state;
	struct wire_item items[] = {ITEM("a", WIRE_ITEM_UNASKED),
	                            ITEM("secret", WIRE_ITEM_UNASKED)};

	rig_write(r, "src/a", "x", 0);
	rig_write(r, "src/secret", "x", 0);
	rig_start(r);
	rig_connect_daemon(r, SESSION_QUICK, "exclude = secret");
	rig_wait_ready(r);
	rig_batch(r, items, 2);
	rig_wait_done(r);
	assert_int_equal(r->done.trouble, TROUBLE_PROTOCOL);
	rig_connect_daemon(r, SESSION_QUICK, "exclude = secret");
	rig_wait_ready(r);
	rig_batch(r, items, 2);
	rig_wait_done(r);
	assert_int_equal(r->done.trouble, TROUBLE_NONE);
	assert_result(r, 0, WIRE_ACKED);
	assert_result(r, 1, WIRE_FAILED);
	rig_assert_content(r, "dst/a", "x");
	assert_false(rig_exists(r, "dst/secret"));
}

/* --- a peer made by hand: the root is 0, "a" 1, "b" 2 --- */

#define REQUEST_A BYTES("\x13\0\0\7\2\0\xa0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")
#define SUCCESS_A BYTES("\4\0\0\x6b\1\0\0\0")
#define THE_END   BYTES("\5\0\0\7\0\0\0\0\0")

/* "a" went with the list. */
static void hand_unasked(struct hand *h, struct rig *r)
{
	rig_write(r, "src/a", "x", 0);
	hand_open(h, r);
	hand_carry(h, r, (struct wire_item[]){ITEM("a", WIRE_ITEM_UNASKED)}, 1);
	assert_int_equal(session_unasked(h->l->session), 1);
}

static void assert_hand_result(struct hand *h, size_t item, uint8_t result)
{
	hand_reports(h);
	assert_int_equal(h->results[item], result);
}

/* The target may have it: it is a copy that kept its time, or came from there. */
static void file_whose_time_was_set_is_asked_for(void **state)
{
	struct rig *r = *state;
	struct hand h;

	rig_write(r, "src/a", "x", OLD);
	rig_write(r, "src/b", "x", 0);
	hand_open(&h, r);
	hand_carry(&h, r,
	           (struct wire_item[]){ITEM("a", WIRE_ITEM_UNASKED), ITEM("b", WIRE_ITEM_UNASKED)},
	           2);
	assert_int_equal(session_unasked(h.l->session), 1);
	hand_says(&h, REQUEST_A);
	assert_true(h.got_n > 8); /* more than a NO_SEND */
	hand_says(&h, SUCCESS_A);
	assert_hand_result(&h, 0, WIRE_ACKED);
	hand_drop(&h);
}

static void unasked_file_that_is_asked_for_is_confirmed_at_once(void **state)
{
	struct hand h;

	for (int overtakes = 0; overtakes < 2; overtakes++) {
		hand_unasked(&h, *state);
		hand_says(&h, overtakes ? SUCCESS_A : REQUEST_A);
		assert_hand_result(&h, 0, 0);
		hand_says(&h, overtakes ? REQUEST_A : SUCCESS_A);
		assert_hand_result(&h, 0, WIRE_ACKED);
		assert_non_null(repeats_find(h.env.repeats, BYTES("a")));
		hand_drop(&h);
	}
}

/* One half of the receiver has found an equal size and time, and our copy is still under way: so
 * the item is not done, and if the session breaks off, the copy may be written yet. */
static void unasked_file_that_the_target_seems_to_have_is_confirmed_twice(void **state)
{
	struct hand h;

	hand_unasked(&h, *state);
	hand_says(&h, SUCCESS_A);
	assert_hand_result(&h, 0, 0);
	hand_says(&h, SUCCESS_A);
	assert_hand_result(&h, 0, WIRE_ACKED);
	hand_drop(&h);
	hand_unasked(&h, *state);
	hand_says(&h, SUCCESS_A);
	link_give_up(h.l, TROUBLE_TIMEOUT, BYTES("test"), h.now_ns);
	assert_hand_result(&h, 0, WIRE_UNKNOWN);
	hand_drop(&h);
	hand_unasked(&h, *state);
	hand_says(&h, SUCCESS_A);
	hand_says(&h, THE_END);
	assert_hand_result(&h, 0, WIRE_ACKED);
	assert_null(repeats_find(h.env.repeats, BYTES("a")));
	hand_drop(&h);
}

/* An error of somebody else, as it seems: then the copy may be there, whatever its request finds.
 */
static void unasked_file_that_vanishes_later_is_not_taken_for_unsent(void **state)
{
	static const struct bytes unnamed = {"\x0c\0\0\10no such luck", 16};
	static const char no_send[] = "\4\0\0\x6d\1\0\0"; /* and a NUL */
	struct rig *r = *state;
	struct hand h;

	for (int arrives = 0; arrives < 2; arrives++) {
		hand_unasked(&h, r);
		hand_says(&h, unnamed);
		assert_int_equal(unlinkat(r->src_fd, "a", 0), 0);
		hand_says(&h, REQUEST_A);
		assert_int_equal(h.got_n, sizeof(no_send));
		assert_memory_equal(h.got, no_send, sizeof(no_send));
		assert_hand_result(&h, 0, 0);
		if (arrives)
			hand_says(&h, SUCCESS_A);
		hand_says(&h, THE_END);
		assert_hand_result(&h, 0, arrives ? WIRE_MOVED : WIRE_UNKNOWN);
		hand_drop(&h);
	}
}

/* Both copies may arrive, and neither is the answer while the other is under way. */
static void unasked_file_that_was_sent_again_is_confirmed_twice(void **state)
{
	static const struct bytes unnamed = {"\x0c\0\0\10no such luck", 16};
	struct hand h;

	for (int early = 0; early < 2; early++) {
		hand_unasked(&h, *state);
		hand_says(&h, early ? REQUEST_A : unnamed);
		hand_says(&h, early ? unnamed : REQUEST_A);
		assert_true(h.got_n > 8);
		hand_says(&h, SUCCESS_A);
		assert_int_equal(h.l->state, LINK_CARRYING);
		assert_hand_result(&h, 0, 0);
		hand_says(&h, SUCCESS_A);
		assert_hand_result(&h, 0, WIRE_ACKED);
		hand_drop(&h);
	}
}

/* Until the request is answered: how long that took. */
static int64_t hand_waits(struct hand *h)
{
	int64_t begin_ns = h->now_ns;

	for (hand_says(h, HAND_KEEPALIVE); h->got_n <= 8; hand_says(h, HAND_KEEPALIVE)) {
		assert_true(h->now_ns < begin_ns + 600 * HAND_SECOND);
		h->now_ns = link_wake_ns(h->l);
		link_timer(h->l, h->now_ns);
		assert_int_equal(h->l->state, LINK_CARRYING);
	}
	return (h->now_ns - begin_ns) / HAND_SECOND;
}

/* It keeps the line alive and waits for the answer to mark 1, as we for a word from it. One that is
 * only slow confirms both copies in the end. */
static void server_that_ignores_unasked_files_is_asked_from_then_on(void **state)
{
	static const struct bytes mark = {"\1\0\0\7\0", 5};
	struct rig *r = *state;
	struct hand h;

	for (int slow = 0; slow < 2; slow++) {
		hand_unasked(&h, r);
		hand_says(&h, REQUEST_A);
		hand_says(&h, mark);
		assert_int_equal(h.got_n, 0);
		assert_in_range(hand_waits(&h), 1, 20);
		hand_says(&h, SUCCESS_A);
		if (slow)
			hand_says(&h, SUCCESS_A);
		for (int i = 0; i < 4; i++)
			hand_says(&h, mark);
		assert_hand_result(&h, 0, WIRE_ACKED);
		assert_int_equal(h.l->state, LINK_LEAVING);
		assert_int_equal(h.env.asked_only, !slow);
		hand_open_next(&h, r);
		hand_carry(&h, r, (struct wire_item[]){ITEM("a", WIRE_ITEM_UNASKED)}, 1);
		assert_int_equal(session_unasked(h.l->session), slow);
		hand_drop(&h);
	}
}

/* What has another reason tells neither for nor against it. */
static void server_that_breaks_off_over_unasked_files_is_asked_in_the_end(void **state)
{
	static const enum trouble ends[] = {TROUBLE_TIMEOUT, TROUBLE_PROTOCOL, TROUBLE_FULL,
	                                    TROUBLE_TIMEOUT};
	struct rig *r = *state;
	struct hand h;

	hand_unasked(&h, r);
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		assert_int_equal(session_unasked(h.l->session), 1);
		link_give_up(h.l, ends[i], BYTES("test"), h.now_ns);
		assert_int_equal(h.env.asked_only, i == ARRAY_LEN(ends) - 1);
		hand_open_next(&h, r);
		hand_carry(&h, r, (struct wire_item[]){ITEM("a", WIRE_ITEM_UNASKED)}, 1);
	}
	assert_int_equal(session_unasked(h.l->session), 0);
	hand_drop(&h);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(unasked_files_arrive_and_are_known_as_brought),
	        TEST(unasked_files_below_new_directories_arrive),
	        TEST(unasked_file_that_is_blocked_fails_alone),
	        TEST(server_that_excludes_an_unasked_file_is_asked_from_then_on),
	        TEST(file_whose_time_was_set_is_asked_for),
	        TEST(unasked_file_that_is_asked_for_is_confirmed_at_once),
	        TEST(unasked_file_that_the_target_seems_to_have_is_confirmed_twice),
	        TEST(unasked_file_that_vanishes_later_is_not_taken_for_unsent),
	        TEST(unasked_file_that_was_sent_again_is_confirmed_twice),
	        TEST(server_that_ignores_unasked_files_is_asked_from_then_on),
	        TEST(server_that_breaks_off_over_unasked_files_is_asked_in_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
