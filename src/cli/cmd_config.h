/*
 * cmd_config: the configuration that `run` and `check` were given.
 */
#ifndef CLI_CMD_CONFIG_H
#define CLI_CMD_CONFIG_H

#include "cli/cli.h"
#include "daemon/config.h"

#define CLI_CONFIG_DEFAULT "/etc/lockstep/lockstep.conf"

/* From SRC TARGET..., else from -c FILE or the default file. An exit code; all problems have been
 * told on stderr. */
int cmd_load_config(struct config **ret, const struct cli_args *args);

#endif
