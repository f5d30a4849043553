#include <string.h>

#include "cli/cli.h"
#include "worker/worker.h"

#define WORKER_FD 3

int main(int argc, char **argv)
{
	/* Before anything else: this process belongs to the daemon that started it. */
	if (argc > 1 && strcmp(argv[1], "--worker") == 0)
		return worker_main(WORKER_FD);
	return cli_main(argc, argv);
}
