/*
 * sandbox: what a process that parses a peer's bytes gives up.
 *
 * No new privileges by exec, no core dump or ptrace by equals, and by Landlock no writing,
 * creating, removing or executing anywhere. There are no path rules: a rule dies with its mount,
 * and reading is confined by opening beneath the root (I5). Kernels without Landlock leave that
 * part out.
 */
#ifndef WORKER_SANDBOX_H
#define WORKER_SANDBOX_H

#include <stdbool.h>

/* For the whole process and for good. Returns whether Landlock is in force. */
bool sandbox_enter(void);

#endif
