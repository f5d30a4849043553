#include "worker/names.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include "base/mem.h"

#define KEEP_NS          (60 * 1000000000LL)
#define IDS_MAX          4096 /* of one kind in one list; further ones go as numbers */
#define KNOWN_MAX        65536
#define LOOKUP_BYTES_MIN 1024
#define LOOKUP_BYTES_MAX (1u << 20)

/* Ids in ascending order, each with its name; NULL: it has none. */
struct id_table {
	struct known_id {
		uint32_t id;
		char *name;
	} * known;
	size_t n, cap;
};

struct names {
	struct id_table users, groups;
	int64_t asked_ns; /* when the oldest answer was given */
};

/* *ret by malloc. ERANGE: the buffer is too small. */
typedef int lookup_fn(uint32_t id, char *buffer, size_t size, char **ret);

static int lookup_user(uint32_t id, char *buffer, size_t size, char **ret)
{
	struct passwd entry, *found = NULL;
	int r = getpwuid_r(id, &entry, buffer, size, &found);

	if (r == 0 && found)
		*ret = mem_strdup(found->pw_name);
	return r;
}

static int lookup_group(uint32_t id, char *buffer, size_t size, char **ret)
{
	struct group entry, *found = NULL;
	int r = getgrgid_r(id, &entry, buffer, size, &found);

	if (r == 0 && found)
		*ret = mem_strdup(found->gr_name);
	return r;
}

/* A database that cannot be asked now gives no name, like one that knows none. */
static char *ask(lookup_fn *lookup, uint32_t id)
{
	char *ret = NULL;
	int r = ERANGE;

	for (size_t size = LOOKUP_BYTES_MIN; r == ERANGE && size <= LOOKUP_BYTES_MAX; size *= 4) {
		autofree char *buffer = mem_array(size, 1);

		r = lookup(id, buffer, size, &ret);
	}
	return ret;
}

static void table_clear(struct id_table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->known[i].name);
	free(t->known);
	*t = (struct id_table){0};
}

static const char *table_name(struct id_table *t, lookup_fn *lookup, uint32_t id)
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (t->known[mid].id == id)
			return t->known[mid].name;
		if (t->known[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 16;
		t->known = mem_realloc(t->known, t->cap, sizeof(*t->known));
	}
	memmove(t->known + low + 1, t->known + low, (t->n - low) * sizeof(*t->known));
	t->n++;
	t->known[low] = (struct known_id){id, ask(lookup, id)};
	return t->known[low].name;
}

struct names *names_new(void)
{
	struct names *n = mem_alloc(sizeof(*n));

	(void)table_name(&n->users, lookup_user, 0);
	(void)table_name(&n->groups, lookup_group, 0);
	return n;
}

void names_free(struct names *n)
{
	if (!n)
		return;
	table_clear(&n->users);
	table_clear(&n->groups);
	free(n);
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Names of the ids, which are put in order; returns how many there are. */
static size_t name_ids(struct id_table *t, lookup_fn *lookup, uint32_t *ids, size_t n,
                       struct session_id_name *ret)
{
	size_t different = 0, named = 0;

	if (n)
		qsort(ids, n, sizeof(*ids), compare_ids);
	for (size_t i = 0; i < n && different < IDS_MAX; i++) {
		const char *name;

		if (i && ids[i] == ids[i - 1])
			continue;
		different++;
		name = table_name(t, lookup, ids[i]);
		if (name)
			ret[named++] = (struct session_id_name){ids[i], bytes_of(name)};
	}
	return named;
}

/* Ids of one kind as they stand in the list. */
struct listed_ids {
	uint32_t *p;
	size_t n, cap;
};

static void add_id(struct listed_ids *ids, uint32_t id)
{
	if (ids->n == ids->cap) {
		ids->cap = ids->cap ? 2 * ids->cap : 64;
		ids->p = mem_realloc(ids->p, ids->cap, sizeof(*ids->p));
	}
	ids->p[ids->n++] = id;
}

static void add_acl(struct listed_ids *ids, const struct session_acl *acl, bool users)
{
	for (size_t i = 0; acl && i < acl->names_n; i++)
		if (acl->names[i].user == users)
			add_id(ids, acl->names[i].id);
}

static struct listed_ids list_ids(const struct manifest *list, bool users, bool owners)
{
	struct listed_ids ids = {0};

	for (size_t i = 0; i < list->count; i++) {
		const struct session_entry *e = &list->entries[i];

		if (owners)
			add_id(&ids, users ? e->uid : e->gid);
		add_acl(&ids, e->acl, users);
		add_acl(&ids, e->default_acl, users);
	}
	return ids;
}

void names_tell(struct names *n, struct session *s, const struct wire_setup *setup,
                const struct manifest *list, int64_t now_ns)
{
	const struct session_options *o = &setup->options;
	bool owners = o->owner && !setup->map_uid, groups_too = o->group && !setup->map_gid;
	autofree struct session_id_name *users = NULL, *groups = NULL;
	struct listed_ids uids, gids;
	size_t nusers, ngroups;

	if (o->numeric_ids || !(owners || groups_too || o->acls) || !list->count)
		return;
	if (now_ns - n->asked_ns > KEEP_NS || n->users.n + n->groups.n > KNOWN_MAX) {
		table_clear(&n->users);
		table_clear(&n->groups);
		n->asked_ns = now_ns;
	}
	uids = list_ids(list, true, owners);
	gids = list_ids(list, false, groups_too);
	users = mem_array(IDS_MAX, sizeof(*users));
	groups = mem_array(IDS_MAX, sizeof(*groups));
	nusers = name_ids(&n->users, lookup_user, uids.p, uids.n, users);
	ngroups = name_ids(&n->groups, lookup_group, gids.p, gids.n, groups);
	session_set_names(s, users, nusers, groups, ngroups);
	free(uids.p);
	free(gids.p);
}
