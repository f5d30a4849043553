/*
 * child: the only place that starts processes, by argument vector and never through a shell.
 *
 * A child's standard error is collected (the last 2 KiB) for the words in status and log. Ending
 * one is a ladder: TERM, two seconds, KILL.
 */
#ifndef DAEMON_CHILD_H
#define DAEMON_CHILD_H

#include <uv.h>
#include "base/bytes.h"
#include "base/err.h"

struct child;
/* The child has ended and its standard error is read to its end; `child` is freed afterwards. */
typedef void child_exit_fn(struct child *child, int64_t status, int signal, void *arg);

struct child_spec {
	char *const *argv; /* argv[0] is looked up in PATH unless it has a "/" */
	char *const *env;  /* NULL: PATH, HOME, LANG... of ours, and nothing else */
	const char *cwd;   /* NULL: ours */
	int fd0, fd1;      /* borrowed; become standard input and output; -1: /dev/null */
	int fd3;           /* borrowed; becomes descriptor 3; -1: none */
	bool group;        /* it leads a group of processes, and is ended with all of them */
	child_exit_fn *exited;
	void *arg;
};

int child_spawn(struct child **ret, uv_loop_t *loop, const struct child_spec *spec,
                struct err *err);
/* What it wrote on standard error. In `exited`: its lines joined by "; ". */
struct bytes child_errors(const struct child *c);
int child_pid(const struct child *c);
void child_end(struct child *c);  /* TERM, later KILL */
void child_kill(struct child *c); /* KILL at once */
/* The owner goes away: `exited` will not be called; the child is ended. */
void child_orphan(struct child *c);

#endif
