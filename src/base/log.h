/*
 * log: one line per event on stderr or in a file that can be reopened.
 *
 *     2026-01-02T03:04:05.678Z warn target.full job=backup1 text...
 *
 * The stable message id ("target.full") comes first, then key=value pairs, then words. log_quote()
 * quotes values with blanks, control bytes are escaped here, so no name can forge a line. Under
 * systemd (JOURNAL_STREAM set) the time is left out and "<n>" priorities are put in front. A line
 * is one write(2); a failed write is counted (log_dropped), never waited for. Thread-safe.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdarg.h>
#include <stdint.h>
#include "base/err.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* file NULL: stderr. The file is opened O_APPEND|O_NOFOLLOW, mode 0640. */
int log_open(const char *file, enum log_level level, struct err *err);
int log_reopen(struct err *err); /* after rotation; keeps the old one on failure */
void log_set_level(enum log_level level);
/* "error", "warn", "info", "debug"; -EINVAL otherwise. */
int log_level_parse(const char *text, enum log_level *ret);
uint64_t log_dropped(void);

/* fmt gives the part behind the id, already "key=value ..." shaped; use path_show()/log_quote(). */
void log_event(enum log_level level, const char *id, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));

/* A value for "key=value": as it is, or in quotes when it is empty or has blanks, quotes or "=" in
 * it. The result is `value` or one of a few rotating thread-local buffers; long values are cut. */
const char *log_quote(const char *value);

#endif
