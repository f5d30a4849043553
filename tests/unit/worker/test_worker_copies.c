/* Files that are built from others at the target, against a real receiver. */
#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define BIG (2u << 20)

/* What stands under this name at the source now is what the target is believed to have. */
static void add_basis(struct rig *r, const char *path, uint32_t item)
{
	struct wire_basis *basis = &r->bases[r->bases_n++];
	char src[64];
	struct stat st;

	(void)snprintf(src, sizeof(src), "src/%s", path);
	st = rig_stat(r, src);
	basis->path = (struct bytes){path, strlen(path)};
	basis->item = item;
	fingerprint_of(&basis->fp, &st);
}

static void change(int dir, const char *path, off_t at)
{
	int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, "changed", 7, at), 7);
	(void)close(fd);
}

/* The same bytes under a, b and at the target. */
static void make_copies(struct rig *r)
{
	rig_fill(r, "src/a", BIG);
	rig_fill(r, "src/b", BIG);
	rig_fill(r, "dst/a", BIG);
	add_basis(r, "a", 0);
	r->setup.options.copies = true;
}

static void assert_equal_files(struct rig *r, const char *path)
{
	static char here[BIG + 4096], there[BIG + 4096];
	int src = openat(r->src_fd, path, O_RDONLY | O_CLOEXEC);
	int dst = openat(r->dst_fd, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = pread(src, here, sizeof(here), 0);

	assert_true(n > 0);
	assert_int_equal(pread(dst, there, sizeof(there), 0), n);
	assert_memory_equal(here, there, (size_t)n);
	(void)close(src);
	(void)close(dst);
}

static void carry(struct rig *r, bool claimed)
{
	rig_start(r);
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, (struct wire_item[]){ITEM("b", 0)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	assert_int_equal(!!(r->items[0].flags & WIRE_CLAIMED), claimed);
	assert_true(r->items[0].flags & WIRE_DATA_SENT);
	assert_equal_files(r, "b");
}

static void copy_goes_as_blocks(void **state)
{
	struct rig *r = *state;

	make_copies(r);
	carry(r, true);
	assert_false(r->items[0].flags & WIRE_MISTAKEN);
	assert_true(r->done.bytes_out < 2000);
}

static void changed_copy_goes_as_its_differences(void **state)
{
	struct rig *r = *state;

	make_copies(r);
	change(r->src_fd, "b", BIG / 2 - 3);
	change(r->src_fd, "b", BIG - 7);
	carry(r, true);
	assert_true(r->done.bytes_out > 2u * SESSION_CLAIM_BLOCK);
	assert_true(r->done.bytes_out < 4u * SESSION_CLAIM_BLOCK);
}

static void longer_copy_goes_as_its_differences(void **state)
{
	struct rig *r = *state;

	make_copies(r);
	change(r->src_fd, "b", BIG + 1000);
	carry(r, true);
	assert_true(r->done.bytes_out < 2u * SESSION_CLAIM_BLOCK);
}

static void shorter_copy_goes_as_its_differences(void **state)
{
	struct rig *r = *state;

	make_copies(r);
	int fd = openat(r->src_fd, "b", O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, BIG - 1000), 0);
	(void)close(fd);
	carry(r, true);
	assert_true(r->done.bytes_out < 2u * SESSION_CLAIM_BLOCK);
}

static void second_of_several_is_taken_where_the_first_is_another(void **state)
{
	struct rig *r = *state;

	rig_fill(r, "src/0", BIG);
	change(r->src_fd, "0", 0);
	add_basis(r, "0", 0);
	make_copies(r);
	carry(r, true);
	assert_true(r->done.bytes_out < 2000);
}

static void file_that_begins_otherwise_is_sent(void **state)
{
	struct rig *r = *state;

	make_copies(r);
	change(r->src_fd, "b", 5);
	carry(r, false);
	assert_true(r->done.bytes_out > BIG);
}

static void basis_that_has_changed_here_is_none(void **state)
{
	struct rig *r = *state;

	make_copies(r);
	r->bases[0].fp.ctime_ns ^= 1; /* as of what was confirmed in a race */
	carry(r, false);
}

static void basis_that_is_gone_here_is_none(void **state)
{
	struct rig *r = *state;

	make_copies(r);
	assert_int_equal(unlinkat(r->src_fd, "a", 0), 0);
	carry(r, false);
}

static void link_in_the_place_of_the_basis_is_not_followed(void **state)
{
	struct rig *r = *state;

	make_copies(r);
	assert_int_equal(renameat(r->src_fd, "a", r->src_fd, "c"), 0);
	assert_int_equal(symlinkat("c", r->src_fd, "a"), 0);
	carry(r, false);
}

static void basis_in_another_directory_is_none(void **state)
{
	struct rig *r = *state;

	rig_fill(r, "src/d/a", BIG);
	rig_fill(r, "src/b", BIG);
	rig_fill(r, "dst/d/a", BIG);
	add_basis(r, "d/a", 0);
	r->setup.options.copies = true;
	carry(r, false);
}

static void basis_that_the_target_has_otherwise_is_told(void **state)
{
	struct rig *r = *state;

	make_copies(r);
	change(r->dst_fd, "a", BIG / 2);
	carry(r, true);
	assert_true(r->items[0].flags & WIRE_MISTAKEN);
	assert_true(r->done.bytes_out > BIG);
}

/* Receivers since 3.5.0 end the session over it, those before ask once more. */
static void basis_that_the_target_does_not_have_is_told(void **state)
{
	struct rig *r = *state;

	make_copies(r);
	assert_int_equal(unlinkat(r->dst_fd, "a", 0), 0);
	rig_start(r);
	rig_connect(r, SESSION_CONTENT);
	rig_batch(r, (struct wire_item[]){ITEM("b", 0)}, 1);
	rig_wait_done(r);
	assert_true(r->items[0].flags & WIRE_CLAIMED);
	if (r->items[0].result == WIRE_ACKED)
		assert_true(r->items[0].flags & WIRE_MISTAKEN);
	else
		assert_non_null(strstr(r->done_text, "no basis file"));
}

static void target_that_refuses_the_option_gets_it_whole(void **state)
{
	struct rig *r = *state;

	make_copies(r);
	r->without = SESSION_WITHOUT_COPIES;
	carry(r, false);
}

static void protocol_30_gets_it_whole(void **state)
{
	struct rig *r = *state;

	make_copies(r);
	r->setup.options.protocol_max = 30;
	carry(r, false);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_make, rig_drop)
	const struct CMUnitTest tests[] = {
	        TEST(copy_goes_as_blocks),
	        TEST(changed_copy_goes_as_its_differences),
	        TEST(longer_copy_goes_as_its_differences),
	        TEST(shorter_copy_goes_as_its_differences),
	        TEST(second_of_several_is_taken_where_the_first_is_another),
	        TEST(file_that_begins_otherwise_is_sent),
	        TEST(basis_that_has_changed_here_is_none),
	        TEST(basis_that_is_gone_here_is_none),
	        TEST(link_in_the_place_of_the_basis_is_not_followed),
	        TEST(basis_in_another_directory_is_none),
	        TEST(basis_that_the_target_has_otherwise_is_told),
	        TEST(basis_that_the_target_does_not_have_is_told),
	        TEST(target_that_refuses_the_option_gets_it_whole),
	        TEST(protocol_30_gets_it_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
