/*
 * session: one rsync conversation as client-sender, protocols 30 to 32, sans-I/O.
 *
 * Bytes in (session_feed), bytes out (session_output/session_sent), events out (session_next). It
 * never reads a file, a clock or a socket. One session carries one list.
 *
 *     GREETING -> (AUTH) -> SETUP -> READY --list--> SERVING -> GOODBYE -> CLOSED;  any -> FAILED
 *
 * Everything that the peer sends is checked against a limit first; a breach ends in FAILED with
 * -EPROTO. The peer names entries by index only, and only those of our list. Source: the rsync wire
 * protocol as described in docs/PROTOCOL.md.
 */
#ifndef RSYNC_SESSION_H
#define RSYNC_SESSION_H

#include <stdbool.h>
#include "base/bytes.h"
#include "base/err.h"

enum session_kind {
	SESSION_DAEMON, /* @RSYNCD greeting, module, auth, arguments in-band */
	SESSION_PIPE,   /* `rsync --server` on a pipe or through ssh: arguments went on its command
	                   line */
};

/* What a session is for; fixed by its arguments. */
enum session_class {
	SESSION_QUICK,
	SESSION_CONTENT,
	SESSION_DELETE,
	SESSION_COMPARE,
	SESSION_CHECKSUM,
	SESSION_CLASSES
};

/* How content is compressed. */
enum session_compress {
	SESSION_COMPRESS_NO,
	SESSION_COMPRESS_YES, /* by the first of these that the server has, too: */
	SESSION_COMPRESS_ZSTD,
	SESSION_COMPRESS_LZ4,
	SESSION_COMPRESS_ZLIBX,
	SESSION_COMPRESS_KINDS,
};
/* "zstd"; NULL for those that are none. */
const char *session_compress_name(enum session_compress method);

/* What is kept: the job's `keep` set and options, the same for all its sessions. */
/* What a session has settled with its server. One that is opened later, with the same server and by
 * the same options, says what follows from it without waiting to be asked, which saves one to two
 * round trips; if the server settles on something else by now, it fails. */
struct session_past {
	int protocol; /* 0: nothing is known, it waits for each word */
	bool names;   /* checksum and compression were chosen by their names */
	int checksum;
	enum session_compress compress; /* NO: not known, or none */
};

struct session_options {
	bool perms, owner, group, times, links, devices, hard_links, xattrs, acls;
	bool numeric_ids, sparse, fsync;
	enum session_compress compress;
	unsigned compress_level;     /* 0: the method's own; more than it has: its highest */
	bool no_ack, no_msgs, no_ns; /* session_leave_out() */
	bool copies; /* CONTENT: what is new may be built from another name (session_answer_claim)
	              */
	bool extras; /* COMPARE, CHECKSUM: EV_DELETED tells what lies in content directories
	              * and is not listed; nothing is deleted in these classes */
	unsigned timeout_s;             /* always sent; default 30 */
	const char *usermap, *groupmap; /* values of --usermap, --groupmap; NULL: none */
	unsigned min_digest; /* weakest auth digest accepted: 0 md4 1 md5 2 sha1 3 sha256 4 sha512;
	                        default 1 */
	int protocol_max;    /* 30..32; default 32 */
	struct session_past past;
};

/* What a server may refuse, or be too old to know, and is done without. */
enum session_without {
	SESSION_WITHOUT_XATTRS = 1,
	SESSION_WITHOUT_ACLS = 2,
	SESSION_WITHOUT_ACKS = 4, /* --remove-source-files: only the end of a list confirms */
	SESSION_WITHOUT_NS = 8,   /* --modify-window=-1, since 3.1.3: it compares whole seconds */
	/* PIPE: --no-msgs2stderr, since 3.2.0. Those before send their errors in the stream
	 * anyway; later ones would print them, where no item could claim them (I9). */
	SESSION_WITHOUT_MSGS = 16,
	SESSION_WITHOUT_COMPRESS = 32, /* --new-compress, since 3.1.1, or all compression */
	/* The choice among several, since 3.2.0, or the one that was wished: it is zlibx then. */
	SESSION_WITHOUT_CHOICE = 64,
	SESSION_WITHOUT_COPIES = 128, /* --copy-dest */
	SESSION_WITHOUT_ALL = 255,
};
/* What leaving a refused option out means; 0: it cannot be done without. */
unsigned session_without(struct bytes option);
/* `without`: set of enum session_without. */
void session_leave_out(struct session_options *o, unsigned without);

