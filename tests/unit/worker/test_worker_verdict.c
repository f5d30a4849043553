#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "worker/blame.h"
#include "worker/verdict.h"

/* A cargo whose parts are `paths`, in path order; a kind for each. */
static struct cargo *make(const char *const *paths, const enum part_kind *kinds, size_t n)
{
	struct wire_item *items = mem_array(n, sizeof(*items));
	struct wire_batch m = {1, 2, items, n};
	struct cargo *c;
	struct buf b;

	for (size_t i = 0; i < n; i++)
		items[i].path = bytes_of(paths[i]);
	buf_init(&b, FRAME_PAYLOAD_MAX);
	wire_put_batch(&b, &m);
	c = cargo_new(buf_bytes(&b), open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
	assert_non_null(c);
	for (size_t i = 0; i < n; i++) {
		struct part *part =
		        cargo_add_part(c, kinds[i], c->batch.items[i].path, (uint32_t)i);

		part->fp.mode = kinds[i] == PART_FILE ? S_IFREG | 0644 : S_IFDIR | 0755;
		if (kinds[i] == PART_CONTEXT || kinds[i] == PART_SCAFFOLD) {
			part->item = CARGO_NONE;
			c->unsettled--;
		}
	}
	buf_done(&b);
	free(items);
	return c;
}

static uint8_t result_of(const struct cargo *c, uint32_t item)
{
	for (size_t i = 0; i < c->answers_n; i++) {
		if (c->answers[i].index == item)
			return c->answers[i].result;
	}
	return 0;
}

static uint8_t result_of_context(const struct cargo *c, const char *path)
{
	for (size_t i = 0; i < c->answers_n; i++) {
		if (c->answers[i].index == CARGO_NONE &&
		    bytes_equal(c->answers[i].path, bytes_of(path)))
			return c->answers[i].result;
	}
	return 0;
}

static bool message(struct cargo *c, enum session_level level, const char *text)
{
	struct blame named;

	return verdict_message(c, level, bytes_of(text), &named);
}

static void error(struct cargo *c, const char *text)
{
	(void)message(c, SESSION_ERROR_XFER, text);
}

#define FILES "a", "a/b", "a/b/.hidden", "a/b/c d", "new\nline", "q\"u\"o", "x: y", "\xff"
static const char *const files[] = {FILES};
static const enum part_kind file_kinds[] = {PART_DIR,  PART_DIR,  PART_FILE, PART_FILE,
                                            PART_FILE, PART_FILE, PART_FILE, PART_FILE};

static void names_in_texts_are_found(void **state)
{
	static const struct {
		const char *text, *path;
	} cases[] = {
	        {"rsync: [receiver] mkstemp \"/srv/t/a/b/.c d.Xy12zA\" failed: Permission denied "
	         "(13)",
	         "a/b/c d"},
	        {"rsync: [generator] recv_generator: mkdir \"/a/b\" (in m) failed: Read-only",
	         "a/b"},
	        {"rsync: [receiver] mkstemp \"/t/a/b/.hidden.aB3dE9\" failed: No space",
	         "a/b/.hidden"},
	        {"ERROR: daemon refused to receive file \"a/b/c d\"", "a/b/c d"},
	        {"could not make way for new regular file: a/b/c d", "a/b/c d"},
	        {"could not make way for new regular file: x: y", "x: y"},
	        {"rsync: open \"/t/q\"u\"o\" failed: Bad (1)", "q\"u\"o"},
	        {"rsync: open \"/t/new\nline\" failed: Bad (1)\n", "new\nline"},
	        {"rsync: open \"/t/new\\#012line\" failed: Bad (1)", "new\nline"},
	        {"rsync: open \"/t/\\#377\" failed: Bad (1)", "\xff"},
	        {"rsync: open \"/t/\xff\" failed: Bad (1)", "\xff"},
	        {"ERROR: a/b/c d failed verification -- update discarded.", "a/b/c d"},
	        {"rsync: rename \"/t/a/b/.c d.AbCdEf\" -> \"a/b/c d\": Bad (1)", "a/b/c d"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cargo *c = make(files, file_kinds, ARRAY_LEN(files));
		struct blame blame;
		bool found = false;

		blame_find(&blame, c, bytes_of(cases[i].text));
		for (size_t k = 0; k < blame.n; k++)
			found |= bytes_equal(blame.parts[k]->path, bytes_of(cases[i].path));
		if (!found)
			fail_msg("not found in: %s", cases[i].text);
		cargo_free(c);
	}
}

static void names_of_others_blame_nobody(void **state)
{
	static const char *const texts[] = {
	        "rsync: open \"/t/other\" failed: Bad (1)",
	        "rsync: open \"/t/xa\" failed: Bad (1)",
	        "rsync: open \"/t/a/bc\" failed: Bad (1)",
	        "rsync: open \"/t/a/b/c\" failed: Bad (1)",
	        "rsync: open \"relative/a\" failed: Bad (1)",
	        "connection unexpectedly closed",
	        "\"",
	        "\"\"",
	        ": ",
	        "",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct cargo *c = make(files, file_kinds, ARRAY_LEN(files));
		struct blame blame;

		blame_find(&blame, c, bytes_of(texts[i]));
		if (blame.n)
			fail_msg("blamed by: %s", texts[i]);
		cargo_free(c);
	}
}

static void root_is_found_as_a_dot(void **state)
{
	static const char *const paths[] = {"", "a"};
	static const enum part_kind kinds[] = {PART_CONTEXT, PART_DIR};
	struct cargo *c = make(paths, kinds, 2);
	struct blame blame;

	(void)state;
	blame_find(&blame, c, BYTES("rsync: failed to set times on \"/.\" (in m): Operation (1)"));
	assert_int_equal(blame.n, 1);
	assert_int_equal(blame.parts[0]->path.n, 0);
	cargo_free(c);
}

static void cut_temporary_name_is_found_by_its_beginning(void **state)
{
	char name[256], text[400];
	const char *const paths[] = {name};
	static const enum part_kind kinds[] = {PART_FILE};
	struct cargo *c;
	struct blame blame;

	(void)state;
	memset(name, 'n', 255);
	name[255] = '\0';
	(void)snprintf(text, sizeof(text), "mkstemp \"/t/.%.247s.AbCdEf\" failed", name);
	c = make(paths, kinds, 1);
	blame_find(&blame, c, bytes_of(text));
	assert_int_equal(blame.n, 1);
	cargo_free(c);
}

static void error_that_names_a_file_leaves_directories_alone(void **state)
{
	struct cargo *c = make(files, file_kinds, ARRAY_LEN(files));

	(void)state;
	error(c, "rsync: open \"/t/x: y\" failed: No space left on device (28)");
	for (size_t i = 2; i < c->parts_n; i++) {
		if (i != 6)
			verdict_success(c, &c->parts[i]);
	}
	verdict_phase(c);
	assert_int_equal(c->unsettled, 0);
	/* The directories are not at "/", where this cargo's root is: they count as moved, not
	 * failed. */
	assert_int_equal(result_of(c, 0), WIRE_MOVED);
	assert_int_equal(result_of(c, 1), WIRE_MOVED);
	assert_int_equal(result_of(c, 2), WIRE_ACKED);
	assert_int_equal(result_of(c, 6), WIRE_FAILED);
	for (size_t i = 0; i < c->answers_n; i++)
		assert_int_equal(c->answers[i].trouble,
		                 c->answers[i].index == 6 ? TROUBLE_FULL : TROUBLE_NONE);
	cargo_free(c);
}

static void error_that_names_nobody_fails_directories_and_deletions(void **state)
{
	static const char *const paths[] = {"d", "f", "gone"};
	static const enum part_kind kinds[] = {PART_DIR, PART_FILE, PART_DELETION};
	struct cargo *c = make(paths, kinds, 3);

	(void)state;
	error(c, "something went wrong with \"/elsewhere\"");
	verdict_success(c, &c->parts[1]);
	verdict_phase(c);
	assert_int_equal(result_of(c, 0), WIRE_FAILED);
	assert_int_equal(result_of(c, 1), WIRE_ACKED);
	assert_int_equal(result_of(c, 2), WIRE_FAILED);
	cargo_free(c);
}

/* It may have been made all the same, and must not be forgotten (I11). */
static void ancestor_of_which_an_error_may_speak_is_told_as_unknown(void **state)
{
	static const char *const paths[] = {"d", "d/f"};
	static const enum part_kind kinds[] = {PART_CONTEXT, PART_FILE};

	(void)state;
	for (int named = 0; named < 2; named++) {
		struct cargo *c = make(paths, kinds, 2);

		error(c, named ? "failed to set permissions on \"/t/d\": Bad (1)"
		               : "something went wrong with \"/elsewhere\"");
		verdict_success(c, &c->parts[1]);
		verdict_phase(c);
		assert_int_equal(result_of_context(c, "d"), WIRE_CONTEXT_UNKNOWN);
		cargo_free(c);
	}
}

static void skipped_deletions_fail_although_said_as_information(void **state)
{
	static const char *const paths[] = {"gone"};
	static const enum part_kind kinds[] = {PART_DELETION};
	struct cargo *c = make(paths, kinds, 1);

	(void)state;
	(void)message(c, SESSION_INFO, "IO error encountered -- skipping file deletion\n");
	verdict_phase(c);
	assert_int_equal(result_of(c, 0), WIRE_FAILED);
	cargo_free(c);
}

static void kept_directory_above_a_failed_deletion_fails(void **state)
{
	static const char *const paths[] = {"d", "d/x", "e"};
	static const enum part_kind kinds[] = {PART_DELETION, PART_DELETION, PART_DELETION};
	struct cargo *c = make(paths, kinds, 3);

	(void)state;
	error(c, "rsync: [generator] delete_file: unlink(\"/t/d/x\") failed: Operation (1)");
	error(c, "rsync: delete_file: unlink \"/t/d/x\" failed: Operation not permitted (1)");
	(void)message(c, SESSION_INFO, "cannot delete non-empty directory: d");
	(void)message(c, SESSION_INFO, "cannot delete non-empty directory: e");
	verdict_phase(c);
	assert_int_equal(result_of(c, 0), WIRE_FAILED);
	assert_int_equal(result_of(c, 1), WIRE_FAILED);
	assert_int_equal(result_of(c, 2), WIRE_KEPT);
	cargo_free(c);
}

static void failed_ancestor_fails_what_lies_below_unless_it_is_about_attributes(void **state)
{
	static const char *const paths[] = {"c", "c/d", "e", "e/f"};
	static const enum part_kind kinds[] = {PART_CONTEXT, PART_DIR, PART_CONTEXT, PART_DIR};
	struct cargo *c = make(paths, kinds, 4);

	(void)state;
	error(c,
	      "rsync: [generator] recv_generator: mkdir \"/t/c\" failed: Permission denied (13)");
	error(c, "*** Skipping any contents from this failed directory ***");
	error(c, "rsync: [generator] failed to set times on \"/t/e\": Operation not permitted (1)");
	verdict_phase(c);
	assert_int_equal(result_of(c, 1), WIRE_FAILED);
	assert_int_equal(result_of(c, 3), WIRE_MOVED);
	assert_int_equal(result_of_context(c, "c"), WIRE_CONTEXT_UNKNOWN);
	assert_int_equal(result_of_context(c, "e"), WIRE_CONTEXT_UNKNOWN);
	cargo_free(c);
}

static void stamp_verdicts_follow_the_item_flags(void **state)
{
	static const struct {
		unsigned flags;
		enum wire_result result;
	} cases[] = {
	        {0, WIRE_PROVEN},
	        {SESSION_ITEM_TRANSFER, WIRE_PROVEN},
	        {SESSION_ITEM_TRANSFER | SESSION_ITEM_PERMS, WIRE_PROVEN},
	        {SESSION_ITEM_TRANSFER | SESSION_ITEM_TIME, WIRE_DISPROVED},
	        {SESSION_ITEM_TRANSFER | SESSION_ITEM_SIZE, WIRE_DISPROVED},
	        {SESSION_ITEM_TRANSFER | SESSION_ITEM_NEW, WIRE_DISPROVED},
	};
	static const char *const paths[] = {".lockstep/j.0"};
	static const enum part_kind kinds[] = {PART_STAMP};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cargo *c = make(paths, kinds, 1);

		if (cases[i].flags)
			verdict_stamp_request(c, &c->parts[0], cases[i].flags);
		else
			verdict_success(c, &c->parts[0]);
		assert_int_equal(result_of(c, 0), cases[i].result);
		cargo_free(c);
	}
}

/* The number that names it may have been another's before the line damaged it. */
static void stamp_is_proven_when_nothing_else_waits_for_its_word(void **state)
{
	static const char *const paths[] = {".lockstep/j.0", "a", "b"};
	static const enum part_kind kinds[] = {PART_STAMP, PART_FILE, PART_DIR};
	struct cargo *c = make(paths, kinds, 2);

	(void)state;
	verdict_success(c, &c->parts[0]);
	verdict_item(c, &c->parts[0], SESSION_ITEM_OWNER);
	assert_int_equal(result_of(c, 0), 0);
	verdict_item(c, &c->parts[0], SESSION_ITEM_TRANSFER | SESSION_ITEM_TIME);
	assert_int_equal(result_of(c, 0), WIRE_DISPROVED);
	cargo_free(c);

	c = make(paths, kinds, 2);
	verdict_success(c, &c->parts[0]);
	verdict_end(c, true, true);
	assert_int_equal(result_of(c, 0), WIRE_UNKNOWN);
	cargo_free(c);

	c = make(paths, kinds, 2);
	verdict_success(c, &c->parts[0]);
	c->parts[1].flags |= WIRE_DATA_SENT;
	verdict_success(c, &c->parts[1]);
	assert_int_equal(result_of(c, 0), WIRE_PROVEN);
	cargo_free(c);

	c = make(paths, kinds, 3);
	verdict_stamp_request(c, &c->parts[0], SESSION_ITEM_TRANSFER);
	c->parts[1].flags |= WIRE_DATA_SENT;
	verdict_success(c, &c->parts[1]);
	assert_int_equal(result_of(c, 0), 0);
	verdict_phase(c);
	assert_int_equal(result_of(c, 0), WIRE_PROVEN);
	cargo_free(c);
}

static void break_off_leaves_unsent_or_unknown(void **state)
{
	static const char *const paths[] = {"a", "b", "c"};
	static const enum part_kind kinds[] = {PART_FILE, PART_FILE, PART_FILE};
	struct cargo *c = make(paths, kinds, 3);

	(void)state;
	verdict_end(c, false, false);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(result_of(c, i), WIRE_UNSENT);
	cargo_free(c);
	c = make(paths, kinds, 3);
	verdict_success(c, &c->parts[0]);
	error(c, "rsync: write failed on \"/t/b\": No space left on device (28)");
	verdict_end(c, true, false);
	assert_int_equal(result_of(c, 0), WIRE_ACKED);
	assert_int_equal(result_of(c, 1), WIRE_FAILED);
	assert_int_equal(result_of(c, 2), WIRE_UNKNOWN);
	cargo_free(c);
}

/* A confirmation out of nothing may be a damaged one that was meant for another file. */
static void confirmation_out_of_nothing_waits_for_a_sound_end(void **state)
{
	static const char *const paths[] = {"a", "b", "c", "d"};
	static const enum part_kind kinds[] = {PART_FILE, PART_FILE, PART_FILE, PART_FILE};

	(void)state;
	for (int breach = 0; breach < 2; breach++) {
		struct cargo *c = make(paths, kinds, 4);

		c->parts[0].flags |= WIRE_DATA_SENT;
		verdict_item(c, &c->parts[1], SESSION_ITEM_PERMS);
		for (size_t i = 0; i < 3; i++)
			verdict_success(c, &c->parts[i]);
		assert_int_equal(result_of(c, 0), WIRE_ACKED);
		assert_int_equal(result_of(c, 1), WIRE_ACKED);
		assert_int_equal(result_of(c, 2), 0);
		verdict_end(c, true, breach);
		assert_int_equal(result_of(c, 2), breach ? WIRE_UNKNOWN : WIRE_ACKED);
		assert_int_equal(result_of(c, 3), WIRE_UNKNOWN);
		cargo_free(c);
	}
}

/* One half of the receiver looks at what is there, the other writes what was sent unasked. */
static void unasked_file_is_done_when_what_was_written_is_confirmed(void **state)
{
	static const struct {
		bool asked;
		uint8_t copies, confirmations;
	} cases[] = {{true, 1, 1}, {false, 1, 2}, {true, 2, 2}};
	static const char *const paths[] = {"a"};
	static const enum part_kind kinds[] = {PART_FILE};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cargo *c = make(paths, kinds, 1);
		struct part *part = &c->parts[0];

		part->flags |= WIRE_DATA_SENT;
		part->unasked = true;
		part->copies = cases[i].copies;
		if (cases[i].asked)
			verdict_item(c, part, SESSION_ITEM_TRANSFER | SESSION_ITEM_NEW);
		for (uint8_t k = 0; k < cases[i].confirmations; k++) {
			assert_int_equal(result_of(c, 0), 0);
			verdict_success(c, part);
		}
		assert_int_equal(result_of(c, 0), WIRE_ACKED);
		cargo_free(c);
	}
}

