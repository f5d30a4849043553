/*
 * wire: the messages between the loop and a job's worker process, and their encoding.
 *
 * Both directions are frames (base/frame.h) with arrays: a batch is one frame, a report carries
 * many items. The loop treats what a worker says as input from a less trusted process: batch and
 * item numbers are checked, texts are escaped before they are shown.
 */
#ifndef WORKER_WIRE_H
#define WORKER_WIRE_H

#include "base/bytes.h"
#include "core/fingerprint.h"
#include "core/pace.h"
#include "rsync/session.h"

enum wire_type {
	/* loop -> worker */
	WIRE_SETUP = 1, /* struct wire_setup; first, once */
	WIRE_SESSION,   /* struct wire_session + 1 descriptor: connected socket of a new session */
	WIRE_BATCH,     /* struct wire_batch + 1 descriptor: the tree's root */
	WIRE_CANCEL,    /* le64 batch id: give its session up (it becomes a zombie) */
	WIRE_CLOSE,     /* le64 session id: end an idle session politely */
	WIRE_KILLED,    /* le64 session id: the first of its server's processes was killed */
	WIRE_QUIT,      /* finish: cancel everything, exit 0 */
	WIRE_PING,      /* empty: answered at once by a worker that is not stuck */
	/* worker -> loop */
	WIRE_READY = 32,   /* struct wire_ready: the session's handshake is done */
	WIRE_SESSION_GONE, /* struct wire_gone: the session ended (used up, failed, zombie over) */
	WIRE_REPORT,       /* struct wire_report: results of items so far */
	WIRE_BATCH_DONE,   /* struct wire_done: every item of the batch has been reported */
	WIRE_PONG,         /* empty */
};

struct wire_setup {
	char job[128];
	struct session_options options;
	uint64_t bwlimit_bytes; /* per second, all sessions of the job; 0: none */
	/* Handshake: from the descriptor to WIRE_READY. Idle: the silence after which a running
	 * batch is given up, at least the server's own time and a margin. 0: defaults. */
	uint32_t handshake_timeout_s, idle_timeout_s;
	bool cross_mounts;
	bool sandbox;
	/* chmod/chown mapping applied to list entries; a pair of zeros changes nothing */
	struct wire_mode_map {
		uint32_t file_and, file_or, dir_and, dir_or;
	} mode_map;
	bool map_uid, map_gid;
	uint32_t uid, gid;
};

struct wire_session {
	uint64_t id;
	uint8_t kind, class; /* enum session_kind, session_class */
	bool tls; /* the descriptor leads to a TLS relay: its end of file proves nothing about the
	             peer (I13) */
	bool remote_exit; /* reached through ssh: end of file is ssh's, not the server's (I13) */
	bool extras;      /* session_options.extras, of this session only */
	uint8_t without;  /* enum session_without: the target refuses it */
	char *path, *module, *user,
	        *password; /* owned by whoever decoded; password freed by mem_free_secret */
};

enum wire_item_flag {
	WIRE_ITEM_DIR = 1,
	WIRE_ITEM_META = 2,
	WIRE_ITEM_STAMP = 4,
	WIRE_ITEM_SERVE = 8,
	WIRE_ITEM_WHOLE = 16, /* with extras: a directory all of whose names are in the batch */
	/* Deletions only. TEMPS: also what a receiver may have left behind of the name, its
	 * temporary files; SPARE: not the name itself. SPARE alone: the name is somebody's, even
	 * where it looks like a temporary file of another. Confirmed like a deletion. */
	WIRE_ITEM_TEMPS = 32,
	WIRE_ITEM_SPARE = 64,
	/* Content class: not sent again when it is what this worker brought to the target last. */
	WIRE_ITEM_UNLESS_SAME = 128,
	/* Quick class: certainly new to the target, which has its directory: if it is small it goes
	 * with the list. */
	WIRE_ITEM_UNASKED = 256,
};
struct wire_item {
	struct bytes path;
	uint16_t flags;  /* DIR: for deletions "was a directory"; STAMP: a stamp file, not in the
	                  * tree: mtime_s is its generation; SERVE: a stamp that is to be written
	                  * (else only proven) */
	int64_t mtime_s; /* STAMP only */
};
/* A name that the file of an item had before, and that the target is believed to hold; or, with
 * WIRE_NO_ITEM, a directory above such a name, for when the source does not have it any more. */
#define WIRE_NO_ITEM UINT32_MAX
struct wire_former {
	struct bytes path;
	uint32_t item;         /* index into the batch's items */
	struct fingerprint fp; /* believed */
};
/* Content class: a name in the same directory whose content at the target, as believed, an item's
 * may be built from. */
struct wire_basis {
	struct bytes path;
	uint32_t item; /* index into the batch's items */
	struct fingerprint fp;
};
struct wire_batch {
	uint64_t id, session; /* session id that carries it; it must be READY and of the class */
	struct wire_item *items;
	size_t count;
	int64_t racy_window_ns; /* of the tree as it is now (fingerprint_racy) */
	struct wire_former *formers;
	size_t formers_n;
	struct wire_basis *bases;
	size_t bases_n;
};

