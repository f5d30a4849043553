/*
 * connect_spawn: `rsync --server` on a socketpair, here or through ssh.
 *
 * A local target must be the directory that it was: its place (file system and inode) is written
 * down at first contact, and another one at the same path gets nothing until a person approves. The
 * server works in the directory that was looked at, not in what its path names when a list comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <unistd.h>
#include "base/mem.h"
#include "daemon/connect.h"
#include "daemon/connect_args.h"
#include "source/guard.h"

#define PIN_FILE "target.pin"

static void spawn_exited(struct child *child, int64_t status, int sig, void *arg)
{
	struct connect *c = arg;

	/* Of a local server a second process may be left, which holds the socket open and waits for
	 * the first. The session's end ends it, too. */
	if (sig && c->job && c->job->config->target.kind == TARGET_LOCAL)
		crew_send_id(c->job, WIRE_KILLED, c->session);
	connect_child_ended(c, child_errors(child), sig ? 128 + sig : status);
}

/* Starts argv with both standard streams on one socketpair; our end goes to the worker. */
static void spawn_run(struct connect *c, char *const *argv, const char *cwd)
{
	struct child_spec spec = {
	        .argv = argv, .cwd = cwd, .fd3 = -1, .exited = spawn_exited, .arg = c};
	struct err err = {0};
	int fds[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		connect_failed(c, TROUBLE_LOCAL, "socketpair: %s", strerror(errno));
		return;
	}
	(void)fd_set_nonblock(fds[0]);
	spec.fd0 = spec.fd1 = fds[1];
	r = child_spawn(&c->child, &c->job->instance->loop, &spec, &err);
	(void)close(fds[1]); /* the child has its own copy */
	if (r < 0) {
		(void)close(fds[0]);
		connect_failed(c, TROUBLE_LOCAL, "%s", err.text);
		return;
	}
	c->with_child = true;
	c->handles++;
	c->fd = fds[0];
	connect_done(c, SESSION_PIPE);
}

/* A local server starts in its target, descriptor `dir`; -1: wherever. */
static void spawn_target(struct connect *c, int dir)
{
	struct session_options o = c->job->session_options;

	o.extras = c->extras;
	session_leave_out(&o, c->without);
	struct words w =
	        connect_args(c->job->config, c->class, &o, share_control(c->job, &c->shared));
	autofree char *cwd = dir >= 0 ? mem_printf("/proc/self/fd/%d", dir) : NULL;

	if (cwd) { /* the target is the last word */
		free(w.items[w.count - 1]);
		w.items[w.count - 1] =
		        mem_strdup("."); /* "./" would be resolved by its path again */
	}
	spawn_run(c, w.items, cwd);
	words_done(&w);
}

/* --- local --- */

/* "uuid=... ino=..." where the file system has an identity that outlives a mount. xfs makes f_fsid
 * of the device's number, which may be another one after the next start. */
static char *place_identity(const struct connect_place *p, const struct stat *st,
                            const struct statfs *fs)
{
	char lasting[160];
	uint64_t fsid;

	guard_lasting(p->dir, p->path, lasting, sizeof(lasting));
	if (strcmp(lasting, "sample") != 0)
		return mem_printf("%s\n", lasting);
	memcpy(&fsid, &fs->f_fsid, sizeof(fsid));
	return mem_printf("fsid=%016" PRIx64 " ino=%" PRIu64 "\n", fsid, (uint64_t)st->st_ino);
}

/* An empty pin after a power cut would be another directory's: it is whole or not there. */
static int place_write_pin(const char *file, const char *text, struct err *err)
{
	autofree char *fresh = mem_printf("%s.new", file);
	autoclose int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? -errno : fd_write_full(fd, text, strlen(text));

	if (r == 0 && (fsync(fd) < 0 || rename(fresh, file) < 0))
		r = -errno;
	return r < 0 ? err_errno(err, -r, "cannot write %s", file) : 0;
}

/* 0: the pin agrees or was written now; -ESTALE: another directory; other -errno. */
static int place_pin(struct connect_place *p, const char *now)
{
	struct buf known;
	int r;

	buf_init(&known, 256);
	r = fd_read_file(p->pin, 256, &known, &p->err);
	if (r == -ENOENT)
		r = place_write_pin(p->pin, now, &p->err);
	else if (r == 0 && !bytes_equal(buf_bytes(&known), bytes_of(now)))
		r = -ESTALE;
	buf_done(&known);
	return r;
}

