/*
 * Looks: the truth about a name is what lstat says in a directory that was opened beneath the root
 * and proved to be the one its node stands for.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "source/inside.h"

int look_open(struct source *s, uint32_t node, int flags, struct view *ret)
{
	struct stat st;
	int rc = dirtab_path(s->dirs, node, &s->path);

	lookthread_alive(s);
	if (rc != 0)
		return rc == -ENOENT ? -EAGAIN : rc;
	autoclose int fd =
	        fd_open_beneath(s->root_fd, buf_bytes(&s->path), flags | O_DIRECTORY | O_NOFOLLOW,
	                        s->config.cross_mounts);
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return -EAGAIN;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) != 0)
		return -errno;
	if (!dirtab_is(s->dirs, node, st.st_dev, st.st_ino))
		return -EAGAIN;
	if (s->path.n)
		buf_add_u8(&s->path, '/');
	*ret = (struct view){.node = node, .prefix = s->path.n, .fd = TAKE_FD(fd)};
	return 0;
}

void look_close(struct view *v)
{
	if (v->fd >= 0)
		(void)close(v->fd);
	v->fd = -1;
}

const char *look_set_name(struct source *s, const struct view *v, struct bytes name)
{
	s->path.n = v->prefix;
	buf_add_bytes(&s->path, name);
	buf_add_u8(&s->path, 0);
	s->path.n--;
	return s->path.n <= PATH_BYTES_MAX ? s->path.p + v->prefix : NULL;
}

void look_failed(struct source *s, uint32_t node, int rc)
{
	struct bytes path = buf_bytes(&s->path);

	if (rc == -EXDEV)
		return; /* what lies below a mount point is frozen */
	if (rc == -ENAMETOOLONG)
		return; /* found by look_too_long(), at its topmost directory */
	if (path.n && path.p[path.n - 1] == '/')
		path.n--;
	unread_add(s, path, rc);
	for (; node != DIRTAB_NONE; node = dirtab_parent(s->dirs, node))
		dirtab_set_unread(s->dirs, node, true);
	/* Want of descriptors or memory passes by itself, and no event will tell. */
	if (rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM) {
		int64_t soon_ns = clock_boot_ns() + 1000000000;

		if (s->crawl_at_ns > soon_ns)
			s->crawl_at_ns = soon_ns;
	}
}

void look_name_failed(struct source *s, const struct view *v, int rc)
{
	if (rc == -EACCES)
		s->path.n = v->prefix; /* the directory cannot be searched */
	look_failed(s, v->node, rc);
}

/* A name came and went, or went and came back, before anything could be sent, or is never sent: all
 * that is left of it is the directory's own time. Who asks may have had a mark that would have
 * carried it. */
static void report_passed(struct source *s, const struct view *v, unsigned job,
                          const struct look *look)
{
	struct bytes dir = path_parent(buf_bytes(&s->path));
	struct fingerprint seen;
	struct belief belief;
	struct stat st;

	if ((!(look->bits & (BACKLOG_CREATED | BACKLOG_MOVED | BACKLOG_GONE)) && !look->request) ||
	    fstat(v->fd, &st) < 0)
		return;
	fingerprint_of(&seen, &st);
	ledger_get(s->jobs[job].ledger, dir, &belief);
	if (!(belief.state & LEDGER_CONFIRMED) || fingerprint_compare(&belief.fp, &seen) != FP_SAME)
		outbox_mark(s, job, dir, look, MARK_META, MARK_DIR, 0, 0);
}

int look_too_long(struct source *s, const struct view *v, const struct look *look)
{
	struct bytes path = buf_bytes(&s->path);
	struct stat st;
	int rc;
	bool there = fstatat(v->fd, path.p + v->prefix, &st, AT_SYMLINK_NOFOLLOW) == 0;

	if (!there && errno != ENOENT) {
		rc = -errno;
		look_name_failed(s, v, rc);
		return rc;
	}
	if (there && filter_excludes(s->config.filter, path, S_ISDIR(st.st_mode)))
		return 0;
	if (there && !S_ISSOCK(st.st_mode))
		unread_add(s, path, -ENAMETOOLONG);
	else
		unread_forget(s, path);
	for (unsigned job = 0; job < SOURCE_JOBS_MAX; job++) {
		if (look->jobs & s->attached & 1u << job)
			report_passed(s, v, job, look);
	}
	return 0;
}

