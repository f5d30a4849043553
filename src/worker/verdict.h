/*
 * verdict: what a session's events say about each part of its cargo.
 *
 * I9: files, links and specials are done by SUCCESS; directories and deletions at the end of the
 * phase, if no error names them and none is left that names nobody. A session that breaks off
 * leaves UNKNOWN behind, or UNSENT when no byte of the list had left.
 */
#ifndef WORKER_VERDICT_H
#define WORKER_VERDICT_H

#include "worker/blame.h"

void verdict_item(struct cargo *c, struct part *part, unsigned iflags);
/* A request for a stamp's content, which must not be served: proven or not (docs/ARCHITECTURE.md,
 * "Trust"). */
void verdict_stamp_request(struct cargo *c, struct part *part, unsigned iflags);
void verdict_success(struct cargo *c, struct part *part);
/* A session that compares and tells extras names what was not listed; what the tree has by now is
 * none. */
void verdict_extra(struct cargo *c, struct bytes path, bool is_dir);
/* True: an error that is not only about attributes. `ret`: what it names, maybe nothing. */
bool verdict_message(struct cargo *c, enum session_level level, struct bytes text,
                     struct blame *ret);
/* The last DONE: settles everything but files that may still be repeated or confirmed. */
void verdict_phase(struct cargo *c);
/* The goodbye is complete: settles these, too. */
void verdict_closed(struct cargo *c);
/* Nothing more will come. `begun`: list bytes have left. `breach`: the peer's bytes made no sense
 * in the end; then what it confirmed without having done anything that we know of is not believed.
 */
void verdict_end(struct cargo *c, bool begun, bool breach);

#endif
