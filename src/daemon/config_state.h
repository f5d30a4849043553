/*
 * config_state: where an instance keeps its state and its control socket, and the lock that makes
 * it the only one.
 *
 *     root          /var/lib/lockstep/NAME                  /run/lockstep/NAME.sock
 *     a user        $XDG_STATE_HOME/lockstep/NAME           $XDG_RUNTIME_DIR/lockstep/NAME.sock
 *     --state DIR   DIR                                     DIR/control.sock
 *
 * XDG_STATE_HOME defaults to ~/.local/state; without XDG_RUNTIME_DIR the socket lies in the state.
 */
#ifndef DAEMON_CONFIG_STATE_H
#define DAEMON_CONFIG_STATE_H

#include <sys/types.h>
#include "base/err.h"

/* Both by malloc. `state` NULL: the default. */
int state_paths(const char *name, const char *state, char **ret_dir, char **ret_socket,
                struct err *err);
/* The directory that holds the sockets of all named instances of this user. By malloc. */
int state_socket_dir(char **ret, struct err *err);

/* Makes the state directory (0750) if needed, locks DIR/lock and writes our pid into it. Returns
 * the descriptor: the lock lives as long as it is open. -EBUSY: another instance runs; err names
 * its pid. */
int state_lock(const char *dir, int *ret_fd, struct err *err);

#endif
