/* Addresses of targets: what they mean, and how a wrong one is explained. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "daemon/config_target.h"

struct good {
	const char *text;
	enum target_kind kind;
	const char *user, *host;
	unsigned port;
	const char *module, *path;
};

static const struct good goods[] = {
        {"/srv/copy", TARGET_LOCAL, NULL, NULL, 0, NULL, "/srv/copy"},
        {"/srv//copy/./x/", TARGET_LOCAL, NULL, NULL, 0, NULL, "/srv/copy/x"},
        {"/srv/a:b::c@d", TARGET_LOCAL, NULL, NULL, 0, NULL, "/srv/a:b::c@d"},
        {"rsync://b1/up", TARGET_RSYNCD, NULL, "b1", 873, "up", ""},
        {"rsync://b1/up/", TARGET_RSYNCD, NULL, "b1", 873, "up", ""},
        {"rsync://me@b1:8730/up/a//b/", TARGET_RSYNCD, "me", "b1", 8730, "up", "a/b"},
        {"rsync://me@dom@b1/up", TARGET_RSYNCD, "me@dom", "b1", 873, "up", ""},
        {"rsync://[2001:db8::1]:12/m/p", TARGET_RSYNCD, NULL, "2001:db8::1", 12, "m", "p"},
        {"rsync://me@[fe80::1%eth0]/m", TARGET_RSYNCD, "me", "fe80::1%eth0", 873, "m", ""},
        {"rsyncs://me@b1/up/a", TARGET_RSYNCD, "me", "b1", 874, "up", "a"},
        {"rsyncs://b1:873/up", TARGET_RSYNCD, NULL, "b1", 873, "up", ""},
        {"b1::up", TARGET_RSYNCD, NULL, "b1", 873, "up", ""},
        {"me@b1::up/a/b", TARGET_RSYNCD, "me", "b1", 873, "up", "a/b"},
        {"[::1]::up/a", TARGET_RSYNCD, NULL, "::1", 873, "up", "a"},
        {"me@[::1]:/srv/x", TARGET_SSH, "me", "::1", 0, NULL, "/srv/x"},
        {"b1:/srv/x/", TARGET_SSH, NULL, "b1", 0, NULL, "/srv/x"},
        {"me@b1:copies/x", TARGET_SSH, "me", "b1", 0, NULL, "copies/x"},
        {"b1:/srv/a@b:c", TARGET_SSH, NULL, "b1", 0, NULL, "/srv/a@b:c"},
        {"b1:./x", TARGET_SSH, NULL, "b1", 0, NULL, "x"},
        {"ssh://me@b1:2222/srv/x", TARGET_SSH, "me", "b1", 2222, NULL, "/srv/x"},
        {"ssh://[::1]/srv/x", TARGET_SSH, NULL, "::1", 0, NULL, "/srv/x"},
        {"ab::cd", TARGET_RSYNCD, NULL, "ab", 873, "cd", ""},
};

static void same(const char *what, const char *got, const char *expected, const char *text)
{
	if ((got == NULL) != (expected == NULL) || (got && strcmp(got, expected) != 0))
		fail_msg("%s of \"%s\": \"%s\", expected \"%s\"", what, text, got ? got : "(none)",
		         expected ? expected : "(none)");
}

static void parse_good_addresses_gives_their_parts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(goods); i++) {
		const struct good *g = &goods[i];
		struct target t, copy;
		struct err err = {0};

		if (target_parse(&t, g->text, &err) != 0)
			fail_msg("\"%s\": %s", g->text, err.text);
		assert_int_equal(t.kind, g->kind);
		assert_int_equal(t.port, g->port);
		same("user", t.user, g->user, g->text);
		same("host", t.host, g->host, g->text);
		same("module", t.module, g->module, g->text);
		same("path", t.path, g->path, g->text);
		assert_int_equal(t.tls, strncmp(g->text, "rsyncs:", 7) == 0);
		target_copy(&copy, &t);
		assert_true(target_equal(&copy, &t));
		target_done(&copy);
		target_done(&t);
	}
}

static const struct bad {
	const char *text, *part;
} bads[] = {
        {"", "the target is empty"},
        {"/", "\"/\" is refused"},
        {"//./", "\"/\" is refused"},
        {"backup", "\"backup\" is a relative path: write it from \"/\" on"},
        {"backup/x", "is a relative path"},
        {"\"/srv/copy\"", "write it without"},
        {"'/srv/copy'", "write it without"},
        {"./backup", "is a relative path"},
        {"../backup", "is a relative path"},
        {"dir/a:b", "is a relative path"},
        {"/srv/../etc", "\"..\" in the path"},
        {"rsync://me:secret@b1/up",
         "a password in the address is refused: write rsync://me@b1/up and put the password into a "
         "file of mode 0600, named by password_file"},
        {"rsyncs://me:secret@b1/up", "write rsyncs://me@b1/up and put the password into a file"},
        {"rsync://b1", "the module is missing"},
        {"rsync://b1/", "the module is missing"},
        {"rsync:///up", "the host is missing"},
        {"rsync://@b1/up", "the user before \"@\" is missing"},
        {"rsync://b1:0/up", "\"0\" is no port"},
        {"rsync://b1:65536/up", "\"65536\" is no port"},
        {"rsync://b1:x/up", "\"x\" is no port"},
        {"rsync://b1:/up", "is no port"},
        {"rsync://[::1/up", "the \"]\" behind the IPv6 address is missing"},
        {"rsync://[::1]x/up", "behind the host is not understood"},
        {"rsync://b1/up/../x", "\"..\" in the path"},
        {"rsync://b1/#list", "is no module name"},
        {"rsync://-oProxyCommand=x/up", "a host cannot begin with \"-\""},
        {"-oProxyCommand=x:/srv", "a host cannot begin with \"-\""},
        {"-l@b1:/srv", "is no user name"},
        {"2001:db8::1:/srv/x", "an IPv6 address needs brackets"},
        {"fe80::1::up", "an IPv6 address needs brackets"},
        {"b1:", "the path behind \"b1:\" is missing"},
        {"b1:/", "\"/\" is refused"},
        {"b1:~/x", "\"~\" is not expanded"},
        {"b1:-x", "cannot begin with \"-\""},
        {"b1:.", "the whole home directory is refused"},
        {"b1:a/../..", "\"..\" in the path"},
        {"::up", "the host is missing"},
        {"b1::", "the module is missing"},
        {"b 1::up", "\"b 1\" is no host name"},
        {"http://b1/up", "\"http://\" is not known"},
        {"b1::up\nx", "cannot hold a line end"},
};

static void parse_bad_addresses_says_why(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bads); i++) {
		struct target t = {0};
		struct err err = {0};

		if (target_parse(&t, bads[i].text, &err) == 0)
			fail_msg("\"%s\" was taken", bads[i].text);
		assert_null(t.path);
		if (!strstr(err.text, bads[i].part))
			fail_msg("\"%s\": \"%s\", expected \"%s\"", bads[i].text, err.text,
			         bads[i].part);
		assert_null(strstr(err.text, "secret"));
	}
}

static void use_tls_takes_its_port_unless_one_is_given(void **state)
{
	static const struct {
		const char *text;
		unsigned port;
		bool tls;
	} cases[] = {
	        {"b1::up", 874, true},
	        {"rsync://b1/up", 874, true},
	        {"rsync://b1:873/up", 873, true},
	        {"rsyncs://b1:8740/up", 8740, true},
	        {"b1:/srv", 0, false},
	        {"/srv", 0, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct target t, plain;
		struct err err = {0};

		assert_int_equal(target_parse(&t, cases[i].text, &err), 0);
		target_copy(&plain, &t);
		target_use_tls(&t);
		assert_int_equal(t.port, cases[i].port);
		assert_int_equal(t.tls, cases[i].tls);
		assert_int_equal(target_equal(&plain, &t), plain.tls == t.tls);
		target_done(&plain);
		target_done(&t);
	}
}

static bool overlap(const char *a, const char *b)
{
	struct target x, y;
	struct err err = {0};
	bool yes;

	if (target_parse(&x, a, &err) != 0 || target_parse(&y, b, &err) != 0)
		fail_msg("%s", err.text);
	yes = target_overlaps(&x, &y);
	assert_int_equal(yes, target_overlaps(&y, &x));
	target_done(&x);
	target_done(&y);
	return yes;
}

static void overlap_same_or_nested_place_is_found(void **state)
{
	(void)state;
	assert_true(overlap("rsync://b1/up", "b1::up"));
	assert_true(overlap("rsync://b1/up", "me@B1::up/a/b"));
	assert_true(overlap("b1::up/a", "b1::up/a/b"));
	assert_false(overlap("b1::up/a", "b1::up/ab"));
	assert_false(overlap("b1::up", "b1::down"));
	assert_false(overlap("b1::up", "b2::up"));
	assert_false(overlap("rsync://b1:8730/up", "b1::up"));
	assert_true(overlap("b1:/srv", "me@b1:/srv/x"));
	assert_false(overlap("b1:x", "me@b1:x"));
	assert_true(overlap("me@b1:x", "me@b1:x/y"));
	assert_false(overlap("b1:/srv", "b1::srv"));
	assert_true(overlap("/srv/a", "/srv/a/b"));
	assert_false(overlap("/srv/a", "/srv/ab"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(parse_good_addresses_gives_their_parts),
	        cmocka_unit_test(parse_bad_addresses_says_why),
	        cmocka_unit_test(use_tls_takes_its_port_unless_one_is_given),
	        cmocka_unit_test(overlap_same_or_nested_place_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
