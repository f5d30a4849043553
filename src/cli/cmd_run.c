#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/cmd_config.h"
#include "cli/show.h"
#include "daemon/config_state.h"
#include "daemon/daemon.h"

/* The daemon that could be asked is gone: all is said here. */
static void tell_left(json_t *left)
{
	struct buf out;

	buf_init(&out, 1 << 20);
	show_remaining(&out, left);
	cli_complain("ended with the targets not equal. What is left:");
	(void)fwrite(out.p ? out.p : "", 1, out.n, stderr);
	if (show_any_held(left))
		(void)fputs("What is held is approved while the daemon runs: start it without "
		            "--once, and see `lockstep held`.\n",
		            stderr);
	buf_done(&out);
}

static int run(const struct config *config, const struct cli_args *args)
{
	struct run_options options = {
	        .once = cli_given(args, "once"),
	        .foreground = isatty(STDERR_FILENO),
	};
	autoclose int lock = -1;
	struct err err = {0};
	json_t *left = NULL;
	int rc = state_lock(config->state_dir, &lock, &err);

	if (rc < 0) {
		cli_complain("%s", err.text);
		return rc == -EBUSY ? CLI_RUNNING : CLI_FAILURE;
	}
	if (log_open(config->log_file, config->log_level, &err) < 0) {
		cli_complain("%s", err.text);
		return CLI_FAILURE;
	}
	rc = daemon_run(config, &options, &left, &err);
	if (rc == -EUCLEAN)
		tell_left(left);
	json_decref(left);
	if (rc == 0)
		return CLI_OK;
	if (rc == -EUCLEAN)
		return CLI_STUCK;
	cli_complain("%s", err.text);
	return CLI_FAILURE;
}

int cmd_run(const struct cli_args *args)
{
	struct config *config;
	int code = cmd_load_config(&config, args);

	if (code != CLI_OK)
		return code;
	code = run(config, args);
	config_free(config);
	return code;
}
