/*
 * The way out: marks gathered into letters, and what status shows.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "source/inotify.h"
#include "source/inside.h"

enum { LETTER_MARKS = 512, PROGRESS_EVERY_MS = 500 };

/* Paths are offsets into `paths` until the letter leaves. */
struct marks_letter {
	struct source_marks out;
	size_t cap;
	char *paths;
	size_t paths_n, paths_cap;
};

static void post(struct source *s, struct letter *letter, enum source_letter_kind kind)
{
	letter->kind = kind;
	mailbox_post(s->out, letter);
}

static void letter_leave(struct source *s, struct marks_letter *m, int root_fd)
{
	for (size_t i = 0; m->paths && i < m->out.count; i++)
		m->out.marks[i].path.p = m->paths + (uintptr_t)m->out.marks[i].path.p;
	m->out.root_fd = root_fd;
	m->out.owed = s->jobs[m->out.job].owed;
	s->jobs[m->out.job].owed_told = m->out.owed;
	post(s, &m->out.letter, SOURCE_MARKS);
}

static void marks_letter_free(struct marks_letter *m)
{
	if (!m)
		return;
	free(m->out.marks);
	free(m->paths);
	free(m);
}

void source_letter_free(struct letter *letter)
{
	struct source_marks *m;

	if (!letter)
		return;
	switch ((enum source_letter_kind)letter->kind) {
	case SOURCE_MARKS:
		m = container_of(letter, struct source_marks, letter);
		if (m->root_fd >= 0)
			(void)close(m->root_fd);
		marks_letter_free(container_of(m, struct marks_letter, out));
		return;
	case SOURCE_ROOT:
		if (container_of(letter, struct source_root, letter)->root_fd >= 0)
			(void)close(container_of(letter, struct source_root, letter)->root_fd);
		break;
	case SOURCE_BARRIER:
	case SOURCE_STATE:
	case SOURCE_PROGRESS:
	case SOURCE_LOOKED:
	case SOURCE_ENDED:
		break;
	}
	free(letter); /* each kind begins with its letter */
}

static struct marks_letter *letter_of(struct source *s, unsigned job)
{
	struct job *j = &s->jobs[job];

	if (!j->letter) {
		j->letter = mem_alloc(sizeof(*j->letter));
		j->letter->out.source = s;
		j->letter->out.job = job;
		j->letter->out.root_fd = -1;
	}
	return j->letter;
}

struct mark *outbox_mark(struct source *s, unsigned job, struct bytes path, const struct look *look,
                         enum mark_action action, unsigned flags, uint64_t size, uint64_t link)
{
	struct marks_letter *m = letter_of(s, job);
	size_t most = s->config.letter_marks ? s->config.letter_marks : LETTER_MARKS;

	if (m->out.count == most) {
		letter_leave(s, TAKE(s->jobs[job].letter), -1);
		m = letter_of(s, job);
	}
	if (m->out.count == m->cap) {
		m->cap = m->cap ? m->cap * 2 : 4;
		m->out.marks = mem_realloc(m->out.marks, m->cap, sizeof(*m->out.marks));
	}
	if (m->paths_n + path.n > m->paths_cap) {
		m->paths_cap = (m->paths_n + path.n) * 2 + 64;
		m->paths = mem_realloc(m->paths, m->paths_cap, 1);
	}
	if (path.n)
		memcpy(m->paths + m->paths_n, path.p, path.n);
	m->out.marks[m->out.count++] = (struct mark){
	        .path = {(const char *)(uintptr_t)m->paths_n, path.n},
	        .scope = MARK_ENTRY,
	        .action = action,
	        .flags = flags | look->flags,
	        .born = look->born,
	        .since_ns = look->since_ns,
	        .size = size,
	        .link = link,
	};
	m->paths_n += path.n;
	if (look->by_crawl && s->room && s->room != SIZE_MAX)
		s->room--;
	return &m->out.marks[m->out.count - 1];
}

void outbox_flush(struct source *s)
{
	for (unsigned job = 0; job < SOURCE_JOBS_MAX; job++) {
		struct job *j = &s->jobs[job];
		struct marks_letter *m = j->owed == j->owed_told ? j->letter : letter_of(s, job);

		j->letter = NULL;
		if (m)
			letter_leave(s, m,
			             s->root_fd < 0 ? -1 : fcntl(s->root_fd, F_DUPFD_CLOEXEC, 0));
	}
}

