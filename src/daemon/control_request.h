/*
 * control_request: what a client asks, from method, path and JSON body. Private to control*.c.
 */
#ifndef DAEMON_CONTROL_REQUEST_H
#define DAEMON_CONTROL_REQUEST_H

#include "base/bytes.h"
#include "daemon/control.h"

/* A parsed request and what its strings lie in. */
struct control_parsed {
	struct control_request request;
	json_t *body;
	const char **jobs;
};

/* 0 and *ret_verb, or the HTTP code (404, 405). */
unsigned control_find_verb(const char *method, const char *path, enum control_verb *ret_verb);
/* Unknown members and wrong types are errors: -EINVAL. An empty body is {}. */
int control_parse(struct control_parsed *ret, enum control_verb verb, struct bytes body,
                  struct err *err);
void control_parsed_done(struct control_parsed *p);

#endif
