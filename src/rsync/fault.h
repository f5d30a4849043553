/*
 * fault: what the words of a peer mean for the retry policy. rsync has no error codes on the wire,
 * only sentences; these are the ones that have been the same since 3.0.0.
 */
#ifndef RSYNC_FAULT_H
#define RSYNC_FAULT_H

#include "rsync/session.h"

/* session_fault_of_text() reads one text of any origin. This one reads what stands behind
 * "@ERROR: " and knows that the daemon said it: LOGIN for words that are not known. */
enum session_fault fault_of_refusal(struct bytes text);

#endif
