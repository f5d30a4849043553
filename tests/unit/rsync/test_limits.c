/*
 * A peer that keeps to the form of the protocol and not to its sense: what it says cannot have
 * happened yet, or has no end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "base/mem.h"
#include "rsync/codec.h"
#include "rsync/session.h"
#include "talk.h"

#define HEAD0 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
/* Of the entries of serving(). */
#define SUCCESS_A BYTES("\4\0\0\x6b\0\0\0\0")
#define SUCCESS_B BYTES("\4\0\0\x6b\1\0\0\0")

static void say(struct session *s, struct bytes in)
{
	(void)session_feed(s, in);
}

static void send_all(struct session *s)
{
	session_sent(s, session_output(s).n);
}

/* Listed: "a" and "b", files; "d", a directory. */
static struct session *listing(enum session_class class, int protocol)
{
	struct session_entry e[] = {{.path = BYTES("d"), .mode = S_IFDIR | 0755},
	                            {.path = BYTES("a"), .mode = S_IFREG | 0644},
	                            {.path = BYTES("b"), .mode = S_IFREG | 0644}};
	char version[4] = {(char)protocol};
	struct session *s = session_new(SESSION_PIPE, class, &talk_plain_options, "/x", NULL);
	struct err err;

	say(s, (struct bytes){version, 4});
	say(s, BYTES("\x81\xfe\3md5\1\2\3\4"));
	send_all(s);
	assert_int_equal(session_list(s, e, ARRAY_LEN(e), NULL, 0, &err), 0);
	return s;
}

static struct session *serving(void)
{
	struct session *s = listing(SESSION_QUICK, 31);

	send_all(s);
	return s;
}

static size_t count_events(struct session *s, enum session_event_kind kind)
{
	struct session_event ev;
	size_t n = 0;

	for (session_next(s, &ev); ev.kind != SESSION_EV_NONE; session_next(s, &ev))
		n += ev.kind == kind;
	return n;
}

static void assert_breach(struct session *s, const char *words)
{
	assert_int_equal(session_state(s), SESSION_FAILED);
	assert_int_equal(session_fault(s), SESSION_FAULT_PROTOCOL);
	if (!strstr(session_error(s)->text, words))
		fail_msg("%s", session_error(s)->text);
	session_free(s);
}

static void answer(struct session *s)
{
	assert_int_equal(count_events(s, SESSION_EV_REQUEST), 1);
	session_answer_begin(s, 1);
	session_answer_data(s, BYTES("x"));
	session_answer_end(s);
}

static void confirmation_before_the_file_has_left_is_a_breach(void **state)
{
	struct session *s;

	(void)state;
	for (int step = 0; step < 4; step++) {
		s = serving();
		talk_feed_data(s, BYTES("\1\0\xa0" HEAD0));
		if (step == 1) {
			assert_int_equal(count_events(s, SESSION_EV_REQUEST), 1);
			session_answer_begin(s, 1);
		} else if (step >= 2) {
			answer(s);
			session_sent(s, session_output(s).n - (step == 2));
		}
		say(s, SUCCESS_A);
		if (step < 3) {
			assert_breach(s, "not sent yet");
			continue;
		}
		assert_int_equal(session_state(s), SESSION_SERVING);
		assert_int_equal(count_events(s, SESSION_EV_SUCCESS), 1);
		session_free(s);
	}
}

/* What the target has already is confirmed before what was sent unasked has left; what it asks for
 * is not. */
static void confirmation_before_an_unasked_file_has_left_tells_that_it_was_there(void **state)
{
	(void)state;
	for (int asked = 0; asked < 2; asked++) {
		struct session *s = serving();

		assert_true(session_answer_unasked(s, 1, 1));
		session_answer_data(s, BYTES("x"));
		session_answer_end(s);
		session_sent(s, session_output(s).n - 1);
		if (asked)
			talk_feed_data(s, BYTES("\1\0\xa0" HEAD0));
		say(s, SUCCESS_A);
		if (asked) {
			assert_breach(s, "not sent yet");
			continue;
		}
		assert_int_equal(count_events(s, SESSION_EV_SUCCESS), 1);
		assert_int_equal(session_unasked(s), 0);
		session_free(s);
	}
}

