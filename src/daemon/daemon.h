/*
 * daemon: the running instance, from its configuration to its end.
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <stdbool.h>
#include <stdio.h>
#include <jansson.h>
#include "base/err.h"
#include "daemon/config.h"

struct run_options {
	bool once;       /* end with 0 when every target is proven equal */
	bool foreground; /* started by a person on a terminal: say what goes on */
};

/* Runs until it is told to stop. The caller holds the state's lock (state_lock) and has opened the
 * log. `c` is borrowed: a reload replaces it inside. 0: ended as it should; with `once` -EUCLEAN:
 * only failed or held items remain, and *ret_left is what `wait` would have answered (a new
 * reference; NULL otherwise); other -errno with err set. */
int daemon_run(const struct config *c, const struct run_options *o, json_t **ret_left,
               struct err *err);

/* `check`: logs in at the job's target and makes a trial write that is taken back; tells each step
 * as a line on `out`. 0, or -errno with what the target answered. Blocks, at most for the job's
 * timeouts. */
int daemon_check_target(const struct config_job *job, FILE *out, struct err *err);

#endif
