#include "daemon/tether.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "base/mem.h"

#define CANNOT_START 127

static void exec_in_path(char *const argv[])
{
	const char *path = getenv("PATH");
	int code = ENOENT;

	while (path && *path) {
		size_t n = strcspn(path, ":");
		autofree char *file = mem_printf("%.*s/%s", (int)n, path, argv[0]);

		if (n) /* nowhere is not here */
			(void)execv(file, argv);
		if (n && errno != ENOENT && errno != ENOTDIR)
			code = errno;
		path += n + (path[n] == ':');
	}
	errno = code;
}

int tether_main(int argc, char *const argv[])
{
	if (argc < 2)
		return CANNOT_START;
	/* Whose parent has ended meanwhile has another one by now, and would not be told. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != strtol(argv[0], NULL, 10))
		return CANNOT_START;
	argv++;
	if (strchr(argv[0], '/'))
		(void)execv(argv[0], argv);
	else
		exec_in_path(argv);
	(void)fprintf(stderr, "cannot start %s: %s\n", argv[0], strerror(errno));
	return CANNOT_START;
}
