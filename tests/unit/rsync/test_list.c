/* The file list's order and bytes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "base/mem.h"
#include "rsync/entry.h"
#include "rsync/session.h"

#define SEED 4622

static unsigned random_below(unsigned n)
{
	static uint64_t x = SEED;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (unsigned)(x >> 33) % n;
}

struct name {
	char p[32];
	size_t n;
	bool dir;
};

/* Few letters around "/", so that prefixes meet. */
static struct name random_name(void)
{
	static const char letters[] = "ab-.0\xff\x01 ";
	struct name name = {.dir = random_below(2)};
	unsigned parts = 1 + random_below(4);

	for (unsigned i = 0; i < parts; i++) {
		unsigned n = 1 + random_below(3);

		if (i)
			name.p[name.n++] = '/';
		while (n--)
			name.p[name.n++] = letters[random_below(sizeof(letters) - 1)];
	}
	return name;
}

/* The rule in its plainest form: each component becomes a class byte (1 file, 2 directory), its
 * bytes, and for a directory "/"; the lists of components are compared one by one. */
static int naive_compare(const struct name *a, const struct name *b)
{
	size_t i = 0, k = 0;

	while (i < a->n && k < b->n) {
		struct bytes part[2];
		char key[2][40];
		const struct name *whole[2] = {a, b};
		size_t *at[2] = {&i, &k}, len[2];
		int order;

		for (int s = 0; s < 2; s++) {
			size_t from = *at[s], to = from;
			bool dir;

			while (to < whole[s]->n && whole[s]->p[to] != '/')
				to++;
			dir = to < whole[s]->n || whole[s]->dir;
			*at[s] = to < whole[s]->n ? to + 1 : to;
			key[s][0] = dir ? 2 : 1;
			memcpy(key[s] + 1, whole[s]->p + from, to - from);
			len[s] = 1 + to - from;
			if (dir)
				key[s][len[s]++] = '/';
			part[s] = (struct bytes){key[s], len[s]};
		}
		order = bytes_compare(part[0], part[1]);
		if (order)
			return order;
	}
	return (i < a->n) - (k < b->n);
}

static int sign(int v)
{
	return (v > 0) - (v < 0);
}

static int compare(const struct name *a, const struct name *b)
{
	return entry_compare((struct bytes){a->p, a->n}, a->dir, (struct bytes){b->p, b->n},
	                     b->dir);
}

static void order_of_random_names_is_the_rule(void **state)
{
	(void)state;
	print_message("# seed %d\n", SEED);
	for (int i = 0; i < 200000; i++) {
		struct name a = random_name(), b = random_name();

		assert_int_equal(sign(compare(&a, &b)), sign(naive_compare(&a, &b)));
		assert_int_equal(sign(compare(&a, &b)), -sign(compare(&b, &a)));
		assert_int_equal(compare(&a, &a), 0);
	}
}

static void order_root_files_then_directories(void **state)
{
	static const struct name sorted[] = {
	        {"", 0, true},    {"b", 1, false},     {"z", 1, false},
	        {"a-", 2, true},  {"a", 1, true},      {"a/x", 3, false},
	        {"a/b", 3, true}, {"a/b/c", 5, false}, {"a0", 2, true}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sorted); i++)
		for (size_t k = 0; k < ARRAY_LEN(sorted); k++)
			assert_int_equal(sign(compare(&sorted[i], &sorted[k])),
			                 sign((int)i - (int)k));
}

/* --- a whole conversation, byte by byte --- */

static void give(struct session *s, struct bytes in, size_t step)
{
	while (in.n) {
		size_t n = step < in.n ? step : in.n;

		assert_int_equal(session_feed(s, (struct bytes){in.p, n}), 0);
		in.p += n;
		in.n -= n;
	}
}

static void expect(struct session *s, struct bytes want)
{
	struct bytes out = session_output(s);

	assert_int_equal(out.n, want.n);
	assert_memory_equal(out.p, want.p, want.n);
	session_sent(s, out.n);
}

