/* Any text as a configuration file: every line is reported with words that are well-formed. */
#include "base/ini.h"
#include "base/mem.h"
#include "target.h"

static int see(const struct ini_line *line, void *arg, struct err *err)
{
	int *last = arg;

	(void)err;
	check(line->line > *last);
	*last = line->line;
	check(!line->key == !line->value);
	if (line->key)
		check(line->key[0] && !strpbrk(line->key, "=\n \t"));
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = {0};
	int last = 0;
	int r = ini_parse("input", (struct bytes){(const char *)data, size}, see, &last, &err);

	check((r < 0) == (err.code != 0));
	return 0;
}
