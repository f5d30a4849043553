/*
 * connect_args: the command lines that reach a target: `rsync --server` here, or through ssh; the
 * relay to one behind TLS.
 */
#ifndef DAEMON_CONNECT_ARGS_H
#define DAEMON_CONNECT_ARGS_H

#include <sys/types.h>
#include "daemon/config.h"
#include "rsync/session.h"
#include "tls/relay.h"

/* An argument vector, NULL-terminated once it has a word; words_done() frees all. */
struct words {
	char **items;
	size_t count;
};

void words_done(struct words *w);

#define CONNECT_CONTROL_NONE "none"

/* What the receiver in the target's directory is started with, for a LOCAL or SSH target; on the
 * remote side words are quoted for the shell that sshd starts there. `control` is what ssh is told
 * as its ControlPath: connect_control(), CONNECT_CONTROL_NONE for a connection of its own, or NULL:
 * nothing, so that ssh does what its own configuration says. */
struct words connect_args(const struct config_job *job, enum session_class class,
                          const struct session_options *o, const char *control);
/* The connection that sessions of an SSH target share: no session itself, and it ends when the
 * server has not answered for the job's `timeout`, or with the process `parent` (tether.h). */
struct words connect_master_args(const struct config_job *job, const char *control, pid_t parent);
/* Whether they may: an SSH target, and nobody has told ssh another way. */
bool connect_may_share(const struct config_job *job);
/* The master's socket as ControlPath takes it, by malloc. NULL: that cannot be, and *why says so.
 */
char *connect_control(const char *path, const char **why);
/* The relay that speaks TLS with the target; it gets its descriptors besides (tls/relay.h). */
struct words connect_relay_args(const struct config_job *job);
/* For the messages about it and the files it reads: *peer is "host port N", by malloc. */
struct tls_setup connect_tls_setup(const struct config_job *job, char **peer);
/* What all sessions of a job with these options have in common. The maps are those of *ret and
 * belong to the caller; NULL: none. */
void connect_options(const struct config_options *o, struct session_options *ret, char **usermap,
                     char **groupmap);
/* -code, and what is said of a target at whose last address connect() ended with `code`. */
int connect_unreachable(const struct target *t, int code, struct err *err);
/* The target's directory as a session names it: "module/dir/" or "dir/". By malloc. */
char *connect_path(const struct target *t);

#endif
