/* Values of the configuration: units, words, owners, modes; and the table they come from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "daemon/config_value.h"

#define MS INT64_C(1000000)
#define S  (1000 * MS)

static void duration_with_units_is_nanoseconds(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {
	        {"0", 0},           {"500ms", 500 * MS}, {"30s", 30 * S},
	        {"5m", 300 * S},    {"2h", 7200 * S},    {"1d", 86400 * S},
	        {"1w", 604800 * S}, {"1h30m", 5400 * S}, {"1s500ms", 1500 * MS},
	        {"30S", 30 * S},
	};
	static const char *const bad[] = {"",
	                                  "30",
	                                  "s",
	                                  "-1s",
	                                  "1.5s",
	                                  "1x",
	                                  "1s ",
	                                  "1 s",
	                                  "5mins",
	                                  "1s2",
	                                  "99999999999999999999s",
	                                  "999999999w"};
	int64_t ns;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct buf shown;
		int64_t again = -1;

		assert_int_equal(config_parse_duration(good[i].text, &ns, &err), 0);
		assert_int_equal(ns, good[i].ns);
		buf_init(&shown, 64);
		config_show_duration(&shown, ns);
		buf_add(&shown, "", 1);
		assert_int_equal(config_parse_duration(shown.p, &again, &err), 0);
		assert_int_equal(again, ns);
		buf_done(&shown);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(config_parse_duration(bad[i], &ns, &err), -22);
	(void)config_parse_duration("30", &ns, &err);
	assert_string_equal(err.text, "the unit is missing: write 30s, or ms, m, h, d");
	(void)config_parse_duration("0.1s", &ns, &err);
	assert_string_equal(err.text, "\"0.1s\" is no duration (500ms, 30s, 5m, 1h30m, 1d)");
	(void)config_parse_duration("", &ns, &err);
	assert_string_equal(err.text, "\"\" is no duration (500ms, 30s, 5m, 1h30m, 1d)");
}

static void size_with_units_is_bytes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {{"0", 0},
	            {"4096", 4096},
	            {"1K", 1024},
	            {"64M", 64u << 20},
	            {"64mb", 64u << 20},
	            {"1GiB", 1u << 30},
	            {"2T", UINT64_C(2) << 40}};
	static const char *const bad[] = {"",
	                                  "M",
	                                  "-1",
	                                  "1.5M",
	                                  "1X",
	                                  "1 M",
	                                  "1MBit",
	                                  "99999999999999999999",
	                                  "99999999999T"};
	uint64_t bytes;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(config_parse_size(good[i].text, &bytes, &err), 0);
		assert_int_equal(bytes, good[i].bytes);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(config_parse_size(bad[i], &bytes, &err), -22);
}

static void table_presets_and_examples_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];
		struct err err = {0};

		assert_non_null(key->help);
		assert_non_null(key->example);
		assert_ptr_equal(config_key_find(key->name), key);
		if (key->of == CONFIG_OF_NOTHING)
			continue;
		for (int example = 0; example < 2; example++) {
			const char *text = example ? key->example : key->preset;
			union {
				struct config config;
				struct config_tree tree;
				struct config_options options;
			} of = {0}, again = {0};
			char *slot = (char *)&of + key->offset,
			     *copy = (char *)&again + key->offset;
			struct buf shown;

			if (!text)
				continue;
			if (config_value_parse(key, text, slot, &err) != 0)
				fail_msg("%s = %s: %s", key->name, text, err.text);
			buf_init(&shown, 4096);
			config_value_show(key, slot, &shown);
			assert_true(shown.n > 0);
			assert_int_equal(config_value_parse(key, text, copy, &err), 0);
			assert_true(config_value_equal(key, slot, copy));
			buf_done(&shown);
			config_value_free(key, slot);
			config_value_free(key, copy);
		}
	}
}

/* What config_value_parse() says about a key's text. */
static const char *complaint(const char *name, const char *text)
{
	static struct err err;
	struct config_options options = {0};
	struct config config = {0};
	const struct config_key *key = config_key_find(name);
	char *base = key->of == CONFIG_OF_JOB ? (char *)&options : (char *)&config;

	err = (struct err){0};
	if (config_value_parse(key, text, base + key->offset, &err) == 0)
		config_value_free(key, base + key->offset);
	return err.text;
}

