#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/mem.h"

struct place {
	char dir[64];
	int fd;
};

static void write_file(int dirfd, const char *name, const char *text, mode_t mode)
{
	autoclose int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
}

static int make_place(void **state)
{
	struct place *p = mem_alloc(sizeof(*p));

	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/test_fd.XXXXXX");
	if (!mkdtemp(p->dir))
		return -1;
	p->fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = p;
	return p->fd < 0;
}

static int drop_place(void **state)
{
	static const char *const files[] = {"a/b/file", "a/link", "link", "file", "fifo"};
	static const char *const dirs[] = {"a/b", "a", "x/y/z", "x/y", "x"};
	struct place *p = *state;

	fd_force_walk(false);
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		(void)unlinkat(p->fd, files[i], 0);
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		(void)unlinkat(p->fd, dirs[i], AT_REMOVEDIR);
	(void)close(p->fd);
	int r = rmdir(p->dir);

	free(p);
	return r;
}

static void make_tree(const struct place *p)
{
	assert_int_equal(mkdirat(p->fd, "a", 0700), 0);
	assert_int_equal(mkdirat(p->fd, "a/b", 0700), 0);
	write_file(p->fd, "a/b/file", "text", 0600);
	assert_int_equal(symlinkat("b", p->fd, "a/link"), 0);
	assert_int_equal(symlinkat("/etc/passwd", p->fd, "link"), 0);
}

static int open_code(const struct place *p, struct bytes path, int flags)
{
	autoclose int fd = fd_open_beneath(p->fd, path, flags, false);

	if (fd < 0)
		return fd;
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	return 0;
}

/* Every case by openat2 and by the walk: both must say the same. */
static void open_beneath_results_same_in_both_ways(void **state)
{
	static const struct {
		struct bytes path;
		int flags, result;
	} cases[] = {
	        {BYTES("a/b/file"), O_RDONLY, 0},
	        {BYTES(""), O_RDONLY | O_DIRECTORY, 0},
	        {BYTES("a"), O_PATH, 0},
	        {BYTES("a/b/none"), O_RDONLY, -ENOENT},
	        {BYTES("none/file"), O_RDONLY, -ENOENT},
	        {BYTES("a/b/file/x"), O_RDONLY, -ENOTDIR},
	        {BYTES("a/b/file"), O_RDONLY | O_DIRECTORY, -ENOTDIR},
	        {BYTES("link"), O_RDONLY, -ELOOP},
	        {BYTES("link"), O_PATH, -ELOOP},
	        {BYTES("link"), O_PATH | O_NOFOLLOW, 0},
	        {BYTES("a/link/file"), O_RDONLY, -ELOOP},
	        {BYTES("a/link/file"), O_PATH | O_NOFOLLOW, -ELOOP},
	        {BYTES(".."), O_RDONLY, -EINVAL},
	        {BYTES("a/../a"), O_RDONLY, -EINVAL},
	        {BYTES("."), O_RDONLY, -EINVAL},
	        {BYTES("/etc/passwd"), O_RDONLY, -EINVAL},
	        {BYTES("a/"), O_RDONLY, -EINVAL},
	        {BYTES("a//b"), O_RDONLY, -EINVAL},
	        {BYTES("a\0b"), O_RDONLY, -EINVAL},
	        {BYTES("new"), O_WRONLY | O_CREAT, -EINVAL},
	};
	struct place *p = *state;

	make_tree(p);
	for (int walk = 0; walk < 2; walk++) {
		fd_force_walk(walk);
		for (size_t i = 0; i < ARRAY_LEN(cases); i++)
			assert_int_equal(open_code(p, cases[i].path, cases[i].flags),
			                 cases[i].result);
	}
}

static void open_beneath_last_directory_symlink_loop(void **state)
{
	struct place *p = *state;

	make_tree(p);
	for (int walk = 0; walk < 2; walk++) {
		fd_force_walk(walk);
		assert_int_equal(open_code(p, BYTES("a/link"), O_RDONLY | O_DIRECTORY), -ELOOP);
	}
}