/* The server's arguments for a class: "--server", bundle, long options, ".", path; NULL-terminated,
 * freed by session_args_free(). For SESSION_DAEMON `path` is "module/sub/dir/"; for SESSION_PIPE
 * the directory. */
char **session_args(enum session_kind kind, enum session_class class,
                    const struct session_options *o, const char *path);
void session_args_free(char **args);

struct session_login {
	const char *module;   /* DAEMON only */
	const char *user;     /* may be NULL */
	const char *password; /* may be NULL; used only while authenticating, not kept */
};

struct session;
/* `login` NULL for SESSION_PIPE. Strings are copied. */
struct session *session_new(enum session_kind kind, enum session_class class,
                            const struct session_options *o, const char *path,
                            const struct session_login *login);
void session_free(struct session *s);

enum session_state {
	SESSION_GREETING,
	SESSION_AUTH,
	SESSION_SETUP,
	SESSION_READY,
	SESSION_SERVING,
	SESSION_GOODBYE,
	SESSION_CLOSED,
	SESSION_FAILED,
};
enum session_state session_state(const struct session *s);
/* Why it FAILED: the peer's own words (escaped) where it gave some. */
const struct err *session_error(const struct session *s);
/* Kind of failure, for the retry policy. */
enum session_fault {
	SESSION_FAULT_NONE,
	SESSION_FAULT_BUSY,
	SESSION_FAULT_LOGIN,
	SESSION_FAULT_READONLY,
	SESSION_FAULT_MISSING,
	SESSION_FAULT_REFUSED,
	SESSION_FAULT_PROTOCOL,
	SESSION_FAULT_HANGUP,
};
enum session_fault session_fault(const struct session *s);
/* Option the peer refused ("remove-source-files", "delete", "modify-window", ...) with
 * SESSION_FAULT_REFUSED; or "". */
const char *session_refused_option(const struct session *s);
/* The same judgement of words that came another way (standard error of ssh or of `rsync --server`);
 * NONE: they say nothing known. `option` (may be NULL) takes the refused option's name, cut to fit.
 */
enum session_fault session_fault_of_text(struct bytes text, char *option, size_t size);

int session_protocol(const struct session *s); /* 30..32 once past GREETING */
/* Of one that is READY. */
struct session_past session_settled(const struct session *s);
unsigned session_peer_timeout_s(const struct session *s); /* MSG_IO_TIMEOUT, 0: none told */

/* Consumes all of it. 0, or -errno once FAILED. */
int session_feed(struct session *s, struct bytes in);
/* The peer closed: in GOODBYE or CLOSED that is fine, elsewhere FAILED (HANGUP). */
void session_eof(struct session *s);
/* What to write next; empty: nothing. Valid until the next call that writes; bytes once shown do
 * not change. */
struct bytes session_output(struct session *s);
void session_sent(struct session *s, size_t n);
/* Queues an empty data frame; READY or SERVING only. */
void session_keepalive(struct session *s);

/* --- the list --- */
#define SESSION_XATTR_NAME_MAX  255
#define SESSION_XATTR_VALUE_MAX 65536 /* Linux has no longer ones */
struct session_xattr {
	struct bytes name, value; /* the name with its namespace, without a NUL */
};

#define SESSION_ACL_NONE 0x80 /* there is no such entry */
struct session_acl {
	uint8_t user, group, mask, other; /* rwx bits or SESSION_ACL_NONE */
	struct session_acl_name {
		uint32_t id;
		uint8_t access;
		bool user; /* else a group */
	} * names;         /* users first, then groups, each by id */
	size_t names_n;
};

