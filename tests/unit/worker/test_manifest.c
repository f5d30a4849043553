#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "worker/manifest.h"

/* What manifest_build() made of items below src. */
struct made {
	struct cargo *cargo;
	struct manifest list;
};

static struct made build(struct rig *r, enum session_class class, const struct wire_item *items,
                         size_t n)
{
	struct wire_batch m = {1, 2, (struct wire_item *)items, n};
	struct made made;
	struct buf b;

	buf_init(&b, FRAME_PAYLOAD_MAX);
	wire_put_batch(&b, &m);
	made.cargo = cargo_new(buf_bytes(&b), fcntl(r->src_fd, F_DUPFD_CLOEXEC, 3));
	assert_non_null(made.cargo);
	manifest_build(&made.list, made.cargo, &r->setup, class, clock_wall_ns());
	buf_done(&b);
	return made;
}

static void drop(struct made *made)
{
	manifest_done(&made->list);
	cargo_free(made->cargo);
}

static const struct session_entry *entry_of(const struct made *made, const char *path)
{
	for (size_t i = 0; i < made->list.count; i++) {
		if (bytes_equal(made->list.entries[i].path, bytes_of(path)))
			return &made->list.entries[i];
	}
	return NULL;
}

static bool has_rule(const struct made *made, const char *path, bool dir)
{
	for (size_t i = 0; i < made->list.rules_n; i++) {
		if (bytes_equal(made->list.rules[i].path, bytes_of(path)))
			return made->list.rules[i].dir == dir;
	}
	return false;
}

static void ancestors_come_once_and_before(void **state)
{
	struct rig *r = *state;
	struct made made;

	rig_write(r, "src/a/b/x", "1", OLD);
	rig_write(r, "src/a/b/y", "2", OLD);
	rig_write(r, "src/a/z", "3", OLD);
	made = build(r, SESSION_QUICK,
	             (struct wire_item[]){ITEM("a/z", 0), ITEM("a/b/y", 0), ITEM("a/b/x", 0),
	                                  ITEM("a/b", WIRE_ITEM_DIR)},
	             4);
	assert_int_equal(made.list.count, 6);
	assert_int_equal(made.list.entries[0].path.n, 0);
	assert_true(made.list.entries[0].implied);
	assert_true(entry_of(&made, "a")->implied);
	assert_false(entry_of(&made, "a/b")->implied);
	assert_int_equal(entry_of(&made, "a/b/y")->size, 1);
	assert_int_equal(made.cargo->unsettled, 4);
	drop(&made);
}

static void nothing_is_listed_for_what_vanished(void **state)
{
	struct rig *r = *state;
	struct made made;

	rig_mkdir(r, "src/a");
	made = build(r, SESSION_QUICK,
	             (struct wire_item[]){ITEM("a/x", 0), ITEM("b/c/d", 0), ITEM("a/y", 0)}, 3);
	assert_int_equal(made.list.count, 0);
	assert_int_equal(made.cargo->unsettled, 0);
	drop(&made);
}

/* It is not mirrored, so the look that sees it makes a deletion of it: here, too, it is nothing. */
static void socket_in_place_of_a_name_is_not_sent_and_its_deletion_goes(void **state)
{
	struct rig *r = *state;
	struct made made;

	assert_int_equal(mknodat(r->src_fd, "socket", S_IFSOCK | 0600, 0), 0);
	for (int devices = 0; devices < 2; devices++) {
		r->setup.options.devices = devices;
		made = build(r, SESSION_QUICK, (struct wire_item[]){ITEM("socket", 0)}, 1);
		assert_int_equal(made.list.count, 0);
		assert_int_equal(made.cargo->answers_n, 1);
		assert_int_equal(made.cargo->answers[0].result, WIRE_VANISHED);
		drop(&made);
	}
	made = build(r, SESSION_DELETE, (struct wire_item[]){ITEM("socket", 0)}, 1);
	assert_int_equal(made.cargo->answers_n, 0);
	assert_true(has_rule(&made, "socket", false));
	drop(&made);
}

