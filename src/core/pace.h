/*
 * pace: when to try again; arithmetic only.
 */
#ifndef CORE_PACE_H
#define CORE_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* What kept a target from taking a batch; decides the retry times and the words in status. */
enum trouble {
	TROUBLE_NONE,
	TROUBLE_UNREACHABLE, /* refused, no route, name unknown, black hole */
	TROUBLE_BUSY,        /* max connections reached */
	TROUBLE_LOGIN,       /* wrong password, unknown module, access denied: 5 min */
	TROUBLE_READONLY,    /* module or file system is read-only */
	TROUBLE_FULL,        /* no space, no inodes, quota */
	TROUBLE_MISSING,     /* the target directory is not there (not mounted?) */
	TROUBLE_TIMEOUT,     /* no progress within our deadline */
	TROUBLE_PROTOCOL,    /* the peer broke the protocol or hung up in the middle */
	TROUBLE_REFUSED,     /* refuse options, unsupported version */
	TROUBLE_LOCAL,       /* our own side: worker died, rsync or ssh cannot be started */
	TROUBLE_KINDS
};

const char *trouble_word(enum trouble t); /* "unreachable", "busy", ... for status and JSON */
/* What a person has to do about it, a sentence, or "": it heals by itself. */
const char *trouble_step(enum trouble t);

/* The connection broke; of why, the target said nothing. */
bool trouble_is_break(enum trouble t);

/* Nanoseconds until the next try after `failures` failures in a row (>= 1): doubling from 1 s to
 * 60 s (LOGIN, REFUSED, READONLY... see .c), times 0.75 ... 1.25 by `random` (uniform 32 bit). */
int64_t pace_backoff_ns(enum trouble t, unsigned failures, uint32_t random);

#endif
