#include "worker/checksums.h"

#include "base/fd.h"
#include "base/mem.h"
#include "rsync/sums.h"
#include "worker/repeats.h"
#include "worker/supply.h"

struct checksums {
	struct manifest list;
	struct hasher *hasher; /* NULL: a digest that we do not know */
	size_t digest_bytes;
	size_t at; /* the entry in work */
	int fd;    /* its file, -1: not opened yet */
	uint64_t left;
	bool repeats; /* of a CONTENT session: only what may be the same as before */
};

struct checksums *checksums_new(struct manifest *list, const char *name)
{
	struct checksums *k = mem_alloc(sizeof(*k));

	k->list = *list;
	memset(list, 0, sizeof(*list));
	k->fd = -1;
	for (int i = 0; i < STRONG_IDS; i++) {
		if (strcmp(strong_table[i].name, name) != 0)
			continue;
		k->hasher = hasher_new((enum strong_id)i);
		k->digest_bytes = strong_table[i].size;
	}
	return k;
}

/* Its content is to be sent only if it is not what this worker brought last. */
static bool may_repeat(struct cargo *c, const struct part *part)
{
	return part->kind == PART_FILE && !part->settled && S_ISREG(part->fp.mode) &&
	       (c->batch.items[part->item].flags & WIRE_ITEM_UNLESS_SAME) &&
	       repeats_find(c->repeats, part->path);
}

struct checksums *checksums_new_repeats(struct manifest *list, struct cargo *c)
{
	bool any = false;

	for (size_t i = 0; i < list->count && c->repeats; i++)
		any = any || may_repeat(c, &c->parts[c->listed[i]]);
	if (!any)
		return NULL;
	struct checksums *k = checksums_new(list, strong_table[STRONG_XXH128].name);

	k->repeats = true;
	return k;
}

void checksums_free(struct checksums *k)
{
	if (!k)
		return;
	mem_closep(&k->fd);
	hasher_free(k->hasher);
	manifest_done(&k->list);
	free(k);
}

struct manifest *checksums_list(struct checksums *k)
{
	return &k->list;
}

static void leave_file(struct checksums *k)
{
	mem_closep(&k->fd);
	k->fd = -1;
	k->at++;
}

static bool is_known(struct cargo *c, const struct part *part, const unsigned char *digest)
{
	return may_repeat(c, part) &&
	       memcmp(repeats_find(c->repeats, part->path), digest, REPEATS_DIGEST_BYTES) == 0;
}

/* The names of one inode go together, or none of them. */
static void leave_out_same(struct cargo *c, struct part *part, const unsigned char *digest)
{
	bool same = is_known(c, part, digest);
	size_t n = part->group ? c->parts_n : 0;

	for (size_t i = 0; i < n && same; i++)
		same = c->parts[i].group != part->group || is_known(c, &c->parts[i], digest);
	if (!same)
		return;
	cargo_settle(c, part, WIRE_SAME);
	for (size_t i = 0; i < n; i++)
		if (c->parts[i].group == part->group)
			cargo_settle(c, &c->parts[i], WIRE_SAME);
}

static void finish_file(struct checksums *k, struct cargo *c, struct part *part)
{
	struct session_entry *entry = &k->list.entries[k->at];
	unsigned char digest[SUM_BYTES_MAX];
	struct fingerprint now;
	struct stat st;

	hasher_end(k->hasher, digest);
	if (fstat(k->fd, &st) == 0) {
		fingerprint_of(&now, &st);
		if (k->repeats) {
			if (!fingerprint_moved(&part->fp, &now))
				leave_out_same(c, part, digest);
			leave_file(k);
			return;
		}
		if (!fingerprint_moved(&part->fp, &now)) {
			entry->checksum.p = mem_dup(digest, k->digest_bytes);
			entry->checksum.n = k->digest_bytes;
			leave_file(k);
			return;
		}
	}
	cargo_settle(c, part, WIRE_VANISHED);
	leave_file(k);
}

static void step_file(struct checksums *k, struct cargo *c, struct part *part, char *buffer)
{
	size_t want;
	ssize_t n;

	if (k->fd < 0) {
		k->fd = supply_open(c, part, &k->left);
		if (k->fd < 0) {
			supply_blame_errno(c, part, -k->fd);
			leave_file(k);
			return;
		}
		hasher_begin(k->hasher);
	}
	want = k->left < SUPPLY_SLICE_BYTES ? (size_t)k->left : SUPPLY_SLICE_BYTES;
	n = want ? fd_read_full(k->fd, buffer, want) : 0;
	if (n < 0) {
		supply_blame_errno(c, part, (int)-n);
		leave_file(k);
		return;
	}
	hasher_update(k->hasher, (struct bytes){buffer, (size_t)n});
	k->left -= (uint64_t)n;
	if (k->left == 0 || (size_t)n < want)
		finish_file(k, c, part);
}

/* What has been answered meanwhile is not listed. */
static void drop_answered(struct checksums *k, struct cargo *c)
{
	struct manifest *list = &k->list;
	size_t kept = 0;

	for (size_t i = 0; i < list->count; i++) {
		struct part *part = &c->parts[c->listed[i]];

		if (part->settled) {
			part->entry = CARGO_NONE;
			continue;
		}
		part->entry = (uint32_t)kept;
		c->listed[kept] = c->listed[i];
		list->entries[kept++] = list->entries[i];
	}
	list->count = c->listed_n = kept;
}

bool checksums_step(struct checksums *k, struct cargo *c, char *buffer)
{
	while (k->hasher && k->at < k->list.count) {
		struct part *part = &c->parts[c->listed[k->at]];

		if (k->repeats ? may_repeat(c, part)
		               : part->kind == PART_FILE && S_ISREG(part->fp.mode)) {
			step_file(k, c, part, buffer);
			return true;
		}
		k->at++;
	}
	drop_answered(k, c);
	return false;
}
