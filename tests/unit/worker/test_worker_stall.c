/* A server that waits: for us, without need, or for ever. */
#include "hand.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

#define OLD     1000000000
#define NOBODY  65534
#define FAILING 120
#define ALL     240

/* Half of the items lie in "sealed", where the receiver can make nothing, and are listed first. */
static void make_items(struct rig *r, struct wire_item *items, size_t size, bool linked)
{
	static char paths[ALL][32];

	if (getuid() != 0)
		skip();
	for (int i = 0; i < ALL; i++) {
		const char *dir = i < FAILING ? "sealed" : "zopen";
		autofree char *full = mem_printf("src/%s/%03d", dir, i);

		(void)snprintf(paths[i], sizeof(paths[i]), "%s/%03d", dir, i);
		items[i] = ITEM(paths[i], 0);
		if (size)
			rig_fill(r, full, size);
		else
			rig_write(r, full, "x", OLD);
		if (linked && i % 2)
			assert_int_equal(unlinkat(r->dir_fd, full, 0), 0);
		if (linked && i % 2)
			assert_int_equal(linkat(r->src_fd, items[i - 1].path.p, r->src_fd,
			                        items[i].path.p, 0),
			                 0);
	}
	rig_mkdir(r, "dst/sealed");
	rig_mkdir(r, "dst/zopen");
	assert_int_equal(fchownat(r->dst_fd, "", NOBODY, NOBODY, AT_EMPTY_PATH), 0);
	assert_int_equal(fchownat(r->dst_fd, "zopen", NOBODY, NOBODY, 0), 0);
}

static void fail_half(struct rig *r, size_t size, bool linked)
{
	struct wire_item items[ALL];

	make_items(r, items, size, linked);
	rig_start(r);
	rig_connect_daemon(r, SESSION_QUICK, "uid = 65534\ngid = 65534");
	rig_wait_ready(r);
	rig_carry(r, items, ALL);
	for (size_t i = 0; i < ALL; i++) {
		/* A second name may be asked for when it is too late, and goes again then. */
		if (linked && i < FAILING && r->items[i].result == WIRE_UNKNOWN) {
			assert_result(r, i ^ 1, WIRE_FAILED);
			continue;
		}
		assert_result(r, i, i < FAILING ? WIRE_FAILED : WIRE_ACKED);
		if (i < FAILING)
			assert_non_null(strstr(r->texts[i], "Permission denied"));
	}
}

static void many_small_files_that_fail_do_not_stop_the_others(void **state)
{
	fail_half(*state, 0, false);
}

/* The receiver's patience with failures is shorter then: 10 instead of 50. */
static void many_larger_files_that_fail_do_not_stop_the_others(void **state)
{
	fail_half(*state, 16u << 10, false);
}

static void many_linked_files_that_fail_do_not_stop_the_others(void **state)
{
	fail_half(*state, 0, true);
}

/* --- a peer made by hand --- */

#define REQUEST_FIRST BYTES("\x13\0\0\7\2\0\xa0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")
#define MESSAGE       BYTES("\1\0\0\x09x")

/* The peer has the list, has asked for its file and got it. `size` is what the file seems to have.
 */
static void hand_make(struct hand *h, struct rig *r, int64_t size)
{
	struct wire_item item = ITEM("a", 0);

	rig_write(r, "src/a", "x", OLD);
	if (size) {
		autoclose int fd = openat(r->src_fd, "a", O_WRONLY | O_CLOEXEC);

		assert_int_equal(ftruncate(fd, size), 0);
	}
	hand_open(h, r);
	hand_carry(h, r, &item, 1);
}

/* The peer says this every ten seconds, for so long or until it is given up; how long that was. */
static int64_t hand_repeats(struct hand *h, struct bytes s, int64_t at_most_s)
{
	int64_t begin_ns = h->now_ns;

	while (h->l->state == LINK_CARRYING && h->now_ns < begin_ns + at_most_s * HAND_SECOND) {
		hand_says(h, s);
		h->now_ns += 10 * HAND_SECOND;
		link_timer(h->l, h->now_ns);
	}
	return (h->now_ns - begin_ns) / HAND_SECOND;
}

static void assert_written_off(const struct hand *h, bool yes)
{
	static const char no_send[] = "\4\0\0\x6d\1\0\0"; /* and a NUL */

	assert_int_equal(h->got_n, yes ? sizeof(no_send) : 0);
	if (yes)
		assert_memory_equal(h->got, no_send, sizeof(no_send));
}

