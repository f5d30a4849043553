/*
 * check_talk: one blocking conversation with a target, for `lockstep check`.
 *
 * Every step has a deadline of the job's; nothing waits longer than that.
 */
#ifndef DAEMON_CHECK_TALK_H
#define DAEMON_CHECK_TALK_H

#include "daemon/child.h"
#include "daemon/config.h"
#include "rsync/session.h"

struct check_talk {
	const struct config_job *job;
	struct session_options options;
	uv_loop_t loop; /* of the child only */
	struct child *child;
	uv_timer_t grace; /* in which it ends by itself */
	int fd;
	struct session *session;
	bool heard; /* it has said something */
	bool written, removed, phase;
	char complaint[400]; /* the server's first error */
	char errors[400];    /* what ssh, rsync or the TLS relay wrote on standard error */
};

/* Connects: 0 or -errno. A name server is asked for as long as the system's resolver does. */
int check_talk_connect(struct check_talk *t, enum session_class class, struct err *err);
/* Greeting, login and arguments, until the target waits for a list. */
int check_talk_login(struct check_talk *t, enum session_class class, struct err *err);
/* Sends the list and answers until the end of the conversation. */
int check_talk_list(struct check_talk *t, const struct session_entry *entries, size_t n,
                    const struct session_risk *risks, size_t nrisks, struct err *err);
/* Ends what is left of it. */
void check_talk_end(struct check_talk *t);

#endif
