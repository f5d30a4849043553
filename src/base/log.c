#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"

enum {
	/* A pipe takes PIPE_BUF bytes as a whole or, when poll() says so, without waiting. */
	LINE_BYTES_MAX = 4096,
	QUOTE_BUFFERS = 8,
	QUOTE_BYTES_MAX = 1024
};

static struct {
	_Atomic int fd;
	_Atomic int level;
	_Atomic bool journal;
	_Atomic uint64_t dropped;
	char *file; /* NULL: standard error; changes only in log_open() */
} state = {.fd = STDERR_FILENO, .level = LOG_INFO};

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const int level_priorities[] = {3, 4, 6, 7}; /* syslog(3) numbers */

/* systemd.exec(5): JOURNAL_STREAM is "device:inode" of the stream; a redirected standard error
 * keeps the variable but not the numbers. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	struct stat st;
	char want[64];

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	(void)snprintf(want, sizeof(want), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, want) == 0;
}

static int open_file(const char *file, struct err *err)
{
	autoclose int fd =
	        open(file,
	             O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
	             0640);
	struct stat st;

	if (fd < 0)
		return err_errno(err, errno, "cannot open log file %s", path_show(bytes_of(file)));
	if (fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISCHR(st.st_mode)))
		return err_set(err, EINVAL, "log file %s is not a regular file",
		               path_show(bytes_of(file)));
	return TAKE_FD(fd);
}

int log_open(const char *file, enum log_level level, struct err *err)
{
	int fd = STDERR_FILENO;

	if (file) {
		fd = open_file(file, err);
		if (fd < 0)
			return fd;
	}
	int old = atomic_exchange(&state.fd, fd);
	if (old != STDERR_FILENO)
		(void)close(old);
	free(state.file);
	state.file = mem_strdup(file);
	atomic_store(&state.journal, !file && stderr_is_journal());
	log_set_level(level);
	return 0;
}

int log_reopen(struct err *err)
{
	if (!state.file)
		return 0;
	autoclose int fd = open_file(state.file, err);

	if (fd < 0)
		return fd;
	/* The number stays, so that a thread in the middle of a line writes to the old or to the
	 * new file, and never to a closed one. */
	if (dup3(fd, atomic_load(&state.fd), O_CLOEXEC) < 0)
		return err_errno(err, errno, "cannot reopen log file %s",
		                 path_show(bytes_of(state.file)));
	return 0;
}

void log_set_level(enum log_level level)
{
	atomic_store(&state.level, (int)level);
}

int log_level_parse(const char *text, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

uint64_t log_dropped(void)
{
	return atomic_load(&state.dropped);
}

const char *log_quote(const char *value)
{
	static _Thread_local char quoted[QUOTE_BUFFERS][QUOTE_BYTES_MAX];
	static _Thread_local unsigned turn;

	if (value[0] && !strpbrk(value, " \t\"="))
		return value;
	char *text = quoted[turn++ % QUOTE_BUFFERS];
	size_t n = 0;

	text[n++] = '"';
	for (const char *p = value; *p && n < QUOTE_BYTES_MAX - 6; p++) {
		if (*p == '"') {
			memcpy(text + n, "\\x22", 4);
			n += 4;
		} else {
			text[n++] = *p;
		}
	}
	text[n++] = '"';
	text[n] = '\0';
	return text;
}

static void add_head(struct buf *line, enum log_level level, const char *id)
{
	if (atomic_load(&state.journal)) {
		buf_printf(line, "<%d>%s", level_priorities[level], id);
		return;
	}
	int64_t now_ns = clock_wall_ns();
	time_t seconds = (time_t)(now_ns / 1000000000);
	struct tm tm;

	if (!gmtime_r(&seconds, &tm))
		tm = (struct tm){0};
	buf_printf(line, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s %s", tm.tm_year + 1900,
	           tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
	           (int)(now_ns / 1000000 % 1000), level_names[level], id);
}

/* Control bytes would forge a line or talk to a terminal. */
static void add_escaped(struct buf *line, const char *text)
{
	for (const char *p = text; *p && line->n < LINE_BYTES_MAX - 8; p++) {
		unsigned char c = (unsigned char)*p;

		if (c < 0x20 || c == 0x7f)
			buf_printf(line, "\\x%02x", c);
		else
			buf_add_u8(line, c);
	}
}

static void write_line(struct bytes line)
{
	int fd = atomic_load(&state.fd);
	struct pollfd writable = {.fd = fd, .events = POLLOUT};

	if (poll(&writable, 1, 0) != 1 || !(writable.revents & POLLOUT) ||
	    write(fd, line.p, line.n) != (ssize_t)line.n)
		atomic_fetch_add(&state.dropped, 1);
}

void log_event(enum log_level level, const char *id, const char *fmt, ...)
{
	char text[LINE_BYTES_MAX];
	struct buf line;
	va_list ap;

	if ((int)level > atomic_load(&state.level))
		return;
	int saved_errno = errno;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_init(&line, LINE_BYTES_MAX);
	add_head(&line, level, id);
	if (text[0])
		buf_add_u8(&line, ' ');
	add_escaped(&line, text);
	buf_add_u8(&line, '\n');
	write_line(buf_bytes(&line));
	buf_done(&line);
	errno = saved_errno;
}
