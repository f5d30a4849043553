/* A peer that lies, stalls, floods or is something else altogether: scripted bytes, no process. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "base/mem.h"
#include "rsync/session.h"
#include "talk.h"

static void say(struct session *s, struct bytes in)
{
	(void)session_feed(s, in);
}

static struct session *ready(enum session_class class)
{
	struct session *s = session_new(SESSION_PIPE, class, &talk_plain_options, "/x", NULL);

	say(s, BYTES("\x1f\0\0\0\x81\xfe\3md5\1\2\3\4"));
	assert_int_equal(session_state(s), SESSION_READY);
	return s;
}

/* Listed: 0 a file "a", 1 a file "b", 2 a directory "d". */
static struct session *serving(void)
{
	struct session_entry e[] = {{.path = BYTES("d"), .mode = S_IFDIR | 0755},
	                            {.path = BYTES("a"), .mode = S_IFREG | 0644},
	                            {.path = BYTES("b"), .mode = S_IFREG | 0644}};
	struct session *s = ready(SESSION_QUICK);
	struct err err;

	assert_int_equal(session_list(s, e, ARRAY_LEN(e), NULL, 0, &err), 0);
	session_sent(s, session_output(s).n);
	return s;
}

static void assert_breach(struct session *s)
{
	assert_int_equal(session_state(s), SESSION_FAILED);
	assert_int_equal(session_fault(s), SESSION_FAULT_PROTOCOL);
	assert_int_equal(session_error(s)->code, EPROTO);
	assert_int_equal(session_output_pending(s), 0);
	assert_int_equal(session_feed(s, BYTES("more")), -EPROTO);
	session_free(s);
}

#define HEAD0 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

static void item_outside_the_list_is_a_breach(void **state)
{
	static const struct bytes bad[] = {
	        {"\4\0\xa0" HEAD0, 19},     /* index 3 */
	        {"\xff\5\0\xa0" HEAD0, 20}, /* a negative index */
	        {"\xfe\xff\xff\xff\xff\0\x80" HEAD0, 23},
	        {"\3\0\xa0" HEAD0, 19}, /* the content of a directory */
	        {"\1\0\xa0\xff\xff\xff\xff"
	         "\0\0\0\0\0\0\0\0\0\0\0\0",
	         19},
	        {"\1\0\xa0\1\0\0\0"
	         "\0\0\0\0"
	         "\2\0\0\0"
	         "\0\0\0\0",
	         19},
	        {"\1\0\x10\xff\xff", 5}, /* a name of 32 KiB */
	        {"\xff\2", 2},           /* deletion statistics in the middle */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct session *s = serving();

		talk_feed_data(s, bad[i]);
		assert_breach(s);
	}
}

#define LONG "a value of more than thirty-two bytes"

/* The same list; "a" has the long values 1 and 3 and the short one 2, "b" none. */
static struct session *serving_xattrs(void)
{
	static const struct session_xattr x[] = {{{"user.1", 6}, {LONG, sizeof(LONG) - 1}},
	                                         {{"user.2", 6}, {"short", 5}},
	                                         {{"user.3", 6}, {LONG, sizeof(LONG) - 2}}};
	struct session_options o = talk_plain_options;
	struct session_entry e[] = {
	        {.path = BYTES("d"), .mode = S_IFDIR | 0755},
	        {.path = BYTES("a"), .mode = S_IFREG | 0644, .xattrs = x, .xattrs_n = ARRAY_LEN(x)},
	        {.path = BYTES("b"), .mode = S_IFREG | 0644}};
	struct session *s;
	struct err err;

	o.xattrs = true;
	s = session_new(SESSION_PIPE, SESSION_QUICK, &o, "/x", NULL);
	say(s, BYTES("\x1f\0\0\0\x81\xfe\3md5\1\2\3\4"));
	assert_int_equal(session_list(s, e, ARRAY_LEN(e), NULL, 0, &err), 0);
	session_sent(s, session_output(s).n);
	return s;
}

