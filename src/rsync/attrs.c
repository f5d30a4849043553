#include "rsync/attrs.h"

#include <errno.h>
#include <sys/stat.h>
#include <uthash.h>
#include "base/mem.h"
#include "rsync/codec.h"
#include "rsync/sums.h"

#define VALUE_FULL_MAX 32         /* longer ones are listed as their digest */
#define ASKED_MAX      2          /* of one value: an honest receiver asks once */
#define SET_BYTES_MAX  (8u << 20) /* without long values */

enum acl_flag {
	ACL_HAS_USER = 1,
	ACL_HAS_GROUP = 2,
	ACL_HAS_MASK = 4,
	ACL_HAS_OTHER = 8,
	ACL_HAS_NAMES = 16,
};

#define ACL_NAME_IS_USER 2u /* below the permission bits of a name */

/* A value that is listed as its digest. */
struct long_value {
	uint32_t place; /* in its set, from 1 */
	uint8_t asked;
	struct bytes value; /* owned */
};

/* The wire form is what makes it the same as another. */
struct attr_set {
	char *form;
	uint32_t index;
	struct long_value *values; /* of extended attributes, by place */
	size_t n;
	UT_hash_handle hh;
};

struct attr_table {
	struct attr_set *by_form;
	struct attr_set **by_index;
	uint32_t n, cap;
};

struct attrs_tables {
	struct attr_table xattrs, access, inherited;
	struct hasher *md5;
};

struct attrs_tables *attrs_new(void)
{
	struct attrs_tables *t = mem_alloc(sizeof(*t));

	t->md5 = hasher_new(STRONG_MD5);
	return t;
}

static void set_free(struct attr_set *set)
{
	for (size_t i = 0; i < set->n; i++)
		free((char *)(uintptr_t)set->values[i].value.p);
	free(set->values);
	free(set->form);
	free(set);
}

static void table_done(struct attr_table *t)
{
	HASH_CLEAR(hh, t->by_form);
	for (uint32_t i = 0; i < t->n; i++)
		set_free(t->by_index[i]);
	free(t->by_index);
}

void attrs_free(struct attrs_tables *t)
{
	if (!t)
		return;
	table_done(&t->xattrs);
	table_done(&t->access);
	table_done(&t->inherited);
	hasher_free(t->md5);
	free(t);
}

/* The set with this form; a new one, *fresh, has nothing else yet. */
static struct attr_set *table_set(struct attr_table *t, struct bytes form, bool *fresh)
{
	struct attr_set *set;

	HASH_FIND(hh, t->by_form, form.p, form.n, set);
	*fresh = !set;
	if (set)
		return set;
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 16;
		t->by_index = mem_realloc(t->by_index, t->cap, sizeof(struct attr_set *));
	}
	set = mem_alloc(sizeof(*set));
	set->form = mem_dup(form.p, form.n);
	set->index = t->n;
	t->by_index[t->n++] = set;
	HASH_ADD_KEYPTR(hh, t->by_form, set->form, form.n, set);
	return set;
}

/* A set that is known by its place, a new one in full. */
static struct attr_set *put_set(struct attr_table *t, struct buf *out, const struct buf *form,
                                bool *fresh)
{
	struct attr_set *set;

	if (form->overflowed) { /* the list is too long, then, too */
		out->overflowed = true;
		*fresh = false;
		return NULL;
	}
	set = table_set(t, buf_bytes(form), fresh);
	codec_put_varint(out, *fresh ? 0 : set->index + 1);
	if (*fresh)
		buf_add_bytes(out, buf_bytes(form));
	return set;
}

/* --- extended attributes --- */

const char *attrs_fault(const struct session_entry *e)
{
	for (size_t i = 0; i < e->xattrs_n; i++) {
		const struct session_xattr *x = &e->xattrs[i];

		if (!x->name.n || x->name.n > SESSION_XATTR_NAME_MAX ||
		    memchr(x->name.p, '\0', x->name.n) || x->value.n > SESSION_XATTR_VALUE_MAX)
			return "an extended attribute that cannot be listed";
		/* The receiver compares two lists by going through both. */
		if (i && bytes_compare(e->xattrs[i - 1].name, x->name) >= 0)
			return "extended attributes out of order";
	}
	return NULL;
}

static void put_value(struct attrs_tables *t, struct buf *form, struct bytes value)
{
	unsigned char digest[SUM_BYTES_MAX];

	if (value.n <= VALUE_FULL_MAX) {
		buf_add_bytes(form, value);
		return;
	}
	hasher_begin(t->md5);
	hasher_update(t->md5, value);
	hasher_end(t->md5, digest);
	buf_add(form, digest, strong_table[STRONG_MD5].size);
}

static void put_form(struct attrs_tables *t, struct buf *form, const struct session_entry *e)
{
	codec_put_varint(form, (uint32_t)e->xattrs_n);
	for (size_t i = 0; i < e->xattrs_n; i++) {
		const struct session_xattr *x = &e->xattrs[i];

		codec_put_varint(form, (uint32_t)x->name.n + 1);
		codec_put_varint(form, (uint32_t)x->value.n);
		buf_add_bytes(form, x->name);
		buf_add_u8(form, 0);
		put_value(t, form, x->value);
	}
}

