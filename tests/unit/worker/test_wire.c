#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "base/frame.h"
#include "base/mem.h"
#include "worker/wire.h"

/* Every proper prefix, and one byte too many, must be refused. The slice is copied to its exact
 * size so that a sanitizer sees any look beyond its end. */
#define ASSERT_EXACT(b, get, free_it)                                                              \
	do {                                                                                       \
		buf_add_u8(&(b), 0);                                                               \
		for (size_t n_ = 0; n_ <= (b).n; n_++) {                                           \
			char *copy_ = malloc(n_ ? n_ : 1);                                         \
			int r_;                                                                    \
                                                                                                   \
			assert_non_null(copy_);                                                    \
			memcpy(copy_, (b).p, n_);                                                  \
			r_ = get((struct bytes){copy_, n_}, &got);                                 \
			assert_int_equal(r_, n_ == (b).n - 1 ? 0 : -EPROTO);                       \
			if (r_ == 0)                                                               \
				free_it;                                                           \
			free(copy_);                                                               \
		}                                                                                  \
	} while (0)

static void setup_round_trip_keeps_everything(void **state)
{
	struct wire_setup m = {.job = "a b", .bwlimit_bytes = 1ull << 40}, got;
	struct buf b;

	(void)state;
	m.options = (struct session_options){.perms = true,
	                                     .xattrs = true,
	                                     .fsync = true,
	                                     .compress = SESSION_COMPRESS_LZ4,
	                                     .compress_level = 19,
	                                     .timeout_s = 31,
	                                     .usermap = "*:nobody",
	                                     .min_digest = 3,
	                                     .protocol_max = 30};
	m.handshake_timeout_s = 2;
	m.idle_timeout_s = 3;
	m.cross_mounts = true;
	m.mode_map.file_and = 0777;
	m.mode_map.dir_or = 0100;
	m.map_gid = true;
	m.gid = 99;
	buf_init(&b, FRAME_PAYLOAD_MAX);
	wire_put_setup(&b, &m);
	assert_int_equal(wire_get_setup(buf_bytes(&b), &got), 0);
	assert_string_equal(got.job, "a b");
	assert_true(got.options.perms && got.options.xattrs && got.options.fsync);
	assert_false(got.options.owner);
	assert_int_equal(got.options.compress, SESSION_COMPRESS_LZ4);
	assert_int_equal(got.options.compress_level, 19);
	assert_int_equal(got.options.timeout_s, 31);
	assert_string_equal(got.options.usermap, "*:nobody");
	assert_null(got.options.groupmap);
	assert_int_equal(got.options.min_digest, 3);
	assert_int_equal(got.options.protocol_max, 30);
	assert_int_equal(got.bwlimit_bytes, 1ull << 40);
	assert_int_equal(got.idle_timeout_s, 3);
	assert_true(got.cross_mounts && !got.sandbox && got.map_gid && !got.map_uid);
	assert_int_equal(got.mode_map.file_and, 0777);
	assert_int_equal(got.mode_map.dir_or, 0100);
	assert_int_equal(got.gid, 99);
	wire_free_setup(&got);
	ASSERT_EXACT(b, wire_get_setup, wire_free_setup(&got));
	buf_done(&b);
}

static void session_round_trip_tells_null_from_empty(void **state)
{
	struct wire_session m = {.id = 5,
	                         .kind = SESSION_DAEMON,
	                         .class = SESSION_DELETE,
	                         .remote_exit = true,
	                         .extras = true,
	                         .without = SESSION_WITHOUT_ALL,
	                         .path = "m/x/",
	                         .module = "m",
	                         .user = "",
	                         .password = "secret"},
	                    got;
	struct buf b;

	(void)state;
	buf_init(&b, FRAME_PAYLOAD_MAX);
	wire_put_session(&b, &m);
	assert_int_equal(wire_get_session(buf_bytes(&b), &got), 0);
	assert_int_equal(got.id, 5);
	assert_int_equal(got.class, SESSION_DELETE);
	assert_true(got.remote_exit && got.extras && !got.tls);
	assert_int_equal(got.without, SESSION_WITHOUT_ALL);
	assert_string_equal(got.path, "m/x/");
	assert_string_equal(got.user, "");
	assert_string_equal(got.password, "secret");
	wire_free_session(&got);
	m.user = m.password = NULL;
	buf_clear(&b);
	wire_put_session(&b, &m);
	assert_int_equal(wire_get_session(buf_bytes(&b), &got), 0);
	assert_null(got.user);
	assert_null(got.password);
	wire_free_session(&got);
	ASSERT_EXACT(b, wire_get_session, wire_free_session(&got));
	buf_done(&b);
}

