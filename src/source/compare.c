/*
 * From what was seen and what is believed to marks.
 */
#include <fcntl.h>

#include "base/fd.h"
#include "base/mem.h"
#include "source/inside.h"
#include "source/verdict.h"

struct aliases {
	struct buf names; /* NUL behind each */
	struct bytes self;
};

static bool alias_add(struct bytes path, void *arg)
{
	struct aliases *a = arg;

	if (!bytes_equal(path, a->self)) {
		buf_add_bytes(&a->names, path);
		buf_add_u8(&a->names, 0);
	}
	return true;
}

/* One look at an inode with several names brings all of them into line. */
static void mark_aliases(struct source *s, unsigned job, const struct fingerprint *seen,
                         const struct verdict *v, const struct look *look, unsigned flags)
{
	struct aliases a = {.self = buf_bytes(&s->path)};
	size_t at = 0;

	buf_init(&a.names, 64 << 20);
	ledger_aliases(s->jobs[job].ledger, seen->dev, seen->ino, alias_add, &a);
	while (at < a.names.n) {
		struct bytes path = bytes_of(a.names.p + at);
		struct stat st;

		at += path.n + 1;
		if (filter_excludes_any(s->config.filter, path, false))
			continue;
		autoclose int fd = fd_open_beneath(s->root_fd, path, O_PATH | O_NOFOLLOW,
		                                   s->config.cross_mounts);
		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == seen->ino &&
		    st.st_dev == seen->dev)
			outbox_mark(s, job, path, look, v->action, flags,
			            v->action == MARK_META ? 0 : seen->size, seen->ino);
	}
	buf_done(&a.names);
}

void compare_entry(struct source *s, unsigned job, const struct fingerprint *seen,
                   const struct belief *belief, const struct look *look, unsigned flags)
{
	unsigned bits = look->bits;
	bool linked = seen->nlink > 1 && !S_ISDIR(seen->mode);
	struct verdict v;

	/* An event for this may have been among those that were lost. */
	if (look->wary_ns && S_ISREG(seen->mode) && seen->ctime_ns >= look->wary_ns)
		bits |= BACKLOG_WRITTEN;
	v = verdict_of(belief, seen, bits,
	               fingerprint_racy(seen, clock_wall_ns(), s->racy_window_ns));
	verdict_raise(&v, look->least, seen);
	if (!v.needed)
		return;
	if ((v.flags & MARK_RETYPED) && S_ISDIR(belief->fp.mode))
		gone_below(s, job, look);
	outbox_mark(s, job, buf_bytes(&s->path), look, v.action, v.flags | flags,
	            v.action == MARK_META || !S_ISREG(seen->mode) ? 0 : seen->size,
	            linked ? seen->ino : 0);
	if (linked && !(v.flags & MARK_FRESH))
		mark_aliases(s, job, seen, &v, look, flags | (v.flags & MARK_LOW));
}
