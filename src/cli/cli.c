#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* With a standard descriptor closed, the next file opened would become it. */
static void fill_standard_fds(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
			continue;
		if (open("/dev/null", O_RDWR | O_NOCTTY) != fd) /* inherited on purpose */
			exit(CLI_FAILURE);
	}
}

int cli_main(int argc, char **argv)
{
	struct cli_args args = {0};
	struct err err = {0};
	int code;

	fill_standard_fds();
	if (cli_parse(&args, argc, argv, &err) < 0) {
		cli_complain("%s", err.text);
		return CLI_USAGE;
	}
	code = args.wants_help ? cmd_help(&args) : args.verb->run(&args);
	cli_args_done(&args);
	return code;
}
