/*
 * control_socket: the listening end of the control API and who may talk to it. Private to
 * control*.c.
 */
#ifndef DAEMON_CONTROL_SOCKET_H
#define DAEMON_CONTROL_SOCKET_H

#include <stdbool.h>
#include "base/err.h"

/* Makes the directory (0750), replaces what was left there and listens; non-blocking. Paths longer
 * than sun_path go through the directory's descriptor. */
int control_listen(const char *path, int *ret_fd, struct err *err);
/* Root, our own user, or somebody in our group. */
bool control_may_talk(int fd);

#endif
