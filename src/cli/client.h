/*
 * client: one request to the control API of a running daemon.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <jansson.h>
#include "cli/cli.h"
#include "daemon/control.h"

struct client;

/* Finds the instance that is meant: --state, --name, the configuration given, or the only one that
 * runs. An exit code; the reason has been told on stderr. */
int client_open(struct client **ret, const struct cli_args *args);
void client_close(struct client *c);

/* Takes `body` (may be NULL). timeout_ms 0: none. 0 and an exit code other than CLI_OK only for
 * what is no answer of the daemon: CLI_NO_DAEMON, CLI_TIMEOUT, CLI_FAILURE (err set). *ret_code:
 * HTTP's. */
int client_ask(struct client *c, enum control_verb verb, json_t *body, int64_t timeout_ms,
               json_t **ret, long *ret_code, struct err *err);

/* Opens, asks, closes. Errors of the daemon are told on stderr, and --json prints the answer.
 * CLI_OK and *ret (may be NULL) for a 200 or 504; *ret_code may be NULL. */
int client_once(const struct cli_args *args, enum control_verb verb, json_t *body,
                int64_t timeout_ms, json_t **ret, long *ret_code);

/* {"jobs": [words]} */
json_t *client_jobs(const struct cli_args *args);

#endif
