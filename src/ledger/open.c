/* The life of a ledger: lock, store, intents, identity, and the clean end. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "ledger/ledger_impl.h"
#include "ledger/store_lmdb.h"

#define CORRUPT_KEPT   4
#define META_BYTES_MAX 65536

static uint64_t meta_number(struct ledger *l, const char *key)
{
	struct buf value;
	struct cursor c;
	uint64_t v = 0;

	buf_init(&value, META_BYTES_MAX);
	if (l->store->meta(l->store, key, &value) && value.n == 8) {
		c = cursor_of(buf_bytes(&value));
		v = cursor_le64(&c);
	}
	buf_done(&value);
	return v;
}

static char *meta_text(struct ledger *l, const char *key)
{
	struct buf value;
	char *text = NULL;

	buf_init(&value, META_BYTES_MAX);
	if (l->store->meta(l->store, key, &value))
		text = mem_dup(value.p, value.n);
	buf_done(&value);
	return text;
}

void ledger_load_meta(struct ledger *l)
{
	uint64_t phase = meta_number(l, "phase");

	l->meta.root = meta_text(l, "root");
	l->meta.target = meta_text(l, "target");
	l->meta.filter_hash = meta_number(l, "filter");
	l->meta.options_hash = meta_number(l, "options");
	l->meta.phase = phase <= LEDGER_LIVE ? (enum ledger_phase)phase : LEDGER_NEVER;
	l->meta.generation = meta_number(l, "generation");
	l->meta.boot = meta_text(l, "boot");
	l->meta.clean = meta_number(l, "clean") != 0;
}

void ledger_meta_done(struct ledger_meta *m)
{
	free(m->root);
	free(m->target);
	free(m->boot);
}

struct ledger *ledger_new(struct store *store, struct intent_log *log)
{
	struct ledger *l = mem_alloc(sizeof(*l));
	pthread_condattr_t attr;

	l->store = store;
	l->log = log;
	l->lock_fd = -1;
	l->front = overlay_new();
	pthread_mutex_init(&l->lock, NULL);
	pthread_mutex_init(&l->committing, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->wake, &attr);
	pthread_condattr_destroy(&attr);
	l->entries = store->entries(store);
	ledger_load_meta(l);
	ledger_read_intents(l);
	return l;
}

void ledger_drop(struct ledger *l)
{
	overlay_free(l->front);
	overlay_free(l->back);
	buf_done(&l->found);
	ledger_meta_done(&l->meta);
	free(l->dir);
	pthread_cond_destroy(&l->wake);
	pthread_mutex_destroy(&l->lock);
	pthread_mutex_destroy(&l->committing);
	if (l->lock_fd >= 0)
		(void)close(l->lock_fd);
	free(l);
}

/* The clean end is in the store and, for the case that the store cannot be written when it begins
 * to be untrue, in a file: removing a file works on a full disk. */
static char *clean_file(const char *dir)
{
	return mem_printf("%s/clean", dir);
}

static void mark_clean(struct ledger *l)
{
	autofree char *path = NULL;
	int fd;

	l->meta.clean = true;
	l->meta_changed = true;
	if (ledger_commit(l) < 0)
		return;
	/* Twice: each of the two files becomes the old one; all they name is committed. */
	for (int i = 0; i < 2; i++) {
		(void)l->log->switch_over(l->log);
		(void)l->log->discard_old(l->log);
	}
	if (!l->dir)
		return;
	path = clean_file(l->dir);
	fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0)
		(void)close(fd); /* empty */
}

void ledger_close(struct ledger *l)
{
	if (!l)
		return;
	ledger_stop_writer(l);
	if (ledger_commit(l) == 0)
		mark_clean(l);
	l->log->close(l->log);
	l->store->close(l->store);
	ledger_drop(l);
}

static int lock_dir(const char *dir, int *ret, struct err *err)
{
	autofree char *path = mem_printf("%s/lock", dir);
	autoclose int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	char pid[32];
	ssize_t n;

	if (fd < 0)
		return err_errno(err, errno, "%s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return err_errno(err, errno, "%s", path);
		n = fd_pread_full(fd, pid, sizeof(pid) - 1, 0);
		pid[n > 0 ? n : 0] = '\0';
		pid[strspn(pid, "0123456789")] = '\0';
		return err_set(err, EBUSY, "%s is in use by process %s", dir, pid[0] ? pid : "?");
	}
	/* For the message above; the lock is what counts. */
	n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) == 0)
		(void)fd_write_full(fd, pid, (size_t)n);
	*ret = TAKE_FD(fd);
	return 0;
}

/* Out of the way, but kept: a person may want to know what happened. */
static int set_aside(const char *path, struct err *err)
{
	autofree char *to = NULL;
	struct stat st;

	for (int i = 1; i <= CORRUPT_KEPT; i++) {
		free(to);
		to = mem_printf("%s.corrupt-%d", path, i);
		if (lstat(to, &st) < 0)
			break;
	}
	return rename(path, to) < 0 ? err_errno(err, errno, "cannot set %s aside", path) : 0;
}

