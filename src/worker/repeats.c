#include "worker/repeats.h"

#include <uthash.h>

#include "base/mem.h"

struct repeat {
	unsigned char digest[REPEATS_DIGEST_BYTES];
	UT_hash_handle hh;
	char path[];
};

struct repeats {
	struct repeat *known; /* uthash keeps the order of addition */
	size_t max;
};

struct repeats *repeats_new(size_t max)
{
	struct repeats *r = mem_alloc(sizeof(*r));

	r->max = max;
	return r;
}

static struct repeat *find(struct repeats *r, struct bytes path)
{
	struct repeat *found = NULL;

	HASH_FIND(hh, r->known, path.p, (unsigned)path.n, found);
	return found;
}

static void drop(struct repeats *r, struct repeat *old)
{
	HASH_DEL(r->known, old);
	free(old);
}

void repeats_free(struct repeats *r)
{
	struct repeat *old, *next;

	if (!r)
		return;
	HASH_ITER (hh, r->known, old, next) {
		drop(r, old);
	}
	free(r);
}

void repeats_note(struct repeats *r, struct bytes path,
                  const unsigned char digest[REPEATS_DIGEST_BYTES])
{
	struct repeat *new;

	if (!path.n)
		return;
	repeats_forget(r, path);
	if (HASH_COUNT(r->known) >= r->max)
		drop(r, r->known);
	new = mem_alloc(sizeof(*new) + path.n);
	memcpy(new->path, path.p, path.n);
	memcpy(new->digest, digest, REPEATS_DIGEST_BYTES);
	HASH_ADD_KEYPTR(hh, r->known, new->path, (unsigned)path.n, new);
}

void repeats_forget(struct repeats *r, struct bytes path)
{
	struct repeat *old = path.n ? find(r, path) : NULL;

	if (old)
		drop(r, old);
}

const unsigned char *repeats_find(struct repeats *r, struct bytes path)
{
	struct repeat *found = path.n ? find(r, path) : NULL;

	return found ? found->digest : NULL;
}
