#include "worker/wire.h"

#include <errno.h>

#include "base/mem.h"
#include "base/path.h"

/* A list entry needs this much memory; more items than the frame limit allows cannot come anyway.
 */
#define ITEM_BYTES_MIN    (4 + 2 + 8)
#define RESULT_BYTES_MIN  (4 + 3 + FINGERPRINT_BYTES + 4 + 4)
#define FORMER_BYTES_MIN  (4 + 4 + FINGERPRINT_BYTES)
#define BASIS_BYTES_MIN   (4 + 4 + FINGERPRINT_BYTES)
#define FINGERPRINT_BYTES (4 * 4 + 8 * 5)

#define STRING_MAX (64u << 10)

static void put_bytes(struct buf *out, struct bytes s)
{
	buf_add_le32(out, (uint32_t)s.n);
	buf_add_bytes(out, s);
}

static struct bytes get_bytes(struct cursor *c)
{
	return cursor_take(c, cursor_le32(c));
}

static bool get_bool(struct cursor *c)
{
	uint8_t v = cursor_u8(c);

	if (v > 1)
		c->bad = true;
	return v == 1;
}

static uint8_t get_below(struct cursor *c, unsigned limit)
{
	uint8_t v = cursor_u8(c);

	if (v >= limit)
		c->bad = true;
	return v;
}

/* NULL and "" are different things to their users, so presence is told. */
static void put_string(struct buf *out, const char *s)
{
	buf_add_u8(out, s != NULL);
	if (s)
		put_bytes(out, bytes_of(s));
}

static char *get_string(struct cursor *c)
{
	struct bytes s;

	if (!get_bool(c))
		return NULL;
	s = get_bytes(c);
	if (c->bad || s.n > STRING_MAX || (s.n && memchr(s.p, 0, s.n))) {
		c->bad = true;
		return NULL;
	}
	return mem_dup(s.p ? s.p : "", s.n);
}

static int finish(const struct cursor *c)
{
	return c->bad || cursor_left(c) ? -EPROTO : 0;
}

/* The switches among the options, in one order for both directions; extras and what is left out
 * come with a session. */
#define OPTION_SWITCHES(o)                                                                         \
	{                                                                                          \
		&(o)->perms, &(o)->owner, &(o)->group, &(o)->times, &(o)->links, &(o)->devices,    \
		        &(o)->hard_links, &(o)->xattrs, &(o)->acls, &(o)->numeric_ids,             \
		        &(o)->sparse, &(o)->fsync, &(o)->copies                                    \
	}

static void put_options(struct buf *out, const struct session_options *o)
{
	const bool *const switches[] = OPTION_SWITCHES(o);

	for (size_t i = 0; i < ARRAY_LEN(switches); i++)
		buf_add_u8(out, *switches[i]);
	buf_add_u8(out, (uint8_t)o->compress);
	buf_add_le32(out, o->compress_level);
	buf_add_le32(out, o->timeout_s);
	put_string(out, o->usermap);
	put_string(out, o->groupmap);
	buf_add_le32(out, o->min_digest);
	buf_add_le32(out, (uint32_t)o->protocol_max);
}

static void get_options(struct cursor *c, struct session_options *o)
{
	bool *const switches[] = OPTION_SWITCHES(o);

	for (size_t i = 0; i < ARRAY_LEN(switches); i++)
		*switches[i] = get_bool(c);
	o->compress = (enum session_compress)get_below(c, SESSION_COMPRESS_KINDS);
	o->compress_level = cursor_le32(c);
	o->timeout_s = cursor_le32(c);
	o->usermap = get_string(c);
	o->groupmap = get_string(c);
	o->min_digest = cursor_le32(c);
	o->protocol_max = (int)cursor_le32(c);
}

void wire_put_setup(struct buf *out, const struct wire_setup *m)
{
	put_bytes(out, (struct bytes){m->job, strnlen(m->job, sizeof(m->job) - 1)});
	put_options(out, &m->options);
	buf_add_le64(out, m->bwlimit_bytes);
	buf_add_le32(out, m->handshake_timeout_s);
	buf_add_le32(out, m->idle_timeout_s);
	buf_add_u8(out, m->cross_mounts);
	buf_add_u8(out, m->sandbox);
	buf_add_le32(out, m->mode_map.file_and);
	buf_add_le32(out, m->mode_map.file_or);
	buf_add_le32(out, m->mode_map.dir_and);
	buf_add_le32(out, m->mode_map.dir_or);
	buf_add_u8(out, m->map_uid);
	buf_add_u8(out, m->map_gid);
	buf_add_le32(out, m->uid);
	buf_add_le32(out, m->gid);
}

