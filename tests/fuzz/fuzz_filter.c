/*
 * Rules and a path from the input: lines, of which the last is the path. Turning every include into
 * an exclude must turn the answer and leave the deciding rule, and each rule must answer alone as
 * it does among others.
 */
#include "target.h"

#include "base/mem.h"
#include "base/path.h"
#include "core/filter.h"

#define LINES_MAX 8
#define BYTES_MAX 512

static void check_alone(const struct filter_rule *rule, struct bytes path, bool dir, bool matched)
{
	struct filter *alone = NULL;

	check(filter_new(&alone, rule, 1, NULL) == 0);
	check((filter_rule(alone, path, dir) == 0) == matched);
	filter_free(alone);
}

static void check_path(const struct filter_rule *rules, size_t n, struct bytes path)
{
	struct filter_rule turned[LINES_MAX];
	struct filter *a = NULL, *b = NULL;
	struct err err;

	for (size_t i = 0; i < n; i++) {
		turned[i] = rules[i];
		turned[i].include = !rules[i].include;
	}
	if (filter_new(&a, rules, n, &err) < 0)
		return;
	check(filter_new(&b, turned, n, &err) == 0);
	for (int dir = 0; dir < 2 && path_valid(path) && !path_below(path, BYTES(".lockstep")) &&
	                  !bytes_equal(path, BYTES(".lockstep"));
	     dir++) {
		int rule = filter_rule(a, path, dir);

		check(filter_rule(b, path, dir) == rule);
		check(filter_excludes(a, path, dir) == (rule >= 0 && !rules[rule].include));
		check(filter_excludes(b, path, dir) == (rule >= 0 && rules[rule].include));
		(void)filter_excludes_any(a, path, dir);
		for (int i = 0; i <= rule; i++)
			check_alone(&rules[i], path, dir, i == rule);
	}
	filter_free(a);
	filter_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct filter_rule rules[LINES_MAX] = {{0}};
	char text[BYTES_MAX + 1], *at = text, *end;
	size_t n = 0;

	if (size > BYTES_MAX || (size && memchr(data, 0, size)))
		return 0;
	if (size)
		memcpy(text, data, size);
	text[size] = 0;
	while (n < LINES_MAX && (end = strchr(at, '\n'))) {
		*end = 0;
		rules[n].include = *at == '+';
		rules[n].pattern = at + (*at == '+');
		n++;
		at = end + 1;
	}
	check_path(rules, n, bytes_of(at));
	return 0;
}