/* Of what a peer makes up to keep us searching, only so much is looked at. */
static void text_of_nothing_but_slashes_and_quotes_is_soon_given_up(void **state)
{
	struct cargo *c = make(files, file_kinds, ARRAY_LEN(files));
	struct blame blame;
	char text[6000];

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 500 == 0 ? '"' : "a/"[i % 2];
	blame_find(&blame, c, (struct bytes){text, sizeof(text)});
	assert_int_equal(blame.looks, BLAME_LOOKS_MAX);
	/* The longest honest one is far from that. */
	for (size_t i = 0; i < 4000; i++)
		text[i] = "a/"[i % 2];
	text[0] = text[3999] = '"';
	blame_find(&blame, c, (struct bytes){text, 4000});
	assert_in_range(blame.looks, 1000, BLAME_LOOKS_MAX / 2);
	cargo_free(c);
}

static void repeated_file_waits_for_the_goodbye(void **state)
{
	static const char *const paths[] = {"a", "b"};
	static const enum part_kind kinds[] = {PART_FILE, PART_FILE};
	struct cargo *c = make(paths, kinds, 2);

	(void)state;
	c->parts[0].redo = c->parts[1].redo = true;
	verdict_phase(c);
	assert_int_equal(c->unsettled, 2);
	verdict_success(c, &c->parts[0]);
	assert_int_equal(result_of(c, 0), WIRE_ACKED);
	verdict_closed(c);
	assert_int_equal(result_of(c, 1), WIRE_FAILED);
	assert_int_equal(c->unsettled, 0);
	cargo_free(c);
}