struct session_entry {
	struct bytes path; /* relative; "" is sent as "." */
	uint32_t mode, uid, gid, rdev_major, rdev_minor;
	uint64_t size;
	int64_t mtime_ns;
	struct bytes link_target; /* symlinks */
	uint64_t link_group;      /* equal non-zero values: one inode (needs hard_links); 0: none */
	bool content_dir;         /* DELETE: what lies in it is subject to the rules; with `extras`:
	                             all that is ours in it is listed */
	bool implied;             /* an ancestor that rides along */
	struct bytes checksum;    /* CHECKSUM class: xxh128/md5... of the content,
	                             session_checksum_size() bytes */
	/* With xattrs: all that is kept, in the order of their names (bytes_compare). */
	const struct session_xattr *xattrs;
	size_t xattrs_n;
	/* With acls: NULL for none, which is more than the mode says, or for a directory none that
	 * is inherited. */
	const struct session_acl *acl, *default_acl;
};

/* One of session_list()'s rules. */
struct session_risk {
	struct bytes path;
	bool dir;
	enum session_risk_kind {
		SESSION_RISK_ENTRY, /* the path itself */
		SESSION_RISK_TEMPS, /* a receiver's temporary files of the path (tempname.h), unless
		                     * they are named as SPARED or are directories; without those
		                     * whose pattern is longer than receivers take */
		SESSION_RISK_SPARED, /* not at risk, whosever temporary file it may look like */
	} kind;
};
/* Names of ids, so that the receiver maps them to ids of its own (not with numeric_ids). Optional,
 * READY and before session_list(); copied. Names longer than 255 bytes are left out. */
struct session_id_name {
	uint32_t id;
	struct bytes name;
};
void session_set_names(struct session *s, const struct session_id_name *users, size_t nusers,
                       const struct session_id_name *groups, size_t ngroups);
/* An entry of type IFDIR with an empty path is the target's root: its attributes are set. With
 * DELETE all entries are directories, and each risk's parent is one of them with content_dir set,
 * or another risk. Only READY. Entries in any order, no duplicates, each one's parent included
 * ("" not needed): the session sorts; later calls and events use the CALLER's indexes. `rules`
 * (DELETE): paths at risk, `dir` says directory; encoded as "R /path" and closed by "P *" always;
 * with `extras` they are paths that are no extras, nor is anything below. Copies what it needs.
 * -EINVAL for a violated rule (nothing was sent). */
int session_list(struct session *s, const struct session_entry *entries, size_t n,
                 const struct session_risk *rules, size_t nrules, struct err *err);
/* Why a session with these options would refuse a list for the sake of what the file system said of
 * this entry; NULL: it would not. Static. */
const char *session_entry_fault(const struct session_options *o, const struct session_entry *e);
/* Ends an unused READY session politely (empty list). */
void session_quit(struct session *s);
size_t session_checksum_size(const struct session *s); /* READY and later: file digest bytes */
const char *session_checksum_name(const struct session *s);
/* What was settled: NO, ZSTD, LZ4 or ZLIBX. */
enum session_compress session_compress(const struct session *s);

/* --- events --- */
enum session_event_kind {
	SESSION_EV_NONE,
	SESSION_EV_REQUEST, /* the content of entry `index` is wanted: answer with the
	                       session_answer_* calls or session_no_send() */
	SESSION_EV_ITEM, /* the receiver did something with `index` by itself, or in a dry run would
	                  * (then also with SESSION_ITEM_TRANSFER); flags = iflags (the echo is
	                  * queued) */
	SESSION_EV_SUCCESS, /* entry `index` is finished at the target */
	SESSION_EV_DELETED, /* `text` = name (path), is_dir */
	SESSION_EV_MESSAGE, /* `text`, level: an error, warning or info text of the peer, raw bytes,
	                       its last newline cut */
	SESSION_EV_PHASE,  /* the receiver's last DONE arrived: everything is through, redone files,
	                    * deletions and the times of directories, which it restores at its end */
	SESSION_EV_CLOSED, /* goodbye complete; write what output is left, then EOF may be awaited
	                    */
};
/* iflags of an item or request: what differs, and what is done about it. */
enum session_item_flag {
	SESSION_ITEM_CHANGE = 0x2, /* link target, or content in a CHECKSUM session */
	SESSION_ITEM_SIZE = 0x4,
	SESSION_ITEM_TIME = 0x8,
	SESSION_ITEM_PERMS = 0x10,
	SESSION_ITEM_OWNER = 0x20,
	SESSION_ITEM_GROUP = 0x40,
	SESSION_ITEM_ACL = 0x80,
	SESSION_ITEM_XATTR = 0x100,
	SESSION_ITEM_XNAME = 0x1000,
	SESSION_ITEM_NEW = 0x2000,   /* the target did not have the name */
	SESSION_ITEM_LOCAL = 0x4000, /* made by the receiver itself: directory, link, special */
	SESSION_ITEM_TRANSFER = 0x8000,
};
enum session_level { SESSION_INFO, SESSION_WARNING, SESSION_ERROR, SESSION_ERROR_XFER };
struct session_event {
	enum session_event_kind kind;
	size_t index;      /* the caller's */
	unsigned flags;    /* iflags of the request or item */
	struct bytes text; /* borrowed until the next session_next/session_feed */
	enum session_level level;
	bool is_dir;
	bool redo; /* REQUEST: second try after a wrong digest */
};
/* Oldest event, or kind NONE. Requests are handed out one at a time: the next event REQUEST comes
 * after the current one was answered (other kinds come freely). */