static void wanted_attribute_that_was_not_listed_is_a_breach(void **state)
{
	static const struct bytes bad[] = {
	        {"\1\0\1\2\0", 5},                      /* a short one */
	        {"\1\0\1\4\0", 5},                      /* beyond */
	        {"\1\0\1\1\xf0\xff\xff\xff\xff\0", 10}, /* before the first */
	        {"\1\0\1\xf0\xff\xff\xff\x7f\0", 9},
	        {"\1\0\1\1\2\xf0\xfe\xff\xff\xff\0", 11}, /* twice */
	        {"\2\0\1\1\0", 5},                        /* of a file that has none */
	        {"\3\0\1\1\0", 5},                        /* of a directory that has none */
	        {"\4\0\1\0", 4},                          /* of an entry that was not listed */
	        {"\xff\5\0\1\0", 5},
	        {"\1\0\1\xff\xff\xff\xff\xff\xff", 9}, /* not a number */
	        {"\1\0\xa1\2\0" HEAD0, 21},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct session *s = serving_xattrs();

		talk_feed_data(s, bad[i]);
		if (session_state(s) != SESSION_FAILED)
			fail_msg("case %zu passed", i);
		assert_breach(s);
	}
}

static void wanted_attributes_are_echoed_with_their_item(void **state)
{
	static const char echo[] = "\1\0\1\1\45" LONG "\2\44a value of more than thirty-two byte\0";
	struct session *s = serving_xattrs();
	struct session_event ev;
	struct bytes out;

	(void)state;
	talk_feed_data(s, BYTES("\1\0")); /* in pieces */
	talk_feed_data(s, BYTES("\1\1\2"));
	session_next(s, &ev);
	assert_int_equal(ev.kind, SESSION_EV_NONE);
	talk_feed_data(s, (struct bytes){"\0", 1});
	session_next(s, &ev);
	assert_int_equal(ev.kind, SESSION_EV_ITEM);
	assert_int_equal(ev.flags, SESSION_ITEM_XATTR);
	out = session_output(s);
	assert_int_equal(out.n, 4 + sizeof(echo) - 1);
	assert_memory_equal(out.p + 4, echo, sizeof(echo) - 1);
	session_free(s);
}

/* An honest receiver asks once; one that multiplies what it is sent is stopped. */
static void attribute_wanted_again_and_again_is_a_breach(void **state)
{
	struct session *s = serving_xattrs();

	(void)state;
	talk_feed_data(s, BYTES("\1\0\1\1\0"));
	talk_feed_data(s, BYTES("\xfe\x80\0\0\0\0\1\1\0"));
	assert_int_equal(session_state(s), SESSION_SERVING);
	talk_feed_data(s, BYTES("\xfe\x80\0\0\0\0\1\1\0"));
	assert_breach(s);
}

/* Without the option no such list follows, whatever the flags say. */
static void attribute_flag_without_the_option_has_nothing_behind_it(void **state)
{
	struct session *s = serving();

	(void)state;
	talk_feed_data(s, BYTES("\1\0\1"));
	talk_feed_data(s, BYTES("\1\0\x60"));
	assert_int_equal(session_state(s), SESSION_SERVING);
	session_free(s);
}

static void third_request_for_a_file_is_a_breach(void **state)
{
	struct session *s = serving();

	(void)state;
	talk_feed_data(s, BYTES("\1\0\xa0" HEAD0));
	talk_feed_data(s, BYTES("\xfe\x80\0\0\0\0\xa0" HEAD0));
	assert_int_equal(session_state(s), SESSION_SERVING);
	talk_feed_data(s, BYTES("\xfe\x80\0\0\0\0\xa0" HEAD0));
	assert_breach(s);
}

static void endless_items_of_a_file_are_a_breach(void **state)
{
	struct session *s = serving();
	int n = 0;

	(void)state;
	for (; session_state(s) == SESSION_SERVING && n < 100; n++)
		talk_feed_data(s, BYTES("\xfe\x80\0\0\0\0\x60"));
	assert_true(n < 20);
	assert_breach(s);
}

/* The receiver may have nothing more to say until it is answered. */
static void request_with_nothing_behind_it_is_handed_out(void **state)
{
	struct session *s = serving();
	struct session_event ev;

	(void)state;
	talk_feed_data(s, BYTES("\1\0\xa0" HEAD0));
	session_next(s, &ev);
	assert_int_equal(ev.kind, SESSION_EV_REQUEST);
	assert_int_equal(ev.index, 1);
	session_free(s);
}

