/*
 * talk: a session against an installed rsync, driven to its end, with everything noted that it
 * told.
 *
 * The tree lives in a temporary directory of its own. Content of files is given in memory. Every
 * wait has a deadline; a missed one fails the test.
 */
#ifndef TEST_TALK_H
#define TEST_TALK_H

#include <sys/types.h>
#include "rsync/session.h"

#define TALK_MAX 4096

enum talk_answer { TALK_SEND, TALK_NO_SEND, TALK_ABORT_ONCE, TALK_KILL_SERVER };

/* One entry and what its file holds. */
struct talk_file {
	struct session_entry entry;
	struct bytes content;
	enum talk_answer answer;
	bool unasked;       /* is sent right behind the list */
	struct bytes basis; /* a name that it is claimed to be a copy of */
	bool claimed;       /* and that was accepted */
	/* told by the session */
	unsigned requests, redos, successes, items, request_flags, item_flags;
};

struct talk {
	char dir[64]; /* the target */
	pid_t pid;
	int fd;
	struct session *s;
	struct talk_file *files;
	size_t n;
	bool phase, closed;
	size_t deleted_n;
	struct buf deleted;   /* names, each with a newline behind it; "/" behind directories */
	struct buf messages;  /* each with a newline behind it */
	unsigned errors;      /* ERROR and ERROR_XFER */
	size_t unasked;       /* at the end: sent unasked, without a word about it */
	uint64_t literal_out; /* bytes written since the list was sent */
	struct buf *record;   /* what the server sent, if set */
	const char
	        *caps; /* what we claim to understand, if not all: makes the server an older one */
	size_t read_max; /* bytes per read; 0: many */
};

void talk_init(struct talk *t);
void talk_done(struct talk *t); /* removes the directory */
/* cmocka setup and teardown; *state is the talk. */
int talk_make(void **state);
int talk_drop(void **state);
/* One data frame with these bytes. */
void talk_feed_data(struct session *s, struct bytes in);
/* As plain as options can be. */
extern const struct session_options talk_plain_options;
struct session_options talk_options(void);
/* Spawns `rsync --server` for the class and waits for READY (or FAILED). */
void talk_open(struct talk *t, enum session_class class, const struct session_options *o);
/* The same over a connected socket. */
void talk_open_fd(struct talk *t, int fd, enum session_kind kind, enum session_class class,
                  const struct session_options *o, const char *path,
                  const struct session_login *login);
/* Sends the list and serves until CLOSED or FAILED. */
void talk_list(struct talk *t, struct talk_file *files, size_t n, const struct session_risk *risks,
               size_t nrisks);
void talk_close(struct talk *t); /* frees the session, reaps the server */
/* open, list, close; asserts that it ended as it should. */
void talk_push(struct talk *t, enum session_class class, const struct session_options *o,
               struct talk_file *files, size_t n);
/* Until the state is left or reached. */
void talk_pump(struct talk *t, bool (*until)(struct talk *t));

struct talk_file talk_file(const char *path, const char *content);
struct talk_file talk_dir(const char *path);
/* "dir/path" in one of a few rotating buffers. */
const char *talk_path(const struct talk *t, const char *path);
void talk_write(const struct talk *t, const char *path, struct bytes content);
bool talk_exists(const struct talk *t, const char *path);
void talk_assert_content(const struct talk *t, const char *path, struct bytes content);
bool talk_said(const struct talk *t, const char *words);
bool talk_deleted(const struct talk *t, const char *name);

#endif
