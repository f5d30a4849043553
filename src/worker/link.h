/*
 * link: one session on its socket, from the handshake to the end of the file.
 *
 *     OPENING -> IDLE -> CARRYING -> LEAVING -> OVER
 *                           └──────> ZOMBIE ──> OVER
 *
 * Every state has a deadline (I14). A link that gave up while bytes of a list had left is a zombie
 * until its peer is known to be gone (I13): end of file or reset on our own socket; behind ssh or a
 * relay that proves nothing, and only the time does that the server was told to give up after.
 */
#ifndef WORKER_LINK_H
#define WORKER_LINK_H

#include "base/frame.h"
#include "worker/cargo.h"
#include "worker/checksums.h"
#include "worker/manifest.h"
#include "worker/names.h"
#include "worker/supply.h"
#include "worker/throttle.h"

#define LINK_READ_BYTES (64u << 10)

/* What all links of the process share. */
struct link_env {
	struct wire_setup setup;
	struct throttle throttle;
	struct names *names;
	struct repeats *repeats;
	unsigned unasked_breaks;  /* sessions in a row that broke off with something sent so */
	bool asked_only;          /* the server does not take that: it never gets it again */
	struct session_past past; /* of the last session that became ready */
	unsigned past_without;    /* what that one was opened without */
	struct frame_out *out;
	char *slice; /* SUPPLY_SLICE_BYTES */
	char *input; /* LINK_READ_BYTES */
};

enum link_state {
	LINK_OPENING,
	LINK_IDLE,     /* ready for its batch */
	LINK_CARRYING, /* has one, until every item is answered */
	LINK_LEAVING,  /* the rest of the goodbye */
	LINK_ZOMBIE,
	LINK_OVER, /* WIRE_SESSION_GONE was queued: free it */
};

struct link {
	struct link_env *env;
	struct link *next;
	uint64_t id;
	enum link_state state;
	enum session_class class;
	int fd; /* -1: closed, a zombie waits for its time */
	bool tcp, pipe, indirect, extras;
	bool xattrs, acls; /* are listed */
	bool no_ack;       /* only the end of the list confirms */
	unsigned without;  /* enum session_without: was not asked for */
	bool was_ready;
	size_t written;    /* bytes of this round of the throttle */
	bool write_broken; /* the peer reads no more; what it said before may still come */
	struct session *session;
	struct cargo *cargo; /* CARRYING only */
	struct supply supply;
	struct checksums *checksums; /* files are read before the list goes */
	int64_t deadline_ns;
	int64_t lull_ns;       /* CARRYING: until then keepalives extend it */
	int64_t lull_spare_ns; /* what the listed bytes may add to a lull */
	int64_t unasked_ns;    /* CARRYING: how long a word about what was sent unasked may take */
	int64_t keepalive_ns;  /* when an empty frame is due, INT64_MAX: never */
	bool only_keepalive;   /* all that is to be written is an empty frame */
	int64_t report_ns;     /* until then answers gather */
	bool peer_gone;        /* end of file or reset was received */
	enum trouble trouble;  /* why it gave up */
	char *last_error;      /* the server's words outside of a batch */
};

/* Takes fd. The handshake's deadline starts now (CLOCK_BOOTTIME, as all times here). */
struct link *link_new(struct link_env *env, const struct wire_session *m, int fd, int64_t now_ns);
/* Closes the socket; says nothing to the loop. */
void link_free(struct link *l);

/* Events to poll for; 0 with fd -1. */
short link_poll_events(const struct link *l, bool may_write);
void link_timer(struct link *l, int64_t now_ns);
/* Socket I/O after poll. */
void link_io(struct link *l, short revents, int64_t now_ns);
/* Handles what has come in and reads one slice, if link_has_work(). */
void link_work(struct link *l, int64_t now_ns);
/* Files are to be read and there is room for what they hold: no event will tell. To be asked last
 * before waiting, as each write makes room. */
bool link_has_work(const struct link *l);

/* Sends the batch; takes it. The link is IDLE. */
void link_carry(struct link *l, struct cargo *c, int64_t now_ns);
/* Answers all items as unsent; for a batch whose session is not there. */
void link_turn_away(struct link_env *env, struct cargo *c);
/* Breaks off: the batch is answered, the peer may become a zombie. */
void link_give_up(struct link *l, enum trouble trouble, struct bytes text, int64_t now_ns);
/* Ends an unused link politely. */
void link_close(struct link *l, int64_t now_ns);

/* link_io.c: reads and feeds until the socket is empty (a few buffers at most). */
void link_read(struct link *l, int64_t now_ns);
void link_write(struct link *l, int64_t now_ns);
/* link.c: the socket came to its end; error 0: properly. */
void link_ended(struct link *l, int error, int64_t now_ns);
void link_take_events(struct link *l, int64_t now_ns);

/* link_time.c */
/* The next time at which link_timer() has to be called. */
int64_t link_wake_ns(const struct link *l);
/* Bytes went either way. */
void link_progress(struct link *l, int64_t now_ns);
/* Nothing came but what keeps the connection alive. */
void link_kept_alive(struct link *l, int64_t now_ns);
void link_wrote(struct link *l, int64_t now_ns);
/* Of what was sent unasked nothing is known, and nothing else is to be done. */
bool link_waits_for_unasked(const struct link *l);
/* A state in which the server would hang up on one that says nothing. */
bool link_keeps_alive(const struct link *l);
/* After how much silence the server gives up. */
int64_t link_timeout_ns(const struct link *l);
/* What comparing or flushing all that is listed may add to a lull. */
int64_t link_lull_spare_ns(const struct manifest *list);

#endif