/* A stock receiver asks late for a link whose first name failed, and does not listen any more. */
static void request_after_the_end_is_not_answered(void **state)
{
	struct session *s = serving();
	struct session_event ev;

	(void)state;
	talk_feed_data(s, BYTES("\0\0"));
	assert_int_equal(session_state(s), SESSION_SERVING);
	talk_feed_data(s, BYTES("\1\0\xa0" HEAD0));
	assert_int_equal(session_state(s), SESSION_SERVING);
	do {
		session_next(s, &ev);
		assert_int_not_equal(ev.kind, SESSION_EV_REQUEST);
	} while (ev.kind != SESSION_EV_NONE);
	session_free(s);
}

static void ends_without_end_are_harmless(void **state)
{
	struct session *s = serving();

	(void)state;
	talk_feed_data(s, BYTES("\0\0\0\0\0\0\0\0\0\0"));
	assert_breach(s);
	s = serving();
	talk_feed_data(s, BYTES("\0\0\0\0"));
	assert_int_equal(session_state(s), SESSION_GOODBYE);
	talk_feed_data(s, BYTES("\0"));
	assert_int_equal(session_state(s), SESSION_CLOSED);
	talk_feed_data(s, BYTES("\0\0\1\2\3"));
	assert_int_equal(session_state(s), SESSION_CLOSED);
	session_free(s);
}

static void message_out_of_bounds_is_a_breach(void **state)
{
	static const struct bytes bad[] = {
	        {"\4\0\0\x6b\3\0\0\0", 8}, /* success of index 3 */
	        {"\4\0\0\x6b\xff\xff\xff\xff", 8},
	        {"\3\0\0\x6b\1\0\0", 7},
	        {"\1\0\0\x6c"
	         "a",
	         5},                       /* a deletion in a session without any */
	        {"\4\0\0\x28\0\0\0\0", 8}, /* timeout 0 */
	        {"\4\0\0\x28\xff\xff\xff\x7f", 8},
	        {"\4\0\0\x5d\0\1\0\0", 8}, /* exit code 256 */
	        {"\1\0\0\x31 ", 5},        /* a no-op with content */
	        {"\0\0\0\x0c", 4},         /* codes between the server's own processes */
	        {"\4\0\0\x10\0\0\0\0", 8},
	        {"\0\0\0\xff", 4},
	        {"\0\0\0\0", 4},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct session *s = serving();

		say(s, bad[i]);
		assert_breach(s);
	}
}

static void answer_before_the_list_is_a_breach(void **state)
{
	struct session *s = ready(SESSION_QUICK);

	(void)state;
	say(s, BYTES("\0\0\0\7"));
	assert_int_equal(session_state(s), SESSION_READY);
	talk_feed_data(s, BYTES("\0"));
	assert_breach(s);
	s = ready(SESSION_QUICK);
	say(s, BYTES("\4\0\0\x6b\0\0\0\0"));
	assert_breach(s);
}

static void flags_that_were_not_offered_are_a_breach(void **state)
{
	static const struct bytes bad[] = {{"\1", 1}, {"\x82\0", 2}, {"\xf8\1\1\1\1", 5}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct session *s =
		        session_new(SESSION_PIPE, SESSION_QUICK, &talk_plain_options, "/x", NULL);

		say(s, BYTES("\x20\0\0\0"));
		say(s, bad[i]);
		assert_breach(s);
	}
}

static void old_or_chatty_remote_side_is_told_apart(void **state)
{
	struct session *s =
	        session_new(SESSION_PIPE, SESSION_QUICK, &talk_plain_options, "/x", NULL);

	(void)state;
	say(s, BYTES("\x1d\0\0\0"));
	assert_int_equal(session_fault(s), SESSION_FAULT_REFUSED);
	assert_non_null(strstr(session_error(s)->text, "speaks protocol 29"));
	session_free(s);
	s = session_new(SESSION_PIPE, SESSION_QUICK, &talk_plain_options, "/x", NULL);
	say(s, BYTES("Welcome\x1b to host\n"));
	assert_int_equal(session_fault(s), SESSION_FAULT_PROTOCOL);
	assert_non_null(strstr(session_error(s)->text, "Welcome\\x1b"));
	session_free(s);
}

