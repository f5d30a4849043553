/*
 * sandbox: what a process that parses a peer's bytes gives up.
 *
 * No new privileges by exec, no core dump or ptrace by equals, by Landlock no writing, creating,
 * removing or executing anywhere, and by seccomp none of the system calls that a sender has no use
 * for (seccomp.h). Landlock has no path rules: a rule dies with its mount, and reading is confined
 * by opening beneath the root (I5). What a kernel does not have is left out.
 */
#ifndef WORKER_SANDBOX_H
#define WORKER_SANDBOX_H

#include <stdbool.h>

enum sandbox_part {
	SANDBOX_FILES = 1, /* Landlock */
	SANDBOX_CALLS = 2, /* seccomp */
};

/* For the whole process and for good; `asks_names`: see seccomp_enter(). Returns the parts that are
 * in force. */
unsigned sandbox_enter(bool asks_names);

#endif
