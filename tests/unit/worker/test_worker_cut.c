/*
 * Whatever becomes of the connection, and wherever: no item is confirmed that is not there, each is
 * answered, and what was not confirmed arrives by the next session.
 */
#include "line.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "rsync/tempname.h"

#define BIG_BYTES (300u << 10)
#define SEED      20260101u

/* The state of a small generator: what is drawn is the same in each run. */
static uint32_t draw(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* --- trees --- */

static const char *const names[] = {"a", "big", "d", "d/e", "d/link", "delta", "same"};

static void make_source(struct rig *r)
{
	rig_write(r, "src/a", "alpha", OLD);
	rig_fill(r, "src/big", BIG_BYTES);
	rig_set_mtime(r, "src/big", OLD);
	rig_write(r, "src/d/e", "", OLD);
	assert_int_equal(symlinkat("../a", r->src_fd, "d/link"), 0);
	rig_fill(r, "src/delta", BIG_BYTES);
	rig_set_mtime(r, "src/delta", OLD);
	rig_write(r, "src/same", "the same", OLD);
	rig_set_mtime(r, "src/d/link", OLD);
	rig_set_mtime(r, "src/d", OLD);
}

static void clear(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fdopendir(fd);

	assert_non_null(dir);
	for (const struct dirent *e; (e = readdir(dir));) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, e->d_name, 0) == 0 || errno != EISDIR)
			continue;
		clear(fd, e->d_name);
		assert_int_equal(unlinkat(fd, e->d_name, AT_REMOVEDIR), 0);
	}
	(void)closedir(dir);
}

/* One file that is there already, and one that differs a little. */
static void make_target(struct rig *r)
{
	autoclose int fd = -1;

	clear(r->dir_fd, "dst");
	rig_write(r, "dst/same", "the same", OLD);
	rig_fill(r, "dst/delta", BIG_BYTES);
	fd = openat(r->dst_fd, "delta", O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "other", 5, BIG_BYTES / 2), 5);
}

static void assert_same_content(struct rig *r, const char *name)
{
	struct buf a, b;

	for (int i = 0; i < 2; i++) {
		autofree char *path = mem_printf("%s/%s/%s", r->dir, i ? "dst" : "src", name);
		struct buf *to = i ? &b : &a;
		struct err err;

		buf_init(to, 0);
		assert_int_equal(fd_read_file(path, 1 << 20, to, &err), 0);
	}
	if (!bytes_equal(buf_bytes(&a), buf_bytes(&b)))
		fail_msg("%s: another content", name);
	buf_done(&a);
	buf_done(&b);
}

static void assert_same(struct rig *r, const char *name)
{
	struct stat a, b;
	char x[16] = "", y[16] = "";

	assert_int_equal(fstatat(r->src_fd, name, &a, AT_SYMLINK_NOFOLLOW), 0);
	if (fstatat(r->dst_fd, name, &b, AT_SYMLINK_NOFOLLOW))
		fail_msg("%s: not there", name);
	if (a.st_mode != b.st_mode || a.st_mtim.tv_sec != b.st_mtim.tv_sec ||
	    a.st_mtim.tv_nsec != b.st_mtim.tv_nsec || a.st_uid != b.st_uid || a.st_gid != b.st_gid)
		fail_msg("%s: other attributes", name);
	if (S_ISREG(a.st_mode))
		assert_same_content(r, name);
	if (!S_ISLNK(a.st_mode))
		return;
	assert_true(readlinkat(r->src_fd, name, x, sizeof(x)) > 0);
	assert_true(readlinkat(r->dst_fd, name, y, sizeof(y)) > 0);
	assert_memory_equal(x, y, sizeof(x));
}

/* What ends in a word or a date may be somebody's, and is let be. */
static bool is_temporary(struct bytes name)
{
	struct bytes stem, end;
	size_t letters = 0, digits = 0;

	if (!tempname_split(name, &stem))
		return false;
	end = (struct bytes){name.p + name.n - 6, 6};
	for (size_t i = 0; i < end.n; i++) {
		letters += end.p[i] >= 'a' && end.p[i] <= 'z';
		digits += end.p[i] >= '0' && end.p[i] <= '9';
	}
	return letters != end.n && digits != end.n;
}

static size_t count_temporary(struct rig *r)
{
	static const char *const dirs[] = {".", "d"};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		int fd = openat(r->dst_fd, dirs[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *dir = fd < 0 ? NULL : fdopendir(fd);

		for (const struct dirent *e; dir && (e = readdir(dir));)
			n += is_temporary(bytes_of(e->d_name));
		if (dir)
			(void)closedir(dir);
	}
	return n;
}

/* --- sessions --- */

static size_t make_items(struct wire_item *items, const uint8_t *results, uint8_t flags)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (results && results[i] == WIRE_ACKED)
			continue;
		items[n] = ITEM(names[i], flags);
		if (strcmp(names[i], "d") == 0)
			items[n].flags |= WIRE_ITEM_DIR;
		n++;
	}
	return n;
}

