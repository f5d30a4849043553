/*
 * session_internal: the session as its own files see it. Each file owns one stretch of the
 * conversation: greeting.c (daemon's text lines), setup.c (version, flags, checksum, compression,
 * seed), list.c (what we list), serve.c (requests, items, phases, goodbye), messages.c (what comes
 * beside the stream). session.c is the door.
 */
#ifndef RSYNC_SESSION_INTERNAL_H
#define RSYNC_SESSION_INTERNAL_H

#include "rsync/attrs.h"
#include "rsync/codec.h"
#include "rsync/delta.h"
#include "rsync/events.h"
#include "rsync/mux.h"
#include "rsync/session.h"
#include "rsync/sums.h"
#include "rsync/token.h"

#define PROTOCOL_MIN 30
#define PROTOCOL_MAX 32

/* Compatibility flags of the server. */
enum compat_flag {
	COMPAT_INC_RECURSE = 0x01,
	COMPAT_SAFE_LIST = 0x08,
	COMPAT_XATTRS_ALWAYS =
	        0x10, /* a list of those wanted follows where a name was linked, too */
	COMPAT_SEED_FIRST = 0x20,
	COMPAT_VARINT = 0x80,
	COMPAT_ID0_NAMES = 0x100,
	COMPAT_KNOWN = 0x1ff,
};

/* One thing the receiver asked for, in its order. While an answer is under way nothing else may
 * enter the stream, so echoes and phase marks wait their turn here. */
struct task {
	bool late; /* came when nothing is answered any more */
	enum task_kind { TASK_ECHO, TASK_REQUEST, TASK_DONE } kind;
	int32_t ndx;
	uint16_t iflags;
	uint8_t basis;
	bool redo;
	struct bytes xname; /* owned */
	struct attrs_wanted wanted;
	struct sums sums; /* REQUEST; head.count 0: to be sent whole */
	struct task *next;
};

enum serve_step {
	SERVE_INDEX, /* an index and what belongs to it comes next */
	SERVE_SUMS,  /* block sums of the last task */
	SERVE_SKIP,  /* block sums beyond our memory limit, dropped */
};

/* What we remember of a listed entry, by the index of the wire. */
struct listed {
	uint64_t answered_at; /* output offset behind its answer, the first one if that was sent
	                         unasked; LISTED_OPEN: not answered yet; 0: never asked for */
	uint32_t caller;      /* the caller's index */
	bool regular;
	uint8_t requests, items, successes;
	uint32_t xattrs;     /* its set, or ATTRS_SET_NONE */
	bool early;          /* sent without a request, which may come behind its confirmation */
	bool unasked;        /* so, and nothing is known of it yet */
	struct task *parked; /* its request, which needs no answer if it has arrived */
};

#define LISTED_OPEN UINT64_MAX

struct session {
	enum session_kind kind;
	enum session_class class;
	struct session_options o; /* usermap and groupmap owned */
	char **args;
	char *module, *user, *password;
	char *peer_digests; /* names of its greeting */

	enum session_state state;
	struct err error;
	enum session_fault fault;
	char refused[64];
	/* The peer's last words that tell why it is going to hang up. */
	enum session_fault hint;
	struct err hint_text;

	int protocol;
	uint32_t compat;
	struct sum_seed seed;
	enum strong_id strong;
	enum session_compress compress; /* until the names are known what is wished */
	unsigned peer_timeout_s;
	uint64_t bytes_in;
	uint64_t news; /* bytes and messages that are no keepalive */

	struct buf raw; /* before the multiplexing starts; [0, raw_at) is understood */
	size_t raw_at;
	struct buf stream; /* payload of data frames, not understood yet */
	size_t text_bytes; /* of the daemon's message of the day */
	bool flags_known, names_known;
	bool args_ahead, names_ahead; /* said without having been asked */
	struct mux_in mux_in;
	struct mux_out out;
	struct event_queue events;