int wire_get_setup(struct bytes payload, struct wire_setup *ret)
{
	struct cursor c = cursor_of(payload);
	struct bytes job;

	memset(ret, 0, sizeof(*ret));
	job = get_bytes(&c);
	if (job.n >= sizeof(ret->job))
		return -EPROTO;
	if (job.n)
		memcpy(ret->job, job.p, job.n);
	get_options(&c, &ret->options);
	ret->bwlimit_bytes = cursor_le64(&c);
	ret->handshake_timeout_s = cursor_le32(&c);
	ret->idle_timeout_s = cursor_le32(&c);
	ret->cross_mounts = get_bool(&c);
	ret->sandbox = get_bool(&c);
	ret->mode_map.file_and = cursor_le32(&c);
	ret->mode_map.file_or = cursor_le32(&c);
	ret->mode_map.dir_and = cursor_le32(&c);
	ret->mode_map.dir_or = cursor_le32(&c);
	ret->map_uid = get_bool(&c);
	ret->map_gid = get_bool(&c);
	ret->uid = cursor_le32(&c);
	ret->gid = cursor_le32(&c);
	if (finish(&c)) {
		wire_free_setup(ret);
		return -EPROTO;
	}
	return 0;
}

void wire_free_setup(struct wire_setup *m)
{
	free((char *)m->options.usermap);
	free((char *)m->options.groupmap);
	m->options.usermap = m->options.groupmap = NULL;
}

void wire_put_session(struct buf *out, const struct wire_session *m)
{
	buf_add_le64(out, m->id);
	buf_add_u8(out, m->kind);
	buf_add_u8(out, m->class);
	buf_add_u8(out, m->tls);
	buf_add_u8(out, m->remote_exit);
	buf_add_u8(out, m->extras);
	buf_add_u8(out, m->without);
	put_string(out, m->path);
	put_string(out, m->module);
	put_string(out, m->user);
	put_string(out, m->password);
}

int wire_get_session(struct bytes payload, struct wire_session *ret)
{
	struct cursor c = cursor_of(payload);

	memset(ret, 0, sizeof(*ret));
	ret->id = cursor_le64(&c);
	ret->kind = get_below(&c, SESSION_PIPE + 1);
	ret->class = get_below(&c, SESSION_CLASSES);
	ret->tls = get_bool(&c);
	ret->remote_exit = get_bool(&c);
	ret->extras = get_bool(&c);
	ret->without = get_below(&c, SESSION_WITHOUT_ALL + 1);
	ret->path = get_string(&c);
	ret->module = get_string(&c);
	ret->user = get_string(&c);
	ret->password = get_string(&c);
	if (finish(&c)) {
		wire_free_session(ret);
		return -EPROTO;
	}
	return 0;
}

void wire_free_session(struct wire_session *m)
{
	free(m->path);
	free(m->module);
	free(m->user);
	mem_free_secret(m->password);
	m->path = m->module = m->user = m->password = NULL;
}

static void put_fingerprint(struct buf *out, const struct fingerprint *fp)
{
	buf_add_le32(out, fp->mode);
	buf_add_le32(out, fp->uid);
	buf_add_le32(out, fp->gid);
	buf_add_le32(out, fp->nlink);
	buf_add_le64(out, fp->size);
	buf_add_le64(out, (uint64_t)fp->mtime_ns);
	buf_add_le64(out, (uint64_t)fp->ctime_ns);
	buf_add_le64(out, fp->dev);
	buf_add_le64(out, fp->ino);
}

static void get_fingerprint(struct cursor *c, struct fingerprint *fp)
{
	fp->mode = cursor_le32(c);
	fp->uid = cursor_le32(c);
	fp->gid = cursor_le32(c);
	fp->nlink = cursor_le32(c);
	fp->size = cursor_le64(c);
	fp->mtime_ns = (int64_t)cursor_le64(c);
	fp->ctime_ns = (int64_t)cursor_le64(c);
	fp->dev = cursor_le64(c);
	fp->ino = cursor_le64(c);
}

static void put_formers(struct buf *out, const struct wire_batch *m)
{
	buf_add_le32(out, (uint32_t)m->formers_n);
	for (size_t i = 0; i < m->formers_n; i++) {
		put_bytes(out, m->formers[i].path);
		buf_add_le32(out, m->formers[i].item);
		put_fingerprint(out, &m->formers[i].fp);
	}
}

static void get_formers(struct cursor *c, struct wire_batch *ret)
{
	ret->formers_n = cursor_le32(c);
	if (c->bad || ret->formers_n > cursor_left(c) / FORMER_BYTES_MIN) {
		ret->formers_n = 0;
		c->bad = true;
	}
	ret->formers = mem_array(ret->formers_n ? ret->formers_n : 1, sizeof(*ret->formers));
	for (size_t i = 0; i < ret->formers_n; i++) {
		struct wire_former *former = &ret->formers[i];
		bool dir;

		former->path = get_bytes(c);
		former->item = cursor_le32(c);
		get_fingerprint(c, &former->fp);
		dir = former->item == WIRE_NO_ITEM;
		if (!former->path.n || !path_valid(former->path) ||
		    (!dir && former->item >= ret->count) ||
		    (former->fp.mode & S_IFMT) != (dir ? S_IFDIR : S_IFREG))
			c->bad = true;
	}
}

