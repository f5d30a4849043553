/* The one list of a session: checked whole, put into the receiver's order, written in one piece. */
#include "rsync/session_internal.h"

#include <errno.h>
#include <sys/stat.h>
#include "base/mem.h"
#include "base/path.h"
#include "rsync/entry.h"
#include "rsync/rules.h"

#define LIST_MAX       (1u << 24) /* entries */
#define LIST_BYTES_MAX (1u << 30)
#define ID_NAME_MAX    255

/* An entry on its way into the receiver's order. */
struct ordered {
	const struct session_entry *e;
	uint32_t caller;
};

static int compare_ordered(const void *a, const void *b)
{
	const struct session_entry *x = ((const struct ordered *)a)->e;
	const struct session_entry *y = ((const struct ordered *)b)->e;

	return entry_compare(x->path, S_ISDIR(x->mode), y->path, S_ISDIR(y->mode));
}

static int bad(struct err *err, const struct session_entry *e, const char *why)
{
	return err_set(err, EINVAL, "%s: %s", path_show(e->path), why);
}

static bool known_type(const struct session_options *o, uint32_t mode)
{
	if (S_ISREG(mode) || S_ISDIR(mode))
		return true;
	if (S_ISLNK(mode))
		return o->links;
	return o->devices && (S_ISCHR(mode) || S_ISBLK(mode) || S_ISFIFO(mode) || S_ISSOCK(mode));
}

const char *session_entry_fault(const struct session_options *o, const struct session_entry *e)
{
	const char *fault = o->xattrs ? attrs_fault(e) : NULL;

	if (fault)
		return fault;
	if (!path_valid(e->path) || (!e->path.n && !S_ISDIR(e->mode)))
		return "not a path that can be listed";
	if (!known_type(o, e->mode))
		return "not a type that this session keeps";
	if (S_ISLNK(e->mode) && (!e->link_target.n || e->link_target.n > PATH_BYTES_MAX ||
	                         memchr(e->link_target.p, '\0', e->link_target.n)))
		return "not a link target";
	if (e->size > INT64_MAX)
		return "not a size";
	return NULL;
}

static int check_entry(const struct session *s, const struct session_entry *e, struct err *err)
{
	bool dir = S_ISDIR(e->mode);
	const char *fault = session_entry_fault(&s->o, e);

	if (fault)
		return bad(err, e, fault);
	if (dir && e->link_group)
		return bad(err, e, "a directory cannot be one of several links");
	if (!dir && (e->implied || e->content_dir))
		return bad(err, e, "only a directory can be listed as one");
	if (s->class == SESSION_DELETE ? !dir : e->content_dir && !session_has_rules(s))
		return bad(err, e, "not in a session of this class");
	if (s->class == SESSION_CHECKSUM && S_ISREG(e->mode) &&
	    e->checksum.n != strong_table[s->strong].size)
		return bad(err, e, "without the checksum of its content");
	return 0;
}

/* Receivers give up on a list in which an entry has no parent. In this order a directory stands
 * directly before all that is in it, so a stack of open ones is enough. */
static int check_order(const struct ordered *list, size_t n, struct err *err)
{
	autofree size_t *open = mem_array(n ? n : 1, sizeof(*open));
	size_t depth = 0;

	for (size_t i = 0; i < n; i++) {
		const struct session_entry *e = list[i].e;
		struct bytes parent = path_parent(e->path);

		while (depth && !bytes_equal(list[open[depth - 1]].e->path, parent))
			depth--;
		if (!depth && parent.n)
			return bad(err, e, "listed without its directory");
		if (S_ISDIR(e->mode) && e->path.n)
			open[depth++] = i;
	}
	return 0;
}

