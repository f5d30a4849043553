#include "rsync/tempname.h"

#include <ctype.h>
#include <string.h>

#define RECEIVER_PATH_MAX 4096 /* its MAXPATHLEN and NAME_MAX */
#define RECEIVER_NAME_MAX 255

static void add_stem(struct tempname *t, const char *p, size_t n)
{
	struct tempname_stem *stem = &t->stems[t->n];

	if (!n) /* the cut took all of it: nothing tells whose file that is */
		return;
	stem->p[0] = '.';
	memcpy(stem->p + 1, p, n);
	stem->n = n + 1;
	for (size_t i = 0; i < t->n; i++) {
		if (t->stems[i].n == stem->n && !memcmp(t->stems[i].p, stem->p, stem->n))
			return;
	}
	t->n++;
}

/* As the receiver cuts it; newer ones drop a dot at the end, too. */
static void add_stems(struct tempname *t, struct bytes dir, struct bytes name)
{
	size_t before = dir.n + (dir.n > 0) + 1 + TEMPNAME_SUFFIX_BYTES, n = name.n;
	size_t room = RECEIVER_NAME_MAX - 2 - TEMPNAME_SUFFIX_BYTES;

	if (before + 1 >= RECEIVER_PATH_MAX || !n)
		return;
	if (room > RECEIVER_PATH_MAX - before - 1)
		room = RECEIVER_PATH_MAX - before - 1;
	if (n > room) {
		n = room;
		while (n && ((unsigned char)name.p[room] & 0x80) &&
		       ((unsigned char)name.p[n - 1] & 0x80))
			n--;
	}
	add_stem(t, name.p, n);
	if (n && name.p[n - 1] == '.')
		add_stem(t, name.p, n - 1);
}

void tempname_of(struct tempname *ret, struct bytes path)
{
	struct bytes dir = path_parent(path), name = path_name(path);

	ret->n = 0;
	add_stems(ret, dir, name);
	if (name.n && name.p[0] == '.')
		add_stems(ret, dir, (struct bytes){name.p + 1, name.n - 1});
}

bool tempname_split(struct bytes name, struct bytes *ret_stem)
{
	if (name.n < TEMPNAME_SUFFIX_BYTES + 2 || name.p[0] != '.' ||
	    name.p[name.n - TEMPNAME_SUFFIX_BYTES] != '.')
		return false;
	for (size_t i = name.n - TEMPNAME_SUFFIX_BYTES + 1; i < name.n; i++) {
		if (!isalnum((unsigned char)name.p[i]))
			return false;
	}
	if (ret_stem)
		*ret_stem = (struct bytes){name.p + 1, name.n - 1 - TEMPNAME_SUFFIX_BYTES};
	return true;
}

bool tempname_matches(const struct tempname *t, struct bytes name)
{
	struct bytes stem;

	if (!tempname_split(name, &stem))
		return false;
	for (size_t i = 0; i < t->n; i++) {
		if (t->stems[i].n == stem.n + 1 && !memcmp(t->stems[i].p + 1, stem.p, stem.n))
			return true;
	}
	return false;
}
