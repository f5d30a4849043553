/*
 * config_target: where a job sends its tree, as a person writes it and as parts.
 *
 *     rsync://[user@]host[:port]/module[/path]     RSYNCD
 *     rsyncs://[user@]host[:port]/module[/path]    RSYNCD by TLS
 *     [user@]host::module[/path]                   RSYNCD
 *     [user@]host:path                             SSH
 *     ssh://[user@]host[:port]/path                SSH
 *     /absolute/path                               LOCAL
 *
 * IPv6 addresses stand in brackets. A password is never part of a target: it is refused here, so
 * that it cannot reach an argument list, a log or the status.
 */
#ifndef DAEMON_CONFIG_TARGET_H
#define DAEMON_CONFIG_TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

#define TARGET_RSYNCD_PORT 873
#define TARGET_TLS_PORT    874

enum target_kind { TARGET_RSYNCD, TARGET_SSH, TARGET_LOCAL };

struct target {
	enum target_kind kind;
	char *user;      /* NULL: none given */
	char *host;      /* without brackets; NULL for LOCAL */
	uint16_t port;   /* RSYNCD: never 0; SSH: 0 unless in the address (ssh_port or ssh's own) */
	bool port_given; /* in the address */
	bool tls;        /* RSYNCD only */
	char *module;    /* RSYNCD only */
	char *path;      /* RSYNCD: below the module, "" is its root, no "/" at either end.
	                  * SSH: as written, not empty, no "/" at the end (but "/x"), relative to the
	                  * home    directory there. LOCAL: absolute, normalised as text (no "//", "/./",
	                  * last "/") */
};

/* Texts of the error name what is wrong and how to write it. -EINVAL. */
int target_parse(struct target *ret, const char *text, struct err *err);
/* `tls = yes`: an RSYNCD target without a port of its own goes to that of TLS; others stay. */
void target_use_tls(struct target *t);
void target_done(struct target *t); /* frees the parts and zeroes it; a zeroed one is fine */
void target_copy(struct target *to, const struct target *from);
bool target_equal(const struct target *a, const struct target *b);
/* Textually the same place or one inside the other: remote targets on one host and port. For LOCAL
 * targets config_place.h asks the file system, too. */
bool target_overlaps(const struct target *a, const struct target *b);
const char *target_kind_word(enum target_kind kind);

/* An absolute path without "//", "/./" and the last "/"; -EINVAL for "", relative ones, "/" alone
 * and those with a ".." component. *ret by malloc. */
int target_path_normalise(char **ret, const char *text, struct err *err);

#endif