static void failed_file_is_written_off_once(void **state)
{
	static const struct bytes named = {"\x0c\0\0\10open \"a\" bad", 16};
	static const struct bytes unnamed = {"\x0c\0\0\10no such luck", 16};
	static const struct bytes attributes = {"\x0a\0\0\10chown \"a\":", 14};
	struct hand h;

	for (int i = 0; i < 3; i++) {
		hand_make(&h, *state, 0);
		hand_says(&h, named); /* it was not asked for yet */
		assert_written_off(&h, false);
		hand_says(&h, REQUEST_FIRST);
		assert_true(h.got_n > 0);
		hand_says(&h, attributes); /* it arrives all the same */
		assert_written_off(&h, false);
		for (int k = 0; k < i; k++) { /* errors of others, for which it stands in */
			hand_says(&h, unnamed);
			assert_written_off(&h, true);
		}
		hand_says(&h, named);
		assert_written_off(&h, true);
		hand_says(&h, named); /* more words about it */
		assert_written_off(&h, false);
		assert_int_equal(h.l->state, LINK_CARRYING);
		hand_drop(&h);
	}
}

static void silent_server_is_given_up_soon(void **state)
{
	struct hand h;

	hand_make(&h, *state, 0);
	hand_says(&h, REQUEST_FIRST);
	assert_true(hand_repeats(&h, (struct bytes){"", 0}, 3600) <= 60);
	assert_int_equal(h.l->state, LINK_ZOMBIE);
	assert_int_equal(h.l->trouble, TROUBLE_TIMEOUT);
	hand_drop(&h);
}

static void keepalives_alone_do_not_extend_a_batch_for_ever(void **state)
{
	struct hand h;

	hand_make(&h, *state, 0);
	hand_says(&h, REQUEST_FIRST);
	assert_in_range(hand_repeats(&h, HAND_KEEPALIVE, 7200), 600, 900);
	assert_int_equal(h.l->state, LINK_ZOMBIE);
	assert_int_equal(h.l->trouble, TROUBLE_TIMEOUT);
	hand_drop(&h);
}

/* The receiver hashes it, or flushes it to its disk. */
static void keepalives_extend_a_batch_with_a_huge_file_for_hours(void **state)
{
	struct hand h;

	hand_make(&h, *state, INT64_C(1) << 36);
	assert_in_range(hand_repeats(&h, HAND_KEEPALIVE, 100000), 4 * 3600, 6 * 3600);
	assert_int_equal(h.l->state, LINK_ZOMBIE);
	hand_drop(&h);
}

static void server_that_says_something_is_not_given_up(void **state)
{
	struct hand h;

	hand_make(&h, *state, 0);
	assert_int_equal(hand_repeats(&h, MESSAGE, 7200), 7200);
	assert_int_equal(h.l->state, LINK_CARRYING);
	hand_drop(&h);
}

/* The peer took nothing until reading paused, and then all that was there in one go. With nothing
 * to be written no event of the socket will tell that there is room again. */
static void reading_goes_on_when_all_was_taken_at_once(void **state)
{
	struct hand h;

	hand_make(&h, *state, INT64_C(1) << 23);
	hand_says(&h, REQUEST_FIRST);
	while (link_has_work(h.l))
		link_work(h.l, h.now_ns);
	assert_true(session_output_pending(h.l->session) >= SUPPLY_PENDING_BYTES);
	while (session_output_pending(h.l->session)) {
		while (recv(h.peer, h.got, sizeof(h.got), MSG_DONTWAIT) > 0)
			;
		link_write(h.l, h.now_ns);
	}
	assert_true(h.l->supply.left > 0);
	assert_true(link_has_work(h.l));
	hand_drop(&h);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_make, rig_drop)
	const struct CMUnitTest tests[] = {
	        TEST(many_small_files_that_fail_do_not_stop_the_others),
	        TEST(many_larger_files_that_fail_do_not_stop_the_others),
	        TEST(many_linked_files_that_fail_do_not_stop_the_others),
	        TEST(failed_file_is_written_off_once),
	        TEST(silent_server_is_given_up_soon),
	        TEST(keepalives_alone_do_not_extend_a_batch_for_ever),
	        TEST(keepalives_extend_a_batch_with_a_huge_file_for_hours),
	        TEST(server_that_says_something_is_not_given_up),
	        TEST(reading_goes_on_when_all_was_taken_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
