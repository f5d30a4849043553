/*
 * Any bytes from a peer, while the caller's side of the session is driven as a worker would.
 *
 * The first byte chooses class, kind and compression, the second protocol, the size of the feeds,
 * by what method is compressed, and by its highest bit whether extended attributes and ACLs are
 * listed. In the mode
 * "ready" the handshake is done honestly first, so that the rest of the input meets the framed
 * part.
 */
#include <sys/stat.h>

#include "base/mem.h"
#include "rsync/session.h"
#include "target.h"

#define EVENTS_MAX 100000
#define LONG_VALUE "user.a value of more than thirty-two bytes"
#define BYTES_OF(literal)                                                                          \
	{                                                                                          \
		(literal), sizeof(literal) - 1                                                     \
	}

static const struct session_options options = {.perms = true,
                                               .owner = true,
                                               .group = true,
                                               .times = true,
                                               .links = true,
                                               .devices = true,
                                               .hard_links = true,
                                               .min_digest = 1};

static void answer(struct session *s, unsigned how)
{
	static const char content[3000] = "some content that a receiver may have blocks of";

	if (how % 5 == 0) {
		session_no_send(s);
		return;
	}
	session_answer_begin(s, sizeof(content));
	for (size_t at = 0; at < sizeof(content); at += 1000)
		session_answer_data(s, (struct bytes){content + at, 1000});
	if (how % 5 == 1)
		session_answer_abort(s);
	else
		session_answer_end(s);
}

static void send_list(struct session *s, enum session_class class)
{
	static const char sum[16] = "";
	static const struct session_xattr x[] = {
	        {BYTES_OF(LONG_VALUE "1"), BYTES_OF(LONG_VALUE)},
	        {BYTES_OF(LONG_VALUE "2"), BYTES_OF("short")},
	        {BYTES_OF(LONG_VALUE "3"), BYTES_OF(LONG_VALUE "!")}};
	struct session_entry e[] = {
	        {.path = BYTES("d"),
	         .mode = S_IFDIR | 0755,
	         .content_dir = class == SESSION_DELETE,
	         .xattrs = x,
	         .xattrs_n = 1},
	        {.path = BYTES("d/f"),
	         .mode = S_IFREG | 0644,
	         .size = 3000,
	         .link_group = 1,
	         .xattrs = x,
	         .xattrs_n = ARRAY_LEN(x)},
	        {.path = BYTES("g"),
	         .mode = S_IFREG | 0644,
	         .mtime_ns = -1,
	         .link_group = 1,
	         .xattrs = x,
	         .xattrs_n = ARRAY_LEN(x)},
	        {.path = BYTES("link"), .mode = S_IFLNK | 0777, .link_target = BYTES("d/f")},
	        {.path = BYTES("fifo"), .mode = S_IFIFO | 0600},
	};
	struct session_risk risk = {BYTES("d/gone*"), false};
	bool delete = class == SESSION_DELETE;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(e); i++)
		if (class == SESSION_CHECKSUM && S_ISREG(e[i].mode))
			e[i].checksum = (struct bytes){sum, session_checksum_size(s)};
	check(session_list(s, e, delete ? 1 : ARRAY_LEN(e), &risk, delete ? 1 : 0, &err) == 0);
}

/* Content goes by a method that is chosen from names. */
static bool chooses(const struct session_options *o, enum session_class class)
{
	return o->compress != SESSION_COMPRESS_NO && o->compress != SESSION_COMPRESS_ZLIBX &&
	       class != SESSION_DELETE;
}

/* Takes what there is; a fast network takes all output at once. */
static void drive(struct session *s, enum session_class class)
{
	struct session_event ev;
	unsigned n = 0;

	if (session_state(s) == SESSION_READY)
		send_list(s, class);
	for (session_next(s, &ev); ev.kind != SESSION_EV_NONE; session_next(s, &ev)) {
		check(++n < EVENTS_MAX);
		if (ev.kind == SESSION_EV_REQUEST)
			answer(s, ev.flags ^ n);
	}
	session_sent(s, session_output(s).n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct session_login login = {"mod", "user", "password"};
	struct session_options o = options;
	enum session_class class;
	enum session_kind kind;
	struct session *s;
	size_t step;

	if (size < 2)
		return 0;
	class = (enum session_class)(data[0] % SESSION_CLASSES);
	kind = data[0] & 0x40 ? SESSION_DAEMON : SESSION_PIPE;
	if (data[0] & 0x20)
		o.compress = SESSION_COMPRESS_YES + (data[1] >> 3) % 4;
	o.protocol_max = 30 + data[1] % 3;
	o.xattrs = o.acls = data[1] & 0x80;
	step = 1 + data[1] / 3;
	s = session_new(kind, class, &o, "mod/", kind == SESSION_DAEMON ? &login : NULL);
	if (data[0] & 0x80) {
		if (kind == SESSION_DAEMON)
			session_feed(s, BYTES("@RSYNCD: 32.0 sha512 md5\n@RSYNCD: OK\n"));
		else
			session_feed(s, BYTES("\x20\0\0\0"));
		session_feed(s, BYTES("\x81\xfe\x0axxh128 md5"));
		if (chooses(&o, class))
			session_feed(s, BYTES("\x0ezlibx lz4 zstd"));
		session_feed(s, BYTES("\1\2\3\4"));
		drive(s, class);
	}
	for (size_t at = 2; at < size; at += step) {
		size_t n = size - at < step ? size - at : step;

		(void)session_feed(s, (struct bytes){(const char *)data + at, n});
		drive(s, class);
	}
	session_eof(s);
	drive(s, class);
	check(session_state(s) == SESSION_FAILED || session_state(s) == SESSION_CLOSED);
	session_free(s);
	return 0;
}
