/*
 * config_value: one value of the configuration from its text, and back.
 *
 * `slot` is where the key's offset points to; its C type is told at enum config_type.
 */
#ifndef DAEMON_CONFIG_VALUE_H
#define DAEMON_CONFIG_VALUE_H

#include "base/bytes.h"
#include "daemon/config_keys.h"

/* Sets (LIST: appends to) the zeroed or formerly set slot. The error is the reason alone: no key,
 * no line. -EINVAL. RULE and ADDRESS have no slot: not for this function. */
int config_value_parse(const struct config_key *key, const char *text, void *slot, struct err *err);
void config_value_free(const struct config_key *key, void *slot);
bool config_value_equal(const struct config_key *key, const void *a, const void *b);
/* As it would be written; a value without text ("none") adds nothing. */
void config_value_show(const struct config_key *key, const void *slot, struct buf *out);

/* "30s", "1h30m", "500ms", "1d", "2w", "0"; "64M", "1G", "4096" (1024 each). -EINVAL */
int config_parse_duration(const char *text, int64_t *ret_ns, struct err *err);
int config_parse_size(const char *text, uint64_t *ret_bytes, struct err *err);
int config_parse_bool(const char *text, bool *ret, struct err *err);
void config_show_duration(struct buf *out, int64_t ns);
void config_show_size(struct buf *out, uint64_t bytes);

/* USER[:GROUP], ":GROUP". */
int config_parse_owner(const char *text, struct config_chown *ret, struct err *err);
/* rsync's --chmod without its conditional X: "F644,D755", "u+rw,go-w", "Dg+s". */
int config_parse_mode(const char *text, struct config_chmod *ret, struct err *err);

#endif
