/* Any bytes as a path: what is shown is printable, what is written for feeds comes back. */
#include "base/mem.h"
#include "base/path.h"
#include "target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes raw = {(const char *)data, size};
	struct buf text, back;

	for (const char *p = path_show(raw); *p; p++)
		check((unsigned char)*p >= 0x20 && *p != 0x7f);
	buf_init(&text, 3 * size + 1);
	buf_init(&back, 3 * size + 1);
	path_percent(&text, raw);
	int r = path_from_percent(&back, buf_bytes(&text));

	if (size && memchr(data, 0, size))
		check(r < 0);
	else
		check(r == 0 && bytes_equal(buf_bytes(&back), raw));
	buf_clear(&back);
	(void)path_from_percent(&back, raw);
	if (path_valid(raw)) {
		struct bytes rest = raw;

		path_join(&back, path_parent(raw), path_name(raw));
		check(bytes_equal(buf_bytes(&back), raw));
		while (rest.n)
			check(name_valid(path_next(&rest)));
	}
	buf_done(&text);
	buf_done(&back);
	return 0;
}