enum wire_result {
	WIRE_ACKED = 1, /* confirmed; fp is what was sent (I3: taken before the content was read) */
	WIRE_MOVED,     /* sent and confirmed, but it moved while it was read: fp as sent, mark must
	                   stay */
	WIRE_VANISHED,  /* not there any more, or another type than listed: look again */
	WIRE_UNREADABLE, /* our side cannot read it (EACCES, EIO): text says why */
	WIRE_FAILED,  /* the target refused or failed it: text is the server's own, trouble its kind
	               */
	WIRE_KEPT,    /* deletion: the directory stays, because something foreign is in it */
	WIRE_UNSENT,  /* the batch ended before any byte about it left: the intent may be withdrawn
	               */
	WIRE_UNKNOWN, /* bytes may have left, no answer: send again */
	WIRE_CONTEXT, /* not an item of the batch: an ancestor that was listed and is now confirmed
	                 with fp */
	WIRE_CONTEXT_MOVED, /* an ancestor whose attributes moved meanwhile: needs META */
	WIRE_PROVEN,        /* stamp: the target has exactly this generation */
	WIRE_DISPROVED,     /* stamp: missing or another generation. In a session that compares:
	                     * the target has it otherwise, text says how. With extras and without an
	                     * index: the path lies at the target, and neither in the batch nor in
	                     * the tree */
	WIRE_SAME, /* content class: not listed, since this worker brought this very content to the
	            * target before and nothing else since; attributes may differ */
	WIRE_CONTEXT_UNKNOWN, /* an ancestor that was listed, and may have been made; but an error
	                         names it, or nobody */
	WIRE_RESULTS,
};
const char *wire_result_word(enum wire_result result); /* "acked", ... for logs */
/* The result is about an ancestor, not about an item. */
bool wire_result_is_context(enum wire_result result);

enum wire_result_flag {
	WIRE_RACY = 1,
	WIRE_WAS_NEW = 2, /* the receiver did not have the name */
	WIRE_DATA_SENT = 4,
	WIRE_FORMER = 8,    /* its former name was listed, too */
	WIRE_CLAIMED = 16,  /* it was to be built from another name, */
	WIRE_MISTAKEN = 32, /* which the target has otherwise */
};

struct wire_result_item {
	uint32_t index; /* into the batch's items; UINT32_MAX for CONTEXT results and extras, which
	                   carry a path */
	uint8_t result, flags;
	uint8_t trouble;       /* enum trouble with FAILED */
	struct fingerprint fp; /* ACKED, MOVED, CONTEXT* */
	struct bytes path;     /* CONTEXT* and extras only; fp.mode of an extra: its type */
	struct bytes text; /* FAILED, UNREADABLE, KEPT, DISPROVED; with ACKED and MOVED: what the
	                    * server said against an item that it confirmed all the same (an
	                    * attribute that it cannot keep) */
};
struct wire_report {
	uint64_t batch;
	struct wire_result_item *items;
	size_t count;
};
struct wire_ready {
	uint64_t session;
	int32_t protocol;
	uint32_t peer_timeout_s;
	uint8_t compress; /* enum session_compress: what was settled */
};
struct wire_gone {
	uint64_t session;
	uint8_t trouble; /* enum trouble; NONE: ended as it should */
	bool was_ready;
	bool zombie_over; /* the session had been given up; its peer is known to be gone now (I13)
	                   */
	struct bytes text, refused_option;
};
struct wire_done {
	uint64_t batch, session;
	uint8_t trouble; /* enum trouble of the session, NONE: ran to its end */
	bool zombie; /* the session was given up or broke off: its server may still write (I13) */
	uint64_t bytes_out, bytes_in;
	struct bytes text;
};

/* Encoders append to `out`; decoders return 0 or -EPROTO (then nothing is left to free), borrow
 * slices from the payload and allocate only arrays and C strings (freed by wire_free_*). Item paths
 * have passed path_valid(). */
void wire_put_setup(struct buf *out, const struct wire_setup *m);
int wire_get_setup(struct bytes payload, struct wire_setup *ret);
void wire_free_setup(struct wire_setup *m); /* usermap and groupmap of a decoded one */
void wire_put_session(struct buf *out, const struct wire_session *m);
int wire_get_session(struct bytes payload, struct wire_session *ret);
void wire_free_session(struct wire_session *m);
void wire_put_batch(struct buf *out, const struct wire_batch *m);
int wire_get_batch(struct bytes payload, struct wire_batch *ret);
void wire_free_batch(struct wire_batch *m);
void wire_put_report(struct buf *out, const struct wire_report *m);
int wire_get_report(struct bytes payload, struct wire_report *ret);
void wire_free_report(struct wire_report *m);
void wire_put_ready(struct buf *out, const struct wire_ready *m);
int wire_get_ready(struct bytes payload, struct wire_ready *ret);
void wire_put_gone(struct buf *out, const struct wire_gone *m);
int wire_get_gone(struct bytes payload, struct wire_gone *ret);
void wire_put_done(struct buf *out, const struct wire_done *m);
int wire_get_done(struct bytes payload, struct wire_done *ret);
/* WIRE_CANCEL, WIRE_CLOSE and WIRE_KILLED: one number. */
void wire_put_id(struct buf *out, uint64_t id);
int wire_get_id(struct bytes payload, uint64_t *ret);

#endif