static struct session *daemon_session(void)
{
	static const struct session_login login = {"mod", "joe", "secret"};

	return session_new(SESSION_DAEMON, SESSION_QUICK, &talk_plain_options, "mod/", &login);
}

static void greeting_must_be_rsyncs(void **state)
{
	static const struct {
		const char *text;
		enum session_fault fault;
	} bad[] = {
	        {"SSH-2.0-OpenSSH\n", SESSION_FAULT_PROTOCOL},
	        {"@RSYNCD: 29.0\n", SESSION_FAULT_REFUSED},
	        {"@RSYNCD: 30\n", SESSION_FAULT_PROTOCOL},
	        {"@RSYNCD: x\n", SESSION_FAULT_PROTOCOL},
	        {"@RSYNCD: 32.0 sha512\n@ERROR: max connections (1) reached\n", SESSION_FAULT_BUSY},
	        {"@RSYNCD: 32.0 sha512\n@ERROR: what is this\n", SESSION_FAULT_LOGIN},
	        {"@RSYNCD: 32.0 sha512\n@RSYNCD: EXIT\n", SESSION_FAULT_PROTOCOL},
	        {"@RSYNCD: 32.0 md4\n@RSYNCD: AUTHREQD x\n", SESSION_FAULT_LOGIN},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct session *s = daemon_session();

		say(s, bytes_of(bad[i].text));
		assert_int_equal(session_state(s), SESSION_FAILED);
		assert_int_equal(session_fault(s), bad[i].fault);
		session_free(s);
	}
}

static void endless_text_is_a_breach(void **state)
{
	struct session *s = daemon_session();
	char line[600];

	(void)state;
	memset(line, 'm', sizeof(line));
	for (int i = 0; i < 2; i++)
		say(s, (struct bytes){line, sizeof(line)});
	assert_breach(s);
	s = daemon_session();
	say(s, BYTES("@RSYNCD: 31.0\n"));
	line[sizeof(line) - 1] = '\n';
	for (int i = 0; i < 200 && session_state(s) != SESSION_FAILED; i++)
		say(s, (struct bytes){line, sizeof(line)});
	assert_breach(s);
}

static void pre_release_counts_as_the_version_before(void **state)
{
	struct session *s = daemon_session();

	(void)state;
	say(s, BYTES("@RSYNCD: 32.4 sha512\n"));
	assert_int_equal(session_protocol(s), 31);
	session_free(s);
}

static void sums_beyond_the_limit_send_the_file_whole(void **state)
{
	struct session *s = serving();
	size_t left = 5000000u * 20u, step = 1u << 20;
	autofree char *zeros = mem_alloc(step);
	struct session_event ev;
	struct bytes out;

	(void)state;
	/* 5,000,000 blocks of 1000 bytes with 16 bytes of strong sum each */
	talk_feed_data(s, BYTES("\1\0\x80\x40\x4b\x4c\0\xe8\3\0\0\x10\0\0\0\0\0\0\0"));
	session_sent(s, session_output(s).n);
	for (size_t n; left; left -= n) {
		n = left < step ? left : step;
		talk_feed_data(s, (struct bytes){zeros, n});
	}
	talk_feed_data(s, BYTES("\0"));
	session_next(s, &ev);
	assert_int_equal(ev.kind, SESSION_EV_REQUEST);
	session_answer_begin(s, 2);
	session_answer_data(s, BYTES("hi"));
	session_answer_end(s);
	out = session_output(s);
	assert_int_equal(out.n, 4 + 1 + 2 + 16 + 6 + 4 + 16 + 1);
	assert_memory_equal(out.p + 4, "\1\0\x80" HEAD0 "\2\0\0\0hi\0\0\0\0", 3 + 16 + 10);
	session_free(s);
}

