/*
 * pathset_rig: marks put and taken by hand, on a clock that moves when told.
 */
#ifndef TESTS_CORE_PATHSET_RIG_H
#define TESTS_CORE_PATHSET_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/path.h"
#include "core/pathset.h"

#define MS      INT64_C(1000000)
#define SECOND  (1000 * MS)
#define LONGEST (10 * SECOND)
#define NEW_DIR (MARK_DIR | MARK_FRESH)

static int64_t now;

static inline int setup(void **state)
{
	now = 100 * SECOND;
	*state = pathset_new(1000, LONGEST);
	return 0;
}

static inline int teardown(void **state)
{
	pathset_free(*state);
	return 0;
}

static inline struct mark mark(const char *path, enum mark_action action, unsigned flags)
{
	static uint64_t drain;

	return (struct mark){.path = bytes_of(path),
	                     .action = action,
	                     .flags = flags,
	                     .born = ++drain,
	                     .since_ns = now};
}

/* Each mark is a nanosecond younger than the one before. */
static inline void put(struct pathset *set, const char *path, enum mark_action action,
                       unsigned flags)
{
	struct mark m = mark(path, action, flags);

	pathset_put(set, &m, now++);
}

static inline void put_link(struct pathset *set, const char *path, enum mark_action action,
                            uint64_t link)
{
	struct mark m = mark(path, action, 0);

	m.link = link;
	pathset_put(set, &m, now++);
}

static inline struct batch *take_of(struct pathset *set, unsigned classes, size_t max, bool low)
{
	return pathset_take(set, &(struct take_limits){classes, max, UINT64_MAX, low}, now);
}

static inline struct batch *take(struct pathset *set, enum batch_class class)
{
	return take_of(set, 1u << class, 2000, false);
}

/* The batch holds exactly these, in this order; NULL: no batch. */
static inline struct batch *expect(struct batch *b, const char *paths)
{
	struct buf got;

	buf_init(&got, 1 << 16);
	for (size_t i = 0; b && i < batch_count(b); i++) {
		if (i)
			buf_add_u8(&got, ' ');
		buf_add_bytes(&got, batch_mark(b, i)->path);
	}
	buf_add_u8(&got, 0);
	assert_string_equal(got.p, b ? paths : "");
	assert_true(b || !paths);
	buf_done(&got);
	return b;
}

static inline void ack_all(struct batch *b)
{
	for (size_t i = 0; i < batch_count(b); i++) {
		if (batch_open(b, i))
			batch_ack(b, i, now);
	}
	batch_end(b, now, 0);
}

static inline void nothing(struct pathset *set)
{
	expect(take_of(set, 7, 2000, true), NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
