/* What was cut, overwritten or flipped on disk is set aside; it neither crashes nor is believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <errno.h>
#include <unistd.h>
#include "base/mem.h"
#include "ledger/lmdb_check.h"
#include "ledger/store_lmdb.h"
#include "model.h"
#include "scratch.h"

static const struct ledger_identity identity = {"root", "target", 1, 2};

static struct ledger *open_ledger(const char *dir, unsigned *found)
{
	struct ledger *l;
	struct err err = {0};

	if (ledger_open(&l, dir, &identity, found, &err) < 0)
		fail_msg("%s", err.text);
	return l;
}

/* A ledger of some levels, pages and removals, closed; `m` is what it holds. */
static void fill(const char *dir, struct model *m)
{
	struct random random = {.state = 5};
	unsigned found;
	struct ledger *l = open_ledger(dir, &found);

	for (int i = 0; i < 400; i++) {
		char room[64];
		struct bytes path = random_path(&random, room, sizeof(room));
		struct fingerprint fp;

		random_fingerprint(&random, &fp);
		if (i % 3 == 0) {
			fp.mode = S_IFDIR | 0755;
			fp.nlink = 2;
		}
		ledger_confirm(l, path, &fp);
		model_confirm(m, path, &fp);
		if (i % 50 == 49)
			assert_int_equal(ledger_commit(l), 0);
	}
	ledger_close(l);
}

static void ledger_whole_file_passes_the_check(void **state)
{
	struct model *m = mem_alloc(sizeof(*m));
	char *dir = scratch_make();
	struct err err = {0};
	struct buf file;
	unsigned found;
	struct ledger *l;

	(void)state;
	fill(dir, m);
	buf_init(&file, 64u << 20);
	scratch_read(dir, "ledger.mdb", &file);
	assert_int_equal(lmdb_check_bytes(buf_bytes(&file), "ledger", &err), 0);
	l = open_ledger(dir, &found);
	assert_int_equal(found, 0);
	model_check(m, l);
	ledger_close(l);
	buf_done(&file);
	scratch_remove(dir);
	free(m);
}

/* Either it is refused, or it is the very same ledger. */
static bool refused_or_equal(const char *dir, struct bytes file, struct model *m)
{
	unsigned found;
	struct ledger *l;
	bool refused;

	scratch_empty(dir);
	scratch_write(dir, "ledger.mdb", file);
	l = open_ledger(dir, &found);
	refused = found & LEDGER_FOUND_CORRUPT;
	if (refused)
		assert_int_equal(ledger_entries(l), 0);
	else
		model_check(m, l);
	ledger_close(l);
	return refused;
}

static void ledger_cut_anywhere_is_refused(void **state)
{
	struct model *m = mem_alloc(sizeof(*m));
	char *dir = scratch_make();
	struct err err = {0};
	struct buf file;
	size_t last = 0;

	(void)state;
	fill(dir, m);
	buf_init(&file, 64u << 20);
	scratch_read(dir, "ledger.mdb", &file);
	for (size_t n = 0; n < file.n; n += 1 + n / 50) {
		struct bytes cut = {file.p, n};
		/* A heap copy of its own, so that a read behind the end is seen by the sanitizer.
		 */
		autofree char *copy = mem_dup(cut.p, cut.n);

		if (lmdb_check_bytes((struct bytes){copy, n}, "ledger", &err) < 0)
			last = n;
	}
	assert_true(last > file.n / 2);
	for (size_t n = 0; n < file.n; n += 4096)
		(void)refused_or_equal(dir, (struct bytes){file.p, n}, m);
	assert_true(refused_or_equal(dir, (struct bytes){file.p, last}, m));
	buf_done(&file);
	scratch_remove(dir);
	free(m);
}

static void ledger_with_one_flipped_bit_is_refused_or_unharmed(void **state)
{
	struct model *m = mem_alloc(sizeof(*m));
	char *dir = scratch_make();
	struct err err = {0};
	struct buf file;
	size_t structure = 0, content = 0, unharmed = 0;

	(void)state;
	fill(dir, m);
	buf_init(&file, 64u << 20);
	scratch_read(dir, "ledger.mdb", &file);
	for (size_t i = 0; i < file.n; i++) {
		char bit = (char)(1 << (i % 8));

		file.p[i] = (char)(file.p[i] ^ bit);
		if (lmdb_check_bytes(buf_bytes(&file), "ledger", &err) < 0)
			structure++;
		else if (i % 97)
			; /* opening each is too slow; a stride that meets all parts of all pages */
		else if (refused_or_equal(dir, buf_bytes(&file), m))
			content++;
		else
			unharmed++;
		file.p[i] = (char)(file.p[i] ^ bit);
	}
	print_message("# %zu bytes: %zu by structure; of a sample %zu by content, %zu unharmed\n",
	              file.n, structure, content, unharmed);
	assert_true(structure > 0 && content > 0);
	buf_done(&file);
	scratch_remove(dir);
	free(m);
}

static void ledger_overwritten_by_garbage_is_set_aside_up_to_four_times(void **state)
{
	char garbage[20000];
	char *dir = scratch_make();
	struct ledger *l;
	unsigned found;

	(void)state;
	for (size_t i = 0; i < sizeof(garbage); i++)
		garbage[i] = (char)(i * i * 31 >> 3);
	for (int i = 1; i <= 6; i++) {
		scratch_write(dir, "ledger.mdb", (struct bytes){garbage, sizeof(garbage)});
		scratch_write(dir, "ledger.mdb-lock", (struct bytes){garbage, sizeof(garbage)});
		l = open_ledger(dir, &found);
		assert_int_equal(found, LEDGER_FOUND_CORRUPT);
		ledger_close(l);
		for (int n = 1; n <= 6; n++) {
			autofree char *name = mem_printf("%s/ledger.mdb.corrupt-%d", dir, n);

			assert_int_equal(access(name, F_OK) == 0, n <= i && n <= 4);
		}
	}
	scratch_remove(dir);
}

static void ledger_of_a_newer_format_is_refused_and_kept(void **state)
{
	char *dir = scratch_make();
	autofree char *path = mem_printf("%s/ledger.mdb", dir);
	const char *keys[] = {"format"};
	struct bytes values[] = {BYTES("\x07\0\0\0\0\0\0\0")};
	struct store *store;
	struct ledger *l;
	struct err err = {0};
	unsigned found;
	bool fresh;

	(void)state;
	assert_int_equal(store_lmdb_open(&store, path, &fresh, &err), 0);
	assert_int_equal(store->commit(store, NULL, 0, keys, values, 1, &err), 0);
	store->close(store);
	assert_int_equal(ledger_open(&l, dir, &identity, &found, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "format 7"));
	assert_non_null(strstr(err.text, "knows 1"));
	assert_int_equal(access(path, F_OK), 0);
	scratch_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(ledger_whole_file_passes_the_check),
	        cmocka_unit_test(ledger_cut_anywhere_is_refused),
	        cmocka_unit_test(ledger_with_one_flipped_bit_is_refused_or_unharmed),
	        cmocka_unit_test(ledger_overwritten_by_garbage_is_set_aside_up_to_four_times),
	        cmocka_unit_test(ledger_of_a_newer_format_is_refused_and_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
