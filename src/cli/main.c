#include <string.h>

#include "cli/cli.h"
#include "daemon/tether.h"
#include "tls/relay.h"
#include "worker/worker.h"

#define WORKER_FD 3

int main(int argc, char **argv)
{
	/* Before anything else: this process belongs to the daemon that started it. */
	if (argc > 1 && strcmp(argv[1], "--worker") == 0)
		return worker_main(WORKER_FD);
	if (argc > 1 && strcmp(argv[1], RELAY_ARGUMENT) == 0)
		return relay_main(argc - 2, argv + 2);
	if (argc > 1 && strcmp(argv[1], TETHER_ARGUMENT) == 0)
		return tether_main(argc - 2, argv + 2);
	return cli_main(argc, argv);
}