static void batch_round_trip_keeps_bytes_of_names(void **state)
{
	struct wire_item items[] = {
	        {BYTES("a\n\xff/b"), WIRE_ITEM_META, 0},
	        {BYTES(""), WIRE_ITEM_DIR, 0},
	        {BYTES(".lockstep/j.0"), WIRE_ITEM_STAMP | WIRE_ITEM_SERVE, -7}};
	struct wire_former formers[] = {
	        {BYTES("old\n"), 0, {.mode = S_IFREG | 0600, .ino = 7, .ctime_ns = -1}},
	        {BYTES("dir"), WIRE_NO_ITEM, {.mode = S_IFDIR | 0700}}};
	struct wire_basis bases[] = {{BYTES("other"), 2, {.mode = S_IFREG | 0600, .size = 5}}};
	struct wire_batch m = {1, UINT64_MAX, items, 3, -5, formers, 2, bases, 1}, got;
	struct buf b;

	(void)state;
	buf_init(&b, FRAME_PAYLOAD_MAX);
	wire_put_batch(&b, &m);
	assert_int_equal(wire_get_batch(buf_bytes(&b), &got), 0);
	assert_int_equal(got.count, 3);
	assert_int_equal(got.session, UINT64_MAX);
	assert_int_equal(got.racy_window_ns, -5);
	assert_true(bytes_equal(got.items[0].path, items[0].path));
	assert_int_equal(got.items[1].path.n, 0);
	assert_int_equal(got.items[2].flags, WIRE_ITEM_STAMP | WIRE_ITEM_SERVE);
	assert_int_equal(got.items[2].mtime_s, -7);
	assert_int_equal(got.formers_n, 2);
	assert_true(bytes_equal(got.formers[0].path, formers[0].path));
	assert_int_equal(got.formers[0].item, 0);
	assert_memory_equal(&got.formers[0].fp, &formers[0].fp, sizeof(formers[0].fp));
	assert_int_equal(got.formers[1].item, WIRE_NO_ITEM);
	assert_int_equal(got.bases_n, 1);
	assert_true(bytes_equal(got.bases[0].path, bases[0].path));
	assert_int_equal(got.bases[0].item, 2);
	assert_memory_equal(&got.bases[0].fp, &bases[0].fp, sizeof(bases[0].fp));
	wire_free_batch(&got);
	ASSERT_EXACT(b, wire_get_batch, wire_free_batch(&got));
	buf_done(&b);
}

static void batch_with_a_path_that_climbs_is_refused(void **state)
{
	static const char *const bad[] = {"../x", "/x", "a//b", "a/", ".", "a/./b", "a/.."};
	struct wire_batch got;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct wire_item item = {.path = bytes_of(bad[i])};
		struct wire_batch m = {1, 1, &item, 1};
		struct buf b;

		buf_init(&b, FRAME_PAYLOAD_MAX);
		wire_put_batch(&b, &m);
		assert_int_equal(wire_get_batch(buf_bytes(&b), &got), -EPROTO);
		buf_done(&b);
	}
}