static void keep_values(struct attr_set *set, const struct session_entry *e)
{
	size_t n = 0;

	for (size_t i = 0; i < e->xattrs_n; i++)
		n += e->xattrs[i].value.n > VALUE_FULL_MAX;
	set->values = mem_array(n ? n : 1, sizeof(*set->values));
	for (size_t i = 0; i < e->xattrs_n; i++) {
		struct bytes value = e->xattrs[i].value;

		if (value.n <= VALUE_FULL_MAX)
			continue;
		value.p = mem_dup(value.p, value.n);
		set->values[set->n++] =
		        (struct long_value){.place = (uint32_t)i + 1, .value = value};
	}
}

uint32_t attrs_put_xattrs(struct attrs_tables *t, struct buf *out, const struct session_entry *e)
{
	struct attr_set *set;
	struct buf form;
	bool fresh;

	buf_init(&form, SET_BYTES_MAX);
	put_form(t, &form, e);
	set = put_set(&t->xattrs, out, &form, &fresh);
	buf_done(&form);
	if (fresh)
		keep_values(set, e);
	return set ? set->index : ATTRS_SET_NONE;
}

/* --- what the receiver wants of them --- */

static struct long_value *find_value(const struct attr_set *set, int64_t place)
{
	size_t low = 0, high = set->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (set->values[mid].place == place)
			return &set->values[mid];
		if (set->values[mid].place < place)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static int compare_places(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Steps from place to place, backwards as well, up to 0. */
static int get_places(const struct attr_set *set, struct cursor *in, uint32_t *places, size_t *n)
{
	int64_t place = 0;

	for (*n = 0;; ++*n) {
		uint32_t step;
		int rc = codec_get_varint(in, &step);

		if (rc < 0 || !step)
			return rc;
		place += (int32_t)step;
		if (*n == set->n || !find_value(set, place))
			return -EPROTO;
		places[*n] = (uint32_t)place;
	}
}

int attrs_get_wanted(const struct attrs_tables *t, uint32_t set_index, struct cursor *in,
                     struct attrs_wanted *ret)
{
	autofree uint32_t *places = NULL;
	const struct attr_set *set;
	size_t n;
	int rc;

	if (set_index >= t->xattrs.n)
		return -EPROTO;
	set = t->xattrs.by_index[set_index];
	places = mem_array(set->n + 1, sizeof(*places));
	rc = get_places(set, in, places, &n);
	if (rc < 0)
		return rc;
	qsort(places, n, sizeof(*places), compare_places);
	for (size_t i = 1; i < n; i++) {
		if (places[i] == places[i - 1])
			return -EPROTO;
	}
	*ret = (struct attrs_wanted){true, TAKE(places), n};
	return 0;
}

int attrs_note_wanted(struct attrs_tables *t, uint32_t set, const struct attrs_wanted *wanted)
{
	for (size_t i = 0; i < wanted->n; i++) {
		if (++find_value(t->xattrs.by_index[set], wanted->places[i])->asked > ASKED_MAX)
			return -EPROTO;
	}
	return 0;
}

void attrs_put_wanted(const struct attrs_tables *t, uint32_t set, struct buf *out,
                      const struct attrs_wanted *wanted)
{
	uint32_t before = 0;

	for (size_t i = 0; i < wanted->n; i++) {
		uint32_t place = wanted->places[i];
		struct bytes value = find_value(t->xattrs.by_index[set], place)->value;

		codec_put_varint(out, place - before);
		codec_put_varint(out, (uint32_t)value.n);
		buf_add_bytes(out, value);
		before = place;
	}
	buf_add_u8(out, 0);
}

/* --- ACLs --- */

/* What the mode says as well is left out: the receiver expects it so. */
static void strip_mode(struct session_acl *acl, uint32_t mode)
{
	uint8_t group = (mode >> 3) & 7;

	acl->user = acl->other = SESSION_ACL_NONE;
	if (acl->mask == SESSION_ACL_NONE || acl->group == group)
		acl->group = SESSION_ACL_NONE;
	if (acl->names_n && acl->mask == group)
		acl->mask = SESSION_ACL_NONE;
}

static void put_acl(struct attr_table *t, struct buf *out, const struct session_acl *acl)
{
	const uint8_t parts[] = {acl->user, acl->group, acl->mask, acl->other};
	uint8_t flags = acl->names_n ? ACL_HAS_NAMES : 0;
	struct buf form;
	bool fresh;

	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		flags |= parts[i] == SESSION_ACL_NONE ? 0 : (uint8_t)(1u << i);
	buf_init(&form, SET_BYTES_MAX);
	buf_add_u8(&form, flags);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (parts[i] != SESSION_ACL_NONE)
			codec_put_varint(&form, parts[i]);
	if (acl->names_n)
		codec_put_varint(&form, (uint32_t)acl->names_n);
	for (size_t i = 0; i < acl->names_n; i++) {
		const struct session_acl_name *name = &acl->names[i];

		codec_put_varint(&form, name->id);
		codec_put_varint(&form,
		                 (uint32_t)name->access << 2 | (name->user ? ACL_NAME_IS_USER : 0));
	}
	(void)put_set(t, out, &form, &fresh);
	buf_done(&form);
}

void attrs_put_acls(struct attrs_tables *t, struct buf *out, const struct session_entry *e)
{
	static const struct session_acl none = {.user = SESSION_ACL_NONE,
	                                        .group = SESSION_ACL_NONE,
	                                        .mask = SESSION_ACL_NONE,
	                                        .other = SESSION_ACL_NONE};
	struct session_acl own = e->acl ? *e->acl : none;

	strip_mode(&own, e->mode);
	put_acl(&t->access, out, &own);
	if (S_ISDIR(e->mode))
		put_acl(&t->inherited, out, e->default_acl ? e->default_acl : &none);
}