static void link_target_and_device_numbers_are_taken(void **state)
{
	struct rig *r = *state;
	struct made made;

	assert_int_equal(symlinkat("../to \xff", r->src_fd, "link"), 0);
	made = build(r, SESSION_QUICK, (struct wire_item[]){ITEM("link", 0)}, 1);
	assert_true(bytes_equal(entry_of(&made, "link")->link_target, BYTES("../to \xff")));
	assert_true(S_ISLNK(entry_of(&made, "link")->mode));
	drop(&made);
	if (mknodat(r->src_fd, "null", S_IFCHR | 0600, (1 << 8) | 3))
		skip();
	made = build(r, SESSION_QUICK, (struct wire_item[]){ITEM("null", 0)}, 1);
	assert_int_equal(entry_of(&made, "null")->rdev_major, 1);
	assert_int_equal(entry_of(&made, "null")->rdev_minor, 3);
	drop(&made);
}

static void only_listed_partners_form_a_link_group(void **state)
{
	struct rig *r = *state;
	struct made made;

	rig_write(r, "src/a", "1", OLD);
	rig_write(r, "src/alone", "1", OLD);
	assert_int_equal(linkat(r->src_fd, "a", r->src_fd, "b", 0), 0);
	assert_int_equal(linkat(r->src_fd, "alone", r->src_fd, "unlisted", 0), 0);
	made = build(r, SESSION_QUICK,
	             (struct wire_item[]){ITEM("a", 0), ITEM("b", 0), ITEM("alone", 0)}, 3);
	assert_int_not_equal(entry_of(&made, "a")->link_group, 0);
	assert_int_equal(entry_of(&made, "a")->link_group, entry_of(&made, "b")->link_group);
	assert_int_equal(entry_of(&made, "alone")->link_group, 0);
	drop(&made);
}

static void chown_maps_ids_in_the_list_only(void **state)
{
	struct rig *r = *state;
	struct made made;

	rig_write(r, "src/a", "1", OLD);
	r->setup.map_uid = r->setup.map_gid = true;
	r->setup.uid = 1234;
	r->setup.gid = 4321;
	made = build(r, SESSION_QUICK, (struct wire_item[]){ITEM("a", 0)}, 1);
	assert_int_equal(entry_of(&made, "a")->uid, 1234);
	assert_int_equal(entry_of(&made, "a")->gid, 4321);
	assert_int_equal(cargo_find(made.cargo, BYTES("a"))->fp.uid, getuid());
	drop(&made);
}

static void deletions_list_surviving_parents_and_stand_ins(void **state)
{
	struct rig *r = *state;
	struct made made;

	rig_mkdir(r, "src/here");
	rig_write(r, "src/here/kept", "x", OLD);
	assert_int_equal(fchmodat(r->src_fd, "here", 0711, 0), 0);
	made = build(r, SESSION_DELETE,
	             (struct wire_item[]){ITEM("here/gone", 0), ITEM("here/kept", 0),
	                                  ITEM("lost/sub/x", 0), ITEM("tree/in", 0),
	                                  ITEM("tree", WIRE_ITEM_DIR), ITEM("any/in", 0),
	                                  ITEM("any", 0)},
	             7);
	assert_int_equal(entry_of(&made, "here")->mode, S_IFDIR | 0711);
	assert_true(entry_of(&made, "here")->content_dir);
	assert_int_equal(entry_of(&made, "lost")->mode, S_IFDIR | 0700);
	assert_false(entry_of(&made, "lost")->content_dir);
	assert_int_equal(entry_of(&made, "lost/sub")->mtime_ns, 0);
	assert_true(entry_of(&made, "lost/sub")->content_dir);
	assert_null(entry_of(&made, "tree"));
	assert_true(entry_of(&made, "")->content_dir);
	assert_true(has_rule(&made, "here/gone", false));
	assert_false(has_rule(&made, "here/kept", false));
	assert_true(has_rule(&made, "lost/sub/x", false));
	assert_true(has_rule(&made, "tree", true));
	assert_true(has_rule(&made, "tree/in", false));
	assert_true(has_rule(&made, "any", false));
	assert_true(has_rule(&made, "any/in", false));
	assert_int_equal(made.cargo->answers_n, 1);
	assert_int_equal(made.cargo->answers[0].index, 1);
	assert_int_equal(made.cargo->answers[0].result, WIRE_VANISHED);
	drop(&made);
}

static void deletion_of_the_root_is_refused(void **state)
{
	struct rig *r = *state;
	struct made made =
	        build(r, SESSION_DELETE, (struct wire_item[]){ITEM("", WIRE_ITEM_DIR)}, 1);

	assert_int_equal(made.list.count, 0);
	assert_int_equal(made.list.rules_n, 0);
	assert_int_equal(made.cargo->answers[0].result, WIRE_FAILED);
	drop(&made);
}