static void file_without_a_word_fails_at_the_end_of_the_goodbye(void **state)
{
	static const char *const paths[] = {"a", "late"};
	static const enum part_kind kinds[] = {PART_FILE, PART_FILE};
	struct cargo *c = make(paths, kinds, 2);

	(void)state;
	verdict_phase(c);
	assert_int_equal(c->answers_n, 0);
	verdict_success(c, &c->parts[1]);
	verdict_closed(c);
	assert_int_equal(result_of(c, 0), WIRE_FAILED);
	assert_int_equal(result_of(c, 1), WIRE_ACKED);
	cargo_free(c);
}

static void moved_file_is_never_acked(void **state)
{
	static const char *const paths[] = {"a"};
	static const enum part_kind kinds[] = {PART_FILE};

	(void)state;
	for (int no_ack = 0; no_ack < 2; no_ack++) {
		struct cargo *c = make(paths, kinds, 1);

		c->no_ack = no_ack;
		c->parts[0].moved = true;
		if (!no_ack)
			verdict_success(c, &c->parts[0]);
		verdict_phase(c);
		assert_int_equal(result_of(c, 0), WIRE_MOVED);
		cargo_free(c);
	}
}

/* Of links whose first name is not sent, stock receivers may leave the others out without a word.
 */
static void link_of_one_that_vanished_is_in_doubt(void **state)
{
	static const char *const paths[] = {"a", "b", "c"};
	static const enum part_kind kinds[] = {PART_FILE, PART_FILE, PART_FILE};

	(void)state;
	for (int no_ack = 0; no_ack < 2; no_ack++) {
		struct cargo *c = make(paths, kinds, 3);

		c->no_ack = no_ack;
		c->parts[0].group = c->parts[1].group = 7;
		cargo_blame(&c->parts[0], BYTES("No such file"), TROUBLE_NONE);
		cargo_settle(c, &c->parts[0], WIRE_VANISHED);
		if (!no_ack)
			verdict_success(c, &c->parts[2]);
		verdict_phase(c);
		verdict_closed(c);
		assert_int_equal(result_of(c, 1), WIRE_UNKNOWN);
		assert_int_equal(result_of(c, 2), WIRE_ACKED);
		cargo_free(c);
	}
}

