/*
 * mem: allocation that cannot fail, and cleanup attributes for locals.
 *
 * Small, own-sized allocations abort when memory is exhausted: state is rebuilt from tree and
 * ledger, and untested out-of-memory branches are worse. Whatever a peer, a file or the
 * configuration sizes is checked against a limit first.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define mem_given __attribute__((returns_nonnull, warn_unused_result))

/* Zeroed. */
mem_given void *mem_alloc(size_t n);
/* Zeroed, overflow-checked. */
mem_given void *mem_array(size_t count, size_t size);
/* The new part is not zeroed. */
mem_given void *mem_realloc(void *p, size_t count, size_t size);
/* n bytes and a NUL behind them. */
mem_given char *mem_dup(const void *p, size_t n);
/* NULL gives NULL. */
char *mem_strdup(const char *s);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Overwrites a secret so that the compiler cannot leave it out, then frees it. NULL is fine. */
void mem_free_secret(char *s);

/* From now on what large arrays held is given back to the system when they are freed: a burst
 * leaves no mark on a process that runs for years. Once, at its start. */
void mem_return_freed(void);

static inline void mem_freep(void *p)
{
	free(*(void **)p);
}
static inline void mem_closep(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* nothing was written through these */
}

#define autofree                      __attribute__((cleanup(mem_freep)))
#define autoclose                     __attribute__((cleanup(mem_closep)))
#define ARRAY_LEN(a)                  (sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))
#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int taken_ = (fd);                                                                 \
		(fd) = -1;                                                                         \
		taken_;                                                                            \
	})
#define TAKE(p)                                                                                    \
	({                                                                                         \
		__auto_type taken_ = (p);                                                          \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})

/* What cannot happen; stays in release builds. Never used on input from disk, wire or config. */
#define check(cond) ((cond) ? (void)0 : check_failed(#cond, __FILE__, __LINE__))
_Noreturn void check_failed(const char *cond, const char *file, int line);

#endif