/* An error that names nobody has made its request count, while it was well. */
static void confirmation_of_what_went_unasked_may_come_when_it_is_sent_again(void **state)
{
	(void)state;
	for (int early = 0; early < 2; early++) {
		struct session *s = serving();

		assert_true(session_answer_unasked(s, 1, 1));
		session_answer_data(s, BYTES("x"));
		session_answer_end(s);
		send_all(s);
		if (early)
			talk_feed_data(s, BYTES("\1\0\xa0" HEAD0));
		assert_true(session_unasked_failed(s, 1));
		if (early)
			answer(s);
		else
			talk_feed_data(s, BYTES("\1\0\xa0" HEAD0));
		say(s, SUCCESS_A);
		assert_int_equal(session_state(s), SESSION_SERVING);
		assert_int_equal(count_events(s, SESSION_EV_SUCCESS), 1);
		session_free(s);
	}
}

static void confirmation_of_what_needs_nothing_is_taken(void **state)
{
	struct session *s = serving();

	(void)state;
	say(s, SUCCESS_B);
	assert_int_equal(count_events(s, SESSION_EV_SUCCESS), 1);
	session_free(s);
}

static void answer_before_the_list_has_left_is_a_breach(void **state)
{
	static const struct bytes said[] = {{"\4\0\0\x6b\0\0\0\0", 8},
	                                    {"\1\0\0\7\0", 5},
	                                    {"\1\0\0\x6c"
	                                     "a",
	                                     5}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(said); i++) {
		struct session *s = listing(SESSION_QUICK, 31);

		session_sent(s, session_output(s).n - 1);
		say(s, said[i]);
		assert_int_equal(session_state(s), SESSION_FAILED);
		assert_int_equal(session_fault(s), SESSION_FAULT_PROTOCOL);
		session_free(s);
	}
}

static void request_for_what_was_confirmed_is_a_breach(void **state)
{
	struct session *s = serving();

	(void)state;
	say(s, SUCCESS_A);
	talk_feed_data(s, BYTES("\1\0\xa0" HEAD0));
	assert_breach(s, "had confirmed");
}

static void endless_confirmations_are_a_breach(void **state)
{
	struct session *s = serving();
	int n = 0;

	(void)state;
	for (; session_state(s) == SESSION_SERVING && n < 100; n++)
		say(s, SUCCESS_A);
	assert_true(n < 10);
	assert_breach(s, "too many confirmations");
}

/* A session that did not ask for confirmations cannot be made to believe one. */
static void confirmation_that_nobody_asked_for_is_nothing(void **state)
{
	struct session *s = listing(SESSION_COMPARE, 31);

	(void)state;
	send_all(s);
	say(s, SUCCESS_A);
	assert_int_equal(session_state(s), SESSION_SERVING);
	assert_int_equal(count_events(s, SESSION_EV_SUCCESS), 0);
	session_free(s);
}

static void end_of_a_phase_whose_requests_wait_is_a_breach(void **state)
{
	struct session *s = serving();

	(void)state;
	talk_feed_data(s, BYTES("\1\0\xa0" HEAD0 "\0"));
	assert_int_equal(session_state(s), SESSION_SERVING);
	talk_feed_data(s, BYTES("\0"));
	assert_breach(s, "still waiting for a file");
}

/* What is to be repeated comes in one bunch with the marks behind it; only the last one waits for
 * our answers. With protocol 30 that is in the bunch, too. */
static void end_behind_a_repetition_is_early_only_if_it_is_the_last(void **state)
{
	(void)state;
	for (int protocol = 30; protocol <= 31; protocol++) {
		struct session *s = listing(SESSION_QUICK, protocol);

		send_all(s);
		talk_feed_data(s, BYTES("\1\0\xa0" HEAD0 "\0"));
		answer(s);
		send_all(s);
		talk_feed_data(s, BYTES("\xfe\x80\0\0\0\0\xa0" HEAD0 "\0\0\0"));
		assert_int_equal(session_state(s), SESSION_SERVING);
		assert_int_equal(count_events(s, SESSION_EV_PHASE), protocol == 30);
		if (protocol == 30) {
			session_free(s);
			continue;
		}
		talk_feed_data(s, BYTES("\0"));
		assert_breach(s, "still waiting for a file");
	}
}

static void words_without_end_are_a_breach(void **state)
{
	static const struct bytes said[] = {{"\1\0\0\x09x", 5},
	                                    {"\1\0\0\x08x", 5},
	                                    {"\4\0\0\x1d\0\0\0\0", 8},
	                                    {"\4\0\0\x28\1\0\0\0", 8}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(said); i++) {
		struct session *s = serving();
		int n = 0;

		for (; session_state(s) == SESSION_SERVING && n < 100000; n++) {
			say(s, said[i]);
			(void)count_events(s, SESSION_EV_MESSAGE);
		}
		assert_in_range(n, 1000, 2000);
		assert_breach(s, "words without end");
	}
}

