#include "live.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <cmocka.h>
#include <uthash.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"

struct held {
	UT_hash_handle hh;
	struct fingerprint fp;
	uint64_t content;
	bool met; /* in a comparison */
	char path[];
};

const char *at(struct live *l, const char *path)
{
	static _Thread_local char buffers[4][8192];
	static _Thread_local unsigned next;
	char *b = buffers[next++ % 4];

	if (path[0] == '/')
		return path;
	(void)snprintf(b, sizeof(buffers[0]), "%s%s%s", l->root, path[0] ? "/" : "", path);
	return b;
}

void put(struct live *l, const char *path, const char *content)
{
	int fd = open(at(l, path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, content, strlen(content)), 0);
	assert_int_equal(close(fd), 0);
}

void make(struct live *l, const char *path)
{
	assert_int_equal(mkdir(at(l, path), 0755), 0);
}

void drop(struct live *l, const char *path)
{
	assert_int_equal(remove(at(l, path)), 0);
}

void move(struct live *l, const char *from, const char *to)
{
	assert_int_equal(rename(at(l, from), at(l, to)), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

int remove_tree(const char *path)
{
	return nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
}

/* --- the model target --- */

static uint64_t content_of(const char *path, const struct stat *st)
{
	char space[4096];
	uint64_t h = 14695981039346656037u;
	ssize_t n;

	if (S_ISLNK(st->st_mode)) {
		n = readlink(path, space, sizeof(space));
		for (ssize_t i = 0; i < n; i++)
			h = (h ^ (unsigned char)space[i]) * 1099511628211u;
		return h;
	}
	if (!S_ISREG(st->st_mode))
		return 0;
	autoclose int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	while (fd >= 0 && (n = read(fd, space, sizeof(space))) > 0)
		for (ssize_t i = 0; i < n; i++)
			h = (h ^ (unsigned char)space[i]) * 1099511628211u;
	return h;
}

static struct held *held_get(struct live *l, struct bytes path)
{
	struct held *h;

	HASH_FIND(hh, l->target, path.p, path.n, h);
	return h;
}

static void held_remove_tree(struct live *l, struct bytes path)
{
	struct held *h, *next;

	HASH_ITER (hh, l->target, h, next) {
		struct bytes p = bytes_of(h->path);

		if (bytes_equal(p, path) || path_below(p, path)) {
			HASH_DEL(l->target, h);
			free(h);
		}
	}
}

static struct held *held_put(struct live *l, struct bytes path)
{
	struct held *h = held_get(l, path);

	if (h)
		return h;
	h = mem_alloc(sizeof(*h) + path.n + 1);
	memcpy(h->path, path.p, path.n);
	HASH_ADD(hh, l->target, path, path.n, h);
	return h;
}

/* As rsync does: every ancestor is listed, too, with attributes looked at now. And as the worker
 * does: what is a directory, or none, against what was asked for has vanished. */
static bool apply_entry(struct live *l, struct bytes path, enum mark_action action, bool dir)
{
	char full[8192];
	struct fingerprint fp;
	struct stat st;
	struct held *h;
	uint64_t content = 0;

	(void)snprintf(full, sizeof(full), "%s/%.*s", l->root, (int)path.n, path.p);
	assert_int_equal(ledger_intend(l->ledger, &path, 1), 0);
	if (lstat(full, &st) != 0 || S_ISDIR(st.st_mode) != dir ||
	    (path_parent(path).n && !apply_entry(l, path_parent(path), MARK_META, true))) {
		if (!held_get(l, path))
			ledger_withdraw(l->ledger, path);
		return false;
	}
	fingerprint_of(&fp, &st);
	h = held_get(l, path);
	if (h && (h->fp.mode & S_IFMT) != (fp.mode & S_IFMT)) {
		held_remove_tree(l, path);
		ledger_confirm_gone(l->ledger, path);
		h = NULL;
	}
	/* A quick mark on a confirmed file says that size or time differed; if they do no longer,
	 * the time was put back after the look, and only the content can tell. */
	bool skip = h && action == MARK_META;
	if (!skip)
		content = content_of(full, &st);
	if (lstat(full, &st) != 0 || (st.st_mode & S_IFMT) != (fp.mode & S_IFMT))
		return false;
	fingerprint_of(&fp, &st);
	if (!h)
		h = held_put(l, path);
	if (!skip)
		h->content = content;
	h->fp = fp;
	ledger_confirm(l->ledger, path, &fp);
	return true;
}

static bool held_below(struct live *l, struct bytes path)
{
	struct held *h, *next;

	HASH_ITER (hh, l->target, h, next)
		if (path_below(bytes_of(h->path), path))
			return true;
	return false;
}

/* Intended first, and only then looked at: whoever finds the name again afterwards sees the intent.
 * What is there again is not deleted, and a directory stays while something is in it. */
static bool apply_deletion(struct live *l, struct bytes path)
{
	char full[8192];
	struct stat st;

	if (held_below(l, path))
		return false;
	(void)snprintf(full, sizeof(full), "%s/%.*s", l->root, (int)path.n, path.p);
	assert_int_equal(ledger_intend(l->ledger, &path, 1), 0);
	if (lstat(full, &st) == 0) {
		ledger_withdraw(l->ledger, path);
		return false;
	}
	held_remove_tree(l, path);
	ledger_confirm_gone(l->ledger, path);
	return true;
}

/* The same with the check that nothing moved under it (I3). */
static bool apply_mark(struct live *l, const struct mark *m)
{
	char full[8192];
	struct stat before, after;
	struct fingerprint a, b;
	bool there;

	if (m->action == MARK_DELETE)
		return apply_deletion(l, m->path);
	if (!m->path.n)
		return true;
	(void)snprintf(full, sizeof(full), "%s/%.*s", l->root, (int)m->path.n, m->path.p);
	there = lstat(full, &before) == 0;
	if (!apply_entry(l, m->path, m->action, m->flags & MARK_DIR))
		return !there;
	if (!there || lstat(full, &after) != 0)
		return false;
	fingerprint_of(&a, &before);
	fingerprint_of(&b, &after);
	return S_ISDIR(a.mode) ? a.ino == b.ino : !fingerprint_moved(&a, &b);
}

/* --- letters --- */

static void record(struct live *l, const struct mark *m)
{
	if (l->nmarks == l->cap) {
		l->cap = l->cap * 2 + 64;
		l->marks = mem_realloc(l->marks, l->cap, sizeof(*l->marks));
	}
	l->marks[l->nmarks] = *m;
	l->marks[l->nmarks++].path.p = mem_dup(m->path.p, m->path.n);
}

static void take_marks(struct live *l, const struct source_marks *m)
{
	if (m->job != 0)
		return;
	l->owed = m->owed;
	l->owed_most = l->owed > l->owed_most ? l->owed : l->owed_most;
	for (size_t i = 0; i < m->count; i++) {
		struct mark again = m->marks[i];

		record(l, &m->marks[i]);
		if (!l->apply || (again.action != MARK_LOOK && apply_mark(l, &again)))
			continue;
		if (again.action != MARK_LOOK)
			again.action = MARK_CONTENT;
		again.scope = MARK_ENTRY;
		l->relooks++;
		source_look(l->source, 0, 0, &again, 1);
	}
}

/* Returns whether this was the letter waited for. */
static bool take_letter(struct live *l, struct letter *letter, int kind, uint64_t token)
{
	bool found = letter->kind == kind;

	switch ((enum source_letter_kind)letter->kind) {
	case SOURCE_MARKS:
		take_marks(l, container_of(letter, struct source_marks, letter));
		break;
	case SOURCE_ROOT:
		found &= container_of(letter, struct source_root, letter)->token == token;
		break;
	case SOURCE_BARRIER:
		found &= container_of(letter, struct source_barrier, letter)->token == token;
		l->unreadable = container_of(letter, struct source_barrier, letter)->unreadable;
		break;
	case SOURCE_STATE:
		l->health = container_of(letter, struct source_state, letter)->health;
		memcpy(l->text, container_of(letter, struct source_state, letter)->text,
		       sizeof(l->text));
		l->racy_window_ns =
		        container_of(letter, struct source_state, letter)->racy_window_ns;
		break;
	case SOURCE_PROGRESS:
		l->progress = *container_of(letter, struct source_progress, letter);
		break;
	case SOURCE_LOOKED:
		found &= container_of(letter, struct source_looked, letter)->token == token;
		break;
	case SOURCE_ENDED:
		break;
	}
	source_letter_free(letter);
	return found;
}

static void await(struct live *l, int kind, uint64_t token)
{
	bool found = false;

	while (!found) {
		struct letter *list = mailbox_take(l->box), *next;

		for (; list; list = next) {
			next = list->next;
			found |= take_letter(l, list, kind, token);
		}
		if (!found)
			assert_true(mailbox_wait(l->box, clock_boot_ns() + 60000000000));
	}
}

void live_barrier(struct live *l)
{
	source_want_barrier(l->source, ++l->token);
	live_await_barrier(l, l->token);
}

void live_await_barrier(struct live *l, uint64_t token)
{
	await(l, SOURCE_BARRIER, token);
}

void live_settle(struct live *l)
{
	unsigned before;

	do {
		before = l->relooks;
		live_barrier(l);
	} while (l->relooks != before);
}

void live_resume(struct live *l)
{
	source_test_stall(l->source, false);
	live_settle(l);
	live_assert_equal(l);
}

void live_await_health(struct live *l, enum source_health health)
{
	while (l->health != health)
		await(l, SOURCE_STATE, 0);
}

void live_await_looked(struct live *l, uint64_t token)
{
	await(l, SOURCE_LOOKED, token);
}

static bool is_marked(const struct live *l, struct bytes path, enum mark_action action)
{
	for (size_t i = 0; i < l->nmarks; i++)
		if (bytes_equal(l->marks[i].path, path) && l->marks[i].action >= action &&
		    (action == MARK_DELETE) == (l->marks[i].action == MARK_DELETE))
			return true;
	return false;
}

/* An answered look means that the letters before it were taken; events come when they come. */
void live_await_mark(struct live *l, const char *path, enum mark_action action)
{
	while (!is_marked(l, bytes_of(path), action)) {
		source_look(l->source, 0, ++l->token, NULL, 0);
		live_await_looked(l, l->token);
	}
}

void live_audit(struct live *l)
{
	uint64_t before = l->progress.crawls;

	source_crawl(l->source);
	while (l->progress.crawls == before)
		await(l, SOURCE_PROGRESS, 0);
	live_settle(l);
}

void live_forget(struct live *l)
{
	for (size_t i = 0; i < l->nmarks; i++)
		free((char *)(uintptr_t)l->marks[i].path.p);
	l->nmarks = 0;
	l->owed_most = l->owed;
}

const struct mark *live_mark(const struct live *l, const char *path)
{
	for (size_t i = l->nmarks; i-- > 0;)
		if (bytes_equal(l->marks[i].path, bytes_of(path)))
			return &l->marks[i];
	return NULL;
}

size_t live_count(const struct live *l, const char *path)
{
	size_t n = 0;

	for (size_t i = 0; i < l->nmarks; i++)
		n += bytes_equal(l->marks[i].path, bytes_of(path));
	return n;
}

/* --- life --- */

void live_init(struct live *l, const char *const *exclude)
{
	struct filter_rule rules[8] = {0};
	struct ledger_identity id = {.root_id = "test", .target = "model"};
	char state[96];
	unsigned found;
	size_t n = 0;
	struct err err;

	*l = (struct live){.apply = true, .health = (enum source_health) - 1};
	(void)snprintf(l->dir, sizeof(l->dir), "/tmp/lockstep-source-XXXXXX");
	assert_non_null(mkdtemp(l->dir));
	(void)snprintf(l->root, sizeof(l->root), "%s/tree", l->dir);
	(void)snprintf(l->outside, sizeof(l->outside), "%s/outside", l->dir);
	(void)snprintf(state, sizeof(state), "%s/state", l->dir);
	assert_int_equal(mkdir(l->root, 0755), 0);
	assert_int_equal(mkdir(l->outside, 0755), 0);
	assert_int_equal(mkdir(state, 0755), 0);
	for (; exclude && exclude[n]; n++)
		rules[n].pattern = exclude[n];
	assert_int_equal(filter_new(&l->filter, rules, n, &err), 0);
	assert_int_equal(ledger_open(&l->ledger, state, &id, &found, &err), 0);
	l->box = mailbox_new(NULL, NULL);
	l->config = (struct source_config){.name = "t", .root = l->root, .filter = l->filter};
}

void live_start(struct live *l)
{
	struct err err = {0};

	if (source_start(&l->source, &l->config, l->box, &err) != 0)
		fail_msg("%s", err.text);
	source_keep_attributes(l->source, 0, l->attributes);
	source_attach(l->source, 0, l->ledger);
}

void live_end(struct live *l)
{
	source_end(l->source);
	await(l, SOURCE_ENDED, 0);
	source_free(l->source);
	assert_null(mailbox_take(l->box)); /* nothing comes after it */
}

void live_stop(struct live *l)
{
	struct held *h, *next;

	live_end(l);
	mailbox_free(l->box, source_letter_free);
	ledger_close(l->ledger);
	filter_free(l->filter);
	live_forget(l);
	free(l->marks);
	HASH_ITER (hh, l->target, h, next) {
		HASH_DEL(l->target, h);
		free(h);
	}
	assert_int_equal(remove_tree(l->dir), 0);
}

/* --- comparison --- */

static struct live *comparing;
static unsigned differences;

static int compare_one(const char *full, const struct stat *st, int type, struct FTW *ftw)
{
	const char *path = full + strlen(comparing->root);
	struct held *h;

	(void)type, (void)ftw;
	if (!*path)
		return 0;
	h = held_get(comparing, bytes_of(path + 1));
	if (!h) {
		print_error("missing at the target: %s\n", path);
		differences++;
		return 0;
	}
	h->met = true;
	if (h->fp.mode != st->st_mode || h->content != content_of(full, st) ||
	    (S_ISREG(st->st_mode) && h->fp.size != (uint64_t)st->st_size)) {
		print_error("differs at the target: %s\n", path);
		differences++;
	}
	return 0;
}

void live_assert_equal(struct live *l)
{
	struct held *h, *next;

	comparing = l;
	differences = 0;
	HASH_ITER (hh, l->target, h, next)
		h->met = false;
	assert_int_equal(nftw(l->root, compare_one, 64, FTW_PHYS), 0);
	HASH_ITER (hh, l->target, h, next) {
		if (!h->met) {
			print_error("left over at the target: %s\n", h->path);
			differences++;
		}
	}
	assert_int_equal(differences, 0);
}