static void talk_example(size_t step)
{
	static const struct session_options o = {.perms = true,
	                                         .times = true,
	                                         .links = true,
	                                         .numeric_ids = true,
	                                         .protocol_max = 31};
	struct session_entry e[] = {
	        {.path = BYTES("a/hi"),
	         .mode = S_IFREG | 0644,
	         .size = 2,
	         .mtime_ns = 0x65f10000 * INT64_C(1000000000) + 5},
	        {.path = BYTES("a"),
	         .mode = S_IFDIR | 0755,
	         .size = 4096,
	         .mtime_ns = 0x65f10000 * INT64_C(1000000000),
	         .implied = false},
	};
	struct session *s = session_new(SESSION_PIPE, SESSION_QUICK, &o, "/x", NULL);
	struct session_event ev;
	struct err err;

	expect(s, BYTES("\x1f\0\0\0"));
	give(s, BYTES("\x1f\0\0\0"), step);
	give(s, BYTES("\x81\xfe\3md5\x01\2\3\4"), step);
	expect(s, BYTES("\3md5"));
	assert_int_equal(session_state(s), SESSION_READY);
	assert_string_equal(session_checksum_name(s), "md5");
	assert_int_equal(session_list(s, e, 2, NULL, 0, &err), 0);
	expect(s, BYTES("\x20\0\0\7"
	                "\x81\x18\1a\0\0\x10\x65\0\0\xf1\xed\x41\0\0"
	                "\xa0\xb8\1\3/hi\0\2\0\5\xa4\x81\0\0"
	                "\0\0"));
	give(s, BYTES("\3\0\0\7\1\0\x60"), step);
	expect(s, BYTES("\3\0\0\7\1\0\x60"));
	give(s, BYTES("\x14\0\0\7\1\0\xa0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), step);
	session_next(s, &ev);
	assert_int_equal(ev.kind, SESSION_EV_ITEM);
	assert_int_equal(ev.index, 1);
	session_next(s, &ev);
	assert_int_equal(ev.kind, SESSION_EV_REQUEST);
	assert_int_equal(ev.index, 0);
	session_answer_begin(s, 2);
	session_answer_data(s, BYTES("hi"));
	session_answer_end(s);
	expect(s, BYTES("\x2e\0\0\7\1\0\xa0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2\0\0\0hi\0\0\0\0"
	                "\x49\xf6\x8a\x5c\x84\x93\xec\x2c\x0b\xf4\x89\x82\x1c\x21\xfc\x3b\0"));
	give(s, BYTES("\4\0\0\x6b\1\0\0\0\3\0\0\7\0\0\0"), step);
	expect(s, BYTES("\3\0\0\7\0\0\0"));
	session_next(s, &ev);
	assert_int_equal(ev.kind, SESSION_EV_SUCCESS);
	assert_int_equal(ev.index, 0);
	session_next(s, &ev);
	assert_int_equal(ev.kind, SESSION_EV_NONE); /* directory times may still be on their way */
	assert_int_equal(session_state(s), SESSION_GOODBYE);
	give(s, BYTES("\1\0\0\7\0"), step);
	session_next(s, &ev);
	assert_int_equal(ev.kind, SESSION_EV_PHASE);
	session_next(s, &ev);
	assert_int_equal(ev.kind, SESSION_EV_CLOSED);
	session_eof(s);
	assert_int_equal(session_state(s), SESSION_CLOSED);
	session_free(s);
}

static void example_conversation_matches_byte_for_byte(void **state)
{
	(void)state;
	talk_example(SIZE_MAX);
}

static void example_conversation_cut_anywhere_is_the_same(void **state)
{
	(void)state;
	for (size_t step = 1; step < 30; step++)
		talk_example(step);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(order_of_random_names_is_the_rule),
	        cmocka_unit_test(order_root_files_then_directories),
	        cmocka_unit_test(example_conversation_matches_byte_for_byte),
	        cmocka_unit_test(example_conversation_cut_anywhere_is_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