static void open_beneath_longer_than_path_max_walked(void **state)
{
	enum { DEPTH = 20 };
	struct place *p = *state;
	char name[NAME_MAX + 1];
	struct buf path;
	int fds[DEPTH + 1] = {dup(p->fd)};

	memset(name, 'd', NAME_MAX);
	name[NAME_MAX] = '\0';
	buf_init(&path, 1 << 20);
	for (int i = 0; i < DEPTH; i++) {
		assert_int_equal(mkdirat(fds[i], name, 0700), 0);
		fds[i + 1] = openat(fds[i], name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(fds[i + 1] >= 0);
		buf_printf(&path, "%s/", name);
	}
	write_file(fds[DEPTH], "file", "deep", 0600);
	buf_printf(&path, "file");
	assert_true(path.n > PATH_MAX);
	autoclose int fd = fd_open_beneath(p->fd, buf_bytes(&path), O_RDONLY, false);
	char text[5] = "";
	ssize_t n = fd < 0 ? fd : fd_read_full(fd, text, 4);

	assert_int_equal(unlinkat(fds[DEPTH], "file", 0), 0);
	for (int i = DEPTH; i > 0; i--) {
		(void)close(fds[i]);
		assert_int_equal(unlinkat(fds[i - 1], name, AT_REMOVEDIR), 0);
	}
	(void)close(fds[0]);
	buf_done(&path);
	assert_int_equal(n, 4);
	assert_string_equal(text, "deep");
}

/* In a child with its own mount table: nothing outside sees the mount. 77: not permitted here. */
static int mounted_codes(const struct place *p, bool walk, bool bind)
{
	autofree char *at = mem_printf("%s/a/b", p->dir);
	autofree char *from = mem_printf("%s/a", p->dir);

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 77;
	if (mount(bind ? from : "none", at, "tmpfs", bind ? MS_BIND : 0, NULL) < 0)
		return 77;
	autoclose int root = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd_force_walk(walk);
	autoclose int within = fd_open_beneath(root, BYTES("a/b"), O_RDONLY, false);
	autoclose int across = fd_open_beneath(root, BYTES("a/b"), O_RDONLY, true);
	return within == -EXDEV && across >= 0 ? 0 : 1;
}

static void open_beneath_mount_point_exdev(void **state)
{
	struct place *p = *state;

	make_tree(p);
	for (int round = 0; round < 4; round++) {
		int status;
		pid_t child = fork();

		assert_true(child >= 0);
		if (child == 0)
			_exit(mounted_codes(p, round & 1, round & 2));
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) == 77)
			skip();
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

static void read_file_limit_is_exact(void **state)
{
	struct place *p = *state;
	autofree char *file = mem_printf("%s/file", p->dir);
	struct buf out;
	struct err err;

	buf_init(&out, 0);
	write_file(p->fd, "file", "12345", 0600);
	assert_int_equal(fd_read_file(file, 5, &out, &err), 0);
	assert_true(bytes_equal(buf_bytes(&out), BYTES("12345")));
	assert_int_equal(fd_read_file(file, 4, &out, &err), -EFBIG);
	write_file(p->fd, "file", "", 0600);
	assert_int_equal(fd_read_file(file, 5, &out, &err), 0);
	assert_int_equal(out.n, 0);
	buf_done(&out);
}

static void read_file_missing_or_link_says_so(void **state)
{
	struct place *p = *state;
	autofree char *file = mem_printf("%s/file", p->dir), *link = mem_printf("%s/link", p->dir);
	autofree char *none = mem_printf("%s: No such file or directory", file);
	autofree char *is_link = mem_printf("%s: is a symbolic link; name the file itself", link);
	struct buf out;
	struct err err;

	buf_init(&out, 0);
	assert_int_equal(fd_read_file(file, 5, &out, &err), -ENOENT);
	assert_string_equal(err.text, none);
	assert_int_equal(symlinkat("file", p->fd, "link"), 0);
	assert_int_equal(fd_read_file(link, 5, &out, &err), -ELOOP);
	assert_string_equal(err.text, is_link);
	assert_int_equal(fd_read_file(p->dir, 5, &out, &err), -EISDIR);
	buf_done(&out);
}

static void read_secret_line_end_cut(void **state)
{
	static const char *const texts[] = {"s3 cret", "s3 cret\n", "s3 cret\r\n"};
	struct place *p = *state;
	autofree char *file = mem_printf("%s/file", p->dir);
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		char *secret = NULL;

		write_file(p->fd, "file", texts[i], 0600);
		assert_int_equal(fd_read_secret(file, &secret, &err), 0);
		assert_string_equal(secret, "s3 cret");
		mem_free_secret(secret);
	}
}

static void assert_secret_refused(const char *file, int code, const char *what)
{
	autofree char *message = mem_printf("%s: %s", file, what);
	char *secret = NULL;
	struct err err = {0};

	assert_int_equal(fd_read_secret(file, &secret, &err), -code);
	assert_string_equal(err.text, message);
	assert_null(secret);
}

static void read_secret_open_to_others_says_what_to_run(void **state)
{
	struct place *p = *state;
	autofree char *file = mem_printf("%s/file", p->dir);
	autofree char *world =
	        mem_printf("readable by others (mode 0644); run: chmod 600 %s", file);
	autofree char *group =
	        mem_printf("readable by others (mode 0640); run: chmod 600 %s", file);

	write_file(p->fd, "file", "secret\n", 0644);
	assert_secret_refused(file, EPERM, world);
	write_file(p->fd, "file", "secret\n", 0640);
	assert_secret_refused(file, EPERM, group);
}

