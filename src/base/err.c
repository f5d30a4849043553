#define ERR_C
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A cut text must not end inside a UTF-8 character: the reader may be a JSON encoder. */
static void trim_cut_character(char *text)
{
	size_t n = strlen(text);
	size_t i = n;

	while (i > 0 && n - i < 4 && ((unsigned char)text[i - 1] & 0xc0) == 0x80)
		i--;
	if (i == 0)
		return;
	unsigned char lead = (unsigned char)text[i - 1];
	size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
	if (lead >= 0xc0 && n - i + 1 < want)
		text[i - 1] = '\0';
}

__attribute__((format(printf, 2, 0))) static void set_text(struct err *e, const char *fmt,
                                                           va_list ap)
{
	char text[sizeof(e->text)];

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	trim_cut_character(text);
	memcpy(e->text, text, strlen(text) + 1);
}

static void append_text(struct err *e, const char *more)
{
	size_t n = strlen(e->text);

	(void)snprintf(e->text + n, sizeof(e->text) - n, ": %s", more);
	trim_cut_character(e->text);
}

const char *err_stop(const char *text)
{
	size_t n = strlen(text);

	return n > 0 && strchr(".?!", text[n - 1]) ? "" : ".";
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -code;
	va_start(ap, fmt);
	set_text(e, fmt, ap);
	va_end(ap);
	e->code = code;
	return -code;
}

int err_errno(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -code;
	va_start(ap, fmt);
	set_text(e, fmt, ap);
	va_end(ap);
	append_text(e, strerror(code));
	e->code = code;
	return -code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	va_list ap;
	char cause[sizeof(e->text)];

	if (!e)
		return -EIO;
	memcpy(cause, e->text, sizeof(cause));
	va_start(ap, fmt);
	set_text(e, fmt, ap);
	va_end(ap);
	append_text(e, cause);
	return -e->code;
}
