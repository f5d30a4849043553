/*
 * tether: a process that ends with the daemon, however that ends.
 *
 * What talks to the daemon through a descriptor sees its end by that. For what does not, this is
 * started as /proc/self/exe with the internal argument "--tether": it asks the kernel to be told,
 * and becomes the command.
 */
#ifndef DAEMON_TETHER_H
#define DAEMON_TETHER_H

#define TETHER_ARGUMENT "--tether"

/* The arguments behind TETHER_ARGUMENT: the daemon's process id, and the command, which is looked
 * up in PATH unless it has a "/". Returns only if it cannot be started: an exit status, with words
 * on standard error. */
int tether_main(int argc, char *const argv[]);

#endif