static void put_bases(struct buf *out, const struct wire_batch *m)
{
	buf_add_le32(out, (uint32_t)m->bases_n);
	for (size_t i = 0; i < m->bases_n; i++) {
		put_bytes(out, m->bases[i].path);
		buf_add_le32(out, m->bases[i].item);
		put_fingerprint(out, &m->bases[i].fp);
	}
}

static void get_bases(struct cursor *c, struct wire_batch *ret)
{
	ret->bases_n = cursor_le32(c);
	if (c->bad || ret->bases_n > cursor_left(c) / BASIS_BYTES_MIN) {
		ret->bases_n = 0;
		c->bad = true;
	}
	ret->bases = mem_array(ret->bases_n ? ret->bases_n : 1, sizeof(*ret->bases));
	for (size_t i = 0; i < ret->bases_n; i++) {
		struct wire_basis *basis = &ret->bases[i];

		basis->path = get_bytes(c);
		basis->item = cursor_le32(c);
		get_fingerprint(c, &basis->fp);
		if (!basis->path.n || !path_valid(basis->path) || basis->item >= ret->count ||
		    !S_ISREG(basis->fp.mode))
			c->bad = true;
	}
}

void wire_put_batch(struct buf *out, const struct wire_batch *m)
{
	buf_add_le64(out, m->id);
	buf_add_le64(out, m->session);
	buf_add_le64(out, (uint64_t)m->racy_window_ns);
	buf_add_le32(out, (uint32_t)m->count);
	for (size_t i = 0; i < m->count; i++) {
		const struct wire_item *item = &m->items[i];

		put_bytes(out, item->path);
		buf_add_le16(out, item->flags);
		buf_add_le64(out, (uint64_t)item->mtime_s);
	}
	put_formers(out, m);
	put_bases(out, m);
}

int wire_get_batch(struct bytes payload, struct wire_batch *ret)
{
	struct cursor c = cursor_of(payload);

	memset(ret, 0, sizeof(*ret));
	ret->id = cursor_le64(&c);
	ret->session = cursor_le64(&c);
	ret->racy_window_ns = (int64_t)cursor_le64(&c);
	ret->count = cursor_le32(&c);
	if (c.bad || ret->count > cursor_left(&c) / ITEM_BYTES_MIN)
		return -EPROTO;
	ret->items = mem_array(ret->count ? ret->count : 1, sizeof(*ret->items));
	for (size_t i = 0; i < ret->count; i++) {
		struct wire_item *item = &ret->items[i];

		item->path = get_bytes(&c);
		item->flags = cursor_le16(&c);
		item->mtime_s = (int64_t)cursor_le64(&c);
		if (!path_valid(item->path) || item->flags >= WIRE_ITEM_UNASKED << 1)
			c.bad = true;
	}
	get_formers(&c, ret);
	get_bases(&c, ret);
	if (finish(&c)) {
		wire_free_batch(ret);
		return -EPROTO;
	}
	return 0;
}

void wire_free_batch(struct wire_batch *m)
{
	free(m->items);
	m->items = NULL;
	m->count = 0;
	free(m->formers);
	m->formers = NULL;
	m->formers_n = 0;
	free(m->bases);
	m->bases = NULL;
	m->bases_n = 0;
}

void wire_put_report(struct buf *out, const struct wire_report *m)
{
	buf_add_le64(out, m->batch);
	buf_add_le32(out, (uint32_t)m->count);
	for (size_t i = 0; i < m->count; i++) {
		const struct wire_result_item *item = &m->items[i];

		buf_add_le32(out, item->index);
		buf_add_u8(out, item->result);
		buf_add_u8(out, item->flags);
		buf_add_u8(out, item->trouble);
		put_fingerprint(out, &item->fp);
		put_bytes(out, item->path);
		put_bytes(out, item->text);
	}
}

static void get_result(struct cursor *c, struct wire_result_item *item)
{
	bool context;

	item->index = cursor_le32(c);
	item->result = get_below(c, WIRE_RESULTS);
	item->flags = get_below(c, WIRE_MISTAKEN << 1);
	item->trouble = get_below(c, TROUBLE_KINDS);
	get_fingerprint(c, &item->fp);
	item->path = get_bytes(c);
	item->text = get_bytes(c);
	context = wire_result_is_context((enum wire_result)item->result);
	if (item->result == WIRE_DISPROVED && item->index == UINT32_MAX)
		context = true;
	if (item->result == 0 || context != (item->index == UINT32_MAX) || !path_valid(item->path))
		c->bad = true;
}

