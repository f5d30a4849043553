/*
 * err: what went wrong, in words for the person who has to act.
 *
 * Lives on the caller's stack. The deepest level that knows the cause sets it; callers put their
 * context in front. Libraries return 0 or -errno and fill a struct err; they never log.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

struct err {
	int code;       /* positive errno, 0: nothing set */
	char text[600]; /* NUL-terminated, printable: names in it went through path_quote() */
};

/* Sets code and text; returns -code. `e` may be NULL. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set() with ": " and strerror(code) behind the text. */
int err_errno(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts context and ": " in front of the text; returns -e->code. `e` may be NULL (returns -EIO). */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What ends `text` as a sentence before another: "." or nothing. */
const char *err_stop(const char *text);

#if defined(__clang_analyzer__) && !defined(ERR_C)
/* What clang's analyzer cannot see from outside err.c: the result is negative, so that a caller
 * that goes on after 0 has its values. */
static inline int err_negative(int result)
{
	return result < 0 ? result : -1;
}
#define err_set(...)   err_negative((err_set)(__VA_ARGS__))
#define err_errno(...) err_negative((err_errno)(__VA_ARGS__))
#define err_wrap(...)  err_negative((err_wrap)(__VA_ARGS__))
#endif

#endif
