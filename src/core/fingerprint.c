#include "core/fingerprint.h"

static int64_t stamp_ns(struct timespec t)
{
	int64_t ns;

	/* A stamp may be any 64 bit number of seconds; one too far away for ns is as good as its
	 * neighbours. */
	if (__builtin_mul_overflow((int64_t)t.tv_sec, INT64_C(1000000000), &ns) ||
	    __builtin_add_overflow(ns, (int64_t)t.tv_nsec, &ns))
		return t.tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

void fingerprint_of(struct fingerprint *ret, const struct stat *st)
{
	*ret = (struct fingerprint){
	        .mode = st->st_mode,
	        .uid = st->st_uid,
	        .gid = st->st_gid,
	        .nlink = (uint32_t)st->st_nlink,
	        .size = (uint64_t)st->st_size,
	        .mtime_ns = stamp_ns(st->st_mtim),
	        .ctime_ns = stamp_ns(st->st_ctim),
	        .dev = st->st_dev,
	        .ino = st->st_ino,
	};
}

enum fingerprint_difference fingerprint_compare(const struct fingerprint *known,
                                                const struct fingerprint *seen)
{
	bool dir = S_ISDIR(seen->mode);

	if ((known->mode ^ seen->mode) & S_IFMT)
		return FP_RETYPED;
	if (!dir && (known->size != seen->size || known->mtime_ns != seen->mtime_ns))
		return FP_DATA;
	if (known->mode != seen->mode || known->uid != seen->uid || known->gid != seen->gid ||
	    (dir && known->mtime_ns != seen->mtime_ns))
		return FP_META;
	if (!dir && (known->ctime_ns != seen->ctime_ns || known->ino != seen->ino ||
	             known->nlink != seen->nlink))
		return FP_HIDDEN;
	return FP_SAME;
}

bool fingerprint_moved(const struct fingerprint *before, const struct fingerprint *after)
{
	return ((before->mode ^ after->mode) & S_IFMT) || before->size != after->size ||
	       before->mtime_ns != after->mtime_ns || before->ctime_ns != after->ctime_ns ||
	       before->ino != after->ino;
}

bool fingerprint_racy(const struct fingerprint *fp, int64_t wall_ns, int64_t window_ns)
{
	int64_t since;

	if (window_ns == 0)
		return false;
	if (__builtin_sub_overflow(wall_ns, window_ns, &since))
		since = INT64_MIN;
	return fp->mtime_ns > since || fp->ctime_ns > since;
}