/* As where a link takes the place of a directory. */
static void acl_of_what_was_there_before_is_of_no_interest(void **state)
{
	static const char *const paths[] = {"a", "d"};
	static const enum part_kind kinds[] = {PART_FILE, PART_DELETION};
	struct cargo *c = make(paths, kinds, 2);

	(void)state;
	c->acls = true;
	error(c, "rsync: [generator] get_acl: sys_acl_get_file(a, ACL_TYPE_DEFAULT): Permission "
	         "denied (13)");
	error(c,
	      "rsync: [generator] get_acl: sys_acl_get_file(other, ACL_TYPE_DEFAULT): Permission "
	      "denied (13)");
	verdict_success(c, &c->parts[0]);
	verdict_phase(c);
	assert_int_equal(result_of(c, 0), WIRE_ACKED);
	assert_int_equal(result_of(c, 1), WIRE_ACKED);
	assert_int_equal(c->answers[0].text.n + c->answers[1].text.n, 0);
	cargo_free(c);
}

static void names_that_read_like_words_about_attributes_do_not_count(void **state)
{
	static const char *const paths[] = {"get_acl: d", "set_acl: x: Permission denied"};
	static const enum part_kind kinds[] = {PART_DIR, PART_DIR};
	struct cargo *c = make(paths, kinds, 2);

	(void)state;
	c->acls = c->xattrs = true;
	error(c, "rsync: [generator] recv_generator: mkdir \"/t/get_acl: d\" failed: Permission "
	         "denied (13)");
	error(c, "rsync: [generator] set_acl: acl_set_file_at(set_acl: x: Permission denied, "
	         "ACL_TYPE_ACCESS): No space left on device (28)");
	verdict_phase(c);
	assert_int_equal(result_of(c, 0), WIRE_FAILED);
	assert_int_equal(result_of(c, 1), WIRE_FAILED);
	cargo_free(c);
}