bool connect_is_mount(int dir)
{
	struct statx stx;
	struct stat st, up;

	if (statx(dir, "", AT_EMPTY_PATH, 0, &stx) == 0 &&
	    (stx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT))
		return stx.stx_attributes & STATX_ATTR_MOUNT_ROOT;
	return fstat(dir, &st) == 0 && fstatat(dir, "..", &up, 0) == 0 &&
	       (st.st_dev != up.st_dev || st.st_ino == up.st_ino);
}

static void place_timer_closed(uv_handle_t *h)
{
	connect_handle_closed(h->data);
}

static void place_close_timer(struct connect *c)
{
	c->timing = false;
	uv_close((uv_handle_t *)&c->timer, place_timer_closed);
}

static void place_look(void *arg)
{
	struct connect *c = arg;
	struct connect_place *p = &c->place;
	autofree char *now = NULL;
	struct stat st;
	struct statfs fs;

	p->dir = open(p->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (p->dir < 0 || fstat(p->dir, &st) < 0 || fstatfs(p->dir, &fs) < 0) {
		p->error = errno;
		return;
	}
	p->is_mount = connect_is_mount(p->dir);
	if (p->require_mount && !p->is_mount)
		return; /* nor is it what is to be pinned */
	now = place_identity(p, &st, &fs);
	p->pinned = place_pin(p, now);
}

static void place_next(struct job *j);

static void place_known(void *arg)
{
	struct connect *c = arg;
	struct connect_place *p = &c->place;
	autoclose int dir = TAKE_FD(p->dir);

	if (p->owner) {
		p->owner->looking = NULL;
		place_next(p->owner);
	}
	if (!c->job) {
		connect_handle_closed(c);
		return;
	}
	c->handles--;
	place_close_timer(c);
	c->job->pin_broken = false;
	if (p->error == ENOENT)
		connect_failed(c, TROUBLE_MISSING, "%s does not exist. Create it or mount it",
		               p->path);
	else if (p->error)
		connect_failed(c, TROUBLE_MISSING, "cannot look at %s: %s", p->path,
		               strerror(p->error));
	else if (p->require_mount && !p->is_mount)
		connect_failed(c, TROUBLE_MISSING, "nothing is mounted on %s (require_mount = yes)",
		               p->path);
	else if (p->pinned == -ESTALE) {
		c->job->pin_broken = true;
		connect_failed(
		        c, TROUBLE_MISSING,
		        "%s is not the directory that was mirrored to: it was replaced, or its "
		        "disk is not mounted. Nothing is sent. If that is intended: lockstep "
		        "approve 0 %s",
		        p->path, c->job->config->name);
	} else if (p->pinned < 0)
		connect_failed(c, TROUBLE_LOCAL, "%s", p->err.text);
	else
		spawn_target(c, dir);
}

void connect_approve_pin(struct job *j)
{
	autofree char *file = mem_printf("%s/%s", j->dir, PIN_FILE);

	(void)unlink(file); /* ENOENT: there was none */
	j->pin_broken = false;
}

static void place_late(uv_timer_t *t)
{
	struct connect *c = t->data;

	place_close_timer(c);
	connect_failed(c, TROUBLE_TIMEOUT, "%s: its file system does not answer", c->place.path);
}

/* The look of an attempt that was given up is not the next one's: what it saw may be another mount
 * by then. */
static void place_next(struct job *j)
{
	struct connect *c = j->connects;
	struct err err = {0};

	while (c && !c->place.waiting)
		c = c->next;
	if (j->looking || !c)
		return;
	c->place.waiting = false;
	if (aside_run(&j->instance->asides, place_look, place_known, c, &err) < 0) {
		place_close_timer(c);
		connect_failed(c, TROUBLE_LOCAL, "%s", err.text);
		return;
	}
	c->handles++;
	c->place.owner = j;
	j->looking = c;
}

void connect_local_forget(struct job *j)
{
	if (j->looking)
		j->looking->place.owner = NULL;
	j->looking = NULL;
}

void connect_local(struct connect *c)
{
	int64_t timeout_ns = c->job->config->options.handshake_timeout_ns;

	(void)snprintf(c->place.path, sizeof(c->place.path), "%s", c->job->config->target.path);
	(void)snprintf(c->place.pin, sizeof(c->place.pin), "%s/%s", c->job->dir, PIN_FILE);
	c->place.require_mount = c->job->config->options.require_mount;
	c->place.dir = -1;
	c->place.waiting = true;
	(void)uv_timer_init(&c->job->instance->loop, &c->timer);
	c->timer.data = c;
	c->timing = true;
	c->handles++;
	(void)uv_timer_start(&c->timer, place_late, (uint64_t)(timeout_ns / NS_PER_MS), 0);
	place_next(c->job);
}

/* --- ssh --- */

void connect_ssh(struct connect *c)
{
	spawn_target(c, -1);
}