	struct id_names {
		struct session_id_name *p;
		size_t n;
	} users, groups;
	uint64_t list_at;  /* output offset of the list's first byte; UINT64_MAX: none */
	uint64_t list_end; /* and behind its last one */
	struct listed *listed;
	uint32_t *place; /* the caller's index -> that of the wire */
	size_t nlisted, nrules;
	struct attrs_tables *attrs; /* what was listed of them */

	struct ndx_state ndx_in, ndx_out;
	enum serve_step step;
	uint64_t skip_left;
	unsigned dones, dones_out; /* phase marks received, sent */
	bool not_sent;             /* session_no_send() was used */
	bool goodbye_done;
	struct task *tasks, **tasks_end;
	struct task *incoming;          /* its sums are still coming; not in the queue yet */
	size_t unasked;                 /* entries of that kind */
	size_t sums_bytes, names_bytes; /* of all tasks */
	uint64_t texts, deletions;      /* messages so far */
	unsigned del_stats;

	bool answering; /* tasks is a request that was handed out */
	bool begun;     /* and session_answer_begin() was called */
	struct hasher *file_hash, *block_hash;
	struct token_writer *tokens;
	struct delta *delta;
	struct sum_head claimed; /* count 0: nothing is */
};

#define XNAME_MAX        4096
#define NAMES_MEMORY_MAX (64u << 20) /* of all names in items that wait */

/* An item's flag: the byte that tells what the receiver builds it from follows. */
#define ITEM_BASIS_FOLLOWS 0x0800

/* FAILED, once; later calls keep the first reason. Returns -code. */
int session_fail(struct session *s, enum session_fault fault, int code, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
/* The receiver expects a filter list before the list, and tells deletions. */
static inline bool session_has_rules(const struct session *s)
{
	bool compares = s->class == SESSION_COMPARE || s->class == SESSION_CHECKSUM;

	return s->class == SESSION_DELETE || (compares && s->o.extras);
}
int session_breach(struct session *s, const char *what); /* FAULT_PROTOCOL, -EPROTO */

/* The server can know our list: all of it has left. */
static inline bool session_list_sent(const struct session *s)
{
	return s->list_at != UINT64_MAX && s->out.total >= s->list_end;
}

/* What of s->raw is not understood yet. */
struct bytes session_raw(const struct session *s);
/* Next complete line of it, consumed, without its end; false: none yet, or FAILED because it is too
 * long. */
bool session_line(struct session *s, size_t max, struct bytes *ret);

void greeting_start(struct session *s);
int greeting_feed(struct session *s); /* states GREETING and AUTH of SESSION_DAEMON */

/* The names that the server will ask for, where it is known which (struct session_past). */
void setup_names_ahead(struct session *s);
void setup_start_pipe(struct session *s);
int setup_feed(struct session *s); /* GREETING of SESSION_PIPE, and SETUP */

/* The names that session_set_names() kept. */
void list_drop_names(struct session *s);

/* One message that came beside the stream. */
int messages_take(struct session *s, unsigned code, struct bytes payload);
/* FAILED with the peer's own last words, if it had any, else HANGUP and `otherwise`. */
int messages_hangup(struct session *s, const char *otherwise);

/* Takes from s->stream what is complete. */
int serve_feed(struct session *s);
/* The next request, if none is being answered; false: none. */
bool serve_request(struct session *s, struct session_event *ret);
/* Writes what waits in front of the next request. */
void serve_pump(struct session *s);
/* An index with its flags and extras, as it came. */
void serve_put_item(struct session *s, const struct task *t);
void serve_drop_task(struct session *s); /* the first */
void task_free(struct task *t);
/* What was sent without a request has arrived, or (false) has not: then its request counts. */
void serve_settle_unasked(struct session *s, struct listed *l, bool arrived);

/* FAILED if the output has outgrown its limit. */
void session_check_output(struct session *s);

#endif