static void calls_in_the_wrong_place_do_nothing(void **state)
{
	struct session *s = serving();
	size_t before = session_output_pending(s);

	(void)state;
	session_answer_begin(s, 1);
	session_answer_data(s, BYTES("x"));
	session_answer_end(s);
	session_answer_abort(s);
	session_no_send(s);
	session_quit(s);
	assert_int_equal(session_output_pending(s), before);
	talk_feed_data(s, BYTES("\1\0\xa0\xff\xff\xff\xff"
	                        "\0\0\0\0\0\0\0\0\0\0\0\0"));
	session_answer_begin(s, 1);
	session_keepalive(s);
	session_eof(s);
	assert_breach(s);
}

static void end_of_file_fails_with_the_last_words(void **state)
{
	struct session *s = serving();

	(void)state;
	session_eof(s);
	assert_int_equal(session_fault(s), SESSION_FAULT_HANGUP);
	session_free(s);
	s = serving();
	say(s, BYTES("\x1b\0\0\x0a"
	             "ERROR: module is read only\n"));
	assert_int_equal(session_state(s), SESSION_SERVING);
	session_eof(s);
	assert_int_equal(session_fault(s), SESSION_FAULT_READONLY);
	session_free(s);
	s = ready(SESSION_QUICK);
	say(s, BYTES("\x1b\0\0\x0a"
	             "ERROR: module is read only\n"));
	assert_int_equal(session_fault(s), SESSION_FAULT_READONLY);
	session_free(s);
}

static void exit_code_is_answered(void **state)
{
	struct session *s = serving();
	struct bytes out;

	(void)state;
	say(s, BYTES("\4\0\0\x5d\x0c\0\0\0"));
	assert_int_equal(session_state(s), SESSION_FAILED);
	assert_int_equal(session_fault(s), SESSION_FAULT_HANGUP);
	out = session_output(s);
	assert_int_equal(out.n, 4);
	assert_memory_equal(out.p, "\0\0\0\x5d", 4);
	session_free(s);
}

static void texts_are_classified(void **state)
{
	static const struct {
		const char *text, *option;
		enum session_fault fault;
	} known[] = {
	        {"rsync: The server is configured to refuse --delete\n", "delete",
	         SESSION_FAULT_REFUSED},
	        {"The server is configured to refuse --remove-source-files", "remove-source-files",
	         SESSION_FAULT_REFUSED},
	        {"rsync: -@-1: unknown option", "modify-window", SESSION_FAULT_REFUSED},
	        {"rsync: on remote machine: -@-1: unknown option\nrsync error: x", "modify-window",
	         SESSION_FAULT_REFUSED},
	        {"rsync: --no-msgs2stderr: unknown option\n", "no-msgs2stderr",
	         SESSION_FAULT_REFUSED},
	        {"rsync: --log-format=%i: unknown option\n", "log-format", SESSION_FAULT_REFUSED},
	        {"Your --compress-choice value (zlibx) was refused by the server.\n",
	         "new-compress", SESSION_FAULT_REFUSED},
	        {"@ERROR: chroot failed\n", "", SESSION_FAULT_MISSING},
	        {"ERROR: module is read only", "", SESSION_FAULT_READONLY},
	        {"file \"module is read only\" vanished", "", SESSION_FAULT_NONE},
	        {"Permission denied (publickey).", "", SESSION_FAULT_NONE},
	        {"", "", SESSION_FAULT_NONE},
	};
	char option[64], small[4];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		assert_int_equal(
		        session_fault_of_text(bytes_of(known[i].text), option, sizeof(option)),
		        known[i].fault);
		assert_string_equal(option, known[i].option);
	}
	assert_int_equal(session_fault_of_text(bytes_of(known[0].text), small, sizeof(small)),
	                 SESSION_FAULT_REFUSED);
	assert_string_equal(small, "del");
}

static char *join(char **args)
{
	struct buf b;
	char *ret;

	buf_init(&b, 4096);
	for (char **a = args; *a; a++)
		buf_printf(&b, "%s%s", a == args ? "" : " ", *a);
	ret = mem_dup(b.p, b.n);
	buf_done(&b);
	session_args_free(args);
	return ret;
}

static void assert_args(enum session_kind kind, enum session_class class,
                        const struct session_options *o, const char *path, const char *want)
{
	autofree char *got = join(session_args(kind, class, o, path));

	assert_string_equal(got, want);
}

