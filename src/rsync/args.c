#include "rsync/session.h"

#include "base/mem.h"

#define ARGS_MAX          24
#define TIMEOUT_DEFAULT_S 30

struct list {
	char **p;
	size_t n;
};

static void add(struct list *l, char *owned)
{
	check(l->n + 1 < ARGS_MAX);
	l->p[l->n++] = owned;
}

unsigned session_without(struct bytes option)
{
	static const struct {
		const char *option;
		enum session_without without;
	} known[] = {
	        {"xattrs", SESSION_WITHOUT_XATTRS},
	        {"acls", SESSION_WITHOUT_ACLS},
	        {"remove-source-files", SESSION_WITHOUT_ACKS},
	        {"modify-window", SESSION_WITHOUT_NS},
	        {"no-msgs2stderr", SESSION_WITHOUT_MSGS},
	        {"compress", SESSION_WITHOUT_COMPRESS},
	        {"new-compress", SESSION_WITHOUT_COMPRESS},
	        {"compress-choice", SESSION_WITHOUT_CHOICE},
	        {"copy-dest", SESSION_WITHOUT_COPIES},
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (bytes_equal(option, bytes_of(known[i].option)))
			return known[i].without;
	return 0;
}

void session_leave_out(struct session_options *o, unsigned without)
{
	o->xattrs = o->xattrs && !(without & SESSION_WITHOUT_XATTRS);
	o->acls = o->acls && !(without & SESSION_WITHOUT_ACLS);
	if (o->compress && (without & SESSION_WITHOUT_CHOICE))
		o->compress = SESSION_COMPRESS_ZLIBX;
	if (without & SESSION_WITHOUT_COMPRESS)
		o->compress = SESSION_COMPRESS_NO;
	o->copies = o->copies && !(without & SESSION_WITHOUT_COPIES);
	o->no_ack |= (without & SESSION_WITHOUT_ACKS) != 0;
	o->no_ns |= (without & SESSION_WITHOUT_NS) != 0;
	o->no_msgs |= (without & SESSION_WITHOUT_MSGS) != 0;
}

static bool is_delete(enum session_class class)
{
	return class == SESSION_DELETE;
}

static bool is_compare(enum session_class class)
{
	return class == SESSION_COMPARE || class == SESSION_CHECKSUM;
}

/* The single letters. DELETE lists surviving parents only to have their content looked at: without
 * p, o and g it cannot change what they are. */
static char *bundle(enum session_class class, const struct session_options *o)
{
	bool del = is_delete(class);
	struct buf b;
	char *ret;

	buf_init(&b, 64);
	buf_add_u8(&b, '-');
	if (o->links || del)
		buf_add_u8(&b, 'l');
	if (o->owner && !del)
		buf_add_u8(&b, 'o');
	if (o->group && !del)
		buf_add_u8(&b, 'g');
	if (o->devices || del)
		buf_add_u8(&b, 'D');
	if (o->times || del)
		buf_add_u8(&b, 't');
	if (o->perms && !del)
		buf_add_u8(&b, 'p');
	if (o->acls && !del)
		buf_add_u8(&b, 'A');
	if (o->xattrs && !del)
		buf_add_u8(&b, 'X');
	buf_add(&b, "rR", 2);
	if (o->hard_links && !del)
		buf_add_u8(&b, 'H');
	if (class == SESSION_CONTENT)
		buf_add_u8(&b, 'I');
	if (class == SESSION_CHECKSUM)
		buf_add_u8(&b, 'c');
	if (is_compare(class))
		buf_add_u8(&b, 'n');
	if (o->sparse && !del)
		buf_add_u8(&b, 'S');
	/* Refused, it keeps the server from reading what is behind it (setup.c). */
	if (o->compress && !del)
		buf_add_u8(&b, 'z');
	/* What we understand, without "i": always one complete list. */
	buf_add(&b, "e.LsfxCIvu", 10);
	ret = mem_dup(b.p, b.n);
	buf_done(&b);
	return ret;
}

static void add_transfer_options(struct list *l, enum session_class class,
                                 const struct session_options *o)
{
	if (o->compress == SESSION_COMPRESS_ZLIBX) /* since 3.1.1, and never negotiated */
		add(l, mem_strdup("--new-compress"));
	if (o->usermap)
		add(l, mem_printf("--usermap=%s", o->usermap));
	if (o->groupmap)
		add(l, mem_printf("--groupmap=%s", o->groupmap));
	if (is_compare(class)) {
		/* In a dry run, which these classes always are, it only tells. */
		if (o->extras)
			add(l, mem_strdup("--delete"));
		add(l, mem_strdup("--log-format=%i"));
		return;
	}
	/* Makes the receiver confirm every file; nothing is removed at our end. */
	if (!o->no_ack)
		add(l, mem_strdup("--remove-source-files"));
	if (o->fsync)
		add(l, mem_strdup("--fsync"));
	/* Lets us name what a file is built from. What the receiver looks for there by itself is
	 * each new file under its own name, which it does not have. */
	if (o->copies && class == SESSION_CONTENT)
		add(l, mem_strdup("--copy-dest=."));
}

/* With a slash behind it the target is a directory whatever the list holds, and a leading dash must
 * not read as an option. */
static char *target(enum session_kind kind, const char *path)
{
	size_t n = strlen(path);
	const char *end = n && path[n - 1] == '/' ? "" : "/";
	const char *slash;

	if (kind == SESSION_PIPE)
		return mem_printf("%s%s%s", path[0] == '-' ? "./" : "", n ? path : ".", end);
	slash = strchr(path, '/');
	if (slash && slash[1] == '-')
		return mem_printf("%.*s/./%s%s", (int)(slash - path), path, slash + 1, end);
	return mem_printf("%s%s", path, end);
}

char **session_args(enum session_kind kind, enum session_class class,
                    const struct session_options *o, const char *path)
{
	struct list l = {mem_array(ARGS_MAX, sizeof(char *)), 0};

	add(&l, mem_strdup("--server"));
	add(&l, bundle(class, o));
	/* In nanoseconds, in every class: the receiver restores a directory's time at its end only
	 * when it differs by this measure. */
	if (!o->no_ns && o->times)
		add(&l, mem_strdup("-@-1"));
	if (is_delete(class)) {
		add(&l, mem_strdup("--delete"));
		/* Or else the receiver does not say what it deleted. */
		add(&l, mem_strdup("--log-format=%i"));
	} else {
		add_transfer_options(&l, class, o);
	}
	if (kind == SESSION_PIPE && !o->no_msgs)
		add(&l, mem_strdup("--no-msgs2stderr"));
	if (o->numeric_ids)
		add(&l, mem_strdup("--numeric-ids"));
	add(&l, mem_printf("--timeout=%u", o->timeout_s ? o->timeout_s : TIMEOUT_DEFAULT_S));
	add(&l, mem_strdup("."));
	add(&l, target(kind, path));
	return l.p;
}

void session_args_free(char **args)
{
	if (!args)
		return;
	for (char **p = args; *p; p++)
		free(*p);
	free(args);
}