static void keepalives_without_end_are_no_news_and_keep_nothing(void **state)
{
	struct session *s = serving();
	uint64_t news = session_news(s);

	(void)state;
	for (int i = 0; i < 100000; i++)
		say(s, BYTES("\0\0\0\7\0\0\0\x31"));
	assert_int_equal(session_state(s), SESSION_SERVING);
	assert_int_equal(session_news(s), news);
	assert_int_equal(count_events(s, SESSION_EV_MESSAGE), 0);
	assert_int_equal(session_output_pending(s), 0);
	session_free(s);
}

static void statistics_without_end_are_a_breach(void **state)
{
	struct session *s = serving();
	int n = 0;

	(void)state;
	talk_feed_data(s, BYTES("\0\0\0"));
	talk_feed_data(s, BYTES("\xff\2\0\0\0\0\0"));
	for (; session_state(s) == SESSION_GOODBYE && n < 100; n++)
		talk_feed_data(s, BYTES("\xff\xfe\x80\3\0\0\0\0\0\0\0"));
	assert_true(n < 10);
	assert_breach(s, "statistics without end");
}

/* Behind a request that is being answered echoes wait, with the names in them. */
static void names_that_wait_are_bounded(void **state)
{
	enum { FILES = 3000, NAME = 4000 };
	autofree struct session_entry *e = mem_array(FILES, sizeof(*e));
	autofree char *names = mem_alloc((size_t)FILES * 8), *xname = mem_alloc(NAME);
	struct session *s =
	        session_new(SESSION_PIPE, SESSION_QUICK, &talk_plain_options, "/x", NULL);
	struct ndx_state ndx = ndx_state_start();
	struct buf b;
	int n = 0;

	(void)state;
	for (size_t i = 0; i < FILES; i++) {
		(void)snprintf(names + 8 * i, 8, "f%05zu", i);
		e[i] = (struct session_entry){.path = {names + 8 * i, 6}, .mode = S_IFREG | 0644};
	}
	say(s, BYTES("\x1f\0\0\0\x81\xfe\3md5\1\2\3\4"));
	assert_int_equal(session_list(s, e, FILES, NULL, 0, NULL), 0);
	send_all(s);
	memset(xname, 'x', NAME);
	buf_init(&b, 2 * NAME);
	codec_put_ndx(&b, &ndx, 0);
	buf_add(&b, "\0\xa0" HEAD0, 18);
	talk_feed_data(s, buf_bytes(&b));
	for (; session_state(s) == SESSION_SERVING && n < 8 * FILES; n++) {
		buf_clear(&b);
		codec_put_ndx(&b, &ndx, n / 8);
		buf_add_le16(&b, SESSION_ITEM_XNAME | SESSION_ITEM_LOCAL);
		codec_put_vstring(&b, (struct bytes){xname, NAME});
		talk_feed_data(s, buf_bytes(&b));
	}
	buf_done(&b);
	assert_in_range(n, (64u << 20) / NAME, (65u << 20) / NAME);
	assert_breach(s, "more names than can be kept");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(confirmation_before_the_file_has_left_is_a_breach),
	        cmocka_unit_test(
	                confirmation_before_an_unasked_file_has_left_tells_that_it_was_there),
	        cmocka_unit_test(confirmation_of_what_went_unasked_may_come_when_it_is_sent_again),
	        cmocka_unit_test(confirmation_of_what_needs_nothing_is_taken),
	        cmocka_unit_test(answer_before_the_list_has_left_is_a_breach),
	        cmocka_unit_test(request_for_what_was_confirmed_is_a_breach),
	        cmocka_unit_test(endless_confirmations_are_a_breach),
	        cmocka_unit_test(confirmation_that_nobody_asked_for_is_nothing),
	        cmocka_unit_test(end_of_a_phase_whose_requests_wait_is_a_breach),
	        cmocka_unit_test(end_behind_a_repetition_is_early_only_if_it_is_the_last),
	        cmocka_unit_test(words_without_end_are_a_breach),
	        cmocka_unit_test(keepalives_without_end_are_no_news_and_keep_nothing),
	        cmocka_unit_test(statistics_without_end_are_a_breach),
	        cmocka_unit_test(names_that_wait_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
