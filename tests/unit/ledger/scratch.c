#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/fd.h"
#include "base/mem.h"
#include "scratch.h"

char *scratch_make(void)
{
	const char *tmp = getenv("TMPDIR");
	char *dir = mem_printf("%s/lockstep-ledger-XXXXXX", tmp && *tmp ? tmp : "/tmp");

	assert_non_null(mkdtemp(dir));
	return dir;
}

static void each_file(const char *dir, void (*fn)(const char *dir, const char *name, void *arg),
                      void *arg)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d))) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			fn(dir, e->d_name, arg);
	}
	(void)closedir(d);
}

static void remove_file(const char *dir, const char *name, void *arg)
{
	autofree char *path = mem_printf("%s/%s", dir, name);

	(void)arg;
	assert_int_equal(unlink(path), 0);
}

void scratch_empty(const char *dir)
{
	each_file(dir, remove_file, NULL);
}

void scratch_remove(char *dir)
{
	scratch_empty(dir);
	assert_int_equal(rmdir(dir), 0);
	free(dir);
}

void scratch_read(const char *dir, const char *name, struct buf *ret)
{
	autofree char *path = mem_printf("%s/%s", dir, name);
	struct err err = {0};

	assert_int_equal(fd_read_file(path, 64u << 20, ret, &err), 0);
}

void scratch_write(const char *dir, const char *name, struct bytes text)
{
	autofree char *path = mem_printf("%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, text.p, text.n), 0);
	assert_int_equal(close(fd), 0);
}

static void copy_file(const char *dir, const char *name, void *arg)
{
	struct buf text;

	buf_init(&text, 64u << 20);
	scratch_read(dir, name, &text);
	scratch_write(arg, name, buf_bytes(&text));
	buf_done(&text);
}

void scratch_copy(const char *from, const char *to)
{
	scratch_empty(to);
	each_file(from, copy_file, (char *)to);
}