static void arguments_follow_the_class(void **state)
{
	struct session_options o = talk_options();

	(void)state;
	o.timeout_s = 0; /* the usual one */
	assert_args(SESSION_PIPE, SESSION_QUICK, &o, "/srv/a b",
	            "--server -logDtprRHe.LsfxCIvu -@-1 --remove-source-files --no-msgs2stderr "
	            "--numeric-ids --timeout=30 . /srv/a b/");
	assert_args(SESSION_DAEMON, SESSION_CONTENT, &o, "mod/-x/",
	            "--server -logDtprRHIe.LsfxCIvu -@-1 --remove-source-files --numeric-ids "
	            "--timeout=30 . mod/./-x/");
	assert_args(SESSION_DAEMON, SESSION_DELETE, &o, "mod",
	            "--server -lDtrRe.LsfxCIvu -@-1 --delete --log-format=%i --numeric-ids "
	            "--timeout=30 "
	            ". mod/");
	assert_args(SESSION_PIPE, SESSION_COMPARE, &o, "-x",
	            "--server -logDtprRHne.LsfxCIvu -@-1 --log-format=%i --no-msgs2stderr "
	            "--numeric-ids --timeout=30 . ./-x/");
	o.no_ns = o.no_ack = o.no_msgs = true;
	o.timeout_s = 7;
	o.fsync = o.sparse = true;
	o.compress = SESSION_COMPRESS_ZLIBX;
	assert_args(
	        SESSION_PIPE, SESSION_QUICK, &o, "",
	        "--server -logDtprRHSze.LsfxCIvu --new-compress --fsync --numeric-ids --timeout=7 "
	        ". ./");
	assert_args(
	        SESSION_DAEMON, SESSION_CHECKSUM, &o, "mod/",
	        "--server -logDtprRHcnSze.LsfxCIvu --new-compress --log-format=%i --numeric-ids "
	        "--timeout=7 . mod/");
	for (o.compress = SESSION_COMPRESS_YES; o.compress < SESSION_COMPRESS_ZLIBX; o.compress++)
		assert_args(SESSION_PIPE, SESSION_QUICK, &o, "",
		            "--server -logDtprRHSze.LsfxCIvu --fsync --numeric-ids --timeout=7 "
		            ". ./");
	assert_args(SESSION_PIPE, SESSION_DELETE, &o, "",
	            "--server -lDtrRe.LsfxCIvu --delete --log-format=%i --numeric-ids --timeout=7 "
	            ". ./");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(item_outside_the_list_is_a_breach),
	        cmocka_unit_test(wanted_attribute_that_was_not_listed_is_a_breach),
	        cmocka_unit_test(wanted_attributes_are_echoed_with_their_item),
	        cmocka_unit_test(attribute_wanted_again_and_again_is_a_breach),
	        cmocka_unit_test(attribute_flag_without_the_option_has_nothing_behind_it),
	        cmocka_unit_test(third_request_for_a_file_is_a_breach),
	        cmocka_unit_test(endless_items_of_a_file_are_a_breach),
	        cmocka_unit_test(request_with_nothing_behind_it_is_handed_out),
	        cmocka_unit_test(request_after_the_end_is_not_answered),
	        cmocka_unit_test(ends_without_end_are_harmless),
	        cmocka_unit_test(message_out_of_bounds_is_a_breach),
	        cmocka_unit_test(answer_before_the_list_is_a_breach),
	        cmocka_unit_test(flags_that_were_not_offered_are_a_breach),
	        cmocka_unit_test(old_or_chatty_remote_side_is_told_apart),
	        cmocka_unit_test(greeting_must_be_rsyncs),
	        cmocka_unit_test(endless_text_is_a_breach),
	        cmocka_unit_test(pre_release_counts_as_the_version_before),
	        cmocka_unit_test(sums_beyond_the_limit_send_the_file_whole),
	        cmocka_unit_test(calls_in_the_wrong_place_do_nothing),
	        cmocka_unit_test(end_of_file_fails_with_the_last_words),
	        cmocka_unit_test(exit_code_is_answered),
	        cmocka_unit_test(texts_are_classified),
	        cmocka_unit_test(arguments_follow_the_class),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