void session_next(struct session *s, struct session_event *ret);

/* --- answering the current REQUEST --- */
/* Content comes in slices of any size (the worker uses 256 KiB); tokens, delta matching against the
 * receiver's block sums, compression and the file digest happen inside. Callers watch
 * session_output_pending() and pause at 1 MiB. */
void session_answer_begin(struct session *s, uint64_t expected_size);
void session_answer_data(struct session *s, struct bytes slice);
void session_answer_end(struct session *s);
/* Instead of session_answer_begin(): the target is believed to have most of this content under
 * another name, `basis`, in the directory of the requested file or below it (relative to that
 * directory). What session_answer_copy() tells to be equal to it is not sent, and the digest of the
 * whole decides: when the basis is not what we believe the file is requested once more, or, with
 * rsync 3.5.0 and a basis that is not there, the session breaks off. False, and nothing has begun:
 * not where that cannot be claimed, or the target has something to build on itself. */
bool session_answer_claim(struct session *s, struct bytes basis, uint64_t basis_bytes,
                          uint64_t expected_size);
#define SESSION_CLAIM_BLOCK 131072
/* The next bytes of the content, which the basis has from `offset` on: a multiple of
 * SESSION_CLAIM_BLOCK, as is their number unless they end the basis. */
void session_answer_copy(struct session *s, struct bytes slice, uint64_t offset);
/* Reading failed in the middle: a digest that cannot match is sent, the receiver keeps nothing. */
void session_answer_abort(struct session *s);
/* Nothing was sent for it yet: MSG_NO_SEND. Where its request wants extended attributes, which
 * others may share, those go, and it is requested once more. */
void session_no_send(struct session *s);
/* Entry `index` was answered, and the receiver has said that it failed. Of its two halves the one
 * that asks is not told, counts the file among those under way for ever, and asks for nothing more
 * while these are many; MSG_NO_SEND makes it let go. Changes nothing else, also where the file
 * arrives after all. Without effect once all requests were made. */
void session_write_off(struct session *s, size_t index);
/* A new small file may follow the list without waiting for its request, which then needs no answer
 * unless the file did not arrive (docs/PROTOCOL.md 6.6). Its directory has to exist at the target:
 * the half that writes does not wait for the one that makes directories. Begins such an answer, to
 * be gone on with by session_answer_data(); false: it has been asked for, or another answer is
 * under way. Only for regular files of a QUICK session with confirmations; not
 * where extended attributes or ACLs are kept, of which the receiver may want more. The request is
 * told as EV_ITEM. Without one, EV_SUCCESS may only mean that the target had an equal size and time
 * before; then another one follows. */
bool session_answer_unasked(struct session *s, size_t index, uint64_t expected_size);
/* The receiver has told of a failure of it. True: it was sent unasked, and is asked for once more
 * if the receiver still wants it. */
bool session_unasked_failed(struct session *s, size_t index);
/* Entries sent unasked of which nothing is known yet. */
size_t session_unasked(const struct session *s);
size_t session_output_pending(const struct session *s);
uint64_t session_bytes_out(const struct session *s), session_bytes_in(const struct session *s);
/* Grows with all that comes in once the frames have begun, but for what only keeps the connection
 * alive. */
uint64_t session_news(const struct session *s);
/* Any list byte has been handed out by session_output()/session_sent(). */
bool session_list_begun(const struct session *s);

#endif