static void read_secret_not_a_password_file_refused(void **state)
{
	struct place *p = *state;
	autofree char *file = mem_printf("%s/file", p->dir), *link = mem_printf("%s/link", p->dir);
	autofree char *fifo = mem_printf("%s/fifo", p->dir);
	autofree char *large = mem_alloc(5000);

	write_file(p->fd, "file", "", 0600);
	assert_secret_refused(file, EINVAL, "holds no password");
	write_file(p->fd, "file", "\n", 0600);
	assert_secret_refused(file, EINVAL, "holds no password");
	write_file(p->fd, "file", "a\nb\n", 0600);
	assert_secret_refused(file, EINVAL, "must hold one line, the password");
	memset(large, 'x', 4999);
	write_file(p->fd, "file", large, 0600);
	assert_secret_refused(file, EFBIG, "too long for a password file");
	assert_int_equal(symlinkat("file", p->fd, "link"), 0);
	assert_secret_refused(link, ELOOP, "is a symbolic link; name the file itself");
	assert_int_equal(mkfifoat(p->fd, "fifo", 0600), 0);
	assert_secret_refused(fifo, EINVAL, "not a regular file");
	assert_secret_refused(p->dir, EINVAL, "not a regular file");
}

static void read_secret_of_another_user_refused(void **state)
{
	struct place *p = *state;
	autofree char *file = mem_printf("%s/file", p->dir);

	if (geteuid() != 0)
		skip();
	write_file(p->fd, "file", "secret\n", 0600);
	assert_int_equal(fchownat(p->fd, "file", 12345, -1, 0), 0);
	autofree char *message = mem_printf("belongs to user 12345; run: chown 0 %s", file);

	assert_secret_refused(file, EPERM, message);
}

static void fault_of_a_file_is_no_shortage(void **state)
{
	static const int wrong[] = {ENOENT, EACCES, EPERM, EINVAL, EFBIG, ELOOP, ENOTDIR};
	static const int passing[] = {0, EMFILE, ENFILE, ENOMEM, EIO, ENOTCONN, EAGAIN, ENOBUFS};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_true(fd_is_fault_of_file(-wrong[i]));
	for (size_t i = 0; i < ARRAY_LEN(passing); i++)
		assert_false(fd_is_fault_of_file(-passing[i]));
}

static void make_dirs_keeps_existing_modes(void **state)
{
	struct place *p = *state;
	autofree char *path = mem_printf("%s/x/y//z", p->dir);
	autofree char *file = mem_printf("%s/file/x", p->dir);
	struct stat st;
	struct err err;

	assert_int_equal(mkdirat(p->fd, "x", 0), 0);
	assert_int_equal(fchmodat(p->fd, "x", 0711, 0), 0);
	assert_int_equal(fd_make_dirs(path, 0750, &err), 0);
	assert_int_equal(fd_make_dirs(path, 0700, &err), 0);
	assert_int_equal(fstatat(p->fd, "x", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
	assert_int_equal(fstatat(p->fd, "x/y/z", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777 & ~0750, 0);
	assert_int_equal(st.st_mode & 0700, 0700);
	write_file(p->fd, "file", "", 0600);
	assert_int_equal(fd_make_dirs(file, 0700, &err), -ENOTDIR);
	file[strlen(file) - 2] = '\0';
	assert_int_equal(fd_make_dirs(file, 0700, &err), -ENOTDIR);
	assert_int_equal(fd_make_dirs("relative", 0700, &err), -EINVAL);
	assert_int_equal(fd_make_dirs("/", 0700, &err), 0);
}

static void pread_full_stops_at_end_of_file(void **state)
{
	struct place *p = *state;
	char text[16];

	write_file(p->fd, "file", "0123456789", 0600);
	autoclose int fd = fd_open_beneath(p->fd, BYTES("file"), O_RDONLY, false);
	assert_int_equal(fd_pread_full(fd, text, 4, 3), 4);
	assert_memory_equal(text, "3456", 4);
	assert_int_equal(fd_pread_full(fd, text, 16, 8), 2);
	assert_int_equal(fd_pread_full(fd, text, 16, 100), 0);
	assert_int_equal(fd_read_full(fd, text, 16), 10);
	assert_int_equal(fd_read_full(-1, text, 16), -EBADF);
}

static void clocks_go_forward(void **state)
{
	int64_t first = clock_boot_ns();

	(void)state;
	assert_true(first > 0);
	assert_true(clock_boot_ns() >= first);
	assert_true(clock_wall_ns() > INT64_C(1600000000000000000));
}

#define WITH_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, drop_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        WITH_PLACE(open_beneath_results_same_in_both_ways),
	        WITH_PLACE(open_beneath_last_directory_symlink_loop),
	        WITH_PLACE(open_beneath_longer_than_path_max_walked),
	        WITH_PLACE(open_beneath_mount_point_exdev),
	        WITH_PLACE(read_file_limit_is_exact),
	        WITH_PLACE(read_file_missing_or_link_says_so),
	        WITH_PLACE(read_secret_line_end_cut),
	        WITH_PLACE(read_secret_open_to_others_says_what_to_run),
	        WITH_PLACE(read_secret_not_a_password_file_refused),
	        WITH_PLACE(read_secret_of_another_user_refused),
	        WITH_PLACE(make_dirs_keeps_existing_modes),
	        WITH_PLACE(pread_full_stops_at_end_of_file),
	        cmocka_unit_test(fault_of_a_file_is_no_shortage),
	        cmocka_unit_test(clocks_go_forward),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
