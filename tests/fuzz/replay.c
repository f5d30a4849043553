/*
 * Feeds every file of the directories given to the fuzz target, whole and cut at some places; a
 * finding ends the program through a sanitizer or check().
 */
#include <dirent.h>
#include <stdio.h>

#include "base/fd.h"
#include "base/mem.h"
#include "target.h"

enum { INPUT_BYTES_MAX = 1 << 20, CUTS = 64 };

/* A copy of exactly that size, so that AddressSanitizer sees one byte too far. */
static void feed(const char *p, size_t n)
{
	autofree uint8_t *copy = mem_alloc(n);

	if (n)
		memcpy(copy, p, n);
	(void)LLVMFuzzerTestOneInput(copy, n);
}

static int feed_file(const char *path)
{
	struct buf input;
	struct err err;

	buf_init(&input, 0);
	int r = fd_read_file(path, INPUT_BYTES_MAX, &input, &err);

	if (r < 0) {
		(void)fprintf(stderr, "%s\n", err.text);
		return r;
	}
	feed(input.p, input.n);
	for (size_t i = 0; i < CUTS; i++)
		feed(input.p, input.n * i / CUTS);
	buf_done(&input);
	return 0;
}

static int feed_directory(const char *path, size_t *files)
{
	DIR *dir = opendir(path);
	int r = 0;

	if (!dir) {
		perror(path);
		return -1;
	}
	for (const struct dirent *e; r == 0 && (e = readdir(dir));) {
		autofree char *file = mem_printf("%s/%s", path, e->d_name);

		if (e->d_name[0] == '.')
			continue;
		r = feed_file(file);
		(*files)++;
	}
	(void)closedir(dir);
	return r;
}

int main(int argc, char **argv)
{
	size_t files = 0;

	for (int i = 1; i < argc; i++) {
		if (feed_directory(argv[i], &files) < 0)
			return 1;
	}
	(void)printf("%zu inputs\n", files);
	return files ? 0 : 1;
}