/* Who asks about a path below a name that is gone is told about that path: the name's own removal
 * is told once, by the event or the crawl that found it, and not again for each path below it. */
static void report_gone(struct source *s, const struct view *v, const struct look *look)
{
	bool below = path_below(look->asked, buf_bytes(&s->path));

	if (below) {
		s->path.n = 0;
		buf_add_bytes(&s->path, look->asked);
	}
	for (unsigned job = 0; job < SOURCE_JOBS_MAX; job++) {
		struct belief belief;

		if (!(look->jobs & s->attached & 1u << job))
			continue;
		ledger_get(s->jobs[job].ledger, buf_bytes(&s->path), &belief);
		if (belief.state != LEDGER_ABSENT) {
			gone_report(s, job, &belief, look);
			continue;
		}
		/* A mark for it, or for what was below it, may wait all the same. */
		if (look->bits || look->request)
			outbox_mark(s, job, buf_bytes(&s->path), look, MARK_DELETE, MARK_IF_PENDING,
			            0, 0);
		if (!below)
			report_passed(s, v, job, look);
	}
}

/* A read lease is refused while somebody has the file open for writing (or mapped so). It is given
 * back at once; a writer who comes in that instant waits for microseconds. The signal for broken
 * leases is one that is ignored by default: SIGIO would end the process. */
static enum writer {
	WRITER_NONE,
	WRITER_SURE,
	WRITER_MAYBE
} ask_writer(const struct view *v, const char *name)
{
	autoclose int fd =
	        openat(v->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || fcntl(fd, F_SETSIG, SIGURG) != 0)
		return WRITER_MAYBE;
	if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0)
		return errno == EAGAIN ? WRITER_SURE : WRITER_MAYBE; /* not allowed to ask */
	(void)fcntl(fd, F_SETLEASE, F_UNLCK);
	return WRITER_NONE;
}

bool look_has_writer(const struct view *v, const char *name)
{
	return ask_writer(v, name) != WRITER_NONE;
}

static bool is_hot(const struct view *v, const char *name, const struct stat *st, unsigned bits)
{
	if (!S_ISREG(st->st_mode) || (bits & BACKLOG_CLOSED) || !(bits & BACKLOG_DATA))
		return false;
	if ((bits & BACKLOG_MOVED) && !(bits & BACKLOG_WRITTEN))
		return false;
	/* link(2) creates a name and closes nothing. */
	if (st->st_nlink > 1 && !(bits & BACKLOG_WRITTEN))
		return false;
	return look_has_writer(v, name);
}

/* Whoever opened it under a name that it has lost since writes without an event for this one. */
static bool is_open_elsewhere(const struct view *v, const char *name, const struct stat *st,
                              const struct look *look)
{
	return S_ISREG(st->st_mode) && !look->by_hot &&
	       (st->st_nlink > 1 || (look->bits & BACKLOG_MOVED)) &&
	       ask_writer(v, name) == WRITER_SURE;
}

/* 0, or -errno when there is nothing (more) to be said about this name now. */
static int look_dir(struct source *s, struct view *v, struct bytes name, struct stat *st,
                    const struct look *look)
{
	uint32_t node, jobs = 0;
	bool fresh;
	int rc = adopt_dir(s, v, name, st, look, &node, &fresh);

	if (rc == -ENOENT || rc == -EAGAIN || rc == -EXDEV || rc == -ENOTDIR || rc == -ELOOP)
		return rc;
	if (rc != 0) {
		look_failed(s, v->node, rc);
		return 0; /* its own attributes are known all the same */
	}
	/* Who found it here first may have looked for one job alone. Of an exchange the second name
	 * hears last that something has left. */
	if (fresh)
		jobs = look->jobs;
	else if (look->bits & (BACKLOG_CREATED | BACKLOG_MOVED | BACKLOG_GONE))
		jobs = look->jobs & ~dirtab_seen(s->dirs, node);
	else if ((look->bits & BACKLOG_META) && dirtab_unread(s->dirs, node))
		jobs = look->jobs;
	if (jobs) {
		struct look below = *look;

		below.jobs = jobs;
		dirtab_set_unread(s->dirs, node, false);
		crawl_fresh(s, node, true, &below);
	}
	return 0;
}