static int open_store(struct store **ret, const char *dir, unsigned *found, struct err *err)
{
	autofree char *path = mem_printf("%s/ledger.mdb", dir);
	bool fresh;
	int r = store_lmdb_open(ret, path, &fresh, err);

	if (r == -EUCLEAN) {
		r = set_aside(path, err);
		if (r == 0)
			r = store_lmdb_open(ret, path, &fresh, err);
		*found |= LEDGER_FOUND_CORRUPT;
	} else if (r == 0 && fresh) {
		*found |= LEDGER_FOUND_NEW;
	}
	return r;
}

static char *boot_id(void)
{
	struct buf text;
	char *id;

	buf_init(&text, 256);
	(void)fd_read_file("/proc/sys/kernel/random/boot_id", 255, &text, NULL);
	while (text.n && text.p[text.n - 1] == '\n')
		text.n--;
	id = mem_dup(text.p, text.n);
	buf_done(&text);
	return id;
}

static bool same_text(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static unsigned compare_identity(const struct ledger_meta *m, const struct ledger_identity *id)
{
	unsigned found = 0;

	if (!same_text(m->root, id->root_id))
		found |= LEDGER_FOUND_ROOT_CHANGED;
	if (!same_text(m->target, id->target))
		found |= LEDGER_FOUND_TARGET_CHANGED;
	if (m->filter_hash != id->filter_hash)
		found |= LEDGER_FOUND_FILTER_CHANGED;
	if (m->options_hash != id->options_hash)
		found |= LEDGER_FOUND_OPTIONS_CHANGED;
	return found;
}

static void set_identity(struct ledger *l, const struct ledger_identity *id)
{
	free(l->meta.root);
	free(l->meta.target);
	l->meta.root = mem_strdup(id->root_id);
	l->meta.target = mem_strdup(id->target);
	l->meta.filter_hash = id->filter_hash;
	l->meta.options_hash = id->options_hash;
	l->meta_changed = true;
}

void ledger_adopt(struct ledger *l, const struct ledger_identity *id)
{
	ledger_lock(l);
	set_identity(l, id);
	ledger_touched_locked(l);
	ledger_unlock(l);
}

const char *ledger_root(const struct ledger *l)
{
	return l->meta.root;
}

/* What was found, and from here on the ledger is not clean. */
static int begin_unclean(struct ledger *l, const struct ledger_identity *id, bool intents,
                         unsigned *found, struct err *err)
{
	autofree char *path = clean_file(l->dir);
	bool marked = unlink(path) == 0, was_clean = marked && l->meta.clean && !intents;
	char *boot;

	if (!marked && errno != ENOENT)
		return err_errno(err, errno, "cannot remove %s", path);
	boot = boot_id();
	if (*found & (LEDGER_FOUND_NEW | LEDGER_FOUND_CORRUPT)) {
		set_identity(l, id);
	} else {
		*found |= compare_identity(&l->meta, id);
		if (!was_clean) {
			*found |= LEDGER_FOUND_UNCLEAN;
			if (!same_text(boot, l->meta.boot))
				*found |= LEDGER_FOUND_REBOOTED;
		}
	}
	free(l->meta.boot);
	l->meta.boot = boot;
	l->meta.clean = false;
	l->meta_changed = true;
	return 0;
}

int ledger_open(struct ledger **ret, const char *dir, const struct ledger_identity *id,
                unsigned *ret_found, struct err *err)
{
	autoclose int lock_fd = -1;
	struct store *store = NULL;
	struct intent_log *log = NULL;
	struct ledger *l;
	bool intents = false;
	int r = lock_dir(dir, &lock_fd, err);

	*ret_found = 0;
	if (r == 0)
		r = open_store(&store, dir, ret_found, err);
	if (r == 0)
		r = intents_open(&log, dir, &intents, err);
	if (r < 0) {
		if (store)
			store->close(store);
		return r;
	}
	check(store && log);
	l = ledger_new(store, log);
	l->dir = mem_strdup(dir);
	l->lock_fd = TAKE_FD(lock_fd);
	r = begin_unclean(l, id, intents, ret_found, err);
	if (r == 0) {
		(void)ledger_commit(l); /* failing, it is retried, and ledger_trouble() tells */
		r = ledger_start_writer(l);
		if (r < 0)
			err_errno(err, -r, "cannot start the ledger's thread");
	}
	if (r < 0) {
		log->close(log);
		store->close(store);
		ledger_drop(l);
		return r;
	}
	*ret = l;
	return 0;
}

enum ledger_phase ledger_phase(struct ledger *l)
{
	enum ledger_phase phase;

	ledger_lock(l);
	phase = l->meta.phase;
	ledger_unlock(l);
	return phase;
}

void ledger_set_phase(struct ledger *l, enum ledger_phase phase)
{
	ledger_lock(l);
	l->meta.phase = phase;
	l->meta_changed = true;
	ledger_touched_locked(l);
	ledger_unlock(l);
}

uint64_t ledger_generation(struct ledger *l)
{
	uint64_t generation;

	ledger_lock(l);
	generation = l->meta.generation;
	ledger_unlock(l);
	return generation;
}

void ledger_set_generation(struct ledger *l, uint64_t generation)
{
	ledger_lock(l);
	l->meta.generation = generation;
	l->meta_changed = true;
	ledger_touched_locked(l);
	ledger_unlock(l);
}
