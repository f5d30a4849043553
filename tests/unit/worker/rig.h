/*
 * rig: a worker process under test, the loop's end of its frame socket, a tree to send from, and a
 * real `rsync --server` (or `rsync --daemon`) to send to, all in one temporary directory.
 *
 * Waiting is for frames and file events, never for time to pass.
 */
#ifndef TESTS_WORKER_RIG_H
#define TESTS_WORKER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/frame.h"
#include "worker/wire.h"

#define RIG_ITEMS    2048
#define RIG_CONTEXTS 160
#define RIG_TEXT     512

struct rig {
	char dir[64]; /* holds src and dst */
	int dir_fd, src_fd, dst_fd;
	struct wire_setup setup;
	uid_t uid; /* of the worker, 0: ours */
	pid_t worker;
	int fd;
	struct frame_out *out;
	struct frame_in *in;
	struct frame frame;
	pid_t server; /* its own process group; 0: none */
	uint64_t session, batch;
	const char *password;
	bool remote_exit;              /* of sessions to come */
	bool extras;                   /* the same */
	unsigned without;              /* the same, enum session_without */
	int64_t racy_window_ns;        /* of batches to come */
	struct wire_former formers[8]; /* of the next batch */
	size_t formers_n;
	struct wire_basis bases[4]; /* the same */
	size_t bases_n;

	struct wire_result_item items[RIG_ITEMS]; /* by index; result 0: none yet */
	char texts[RIG_ITEMS][RIG_TEXT];
	struct rig_context {
		char path[RIG_TEXT];
		uint8_t result;
		struct fingerprint fp;
	} contexts[RIG_CONTEXTS];
	size_t contexts_n, results_n;
	struct wire_ready ready;
	struct wire_done done;
	struct wire_gone gone;
	char done_text[RIG_TEXT], gone_text[RIG_TEXT], refused[RIG_TEXT];
	bool have_ready, have_done, have_gone, have_pong;
};

/* cmocka setup and teardown; *state is the rig. */
int rig_make(void **state);
int rig_drop(void **state);

/* Starts the worker and sends rig->setup. */
void rig_start(struct rig *r);
/* Starts `rsync --server` on dst and waits until its session is ready. */
void rig_connect(struct rig *r, enum session_class class);
/* As rig_connect() through an `rsync --daemon` with this configuration of module "m"; does
 * not wait. */
void rig_connect_daemon(struct rig *r, enum session_class class, const char *options);
/* Hands over one end of a socketpair and returns the other; does not wait. */
int rig_connect_own(struct rig *r, enum session_kind kind, enum session_class class);

/* Sends the batch on the current session. Paths are borrowed. */
void rig_batch(struct rig *r, const struct wire_item *items, size_t n);
/* The worker has dealt with everything that was sent to it so far. */
void rig_sync(struct rig *r);
void rig_wait_ready(struct rig *r);
void rig_wait_done(struct rig *r);
void rig_wait_gone(struct rig *r);
void rig_send_id(struct rig *r, enum wire_type type, uint64_t id);
/* Batch, DONE with `trouble` NONE, and the session's polite end. */
void rig_carry(struct rig *r, const struct wire_item *items, size_t n);
/* Asks the worker to quit; its exit status. */
int rig_quit(struct rig *r);
void rig_signal_server(struct rig *r, int sig);

/* Below rig->dir, e.g. "src/a/b"; directories in front are made. mtime in seconds, 0: now. */
void rig_write(struct rig *r, const char *path, const char *content, int64_t mtime_s);
void rig_fill(struct rig *r, const char *path, size_t bytes);
void rig_mkdir(struct rig *r, const char *path);
void rig_set_mtime(struct rig *r, const char *path, int64_t mtime_s);
bool rig_exists(struct rig *r, const char *path);
void rig_assert_content(struct rig *r, const char *path, const char *content);
struct stat rig_stat(struct rig *r, const char *path);
/* Waits until something is created in the directory. `watch` comes from rig_watch(). */
int rig_watch(struct rig *r, const char *path);
void rig_wait_event(int watch);

struct rig_context *rig_context(struct rig *r, const char *path);

#define ITEM(p, f) ((struct wire_item){.path = {(p), strlen(p)}, .flags = (f)})

#define OLD 1000000000 /* a time that is never racy */

/* Fails with the server's words when item i was answered otherwise. */
void assert_result(const struct rig *r, size_t i, enum wire_result result);

#endif