static void name_given_twice_is_listed_once(void **state)
{
	struct rig *r = *state;
	struct made made;

	rig_write(r, "src/a", "1", OLD);
	made = build(r, SESSION_QUICK, (struct wire_item[]){ITEM("a", 0), ITEM("a", 0)}, 2);
	assert_int_equal(made.list.count, 2);
	assert_int_equal(made.cargo->answers[0].result, WIRE_UNSENT);
	assert_int_equal(made.cargo->unsettled, 1);
	drop(&made);
}

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* a, a/b, a/b/c ... over three letters and three levels */
static void random_path(uint32_t *x, char *ret)
{
	unsigned depth = 1 + next_random(x) % 3;

	for (unsigned i = 0; i < depth; i++) {
		if (i)
			*ret++ = '/';
		*ret++ = (char)('a' + next_random(x) % 3);
	}
	*ret = '\0';
}

/* What the session demands of a list: parents first, no name twice, risks in listed or deleted
 * directories; and every item is answered or has exactly one part. */
static void check_rules(const struct made *made, size_t items)
{
	size_t parts = 0;

	for (size_t i = 0; i < made->list.count; i++) {
		struct bytes path = made->list.entries[i].path, parent = path_parent(path);
		bool found = path.n == 0;

		for (size_t k = 0; k < i; k++) {
			assert_false(bytes_equal(made->list.entries[k].path, path));
			found |= bytes_equal(made->list.entries[k].path, parent) &&
			         S_ISDIR(made->list.entries[k].mode);
		}
		assert_true(found);
	}
	for (size_t i = 0; i < made->list.rules_n; i++) {
		struct bytes parent = path_parent(made->list.rules[i].path);
		bool found = false;

		for (size_t k = 0; k < made->list.count; k++)
			found |= made->list.entries[k].content_dir &&
			         bytes_equal(made->list.entries[k].path, parent);
		for (size_t k = 0; k < made->list.rules_n; k++)
			found |= bytes_equal(made->list.rules[k].path, parent);
		assert_true(found);
	}
	for (size_t i = 0; i < made->cargo->parts_n; i++) {
		parts += made->cargo->parts[i].item != CARGO_NONE;
		if (i)
			assert_true(path_compare(made->cargo->parts[i - 1].path,
			                         made->cargo->parts[i].path) < 0);
	}
	assert_int_equal(parts + made->cargo->answers_n, items);
	assert_int_equal(made->cargo->unsettled, parts);
}

static void random_batches_make_lists_that_a_session_accepts(void **state)
{
	struct rig *r = *state;
	uint32_t seed = 20240607, x = seed;

	print_message("# seed %u\n", seed);
	for (int i = 0; i < 12; i++) {
		char path[16] = "src/";

		random_path(&x, path + 4);
		if (next_random(&x) % 2)
			(void)mkdirat(r->dir_fd, path, 0755);
		else
			mem_closep(&(int){
			        openat(r->dir_fd, path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644)});
	}
	for (int round = 0; round < 500; round++) {
		struct wire_item items[12];
		char paths[12][8];
		size_t n = 1 + next_random(&x) % 12;
		struct made made;

		for (size_t i = 0; i < n; i++) {
			random_path(&x, paths[i]);
			items[i] = ITEM(paths[i], next_random(&x) % 2 ? WIRE_ITEM_DIR : 0);
		}
		made = build(r, round % 2 ? SESSION_DELETE : SESSION_QUICK, items, n);
		check_rules(&made, n);
		drop(&made);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_make, rig_drop)
	const struct CMUnitTest tests[] = {
	        TEST(ancestors_come_once_and_before),
	        TEST(nothing_is_listed_for_what_vanished),
	        TEST(socket_in_place_of_a_name_is_not_sent_and_its_deletion_goes),
	        TEST(link_target_and_device_numbers_are_taken),
	        TEST(only_listed_partners_form_a_link_group),
	        TEST(chown_maps_ids_in_the_list_only),
	        TEST(deletions_list_surviving_parents_and_stand_ins),
	        TEST(deletion_of_the_root_is_refused),
	        TEST(name_given_twice_is_listed_once),
	        TEST(random_batches_make_lists_that_a_session_accepts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