void look_name(struct source *s, struct view *v, struct bytes name, const struct look *look)
{
	const char *at = look_set_name(s, v, name);
	bool top = v->node == DIRTAB_ROOT, hot = look->hot;
	int64_t hot_since_ns = 0;
	struct fingerprint seen;
	struct stat st;

	lookthread_alive(s);
	if (!at) {
		(void)look_too_long(s, v, look);
		return;
	}
	if (fstatat(v->fd, at, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		if (errno != ENOENT) {
			look_name_failed(s, v, -errno);
			return;
		}
		st.st_mode = S_IFSOCK;
	}
	/* Nothing, or a socket: those are not mirrored. */
	if (S_ISSOCK(st.st_mode)) {
		uint32_t child = dirtab_child(s->dirs, v->node, name);

		unread_forget(s, buf_bytes(&s->path));
		if (child != DIRTAB_NONE)
			unread_forget_below(s, buf_bytes(&s->path));
		park_limbo(s, child);
		s->root_lost |= top;
		if (!late_take(s, look))
			report_gone(s, v, look);
		return;
	}
	s->empty_allowed &= !top;
	if (filter_excludes(s->config.filter, buf_bytes(&s->path), S_ISDIR(st.st_mode))) {
		park_limbo(s, dirtab_child(s->dirs, v->node, name));
		return;
	}
	if (!S_ISDIR(st.st_mode)) {
		unread_forget(s, buf_bytes(&s->path));
		park_limbo(s, dirtab_child(s->dirs, v->node, name));
	} else if (look_dir(s, v, name, &st, look) != 0)
		return;
	fingerprint_of(&seen, &st);
	if (is_hot(v, at, &st, look->bits)) {
		hot_since_ns = hot_add(s, v->node, name, &seen);
		hot = true;
	} else if (is_open_elsewhere(v, at, &st, look)) {
		(void)hot_add(s, v->node, name, &seen);
	}
	for (unsigned job = 0; job < SOURCE_JOBS_MAX; job++) {
		struct belief belief;

		if (!(look->jobs & s->attached & 1u << job))
			continue;
		ledger_get(s->jobs[job].ledger, buf_bytes(&s->path), &belief);
		if (!compare_entry(s, job, &seen, &belief, look,
		                   hot ? hot_flags(&belief, &seen, hot_since_ns) : 0))
			report_passed(s, v, job, look);
		/* Linux 5.3 to 5.6 tell of a removal before it is done. Else another event follows,
		 * and this costs a look. */
		if ((look->bits & BACKLOG_GONE) && !(look->bits & BACKLOG_DATA))
			outbox_mark(s, job, buf_bytes(&s->path), look, MARK_LOOK, 0, 0, 0);
	}
}

void look_one(struct source *s, uint32_t node, struct bytes name, const struct look *look)
{
	struct view v;
	int rc = look_open(s, node, O_PATH, &v);

	if (rc == 0) {
		look_name(s, &v, name, look);
		look_close(&v);
	} else if (rc == -EAGAIN) {
		park_name(s, node, name, look);
		park_suspect(s, node, look);
	} else {
		look_failed(s, node, rc);
	}
}

void look_path(struct source *s, struct bytes path, const struct look *look)
{
	struct bytes rest;
	uint32_t node = dirtab_resolve(s->dirs, path_parent(path), &rest);

	look_one(s, node, rest.n ? path_next(&rest) : path_name(path), look);
}

void look_below(struct source *s, struct bytes path, bool deep, const struct look *look)
{
	struct bytes rest, parent_rest;
	uint32_t node = dirtab_resolve(s->dirs, path, &rest);

	if (rest.n) {
		look_one(s, node, path_next(&rest), look);
		return;
	}
	if (!path.n)
		look_root(s, look);
	else
		look_one(s, dirtab_resolve(s->dirs, path_parent(path), &parent_rest),
		         path_name(path), look);
	if (deep && dirtab_alive(s->dirs, node))
		crawl_push(crawl_new(s, CRAWL_REQUEST, look), node, look->jobs, true);
}

void look_root(struct source *s, const struct look *look)
{
	struct fingerprint seen;
	struct stat st;
	bool racy;

	if (fstat(s->root_fd, &st) != 0)
		return;
	fingerprint_of(&seen, &st);
	racy = fingerprint_racy(&seen, clock_wall_ns(), s->racy_window_ns);
	for (unsigned job = 0; job < SOURCE_JOBS_MAX; job++) {
		struct belief belief;

		if (!(look->jobs & s->attached & 1u << job))
			continue;
		/* A target's root always exists: only attributes can be out of line. */
		ledger_get(s->jobs[job].ledger, (struct bytes){0}, &belief);
		if (look->least != MARK_LOOK || belief.state != LEDGER_CONFIRMED ||
		    fingerprint_compare(&belief.fp, &seen) != FP_SAME ||
		    compare_attributes(s, job, &belief, &seen, look->bits, racy))
			outbox_mark(s, job, (struct bytes){0}, look, MARK_META, MARK_DIR, 0, 0);
	}
}

/* An event about a directory itself: its parent's watch tells the same by name, if it has one. */
static void look_self(struct source *s, uint32_t node, const struct look *look)
{
	uint32_t parent = dirtab_parent(s->dirs, node);

	if (node == DIRTAB_ROOT) {
		if (dirtab_unread(s->dirs, node)) {
			dirtab_set_unread(s->dirs, node, false);
			crawl_fresh(s, node, true, look);
		}
		look_root(s, look);
	} else if (parent != DIRTAB_NONE && dirtab_wd(s->dirs, parent) < 0) {
		struct bytes name = dirtab_name(s->dirs, node);
		autofree char *copy = mem_dup(name.p, name.n); /* the look may move it */

		look_one(s, parent, (struct bytes){copy, name.n}, look);
	}
}

void look_left(struct source *s, uint32_t node, const struct backlog_dir *dir)
{
	struct look look = {.jobs = s->attached, .least = MARK_LOOK};
	struct backlog_name n;
	uint32_t at = dir->first;

	while (backlog_next(s->taken, &at, &n)) {
		enum mark_action action = n.bits & BACKLOG_LEFT ? MARK_CONTENT : MARK_META;

		if (!(n.bits & BACKLOG_LEFT) &&
		    (!(n.bits & BACKLOG_META) || !(n.bits & (BACKLOG_GONE | BACKLOG_MOVED))))
			continue;
		if (dirtab_path(s->dirs, node, &s->path) != 0)
			continue;
		if (s->path.n)
			buf_add_u8(&s->path, '/');
		buf_add_bytes(&s->path, n.name);
		look.born = n.drain;
		look.since_ns = n.since_ns;
		compare_left(s, action, &look);
	}
}

void look_batch(struct source *s, uint32_t node, const struct backlog_dir *dir)
{
	struct look look = {.jobs = s->attached, .least = MARK_LOOK};
	struct look self = {0}, oldest = {.born = BORN_NONE};
	struct view v = {.fd = -1};
	struct backlog_name n;
	uint32_t at = dir->first;
	int rc = 0;

	if (dir->first != UINT32_MAX)
		rc = look_open(s, node, O_PATH, &v);
	while (backlog_next(s->taken, &at, &n)) {
		look.born = n.drain;
		look.since_ns = n.since_ns;
		look.bits = n.bits;
		if (look.born < oldest.born)
			oldest = look;
		if (!n.name.n)
			self = look;
		else if (rc == 0)
			look_name(s, &v, n.name, &look);
		else if (rc == -EAGAIN)
			park_name(s, node, n.name, &look);
	}
	look_close(&v);
	if (self.jobs)
		look_self(s, node, &self);
	if (rc == -EAGAIN)
		park_suspect(s, node, &oldest);
	else if (rc != 0)
		look_failed(s, node, rc);
	if (!dir->whole)
		return;
	look.born = dir->drain;
	look.since_ns = dir->since_ns;
	look.bits = 0;
	look.wary_ns = clock_wall_ns() - (clock_boot_ns() - dir->since_ns) - 10000000000;
	crawl_fresh(s, node, false, &look);
}