/* What is up to date is confirmed before the receiver has what it wants of its attributes. */
static void success_without_content_waits_for_the_end_where_attributes_are_kept(void **state)
{
	static const char *const paths[] = {"a", "b", "c"};
	static const enum part_kind kinds[] = {PART_FILE, PART_FILE, PART_FILE};
	struct cargo *c;

	(void)state;
	for (int broken = 0; broken < 2; broken++) {
		c = make(paths, kinds, 3);
		c->xattrs = true;
		c->parts[1].flags |= WIRE_DATA_SENT;
		verdict_success(c, &c->parts[0]);
		verdict_success(c, &c->parts[1]);
		assert_int_equal(c->answers_n, 1);
		assert_int_equal(result_of(c, 1), WIRE_ACKED);
		verdict_item(c, &c->parts[0], SESSION_ITEM_XATTR);
		verdict_item(c, &c->parts[2], SESSION_ITEM_XATTR | SESSION_ITEM_LOCAL);
		verdict_success(c, &c->parts[2]);
		assert_int_equal(c->answers_n, 1);
		if (broken)
			verdict_end(c, true, false);
		else
			verdict_phase(c);
		assert_int_equal(result_of(c, 0), broken ? WIRE_UNKNOWN : WIRE_ACKED);
		assert_int_equal(result_of(c, 2), broken ? WIRE_UNKNOWN : WIRE_ACKED);
		cargo_free(c);
	}
}