int wire_get_report(struct bytes payload, struct wire_report *ret)
{
	struct cursor c = cursor_of(payload);

	memset(ret, 0, sizeof(*ret));
	ret->batch = cursor_le64(&c);
	ret->count = cursor_le32(&c);
	if (c.bad || ret->count > cursor_left(&c) / RESULT_BYTES_MIN)
		return -EPROTO;
	ret->items = mem_array(ret->count ? ret->count : 1, sizeof(*ret->items));
	for (size_t i = 0; i < ret->count; i++)
		get_result(&c, &ret->items[i]);
	if (finish(&c)) {
		wire_free_report(ret);
		return -EPROTO;
	}
	return 0;
}

void wire_free_report(struct wire_report *m)
{
	free(m->items);
	m->items = NULL;
	m->count = 0;
}

void wire_put_ready(struct buf *out, const struct wire_ready *m)
{
	buf_add_le64(out, m->session);
	buf_add_le32(out, (uint32_t)m->protocol);
	buf_add_le32(out, m->peer_timeout_s);
	buf_add_u8(out, m->compress);
}

int wire_get_ready(struct bytes payload, struct wire_ready *ret)
{
	struct cursor c = cursor_of(payload);

	memset(ret, 0, sizeof(*ret));
	ret->session = cursor_le64(&c);
	ret->protocol = (int32_t)cursor_le32(&c);
	ret->peer_timeout_s = cursor_le32(&c);
	ret->compress = get_below(&c, SESSION_COMPRESS_KINDS);
	return finish(&c);
}

void wire_put_gone(struct buf *out, const struct wire_gone *m)
{
	buf_add_le64(out, m->session);
	buf_add_u8(out, m->trouble);
	buf_add_u8(out, m->was_ready);
	buf_add_u8(out, m->zombie_over);
	put_bytes(out, m->text);
	put_bytes(out, m->refused_option);
}

int wire_get_gone(struct bytes payload, struct wire_gone *ret)
{
	struct cursor c = cursor_of(payload);

	memset(ret, 0, sizeof(*ret));
	ret->session = cursor_le64(&c);
	ret->trouble = get_below(&c, TROUBLE_KINDS);
	ret->was_ready = get_bool(&c);
	ret->zombie_over = get_bool(&c);
	ret->text = get_bytes(&c);
	ret->refused_option = get_bytes(&c);
	return finish(&c);
}

void wire_put_done(struct buf *out, const struct wire_done *m)
{
	buf_add_le64(out, m->batch);
	buf_add_le64(out, m->session);
	buf_add_u8(out, m->trouble);
	buf_add_u8(out, m->zombie);
	buf_add_le64(out, m->bytes_out);
	buf_add_le64(out, m->bytes_in);
	put_bytes(out, m->text);
}

int wire_get_done(struct bytes payload, struct wire_done *ret)
{
	struct cursor c = cursor_of(payload);

	memset(ret, 0, sizeof(*ret));
	ret->batch = cursor_le64(&c);
	ret->session = cursor_le64(&c);
	ret->trouble = get_below(&c, TROUBLE_KINDS);
	ret->zombie = get_bool(&c);
	ret->bytes_out = cursor_le64(&c);
	ret->bytes_in = cursor_le64(&c);
	ret->text = get_bytes(&c);
	return finish(&c);
}

void wire_put_id(struct buf *out, uint64_t id)
{
	buf_add_le64(out, id);
}

int wire_get_id(struct bytes payload, uint64_t *ret)
{
	struct cursor c = cursor_of(payload);

	*ret = cursor_le64(&c);
	return finish(&c);
}

bool wire_result_is_context(enum wire_result result)
{
	return result == WIRE_CONTEXT || result == WIRE_CONTEXT_MOVED ||
	       result == WIRE_CONTEXT_UNKNOWN;
}

const char *wire_result_word(enum wire_result result)
{
	static const char *const words[WIRE_RESULTS] = {
	        [WIRE_ACKED] = "acked",       [WIRE_MOVED] = "moved",
	        [WIRE_VANISHED] = "vanished", [WIRE_UNREADABLE] = "unreadable",
	        [WIRE_FAILED] = "failed",     [WIRE_KEPT] = "kept",
	        [WIRE_UNSENT] = "unsent",     [WIRE_UNKNOWN] = "unknown",
	        [WIRE_CONTEXT] = "context",   [WIRE_CONTEXT_MOVED] = "context-moved",
	        [WIRE_PROVEN] = "proven",     [WIRE_DISPROVED] = "disproved",
	        [WIRE_SAME] = "same",         [WIRE_CONTEXT_UNKNOWN] = "context-unknown",
	};

	return result < WIRE_RESULTS && words[result] ? words[result] : "?";
}
