/*
 * A whole session of the worker against a peer that follows a script: link, cargo, supply and
 * verdict with a small real tree, on a clock of the script's.
 *
 * The first byte chooses class and kind, the second options and whether the set-up is done
 * honestly; then come steps (enum step) with their arguments. Whatever the peer says, no item is
 * confirmed without the bytes that stand for it, each is answered once, nothing from outside the
 * tree leaves, what waits stays small, and the link comes to its end.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "rsync/codec.h"
#include "rsync/session_internal.h"
#include "target.h"
#include "worker/link.h"

#define NS_PER_S      1000000000LL
#define CANARY        "what lies outside of the tree"
#define BIG_BYTES     300000 /* two slices */
#define REPEATS       16
#define PENDING_MAX   (8u << 20)
#define ENDING_STEPS  64
#define UNKNOWN_ENTRY UINT32_MAX

enum step {
	STEP_RAW,     /* n, bytes */
	STEP_DATA,    /* n, bytes: one frame of the stream */
	STEP_MESSAGE, /* code, n, bytes */
	STEP_SUCCESS, /* entry */
	STEP_REQUEST, /* entry, flags, flags, blocks, n, bytes of sums */
	STEP_ITEM,    /* entry, flags, flags, n, name */
	STEP_DONE,
	STEP_STATS,
	STEP_TEXT,    /* code, form, item */
	STEP_DELETED, /* item, directory */
	STEP_CLOCK,   /* seconds */
	STEP_TAKE,    /* KiB of our output */
	STEP_CUT,
	STEP_TIMEOUT, /* seconds */
	STEP_EXIT,    /* code */
	STEP_ALIVE,   /* how often */
	STEPS
};

static const char *const kept_paths[] = {".lockstep/j.1", "a",    "b",  "big", "c", "d",
                                         "d/f",           "gone", "h1", "h2"};
static const char *const lost_paths[] = {"d/y", "x", "z", "z/w"};

struct script {
	const uint8_t *p, *end;
};

/* What the peer said, read by the letter of the protocol and not by our code. */
struct witness {
	bool unsure; /* where the frames begin is not known */
	uint8_t head[4];
	unsigned head_n;
	uint32_t code, left, index;
	unsigned zeros; /* bytes of the stream that may be a phase mark */
	bool said_success[64];
};

struct play {
	struct script script;
	struct link_env env;
	struct link *l;
	struct frame_in *reports;
	int peer, frames[2];
	int64_t now_ns;
	struct ndx_state ndx;
	struct witness witness;
	enum session_class class;
	const char *const *paths;
	uint32_t paths_n;
	uint32_t entry_of[ARRAY_LEN(kept_paths)]; /* the item's place in the list */
	bool carried, mapped, done, gone;
	uint8_t results[ARRAY_LEN(kept_paths)];
	int protocol;
};

/* --- the tree --- */

static char tree_dir[64];
static int tree_fd = -1;
/* What does not change from play to play. */
static struct names *names_known;
static char *slice, *input;

