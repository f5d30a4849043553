/*
 * worker: the process of one job that talks to its target.
 *
 * Started by the loop as /proc/self/exe with the internal argument "--worker" and the frame socket
 * as descriptor 3. Multiplexes the job's sessions with poll; reads files beneath the root it was
 * given for each batch; sandboxes itself once set up (no_new_privs, Landlock) and never executes
 * anything. Ends when descriptor 3 does.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

/* Returns the exit status. */
int worker_main(int frame_fd);

#endif