static void value_wrong_text_says_what_is_right(void **state)
{
	(void)state;
	assert_string_equal(complaint("lanes", "0"), "too small: 1 to 32");
	assert_string_equal(complaint("lanes", "33"), "too large: 1 to 32");
	assert_string_equal(complaint("lanes", "four"), "\"four\" is no whole number");
	assert_string_equal(complaint("lanes", ""), "the value is missing");
	assert_string_equal(complaint("timeout", "1s"), "too small: 5s to 1h");
	assert_string_equal(complaint("bwlimit", "1K"), "too small: 8K to 1T, or 0");
	assert_string_equal(complaint("bwlimit", "0"), "");
	assert_string_equal(complaint("brake_percent", "101%"), "too large: 0 to 100");
	assert_string_equal(complaint("sparse", "maybe"), "\"maybe\": write yes or no");
	assert_string_equal(complaint("compress", "maybe"),
	                    "\"maybe\" is none of no, yes, zstd, lz4, zlibx");
	assert_string_equal(complaint("compress_level", "20"), "too large: 1 to 19, or 0");
	assert_string_equal(complaint("keep", "mode,owners"),
	                    "\"owners\" is none of mode, owner, group, times, links, devices");
	assert_string_equal(complaint("log_level", "loud"),
	                    "\"loud\" is none of error, warn, info, debug");
	assert_string_equal(complaint("ssh_key", "id_rsa"),
	                    "\"id_rsa\" is a relative path: write it from \"/\" on");
	assert_string_equal(complaint("chmod", "rw"),
	                    "\"rw\" is not understood; write D755, F644, u+rw, go-w, ...");
	assert_string_equal(complaint("chown", ":"), "write USER, USER:GROUP or :GROUP");
}

static void compression_takes_words_for_yes_and_no_and_methods(void **state)
{
	static const struct {
		const char *text, *shown;
	} good[] = {{"no", "no"},     {"off", "no"},   {"0", "no"},
	            {"yes", "yes"},   {"True", "yes"}, {"1", "yes"},
	            {"zstd", "zstd"}, {"LZ4", "lz4"},  {"zlibx", "zlibx"}};
	const struct config_key *key = config_key_find("compress");
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct buf shown;
		int slot = -1;

		assert_int_equal(config_value_parse(key, good[i].text, &slot, &err), 0);
		buf_init(&shown, 64);
		config_value_show(key, &slot, &shown);
		assert_true(bytes_equal(buf_bytes(&shown), bytes_of(good[i].shown)));
		buf_done(&shown);
	}
	assert_int_not_equal(complaint("log_level", "yes")[0], 0);
}

static void owner_names_and_numbers_are_told_apart(void **state)
{
	struct config_chown c = {0};
	struct err err;

	(void)state;
	assert_int_equal(config_parse_owner("www-data:33", &c, &err), 0);
	assert_string_equal(c.user, "www-data");
	assert_false(c.user_is_id);
	assert_true(c.group_is_id);
	assert_int_equal(c.gid, 33);
	free(c.user);
	free(c.group);
	assert_int_equal(config_parse_owner(":staff", &c, &err), 0);
	assert_null(c.user);
	assert_string_equal(c.group, "staff");
	free(c.group);
	assert_int_equal(config_parse_owner("0", &c, &err), 0);
	assert_true(c.user_is_id);
	assert_int_equal(c.uid, 0);
	assert_null(c.group);
	free(c.user);
	assert_int_equal(config_parse_owner("a:b:c", &c, &err), -22);
	assert_int_equal(config_parse_owner("a,b", &c, &err), -22);
	assert_int_equal(config_parse_owner("*", &c, &err), -22);
	assert_int_equal(config_parse_owner("4294967295", &c, &err), -22);
}

static uint32_t file_mode(const char *text, uint32_t mode)
{
	struct config_chmod m;
	struct err err = {0};

	if (config_parse_mode(text, &m, &err) != 0)
		fail_msg("%s: %s", text, err.text);
	return (mode & m.file_and) | m.file_or;
}

static uint32_t dir_mode(const char *text, uint32_t mode)
{
	struct config_chmod m;
	struct err err = {0};

	if (config_parse_mode(text, &m, &err) != 0)
		fail_msg("%s: %s", text, err.text);
	return (mode & m.dir_and) | m.dir_or;
}

static void mode_texts_change_permissions_as_chmod_does(void **state)
{
	static const char *const bad[] = {"",  ",",  "F",  "rw", "u+q",    "888",  "F644,",
	                                  "u", "+X", "uX", "D8", "07777x", "77777"};
	struct config_chmod m;
	struct err err;

	(void)state;
	assert_int_equal(file_mode("F644,D755", 0600), 0644);
	assert_int_equal(dir_mode("F644,D755", 0700), 0755);
	assert_int_equal(dir_mode("F644", 0700), 0700);
	assert_int_equal(file_mode("u+rw,go-w", 0466), 0644);
	assert_int_equal(file_mode("go=", 0777), 0700);
	assert_int_equal(file_mode("a=r", 06777), 0444);
	assert_int_equal(dir_mode("Dg+s", 0755), 02755);
	assert_int_equal(file_mode("Dg+s", 0755), 0755);
	assert_int_equal(dir_mode("o+t", 0755), 01755);
	assert_int_equal(file_mode("ug-s", 06755), 0755);
	assert_int_equal(file_mode("600,g+r", 0777), 0640);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (config_parse_mode(bad[i], &m, &err) == 0)
			fail_msg("\"%s\" was taken", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(duration_with_units_is_nanoseconds),
	        cmocka_unit_test(size_with_units_is_bytes),
	        cmocka_unit_test(table_presets_and_examples_parse),
	        cmocka_unit_test(value_wrong_text_says_what_is_right),
	        cmocka_unit_test(compression_takes_words_for_yes_and_no_and_methods),
	        cmocka_unit_test(owner_names_and_numbers_are_told_apart),
	        cmocka_unit_test(mode_texts_change_permissions_as_chmod_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