void outbox_discard(struct source *s, unsigned job)
{
	marks_letter_free(TAKE(s->jobs[job].letter));
}

static void explain_limits(struct source *s, struct buf *text)
{
	if (s->queue < 0) {
		uint64_t now = inotify_limit("max_user_instances");

		buf_printf(text,
		           "inotify instance limit reached (fs.inotify.max_user_instances = %llu): "
		           "changes are found by a periodic crawl only. Run: sysctl -w "
		           "fs.inotify.max_user_instances=%llu and restart. ",
		           (unsigned long long)now, (unsigned long long)(now * 2));
	} else if (s->unwatched && s->watch_error != ENOSPC) {
		buf_printf(text,
		           "%llu directories cannot be watched (%s): changes in them are found by "
		           "a periodic crawl only. ",
		           (unsigned long long)s->unwatched, strerror(s->watch_error));
	} else if (s->unwatched) {
		uint64_t now = inotify_limit("max_user_watches");
		uint64_t need = now + s->unwatched, round = 8192;

		while (round < need + need / 4)
			round *= 2;
		buf_printf(text,
		           "inotify watch limit reached (fs.inotify.max_user_watches = %llu, %llu "
		           "directories are not watched). Run: sysctl -w "
		           "fs.inotify.max_user_watches=%llu ",
		           (unsigned long long)now, (unsigned long long)s->unwatched,
		           (unsigned long long)round);
	}
	if (s->remote_kind)
		buf_printf(text,
		           "%s is on a network or user-space file system (%s): changes made by "
		           "others raise no events and are found by a periodic crawl. ",
		           path_show(bytes_of(s->config.root)), s->remote_kind);
}

static void explain_troubles(struct source *s, struct buf *text)
{
	if (s->mount_first[0])
		buf_printf(text, "Mount points below the root are left alone (%s). ",
		           s->mount_first);
	unread_explain(s, text);
}

void outbox_state(struct source *s)
{
	enum source_health health = SOURCE_LIVE;
	struct source_state *letter;
	struct buf text;

	buf_init(&text, sizeof(letter->text) - 1);
	if (s->frozen) {
		health = SOURCE_FROZEN;
		buf_printf(&text, "%s", s->frozen_text);
	} else {
		if (s->unwatched || s->queue < 0 || s->remote_kind)
			health = SOURCE_DEGRADED;
		explain_limits(s, &text);
		explain_troubles(s, &text);
	}
	while (text.n && text.p[text.n - 1] == ' ')
		text.n--;
	if (!s->told || health != s->told_health || text.n != strlen(s->told_text) ||
	    (text.n && memcmp(text.p, s->told_text, text.n) != 0) ||
	    strcmp(s->guard.lasting, s->told_root) != 0) {
		letter = mem_alloc(sizeof(*letter));
		letter->source = s;
		letter->health = health;
		letter->absent = s->absent;
		letter->adopted = s->adopted;
		letter->racy_window_ns = s->racy_window_ns;
		if (text.n)
			memcpy(letter->text, text.p, text.n);
		memcpy(s->told_text, letter->text, sizeof(s->told_text));
		memcpy(letter->root_id, s->guard.lasting, sizeof(letter->root_id));
		memcpy(s->told_root, s->guard.lasting, sizeof(s->told_root));
		s->told_health = health;
		s->told = true;
		post(s, &letter->letter, SOURCE_STATE);
	}
	buf_done(&text);
}

void outbox_progress(struct source *s, bool force)
{
	int64_t now_ns = clock_boot_ns();
	struct source_progress *p;

	if (!force && now_ns < s->progress_at_ns)
		return;
	s->progress_at_ns = now_ns + (int64_t)PROGRESS_EVERY_MS * 1000000;
	p = mem_alloc(sizeof(*p));
	p->source = s;
	p->crawling = crawl_busy(s);
	p->dirs = s->dirs_seen;
	p->entries = s->entries_seen;
	p->watches = dirtab_watched(s->dirs);
	p->unreadable = unread_count(s);
	p->crawls = s->crawls_done;
	(void)pthread_mutex_lock(&s->lock);
	p->overflows = s->overflows;
	(void)pthread_mutex_unlock(&s->lock);
	post(s, &p->letter, SOURCE_PROGRESS);
}

void outbox_ended(struct source *s)
{
	struct source_ended *e = mem_alloc(sizeof(*e));

	e->source = s;
	post(s, &e->letter, SOURCE_ENDED);
}