static void attribute_that_did_not_arrive_is_no_success(void **state)
{
	static const char *const paths[] = {"d", "d/a", "d/b"};
	static const enum part_kind kinds[] = {PART_DIR, PART_FILE, PART_FILE};
	struct cargo *c = make(paths, kinds, 3);

	(void)state;
	c->xattrs = true;
	c->parts[1].flags |= WIRE_DATA_SENT;
	error(c,
	      "rsync: [receiver] rsync_xal_set: fsetxattr(\"/t/d/.a.Xy12zA\",\"user.x\") failed: "
	      "No space left on device (28)");
	verdict_success(c, &c->parts[1]);
	assert_int_equal(result_of(c, 1), WIRE_FAILED);
	assert_int_equal(c->answers[0].trouble, TROUBLE_NONE);
	verdict_success(c, &c->parts[2]);
	(void)message(c, SESSION_ERROR, "Missing abbreviated xattr value, user.y, for \"/t/d/b\"");
	verdict_phase(c);
	assert_int_equal(result_of(c, 2), WIRE_FAILED);
	cargo_free(c);
}

static void attribute_that_cannot_be_kept_is_told_with_the_success(void **state)
{
	static const char *const paths[] = {"d", "d/a", "d/b"};
	static const enum part_kind kinds[] = {PART_DIR, PART_FILE, PART_FILE};
	struct cargo *c = make(paths, kinds, 3);

	(void)state;
	c->acls = true;
	error(c, "rsync: [generator] set_acl: acl_set_file_at(d, ACL_TYPE_DEFAULT): Operation not "
	         "supported (95)");
	error(c, "rsync: [receiver] set_acl: sys_acl_set_file(d/.a.Xy12zA, ACL_TYPE_ACCESS): "
	         "Operation not permitted (1)");
	verdict_success(c, &c->parts[1]);
	verdict_success(c, &c->parts[2]);
	verdict_phase(c);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(result_of(c, i), WIRE_MOVED - (i > 0)); /* "d" is not there */
	for (size_t i = 0; i < c->answers_n; i++)
		assert_int_equal(c->answers[i].text.n > 0, c->answers[i].index < 2);
	cargo_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(names_in_texts_are_found),
	        cmocka_unit_test(names_of_others_blame_nobody),
	        cmocka_unit_test(root_is_found_as_a_dot),
	        cmocka_unit_test(cut_temporary_name_is_found_by_its_beginning),
	        cmocka_unit_test(error_that_names_a_file_leaves_directories_alone),
	        cmocka_unit_test(error_that_names_nobody_fails_directories_and_deletions),
	        cmocka_unit_test(ancestor_of_which_an_error_may_speak_is_told_as_unknown),
	        cmocka_unit_test(skipped_deletions_fail_although_said_as_information),
	        cmocka_unit_test(kept_directory_above_a_failed_deletion_fails),
	        cmocka_unit_test(
	                failed_ancestor_fails_what_lies_below_unless_it_is_about_attributes),
	        cmocka_unit_test(stamp_verdicts_follow_the_item_flags),
	        cmocka_unit_test(stamp_is_proven_when_nothing_else_waits_for_its_word),
	        cmocka_unit_test(break_off_leaves_unsent_or_unknown),
	        cmocka_unit_test(confirmation_out_of_nothing_waits_for_a_sound_end),
	        cmocka_unit_test(unasked_file_is_done_when_what_was_written_is_confirmed),
	        cmocka_unit_test(text_of_nothing_but_slashes_and_quotes_is_soon_given_up),
	        cmocka_unit_test(repeated_file_waits_for_the_goodbye),
	        cmocka_unit_test(file_without_a_word_fails_at_the_end_of_the_goodbye),
	        cmocka_unit_test(moved_file_is_never_acked),
	        cmocka_unit_test(link_of_one_that_vanished_is_in_doubt),
	        cmocka_unit_test(
	                success_without_content_waits_for_the_end_where_attributes_are_kept),
	        cmocka_unit_test(attribute_that_did_not_arrive_is_no_success),
	        cmocka_unit_test(acl_of_what_was_there_before_is_of_no_interest),
	        cmocka_unit_test(names_that_read_like_words_about_attributes_do_not_count),
	        cmocka_unit_test(attribute_that_cannot_be_kept_is_told_with_the_success),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
