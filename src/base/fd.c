#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#include "base/mem.h"
#include "base/path.h"

enum { SECRET_BYTES_MAX = 4096, READ_STEP_BYTES = 64 * 1024 };

ssize_t fd_read_full(int fd, void *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = read(fd, (char *)p + done, n - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

ssize_t fd_pread_full(int fd, void *p, size_t n, off_t at)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = pread(fd, (char *)p + done, n - done, at + (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

int fd_write_full(int fd, const void *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t put = write(fd, (const char *)p + done, n - done);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		done += (size_t)put;
	}
	return 0;
}

int fd_set_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

static int read_to_end(int fd, const char *path, size_t max, struct buf *out, struct err *err)
{
	buf_done(out);
	buf_init(out, max);
	for (;;) {
		/* One byte more than may be there tells a full file from one that is too long. */
		size_t room = max - out->n < READ_STEP_BYTES ? max - out->n : READ_STEP_BYTES;
		char extra;
		char *to = room ? buf_reserve(out, room) : &extra;
		ssize_t got = fd_read_full(fd, to, room ? room : 1);

		if (got < 0)
			return err_errno(err, (int)-got, "%s", path_show(bytes_of(path)));
		if (got == 0)
			return 0;
		if (!room)
			return err_set(err, EFBIG, "%s: longer than %zu bytes",
			               path_show(bytes_of(path)), max);
		out->n += (size_t)got;
	}
}

/* O_NONBLOCK: a FIFO of that name must not hold us. */
static int open_for_reading(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd >= 0)
		return fd;
	if (errno == ELOOP)
		return err_set(err, ELOOP, "%s: is a symbolic link; name the file itself",
		               path_show(bytes_of(path)));
	return err_errno(err, errno, "%s", path_show(bytes_of(path)));
}

int fd_read_file(const char *path, size_t max, struct buf *out, struct err *err)
{
	autoclose int fd = open_for_reading(path, err);

	buf_clear(out);
	if (fd < 0)
		return fd;
	return read_to_end(fd, path, max, out, err);
}

static int check_secret(const char *path, const struct stat *st, struct err *err)
{
	const char *shown = path_show(bytes_of(path));

	if (!S_ISREG(st->st_mode))
		return err_set(err, EINVAL, "%s: not a regular file", shown);
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return err_set(err, EPERM, "%s: belongs to user %u; run: chown %u %s", shown,
		               (unsigned)st->st_uid, (unsigned)geteuid(), shown);
	if (st->st_mode & 077)
		return err_set(err, EPERM, "%s: readable by others (mode %04o); run: chmod 600 %s",
		               shown, (unsigned)(st->st_mode & 07777), shown);
	return 0;
}

static void wipe(struct buf *secret)
{
	if (secret->p)
		explicit_bzero(secret->p, secret->cap);
	buf_done(secret);
}

int fd_read_secret(const char *path, char **ret, struct err *err)
{
	autoclose int fd = open_for_reading(path, err);
	struct stat st;
	__attribute__((cleanup(wipe))) struct buf text = {.max = SECRET_BYTES_MAX};

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "%s", path_show(bytes_of(path)));
	int r = check_secret(path, &st, err);
	if (r < 0)
		return r;
	/* All room at once: growing would leave copies of the secret behind. */
	(void)buf_reserve(&text, SECRET_BYTES_MAX);
	ssize_t got = fd_read_full(fd, text.p, SECRET_BYTES_MAX);
	if (got < 0)
		return err_errno(err, (int)-got, "%s", path_show(bytes_of(path)));
	if (got == SECRET_BYTES_MAX)
		return err_set(err, EFBIG, "%s: too long for a password file",
		               path_show(bytes_of(path)));
	text.n = (size_t)got;
	if (text.n && text.p[text.n - 1] == '\n')
		text.n--;
	if (text.n && text.p[text.n - 1] == '\r')
		text.n--;
	if (text.n == 0)
		return err_set(err, EINVAL, "%s: holds no password", path_show(bytes_of(path)));
	if (memchr(text.p, '\n', text.n) || memchr(text.p, '\0', text.n))
		return err_set(err, EINVAL, "%s: must hold one line, the password",
		               path_show(bytes_of(path)));
	*ret = mem_dup(text.p, text.n);
	return 0;
}

bool fd_is_fault_of_file(int r)
{
	switch (-r) {
	case ENOENT:
	case ENOTDIR:
	case EISDIR:
	case ELOOP:
	case ENAMETOOLONG:
	case ENXIO: /* a socket */
	case EACCES:
	case EPERM:
	case EINVAL:
	case EFBIG:
		return true;
	default:
		return false;
	}
}

int fd_make_dirs(const char *path, mode_t mode, struct err *err)
{
	struct stat st;

	if (path[0] != '/')
		return err_set(err, EINVAL, "%s: not an absolute path", path_show(bytes_of(path)));
	autofree char *part = mem_strdup(path);

	for (char *p = part + 1;; p++) {
		if (*p != '/' && *p != '\0')
			continue;
		char behind = *p;

		*p = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST && stat(part, &st) < 0)
			return err_errno(err, errno, "cannot make directory %s",
			                 path_show(bytes_of(part)));
		if (!behind)
			break;
		*p = behind;
	}
	if (stat(path, &st) < 0)
		return err_errno(err, errno, "cannot make directory %s", path_show(bytes_of(path)));
	if (!S_ISDIR(st.st_mode))
		return err_errno(err, ENOTDIR, "cannot make directory %s",
		                 path_show(bytes_of(path)));
	return 0;
}