static void former_name_of_no_item_or_kind_is_refused(void **state)
{
	static const struct wire_former bad[] = {
	        {BYTES("a"), 1, {.mode = S_IFREG}},
	        {BYTES("a"), 0, {.mode = S_IFDIR}},
	        {BYTES("a"), WIRE_NO_ITEM, {.mode = S_IFREG}},
	        {BYTES(""), WIRE_NO_ITEM, {.mode = S_IFDIR}},
	        {BYTES("../a"), 0, {.mode = S_IFREG}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct wire_item item = {.path = BYTES("x")};
		struct wire_former former = bad[i];
		struct wire_batch m = {1, 1, &item, 1, 0, &former, 1}, got;
		struct buf b;

		buf_init(&b, FRAME_PAYLOAD_MAX);
		wire_put_batch(&b, &m);
		assert_int_equal(wire_get_batch(buf_bytes(&b), &got), -EPROTO);
		buf_done(&b);
	}
}

static void basis_of_no_item_or_kind_is_refused(void **state)
{
	static const struct wire_basis bad[] = {
	        {BYTES("a"), 1, {.mode = S_IFREG}},
	        {BYTES("a"), WIRE_NO_ITEM, {.mode = S_IFREG}},
	        {BYTES("a"), 0, {.mode = S_IFDIR}},
	        {BYTES(""), 0, {.mode = S_IFREG}},
	        {BYTES("../a"), 0, {.mode = S_IFREG}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct wire_item item = {.path = BYTES("x")};
		struct wire_basis basis = bad[i];
		struct wire_batch m = {1, 1, &item, 1, 0, NULL, 0, &basis, 1}, got;
		struct buf b;

		buf_init(&b, FRAME_PAYLOAD_MAX);
		wire_put_batch(&b, &m);
		assert_int_equal(wire_get_batch(buf_bytes(&b), &got), -EPROTO);
		buf_done(&b);
	}
}

static void report_round_trip_keeps_results(void **state)
{
	struct wire_result_item items[3] = {
	        {.index = 3,
	         .result = WIRE_FAILED,
	         .flags = WIRE_RACY,
	         .trouble = TROUBLE_FULL,
	         .text = BYTES("no room")},
	        {.index = UINT32_MAX,
	         .result = WIRE_CONTEXT,
	         .fp = {040755, 1, 2, 3, 4, -5, 6, 7, 8},
	         .path = BYTES("a/b")},
	        {.index = UINT32_MAX, .result = WIRE_DISPROVED, .path = BYTES("extra")},
	};
	struct wire_report m = {9, items, 3}, got;
	struct buf b;

	(void)state;
	buf_init(&b, FRAME_PAYLOAD_MAX);
	wire_put_report(&b, &m);
	assert_int_equal(wire_get_report(buf_bytes(&b), &got), 0);
	assert_int_equal(got.batch, 9);
	assert_int_equal(got.items[0].index, 3);
	assert_int_equal(got.items[0].trouble, TROUBLE_FULL);
	assert_int_equal(got.items[0].flags, WIRE_RACY);
	assert_true(bytes_equal(got.items[0].text, BYTES("no room")));
	assert_memory_equal(&got.items[1].fp, &items[1].fp, sizeof(struct fingerprint));
	assert_true(bytes_equal(got.items[1].path, BYTES("a/b")));
	assert_true(bytes_equal(got.items[2].path, BYTES("extra")));
	wire_free_report(&got);
	ASSERT_EXACT(b, wire_get_report, wire_free_report(&got));
	buf_done(&b);
}

static void report_with_impossible_values_is_refused(void **state)
{
	const struct wire_result_item bad[] = {
	        {.index = 1, .result = 0},
	        {.index = 1, .result = WIRE_RESULTS},
	        {.index = 1, .result = WIRE_ACKED, .flags = WIRE_MISTAKEN << 1},
	        {.index = 1, .result = WIRE_FAILED, .trouble = TROUBLE_KINDS},
	        {.index = 1, .result = WIRE_CONTEXT},
	        {.index = UINT32_MAX, .result = WIRE_ACKED},
	        {.index = UINT32_MAX, .result = WIRE_CONTEXT, .path = BYTES("../etc")},
	};
	struct wire_report got;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct wire_result_item item = bad[i];
		struct wire_report m = {1, &item, 1};
		struct buf b;

		buf_init(&b, FRAME_PAYLOAD_MAX);
		wire_put_report(&b, &m);
		assert_int_equal(wire_get_report(buf_bytes(&b), &got), -EPROTO);
		buf_done(&b);
	}
}

static void counts_beyond_the_payload_are_refused_before_allocation(void **state)
{
	struct wire_report report;
	struct wire_batch batch;
	struct buf b;

	(void)state;
	buf_init(&b, FRAME_PAYLOAD_MAX);
	buf_add_le64(&b, 1);
	buf_add_le32(&b, UINT32_MAX);
	assert_int_equal(wire_get_report(buf_bytes(&b), &report), -EPROTO);
	buf_clear(&b);
	buf_add_le64(&b, 1);
	buf_add_le64(&b, 1);
	buf_add_le32(&b, UINT32_MAX);
	assert_int_equal(wire_get_batch(buf_bytes(&b), &batch), -EPROTO);
	buf_done(&b);
}

static void gone_ready_done_and_id_round_trip(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, FRAME_PAYLOAD_MAX);
	{
		struct wire_gone m = {7,    TROUBLE_REFUSED, true,
		                      true, BYTES("why"),    BYTES("delete")},
		                 got;

		wire_put_gone(&b, &m);
		assert_int_equal(wire_get_gone(buf_bytes(&b), &got), 0);
		assert_int_equal(got.session, 7);
		assert_int_equal(got.trouble, TROUBLE_REFUSED);
		assert_true(got.was_ready && got.zombie_over);
		assert_true(bytes_equal(got.text, BYTES("why")));
		assert_true(bytes_equal(got.refused_option, BYTES("delete")));
		ASSERT_EXACT(b, wire_get_gone, (void)0);
	}
	buf_clear(&b);
	{
		struct wire_ready m = {8, 31, 60, SESSION_COMPRESS_ZSTD}, got;

		wire_put_ready(&b, &m);
		assert_int_equal(wire_get_ready(buf_bytes(&b), &got), 0);
		assert_int_equal(got.session, 8);
		assert_int_equal(got.protocol, 31);
		assert_int_equal(got.peer_timeout_s, 60);
		assert_int_equal(got.compress, SESSION_COMPRESS_ZSTD);
		ASSERT_EXACT(b, wire_get_ready, (void)0);
	}
	buf_clear(&b);
	{
		struct wire_done m = {1, 2, TROUBLE_FULL, true, 3, 4, BYTES("t")}, got;

		wire_put_done(&b, &m);
		assert_int_equal(wire_get_done(buf_bytes(&b), &got), 0);
		assert_int_equal(got.batch, 1);
		assert_int_equal(got.session, 2);
		assert_int_equal(got.trouble, TROUBLE_FULL);
		assert_true(got.zombie);
		assert_int_equal(got.bytes_out, 3);
		assert_int_equal(got.bytes_in, 4);
		ASSERT_EXACT(b, wire_get_done, (void)0);
	}
	buf_clear(&b);
	{
		uint64_t got;

		wire_put_id(&b, 1ull << 63);
		assert_int_equal(wire_get_id(buf_bytes(&b), &got), 0);
		assert_int_equal(got, 1ull << 63);
		ASSERT_EXACT(b, wire_get_id, (void)0);
	}
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(setup_round_trip_keeps_everything),
	        cmocka_unit_test(session_round_trip_tells_null_from_empty),
	        cmocka_unit_test(batch_round_trip_keeps_bytes_of_names),
	        cmocka_unit_test(batch_with_a_path_that_climbs_is_refused),
	        cmocka_unit_test(former_name_of_no_item_or_kind_is_refused),
	        cmocka_unit_test(basis_of_no_item_or_kind_is_refused),
	        cmocka_unit_test(report_round_trip_keeps_results),
	        cmocka_unit_test(report_with_impossible_values_is_refused),
	        cmocka_unit_test(counts_beyond_the_payload_are_refused_before_allocation),
	        cmocka_unit_test(gone_ready_done_and_id_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