/* A sound session with what is left. */
static void heal(struct rig *r, enum session_class class, const struct wire_item *items, size_t n)
{
	struct line y;

	line_open(&y, r, SESSION_PIPE, class, (struct fault){0});
	line_run(&y, items, n);
	for (size_t i = 0; i < n; i++)
		if (y.results[i] != WIRE_ACKED && y.results[i] != WIRE_KEPT)
			fail_msg("%.*s: result %u", (int)items[i].path.n, items[i].path.p,
			         y.results[i]);
	line_drop(&y);
}

static void sweep(struct rig *r, const uint8_t *results)
{
	struct wire_item items[ARRAY_LEN(names)];
	size_t all = make_items(items, results, WIRE_ITEM_TEMPS | WIRE_ITEM_SPARE), n = 0;

	if (!count_temporary(r))
		return;
	for (size_t i = 0; i < all; i++)
		if (!(items[i].flags & WIRE_ITEM_DIR))
			items[n++] = items[i];
	heal(r, SESSION_DELETE, items, n);
	assert_int_equal(count_temporary(r), 0);
}

/* Sends all through the fault, looks at what is claimed, repairs, and looks again. Returns how many
 * bytes have passed that way. */
static uint64_t send_through(struct rig *r, struct fault fault)
{
	struct wire_item items[ARRAY_LEN(names)], left[ARRAY_LEN(names)];
	size_t n = make_items(items, NULL, 0);
	uint64_t passed;
	struct line y;

	make_target(r);
	line_open(&y, r, SESSION_PIPE, SESSION_QUICK, fault);
	line_run(&y, items, n);
	passed = y.passed[fault.down];
	line_drop(&y);
	for (size_t i = 0; i < y.n; i++) {
		/* The times of a directory are restored at the end: they are its own item's. */
		if (y.results[i] == WIRE_ACKED)
			assert_same(r, names[i]);
	}
	sweep(r, y.results);
	n = make_items(left, y.results, 0);
	if (n)
		heal(r, SESSION_QUICK, left, n);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_same(r, names[i]);
	return passed;
}

/* --- the handshake --- */

static void cut_each_byte_of_the_handshake(struct rig *r, enum session_kind kind, bool down)
{
	bool whole = false;
	uint64_t at = 0;

	for (; !whole; at++) {
		struct line y;

		assert_true(at < 2000);
		line_open(&y, r, kind, SESSION_QUICK, (struct fault){FAULT_CUT, down, at, 0});
		line_run(&y, NULL, 0);
		whole = !y.faulted;
		if (y.gone) {
			assert_int_not_equal(y.last.trouble, TROUBLE_NONE);
			assert_int_equal(y.last.was_ready, y.ready);
			assert_false(y.last.zombie_over);
		}
		line_drop(&y);
	}
	assert_true(at > 4);
	assert_int_equal(count_temporary(r), 0);
	assert_false(rig_exists(r, "dst/a"));
}

static void daemon_cut_at_each_byte_that_it_says(void **state)
{
	cut_each_byte_of_the_handshake(*state, SESSION_DAEMON, true);
}

static void daemon_cut_at_each_byte_that_it_is_told(void **state)
{
	cut_each_byte_of_the_handshake(*state, SESSION_DAEMON, false);
}

static void pipe_cut_at_each_byte_that_is_said(void **state)
{
	cut_each_byte_of_the_handshake(*state, SESSION_PIPE, true);
}

static void pipe_cut_at_each_byte_that_is_told(void **state)
{
	cut_each_byte_of_the_handshake(*state, SESSION_PIPE, false);
}

static void silence_in_the_handshake_is_given_up(void **state)
{
	struct rig *r = *state;

	for (int down = 0; down < 2; down++) {
		bool whole = false;

		for (uint64_t at = 0; !whole; at += 12) {
			struct line y;

			line_open(&y, r, SESSION_DAEMON, SESSION_QUICK,
			          (struct fault){FAULT_STALL, down, at, 0});
			line_run(&y, NULL, 0);
			whole = !y.faulted;
			assert_int_equal(y.gone, !y.ready);
			assert_true(!y.gone || y.last.trouble == TROUBLE_TIMEOUT);
			line_drop(&y);
		}
	}
}

