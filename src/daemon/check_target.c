#include <errno.h>
#include "daemon/daemon.h"

int daemon_check_target(const struct config_job *job, FILE *out, struct err *err)
{
	(void)job;
	(void)out;
	return err_set(err, ENOSYS, "not there");
}