static int compare_paths(const void *a, const void *b)
{
	return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

/* No name may come twice (a file and a directory of one name are not neighbours in the list's
 * order), and a risk must lie where the receiver looks. */
static int check_names(const struct ordered *list, size_t n, const struct session_risk *risks,
                       size_t nrisks, struct err *err)
{
	autofree struct bytes *paths = mem_array(n + nrisks + 1, sizeof(*paths));
	size_t m = 0;

	for (size_t i = 0; i < n; i++)
		paths[m++] = list[i].e->path;
	qsort(paths, m, sizeof(*paths), compare_paths);
	for (size_t i = 1; i < m; i++)
		if (bytes_equal(paths[i], paths[i - 1]))
			return err_set(err, EINVAL, "%s: listed twice", path_show(paths[i]));

	m = 0;
	for (size_t i = 0; i < n; i++)
		if (list[i].e->content_dir)
			paths[m++] = list[i].e->path;
	for (size_t i = 0; i < nrisks; i++)
		paths[m++] = risks[i].path;
	qsort(paths, m, sizeof(*paths), compare_paths);
	for (size_t i = 0; i < nrisks; i++) {
		struct bytes parent = path_parent(risks[i].path);

		if (!bsearch(&parent, paths, m, sizeof(*paths), compare_paths))
			return err_set(err, EINVAL,
			               "%s: to be deleted in a directory that is not "
			               "listed for it",
			               path_show(risks[i].path));
	}
	return 0;
}

struct link_ref {
	uint64_t group;
	int32_t place;
};

static int compare_refs(const void *a, const void *b)
{
	const struct link_ref *x = a, *y = b;

	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

/* Fills each entry's place of its group's first name. Groups of one are no links at all. */
static void find_links(const struct session *s, const struct ordered *list, size_t n,
                       struct entry_role *roles)
{
	autofree struct link_ref *refs = mem_array(n ? n : 1, sizeof(*refs));
	size_t m = 0;

	if (!s->o.hard_links || s->class == SESSION_DELETE)
		return;
	for (size_t i = 0; i < n; i++)
		if (list[i].e->link_group)
			refs[m++] = (struct link_ref){list[i].e->link_group, (int32_t)i};
	qsort(refs, m, sizeof(*refs), compare_refs);
	for (size_t i = 0, first = 0; i < m; i++) {
		bool starts = i == 0 || refs[i].group != refs[i - 1].group;
		bool more = i + 1 < m && refs[i + 1].group == refs[i].group;

		if (starts)
			first = i;
		roles[refs[i].place].linked = !starts || more;
		roles[refs[i].place].first = starts ? -1 : refs[first].place;
	}
}

static struct entry_role role_of(const struct session *s, const struct session_entry *e)
{
	struct entry_role role = {.first = -1};

	if (!S_ISDIR(e->mode))
		return role;
	/* Only a content directory is ever scanned for what is not in the list. */
	role.no_content = !e->content_dir;
	role.top = e->content_dir || e->implied || s->class == SESSION_DELETE;
	return role;
}

/* Fills each entry's set of extended attributes. */
static void put_entries(struct session *s, struct buf *out, const struct ordered *list, size_t n,
                        uint32_t *sets)
{
	struct session_options o = s->o;
	struct entry_writer w = {.o = &o,
	                         .protocol = s->protocol,
	                         .varint_flags = s->compat & COMPAT_VARINT,
	                         .checksums = s->class == SESSION_CHECKSUM,
	                         .attrs = s->attrs};
	autofree struct entry_role *roles = mem_array(n ? n : 1, sizeof(*roles));

	if (s->class == SESSION_DELETE)
		o.owner = o.group = o.xattrs = o.acls = false;
	for (size_t i = 0; i < n; i++)
		roles[i] = role_of(s, list[i].e);
	find_links(s, list, n, roles);
	for (size_t i = 0; i < n; i++)
		sets[i] = entry_put(out, &w, list[i].e, &roles[i]);
	entry_put_end(out, &w);
}

/* Without names the receiver keeps the numbers. Id 0 ends the list, and where both sides know it
 * has its own name behind it. */
static void put_id_names(const struct session *s, struct buf *out, const struct id_names *names)
{
	struct bytes zero = {"", 0};

	for (size_t i = 0; i < names->n; i++) {
		const struct session_id_name *name = &names->p[i];

		if (!name->id) {
			zero = name->name;
			continue;
		}
		codec_put_varint(out, name->id);
		buf_add_u8(out, (uint8_t)name->name.n);
		buf_add_bytes(out, name->name);
	}
	codec_put_varint(out, 0);
	if (s->compat & COMPAT_ID0_NAMES) {
		buf_add_u8(out, (uint8_t)zero.n);
		buf_add_bytes(out, zero);
	}
}

static void put_ids(const struct session *s, struct buf *out)
{
	if (s->o.numeric_ids || s->class == SESSION_DELETE)
		return;
	if (s->o.owner || s->o.acls)
		put_id_names(s, out, &s->users);
	if (s->o.group || s->o.acls)
		put_id_names(s, out, &s->groups);
}

static void keep_names(struct id_names *to, const struct session_id_name *names, size_t n)
{
	to->p = mem_array(n ? n : 1, sizeof(*to->p));
	for (size_t i = 0; i < n; i++) {
		struct bytes name = names[i].name;

		if (!name.n || name.n > ID_NAME_MAX)
			continue;
		name.p = mem_dup(name.p, name.n);
		to->p[to->n++] = (struct session_id_name){names[i].id, name};
	}
}

static void drop_names(struct id_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free((char *)(uintptr_t)names->p[i].name.p);
	free(names->p);
	*names = (struct id_names){0};
}

void list_drop_names(struct session *s)
{
	drop_names(&s->users);
	drop_names(&s->groups);
}

void session_set_names(struct session *s, const struct session_id_name *users, size_t nusers,
                       const struct session_id_name *groups, size_t ngroups)
{
	list_drop_names(s);
	keep_names(&s->users, users, nusers);
	keep_names(&s->groups, groups, ngroups);
}

static void remember(struct session *s, const struct ordered *list, size_t n, const uint32_t *sets)
{
	s->listed = mem_array(n ? n : 1, sizeof(*s->listed));
	s->place = mem_array(n ? n : 1, sizeof(*s->place));
	s->nlisted = n;
	for (size_t i = 0; i < n; i++) {
		s->listed[i] = (struct listed){.caller = list[i].caller,
		                               .regular = S_ISREG(list[i].e->mode),
		                               .xattrs = sets[i]};
		s->place[list[i].caller] = (uint32_t)i;
	}
}

static int check_list(struct session *s, const struct session_entry *entries, size_t n,
                      struct ordered *list, const struct session_risk *risks, size_t nrisks,
                      struct err *err)
{
	int rc;

	for (size_t i = 0; i < n; i++) {
		rc = check_entry(s, &entries[i], err);
		if (rc < 0)
			return rc;
		list[i] = (struct ordered){&entries[i], (uint32_t)i};
	}
	qsort(list, n, sizeof(*list), compare_ordered);
	rc = check_order(list, n, err);
	if (rc < 0)
		return rc;
	return check_names(list, n, risks, nrisks, err);
}

int session_list(struct session *s, const struct session_entry *entries, size_t n,
                 const struct session_risk *rules, size_t nrules, struct err *err)
{
	autofree struct ordered *list = NULL;
	autofree uint32_t *sets = NULL;
	struct buf out;
	int rc = 0;

	if (s->state != SESSION_READY)
		return err_set(err, EINVAL, "the session is not ready for a list");
	if (n > LIST_MAX || (nrules && !session_has_rules(s)))
		return err_set(err, EINVAL, "not a list for this session");
	list = mem_array(n ? n : 1, sizeof(*list));
	sets = mem_array(n ? n : 1, sizeof(*sets));
	rc = check_list(s, entries, n, list, rules, s->class == SESSION_DELETE ? nrules : 0, err);
	if (rc < 0)
		return rc;
	buf_init(&out, LIST_BYTES_MAX);
	if (s->class == SESSION_DELETE)
		rc = rules_put(&out, rules, nrules, err);
	else if (session_has_rules(s))
		rc = rules_put_protected(&out, rules, nrules, err);
	if (rc == 0) {
		attrs_free(s->attrs);
		s->attrs = s->o.xattrs || s->o.acls ? attrs_new() : NULL;
		put_entries(s, &out, list, n, sets);
		put_ids(s, &out);
		if (out.overflowed)
			rc = err_set(err, E2BIG, "the list is too long");
	}
	if (rc == 0) {
		remember(s, list, n, sets);
		s->nrules = nrules;
		s->list_at = s->out.total + mux_out_pending(&s->out).n;
		mux_out_data(&s->out, buf_bytes(&out));
		s->list_end = s->out.total + mux_out_pending(&s->out).n;
		s->state = SESSION_SERVING;
	}
	buf_done(&out);
	return rc;
}

void session_quit(struct session *s)
{
	(void)session_list(s, NULL, 0, NULL, 0, NULL);
}