static void damaged_handshake_ends_in_a_word_or_is_harmless(void **state)
{
	struct rig *r = *state;
	bool whole = false;

	for (uint64_t at = 0; !whole; at++) {
		struct line y;

		line_open(&y, r, SESSION_DAEMON, SESSION_QUICK,
		          (struct fault){FAULT_FLIP, true, at, (uint8_t)(at % 8)});
		line_run(&y, NULL, 0);
		whole = !y.faulted;
		assert_true(y.gone || y.ready);
		line_drop(&y);
	}
}

/* --- the transfer --- */

static void transfer_cut_anywhere_heals(void **state)
{
	struct rig *r = *state;
	uint32_t x = SEED;
	uint64_t total[2];

	make_source(r);
	for (int down = 0; down < 2; down++)
		total[down] = send_through(r, (struct fault){FAULT_NONE, down, 0, 0});
	for (int i = 0; i < 200; i++) {
		bool down = i % 2;

		(void)send_through(r, (struct fault){FAULT_CUT, down, draw(&x) % total[down], 0});
	}
}

static void server_killed_anywhere_heals(void **state)
{
	struct rig *r = *state;
	uint32_t x = SEED + 1;
	uint64_t total;

	make_source(r);
	total = send_through(r, (struct fault){FAULT_NONE, false, 0, 0});
	for (int i = 0; i < 40; i++)
		(void)send_through(r, (struct fault){FAULT_KILL, false, draw(&x) % total, 0});
}

static void damaged_words_of_the_server_confirm_nothing_false(void **state)
{
	struct rig *r = *state;
	uint32_t x = SEED + 2;
	uint64_t total;

	make_source(r);
	total = send_through(r, (struct fault){FAULT_NONE, true, 0, 0});
	for (int i = 0; i < 100; i++) {
		uint64_t at = draw(&x) % total;

		(void)send_through(r, (struct fault){FAULT_FLIP, true, at, draw(&x) % 8});
	}
}

/* Each place where one of the two waits for the other. */
static void silence_anywhere_is_given_up_and_heals(void **state)
{
	struct rig *r = *state;
	uint64_t total[2];

	make_source(r);
	for (int down = 0; down < 2; down++) {
		total[down] = send_through(r, (struct fault){FAULT_NONE, down, 0, 0});
		for (uint64_t i = 0; i < 16; i++)
			(void)send_through(
			        r, (struct fault){FAULT_STALL, down, total[down] * i / 16, 0});
	}
}

/* --- deletions --- */

static void make_lost(struct rig *r)
{
	clear(r->dir_fd, "dst");
	rig_write(r, "dst/foreign", "x", OLD);
	rig_write(r, "dst/x", "x", OLD);
	rig_write(r, "dst/y/1", "x", OLD);
	rig_write(r, "dst/y/2", "x", OLD);
	rig_write(r, "dst/.x.aBcD1f", "x", OLD);
}

static void deletion_cut_at_each_byte_confirms_only_what_is_gone(void **state)
{
	static const char *const lost[] = {"x", "y", "y/1", "y/2"};
	struct wire_item items[] = {ITEM("x", WIRE_ITEM_TEMPS), ITEM("y", WIRE_ITEM_DIR),
	                            ITEM("y/1", 0), ITEM("y/2", 0)};
	struct rig *r = *state;
	bool whole = false;

	for (uint64_t at = 0; !whole; at++) {
		struct line y;

		make_lost(r);
		line_open(&y, r, SESSION_PIPE, SESSION_DELETE,
		          (struct fault){FAULT_CUT, true, at, 0});
		line_run(&y, items, ARRAY_LEN(items));
		whole = !y.faulted;
		for (size_t i = 0; i < y.n; i++) {
			autofree char *path = mem_printf("dst/%s", lost[i]);

			if (y.results[i] == WIRE_ACKED)
				assert_false(rig_exists(r, path));
			if (whole)
				assert_int_equal(y.results[i], WIRE_ACKED);
		}
		line_drop(&y);
		assert_true(rig_exists(r, "dst/foreign"));
	}
	assert_int_equal(count_temporary(r), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_make, rig_drop)
	const struct CMUnitTest tests[] = {
	        TEST(daemon_cut_at_each_byte_that_it_says),
	        TEST(daemon_cut_at_each_byte_that_it_is_told),
	        TEST(pipe_cut_at_each_byte_that_is_said),
	        TEST(pipe_cut_at_each_byte_that_is_told),
	        TEST(silence_in_the_handshake_is_given_up),
	        TEST(damaged_handshake_ends_in_a_word_or_is_harmless),
	        TEST(transfer_cut_anywhere_heals),
	        TEST(server_killed_anywhere_heals),
	        TEST(damaged_words_of_the_server_confirm_nothing_false),
	        TEST(silence_anywhere_is_given_up_and_heals),
	        TEST(deletion_cut_at_each_byte_confirms_only_what_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
