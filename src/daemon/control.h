/*
 * control: the HTTP control API on a unix socket, inside the daemon's loop.
 *
 * Parses and limits requests, checks who is asking, and calls the daemon through struct
 * control_ops. Every operation answers exactly once by control_reply_send() or
 * control_reply_error(), at once or later; until then the client waits. Knows nothing of trees and
 * jobs. No thread; no wake-up while nobody is connected. Belongs to the loop thread.
 *
 *     GET  /v1/status  /v1/held  /v1/failed
 *     POST /v1/wait     {"timeout_ms": N, "jobs": ["NAME", ...]}     both optional
 *     POST /v1/verify   {"jobs": [...], "repair": false, "checksum": false}
 *     POST /v1/approve  {"job": "NAME", "id": N}                     job optional
 *     POST /v1/pause  /v1/resume  /v1/kick  {"jobs": [...]}          optional: all
 *     POST /v1/reload  /v1/stop  /v1/reopen-log
 *
 * wait answers {"settled": "yes|stuck|pending", "jobs": [{"job", "target", "settled", "state",
 * "text", "pending", "failed", "held", "zombies", "failures": [...], "holds": [...], "waiting":
 * [paths]}]}: the jobs that are not settled, and of each kind the first few, as /v1/failed and
 * /v1/held list them.
 *
 * Answers are JSON objects; errors {"error": "text"} with a 4xx or 5xx code. Bodies are at most
 * 64 KiB, clients at most 16. The peer must be root, our user, or in our group (SO_PEERCRED).
 */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>
#include <uv.h>
#include "base/err.h"

#define CONTROL_BODY_MAX    (64u << 10)
#define CONTROL_CLIENTS_MAX 16
#define CONTROL_JOBS_MAX    1024
#define CONTROL_DEADLINE_NS (5 * INT64_C(1000000000)) /* of requests that are not long polls */

enum control_verb {
	CONTROL_STATUS,
	CONTROL_HELD,
	CONTROL_FAILED,
	CONTROL_WAIT,
	CONTROL_VERIFY,
	CONTROL_APPROVE,
	CONTROL_PAUSE,
	CONTROL_RESUME,
	CONTROL_KICK,
	CONTROL_RELOAD,
	CONTROL_STOP,
	CONTROL_REOPEN_LOG,
	CONTROL_VERBS
};

/* What a client asks for. Strings are borrowed for the call. */
struct control_request {
	enum control_verb verb;
	const char *const *jobs; /* names as given, not checked; count 0: all */
	size_t job_count;
	int64_t timeout_ns;    /* WAIT, VERIFY: INT64_MAX: for ever */
	uint64_t id;           /* APPROVE */
	bool repair, checksum; /* VERIFY */
};

struct control_reply; /* one waiting client */

struct control_ops {
	/* One function per verb, none NULL. A WAIT or VERIFY may keep `reply` as long as it needs
	 * to; the others must answer within CONTROL_DEADLINE_NS. */
	void (*op[CONTROL_VERBS])(void *arg, const struct control_request *request,
	                          struct control_reply *reply);
	/* The request's timeout has passed: answer now (with what remains). */
	void (*timed_out)(void *arg, struct control_reply *reply);
	/* The client went away, or the deadline has passed: forget `reply`, it is gone. */
	void (*forget)(void *arg, struct control_reply *reply);
};

/* Answers and ends `reply`. Takes the JSON reference. code: 200, 404 unknown job or id, 409 not
 * now, 504 the wait's timeout. */
void control_reply_send(struct control_reply *reply, unsigned code, json_t *body);
/* {"error": text} */
void control_reply_error(struct control_reply *reply, unsigned code, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));
/* A place for the operation's own note on a reply that it keeps. */
void control_reply_set(struct control_reply *reply, void *note);
void *control_reply_get(const struct control_reply *reply);

struct control;

/* Listens on `socket_path` (its directory is made with 0750; the socket is 0660). A left-over
 * socket is replaced: the caller holds the state's lock. `ops` must outlive it. */
int control_start(struct control **ret, uv_loop_t *loop, const char *socket_path,
                  const struct control_ops *ops, void *arg, struct err *err);
/* Answers who still waits with 503, lets answers under way go out for a moment, removes the socket
 * and closes its handles; the memory goes when the loop has run their close callbacks. */
void control_stop(struct control *c);

const char *control_verb_path(enum control_verb verb); /* "/v1/status" */
bool control_verb_is_post(enum control_verb verb);

#endif