static void remove_tree(void)
{
	static const char *const names[] = {"src/d/f", "src/a",  "src/b",  "src/big", "src/twin",
	                                    "src/c",   "src/h1", "src/h2", "secret",  "secrets"};
	int dir = open(tree_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	names_free(names_known);
	free(slice);
	free(input);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		(void)unlinkat(dir, names[i], 0);
	(void)unlinkat(dir, "src/d", AT_REMOVEDIR);
	(void)unlinkat(dir, "src", AT_REMOVEDIR);
	(void)close(dir);
	(void)rmdir(tree_dir);
}

static void make_file(int dir, const char *name, const char *content, size_t bytes)
{
	struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
	autoclose int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	check(fd >= 0 && fd_write_full(fd, content, strlen(content)) == 0);
	check(ftruncate(fd, (off_t)bytes) == 0 && futimens(fd, old) == 0);
}

static void make_tree(void)
{
	const char *tmp = getenv("TMPDIR");
	autoclose int dir = -1;

	(void)snprintf(tree_dir, sizeof(tree_dir), "%.30s/lockstep-fuzz.XXXXXX",
	               tmp ? tmp : "/tmp");
	check(mkdtemp(tree_dir));
	(void)atexit(remove_tree);
	dir = open(tree_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	check(mkdirat(dir, "src", 0755) == 0 && mkdirat(dir, "src/d", 0755) == 0);
	make_file(dir, "secret", CANARY, sizeof(CANARY));
	make_file(dir, "src/a", "alpha", 5);
	make_file(dir, "src/b", "beta", 3000);
	make_file(dir, "src/big", "big", BIG_BYTES);
	make_file(dir, "src/twin", "big", BIG_BYTES);
	make_file(dir, "src/d/f", "", 0);
	make_file(dir, "src/h1", "linked", 6);
	check(linkat(dir, "src/h1", dir, "src/h2", 0) == 0);
	check(symlinkat("../secret", dir, "src/c") == 0);
	tree_fd = openat(dir, "src", O_PATH | O_DIRECTORY | O_CLOEXEC);
	check(tree_fd >= 0);
	names_known = names_new();
	slice = mem_alloc(SUPPLY_SLICE_BYTES);
	input = mem_alloc(LINK_READ_BYTES);
}

/* --- the script --- */

static uint8_t next_byte(struct play *y)
{
	return y->script.p < y->script.end ? *y->script.p++ : 0;
}

static struct bytes next_bytes(struct play *y)
{
	size_t n = next_byte(y), left = (size_t)(y->script.end - y->script.p);
	struct bytes ret = {(const char *)y->script.p, n < left ? n : left};

	y->script.p += ret.n;
	return ret;
}

/* --- the witness --- */

static void hear_payload(struct witness *w, uint8_t byte)
{
	enum { DATA = 7, SUCCESS = 107 };

	if (w->code == DATA && byte == 0)
		w->zeros++;
	if (w->code == SUCCESS && w->left <= 4)
		w->index = w->index >> 8 | (uint32_t)byte << 24;
	w->left--;
	if (w->code == SUCCESS && w->left == 0 && w->index < ARRAY_LEN(w->said_success))
		w->said_success[w->index] = true;
}

static void hear(struct witness *w, struct bytes s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (w->left) {
			hear_payload(w, (uint8_t)s.p[i]);
			continue;
		}
		w->head[w->head_n++] = (uint8_t)s.p[i];
		if (w->head_n < 4)
			continue;
		w->head_n = 0;
		w->code = w->head[3];
		w->left = w->head[0] | (uint32_t)w->head[1] << 8 | (uint32_t)w->head[2] << 16;
		w->index = 0;
	}
}

static bool was_said(const struct play *y, uint32_t item)
{
	uint32_t entry = y->entry_of[item];

	return entry < ARRAY_LEN(y->witness.said_success) && y->witness.said_success[entry];
}

static bool may_be_over(const struct play *y)
{
	return y->witness.zeros >= (y->protocol >= 31 ? 5 : 4);
}

static void judge(const struct play *y, uint32_t item, enum wire_result result)
{
	bool settled_by_end =
	        y->class == SESSION_DELETE || strcmp(y->paths[item], "d") == 0 || y->l->no_ack;

	if (y->witness.unsure)
		return;
	if (result == WIRE_ACKED || result == WIRE_MOVED)
		check(settled_by_end ? may_be_over(y) : was_said(y, item));
	if (result == WIRE_PROVEN && (y->class == SESSION_COMPARE || y->class == SESSION_CHECKSUM))
		check(may_be_over(y));
	if (result == WIRE_PROVEN || result == WIRE_DISPROVED)
		check(y->witness.zeros || was_said(y, item));
}

/* --- reports --- */

static void take_report(struct play *y, struct bytes payload)
{
	struct wire_report m;

	check(!y->done && wire_get_report(payload, &m) == 0 && m.batch == 1);
	for (size_t i = 0; i < m.count; i++) {
		const struct wire_result_item *r = &m.items[i];

		if (r->index == UINT32_MAX) {
			if (r->result != WIRE_DISPROVED && !y->witness.unsure)
				check(may_be_over(y));
			continue;
		}
		check(r->index < y->paths_n && !y->results[r->index]);
		check(r->result > 0 && r->result < WIRE_RESULTS);
		y->results[r->index] = r->result;
		judge(y, r->index, (enum wire_result)r->result);
	}
	wire_free_report(&m);
}

static void take_reports(struct play *y)
{
	struct frame f = {0};

	check(frame_out_pending(y->env.out) < PENDING_MAX);
	(void)frame_out_flush(y->env.out);
	while (frame_in_next(y->reports, &f) > 0) {
		switch (f.type) {
		case WIRE_REPORT:
			take_report(y, f.payload);
			break;
		case WIRE_BATCH_DONE:
			check(y->carried && !y->done);
			y->done = true;
			for (uint32_t i = 0; i < y->paths_n; i++)
				check(y->results[i]);
			break;
		case WIRE_SESSION_GONE:
			check(!y->gone && y->done == y->carried);
			y->gone = true;
			break;
		default:
			check(f.type == WIRE_READY);
		}
	}
}

/* --- the link --- */

/* `big` may be a copy of what is not listed: the content class claims that. */
static void add_basis(struct play *y, struct wire_basis *ret)
{
	struct stat st;

	check(fstatat(tree_fd, "twin", &st, AT_SYMLINK_NOFOLLOW) == 0);
	ret->path = BYTES("twin");
	while (strcmp(y->paths[ret->item], "big") != 0)
		ret->item++;
	fingerprint_of(&ret->fp, &st);
}

static void carry(struct play *y)
{
	struct wire_basis basis = {.item = 0};
	struct wire_item items[ARRAY_LEN(kept_paths)] = {0};
	struct wire_batch batch = {.id = 1, .session = 1, .items = items, .count = y->paths_n};
	struct buf b;

	for (uint32_t i = 0; i < y->paths_n; i++) {
		items[i].path = bytes_of(y->paths[i]);
		y->entry_of[i] = UNKNOWN_ENTRY;
		if (y->class == SESSION_DELETE && i == 1)
			items[i].flags = WIRE_ITEM_TEMPS;
		if (strcmp(y->paths[i], "d") == 0 || strcmp(y->paths[i], "z") == 0)
			items[i].flags = WIRE_ITEM_DIR;
		if (y->paths[i][0] == '.')
			items[i] = (struct wire_item){items[i].path, WIRE_ITEM_STAMP, 1000};
	}
	if (y->class == SESSION_CONTENT) {
		add_basis(y, &basis);
		batch.bases = &basis;
		batch.bases_n = 1;
	}
	buf_init(&b, FRAME_PAYLOAD_MAX);
	wire_put_batch(&b, &batch);
	y->carried = true;
	link_carry(y->l, cargo_new(buf_bytes(&b), fcntl(tree_fd, F_DUPFD_CLOEXEC, 3)), y->now_ns);
	buf_done(&b);
}

/* Which entry stands for which item, once there is a list. */
static void map_entries(struct play *y)
{
	const struct session *s = y->l->session;
	const struct cargo *c = y->l->cargo;

	if (y->mapped || !c || s->list_at == UINT64_MAX)
		return;
	y->mapped = true;
	for (size_t i = 0; i < c->listed_n && i < s->nlisted; i++) {
		uint32_t item = c->parts[c->listed[i]].item;

		if (item != CARGO_NONE)
			y->entry_of[item] = s->place[i];
	}
}

static void step_link(struct play *y)
{
	if (y->l->state != LINK_OVER)
		link_io(y->l, POLLIN | POLLOUT, y->now_ns);
	for (int i = 0; i < 8 && y->l->state != LINK_OVER; i++) {
		link_work(y->l, y->now_ns);
		if (y->l->state == LINK_IDLE && !y->carried)
			carry(y);
		map_entries(y);
	}
	if (y->l->state != LINK_OVER)
		link_io(y->l, POLLOUT, y->now_ns);
	check(session_output_pending(y->l->session) < PENDING_MAX);
	take_reports(y);
}

/* What we were sent, up to so many bytes: never what lies outside. */
static void take_output(struct play *y, size_t max)
{
	char p[16384];
	ssize_t n;

	while (max && y->peer >= 0) {
		n = recv(y->peer, p, max < sizeof(p) ? max : sizeof(p), MSG_DONTWAIT);
		if (n <= 0)
			return;
		check(!memmem(p, (size_t)n, CANARY, sizeof(CANARY) - 1));
		max -= (size_t)n;
	}
}

static void say(struct play *y, struct bytes s)
{
	bool framed = y->l->session->out.framed;

	if (framed)
		hear(&y->witness, s);
	while (s.n && y->peer >= 0) {
		ssize_t n = send(y->peer, s.p, s.n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n <= 0)
			break;
		s.p += n;
		s.n -= (size_t)n;
		step_link(y);
	}
	/* Where the set-up ended only an honest one tells. */
	if (!framed && y->l->session->out.framed)
		y->witness.unsure = true;
}

static void say_frame(struct play *y, uint8_t tag, struct bytes payload)
{
	struct buf b;

	buf_init(&b, payload.n + 4);
	buf_add_le32(&b, (uint32_t)tag << 24 | (uint32_t)payload.n);
	buf_add_bytes(&b, payload);
	say(y, buf_bytes(&b));
	buf_done(&b);
}

static void say_int(struct play *y, enum mux_code code, uint32_t value)
{
	char p[4] = {(char)value, (char)(value >> 8), (char)(value >> 16), (char)(value >> 24)};

	say_frame(y, (uint8_t)(7 + code), (struct bytes){p, 4});
}

static void say_item(struct play *y, bool request)
{
	int32_t entry = next_byte(y);
	uint16_t flags = (uint16_t)(next_byte(y) | next_byte(y) << 8);
	struct buf b;

	buf_init(&b, 4096);
	codec_put_ndx(&b, &y->ndx, entry);
	if (request) {
		uint8_t blocks = next_byte(y);
		struct sum_head head = {blocks, blocks ? 64 : 0, blocks ? 16 : 0, 0};
		struct bytes sums;

		buf_add_le16(&b, (uint16_t)((flags & 0xff) | SESSION_ITEM_TRANSFER));
		sum_head_put(&b, &head);
		sums = next_bytes(y);
		buf_add_bytes(&b, sums);
		for (size_t n = sum_head_cost(&head); n > sums.n; n--)
			buf_add_u8(&b, 0);
	} else {
		buf_add_le16(&b, flags & 0x70ff);
		if (flags & SESSION_ITEM_XNAME)
			codec_put_vstring(&b, next_bytes(y));
	}
	say_frame(y, 7, buf_bytes(&b));
	buf_done(&b);
}

static void say_text(struct play *y)
{
	static const char *const forms[] = {
	        "rsync: [receiver] mkstemp \"/t/%s\" failed: No space left on device (28)\n",
	        "rsync: open \"/t/.%s.AbCdEf\" failed: Permission denied (13)",
	        "cannot delete non-empty directory: %s",
	        "rsync: chown \"%s\" failed: Operation not permitted (1)",
	        "IO error encountered -- skipping file deletion",
	        "could not make way for new regular file: %s",
	        "rsync error: some files vanished (code 24)",
	        "The server is configured to refuse --delete",
	        "%s",
	};
	uint8_t code = 1 + next_byte(y) % 4, form = next_byte(y) % ARRAY_LEN(forms);
	const char *path = y->paths[next_byte(y) % y->paths_n], *at = strstr(forms[form], "%s");
	size_t front = at ? (size_t)(at - forms[form]) : strlen(forms[form]);
	struct buf b;

	buf_init(&b, 4096);
	buf_add(&b, forms[form], front);
	if (at) {
		buf_add_bytes(&b, bytes_of(path));
		buf_add_bytes(&b, bytes_of(at + 2));
	}
	say_frame(y, 7 + code, buf_bytes(&b));
	buf_done(&b);
}

static void say_deleted(struct play *y)
{
	struct bytes path = bytes_of(y->paths[next_byte(y) % y->paths_n]);

	path.n += next_byte(y) & 1; /* with its end: a directory */
	say_frame(y, 7 + MUX_DELETED, path);
}

static void cut(struct play *y)
{
	take_output(y, SIZE_MAX);
	mem_closep(&y->peer);
	y->peer = -1;
	step_link(y);
}

static void wind_clock(struct play *y, int64_t ns)
{
	y->now_ns += ns;
	if (y->l->state != LINK_OVER && y->now_ns >= link_wake_ns(y->l))
		link_timer(y->l, y->now_ns);
	step_link(y);
}

static void play_step(struct play *y)
{
	struct bytes s;
	uint8_t n;

	switch ((enum step)(next_byte(y) % STEPS)) {
	case STEP_RAW:
		say(y, next_bytes(y));
		break;
	case STEP_DATA:
		say_frame(y, 7, next_bytes(y));
		break;
	case STEP_MESSAGE:
		n = next_byte(y);
		say_frame(y, n, next_bytes(y));
		break;
	case STEP_SUCCESS:
		say_int(y, MUX_SUCCESS, next_byte(y));
		break;
	case STEP_REQUEST:
		say_item(y, true);
		break;
	case STEP_ITEM:
		say_item(y, false);
		break;
	case STEP_DONE:
		say_frame(y, 7, BYTES("\0"));
		break;
	case STEP_STATS:
		s = BYTES("\xff\2\0\0\0\0\0");
		say_frame(y, 7, s);
		break;
	case STEP_TEXT:
		say_text(y);
		break;
	case STEP_DELETED:
		say_deleted(y);
		break;
	case STEP_CLOCK:
		wind_clock(y, next_byte(y) * NS_PER_S);
		break;
	case STEP_TAKE:
		take_output(y, (size_t)next_byte(y) << 10);
		step_link(y);
		break;
	case STEP_CUT:
		cut(y);
		break;
	case STEP_TIMEOUT:
		say_int(y, MUX_IO_TIMEOUT, next_byte(y));
		break;
	case STEP_EXIT:
		say_int(y, MUX_ERROR_EXIT, next_byte(y));
		break;
	case STEP_ALIVE:
		for (n = next_byte(y); n > 0; n--)
			say_frame(y, n & 1 ? 7 : 7 + MUX_NOOP, BYTES(""));
		break;
	case STEPS:
		break;
	}
}

/* --- one play --- */

/* All but the first are chosen from names. */
static const enum session_compress compressions[] = {SESSION_COMPRESS_ZLIBX, SESSION_COMPRESS_ZSTD,
                                                     SESSION_COMPRESS_LZ4, SESSION_COMPRESS_YES};

static void begin(struct play *y, uint8_t how, uint8_t options)
{
	struct wire_session m = {
	        .id = 1, .path = "m/", .module = "m", .user = "u", .password = "p"};
	int fds[2];

	y->class = (enum session_class)(how % SESSION_CLASSES);
	y->paths = y->class == SESSION_DELETE ? lost_paths : kept_paths;
	y->paths_n = y->class == SESSION_DELETE ? ARRAY_LEN(lost_paths) : ARRAY_LEN(kept_paths);
	if (y->class == SESSION_COMPARE || y->class == SESSION_CHECKSUM) {
		y->paths++; /* the stamp */
		y->paths_n--;
	}
	y->protocol = 30 + (how >> 4) % 3;
	m.class = (uint8_t)y->class;
	m.kind = how & 0x08 ? SESSION_DAEMON : SESSION_PIPE;
	m.remote_exit = options & 0x02;
	m.extras = options & 0x20;
	m.without = options & 0x01 ? SESSION_WITHOUT_ACKS : 0;
	y->env.setup.options = (struct session_options){.perms = true,
	                                                .owner = true,
	                                                .times = true,
	                                                .links = true,
	                                                .hard_links = true,
	                                                .numeric_ids = true,
	                                                .copies = true,
	                                                .timeout_s = 30,
	                                                .min_digest = 1,
	                                                .protocol_max = y->protocol};
	if (options & 0x04)
		y->env.setup.options.compress = compressions[options >> 6];
	y->now_ns = NS_PER_S;
	y->ndx = ndx_state_start();
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, y->frames) == 0);
	throttle_init(&y->env.throttle, 0, y->now_ns);
	y->env.names = names_known;
	y->env.repeats = repeats_new(REPEATS);
	y->env.out = frame_out_new(y->frames[0]);
	y->env.slice = slice;
	y->env.input = input;
	y->reports = frame_in_new(y->frames[1]);
	y->peer = fds[1];
	y->l = link_new(&y->env, &m, fds[0], y->now_ns);
	if (!(options & 0x10))
		return;
	if (m.kind == SESSION_DAEMON)
		say(y, BYTES("@RSYNCD: 32.0 sha512 md5\n@RSYNCD: AUTHREQD x\n@RSYNCD: OK\n"));
	else
		say(y, BYTES("\x20\0\0\0"));
	say(y, BYTES("\x81\xfe\x0axxh128 md5"));
	if ((options & 0x04) && options >> 6 && y->class != SESSION_DELETE)
		say(y, BYTES("\x0ezlibx lz4 zstd"));
	say(y, BYTES("\1\2\3\4"));
	y->witness.unsure = false;
	check(y->carried);
}

/* The peer is gone; what is left is a matter of time. */
static void end(struct play *y)
{
	cut(y);
	for (int i = 0; i < ENDING_STEPS && y->l->state != LINK_OVER; i++)
		wind_clock(y, link_wake_ns(y->l) - y->now_ns);
	check(y->l->state == LINK_OVER && y->gone && y->done == y->carried);
	link_free(y->l);
	frame_in_free(y->reports);
	frame_out_free(y->env.out);
	repeats_free(y->env.repeats);
	(void)close(y->frames[0]);
	(void)close(y->frames[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct play y = {.script = {data, data + size}};
	uint8_t how, options;

	if (size < 2)
		return 0;
	if (tree_fd < 0)
		make_tree();
	how = next_byte(&y);
	options = next_byte(&y);
	begin(&y, how, options);
	while (y.script.p < y.script.end)
		play_step(&y);
	end(&y);
	return 0;
}
