/*
 * Does a tree without a lasting identity hold what a ledger was filled from? Names alone say
 * little: another year's photos, another machine's home directories have the same. What counts is
 * the same inode, or the size and time that were confirmed.
 */
#include <fcntl.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "source/inside.h"

/* One in SHARE of what is asked for must still be there; fewer than LEAST say nothing. Where that
 * few are all gone, what was in them is asked for, too: a tree may well have three names on top. */
enum { LEAST = 8, SHARE = 4, MOST = 64, DIRS_MOST = 64, NAMES_OF_DIR = 16 };

struct sampled {
	struct bytes path; /* owned */
	struct fingerprint fp;
};

struct sample {
	struct bytes dir; /* at hand */
	struct sampled names[NAMES_OF_DIR];
	size_t nnames;
	struct bytes dirs[DIRS_MOST]; /* owned; still to be listed */
	size_t ndirs;
	bool inodes_last;
	bool below_missing; /* list directories that are gone */
	unsigned asked, there;
};

static bool take_name(struct bytes name, const struct belief *belief, void *arg)
{
	struct sample *sample = arg;
	struct buf path;

	if (!(belief->state & LEDGER_CONFIRMED) || name.n == 0)
		return true;
	buf_init(&path, PATH_BYTES_MAX + 1);
	path_join(&path, sample->dir, name);
	sample->names[sample->nnames++] =
	        (struct sampled){{mem_dup(path.p ? path.p : "", path.n), path.n}, belief->fp};
	buf_done(&path);
	return sample->nnames < NAMES_OF_DIR;
}

static void leave_dir(struct sample *sample, struct sampled *name)
{
	if (sample->ndirs == DIRS_MOST)
		return;
	sample->dirs[sample->ndirs++] = name->path;
	name->path = (struct bytes){0};
}

/* A directory that is there, but changed, is asked about what is in it. */
static void ask(struct source *s, struct sample *sample, int rootfd, struct sampled *name)
{
	struct fingerprint now = {0};
	struct stat st;
	autoclose int fd =
	        fd_open_beneath(rootfd, name->path, O_PATH | O_NOFOLLOW, s->config.cross_mounts);
	bool same;

	if (filter_excludes_any(s->config.filter, name->path, S_ISDIR(name->fp.mode)))
		return;
	if (fd >= 0 && fstat(fd, &st) == 0)
		fingerprint_of(&now, &st);
	same = !((now.mode ^ name->fp.mode) & S_IFMT);
	if (same && !(sample->inodes_last && now.ino == name->fp.ino)) {
		same = now.mtime_ns == name->fp.mtime_ns;
		if (!same && S_ISDIR(now.mode)) {
			leave_dir(sample, name);
			return;
		}
		same &= S_ISDIR(now.mode) || now.size == name->fp.size;
	}
	sample->asked++;
	sample->there += same;
	if (!same && sample->below_missing && S_ISDIR(name->fp.mode))
		leave_dir(sample, name);
}

static void take(struct source *s, struct ledger *ledger, int rootfd, struct sample *sample)
{
	sample->ndirs = 1;
	for (size_t i = 0; i < sample->ndirs; i++) {
		sample->nnames = 0;
		sample->dir = sample->dirs[i];
		if (sample->asked < MOST)
			ledger_list(ledger, sample->dir, take_name, sample);
		for (size_t k = 0; k < sample->nnames; k++) {
			ask(s, sample, rootfd, &sample->names[k]);
			free((char *)(uintptr_t)sample->names[k].path.p);
		}
	}
	for (size_t i = 0; i < sample->ndirs; i++)
		free((char *)(uintptr_t)sample->dirs[i].p);
}

static bool fits(struct source *s, struct ledger *ledger, int rootfd)
{
	bool last = guard_inodes_last(rootfd);
	struct sample sample = {.inodes_last = last};

	take(s, ledger, rootfd, &sample);
	if (sample.asked < LEAST && !sample.there) {
		sample = (struct sample){.inodes_last = last, .below_missing = true};
		take(s, ledger, rootfd, &sample);
	}
	return sample.asked < LEAST || sample.there * SHARE >= sample.asked;
}

bool sample_fits(struct source *s, int rootfd)
{
	for (unsigned job = 0; job < SOURCE_JOBS_MAX; job++)
		if ((s->attached & 1u << job) && !fits(s, s->jobs[job].ledger, rootfd))
			return false;
	return true;
}
