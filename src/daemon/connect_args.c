#include "daemon/connect_args.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include "base/mem.h"

#define NS_PER_S 1000000000LL

static void words_add(struct words *w, const char *word)
{
	w->items = mem_realloc(w->items, w->count + 2, sizeof(*w->items));
	w->items[w->count++] = mem_strdup(word);
	w->items[w->count] = NULL;
}

static void words_take(struct words *w, char *word)
{
	words_add(w, word);
	free(word);
}

void words_done(struct words *w)
{
	for (size_t i = 0; i < w->count; i++)
		free(w->items[i]);
	free(w->items);
	*w = (struct words){0};
}

char *connect_path(const struct target *t)
{
	if (t->kind != TARGET_RSYNCD)
		return mem_printf("%s%s", t->path, strcmp(t->path, "/") ? "/" : "");
	return mem_printf("%s/%s%s", t->module, t->path, *t->path ? "/" : "");
}

static char *map_all(const char *name, bool is_id)
{
	return name && !is_id ? mem_printf("*:%s", name) : NULL;
}

void connect_options(const struct config_options *o, struct session_options *ret, char **usermap,
                     char **groupmap)
{
	*usermap = map_all(o->chown.user, o->chown.user_is_id);
	*groupmap = map_all(o->chown.group, o->chown.group_is_id);
	*ret = (struct session_options){
	        .perms = (o->keep & CONFIG_KEEP_MODE) || o->acls, /* as rsync has it */
	        .owner = (o->keep & CONFIG_KEEP_OWNER) || o->chown.user,
	        .group = (o->keep & CONFIG_KEEP_GROUP) || o->chown.group,
	        .times = o->keep & CONFIG_KEEP_TIMES,
	        .links = true,
	        .devices = o->keep & CONFIG_KEEP_DEVICES,
	        .hard_links = o->keep & CONFIG_KEEP_LINKS,
	        .xattrs = o->xattrs,
	        .acls = o->acls,
	        .numeric_ids = o->numeric_ids,
	        .sparse = o->sparse,
	        .fsync = o->fsync,
	        .compress = (enum session_compress)o->compress,
	        .compress_level = (unsigned)o->compress_level,
	        .timeout_s = (unsigned)(o->timeout_ns / NS_PER_S),
	        .min_digest = 1,
	        .protocol_max = 32,
	        .usermap = *usermap,
	        .groupmap = *groupmap,
	};
}

/* One word for the remote shell: everything but a few safe bytes in single quotes. */
static char *shell_word(const char *word)
{
	struct buf b;
	bool plain = *word != '\0';

	for (const char *p = word; *p; p++)
		plain = plain && (isalnum((unsigned char)*p) || strchr("-_./=,:@%+", *p));
	if (plain)
		return mem_strdup(word);
	buf_init(&b, 1u << 20);
	buf_add_u8(&b, '\'');
	for (const char *p = word; *p; p++) {
		if (*p == '\'')
			buf_add(&b, "'\\''", 4);
		else
			buf_add_u8(&b, (uint8_t)*p);
	}
	buf_add_u8(&b, '\'');
	char *text = mem_dup(b.p, b.n);

	buf_done(&b);
	return text;
}

static void add_ssh(struct words *w, const struct config_job *job)
{
	const struct config_options *o = &job->options;
	const struct target *t = &job->target;
	unsigned port = t->port ? t->port : (unsigned)o->ssh_port;

	for (size_t i = 0; i < o->ssh_command.count; i++)
		words_add(w, o->ssh_command.items[i]);
	words_add(w, "-oBatchMode=yes");
	/* Of an option that is given twice ssh takes the first. */
	for (size_t i = 0; i < o->ssh_option.count; i++)
		words_take(w, mem_printf("-o%s", o->ssh_option.items[i]));
	words_take(w,
	           mem_printf("-oConnectTimeout=%u", (unsigned)(o->connect_timeout_ns / NS_PER_S)));
	if (port)
		words_take(w, mem_printf("-p%u", port));
	if (o->ssh_key) {
		words_add(w, "-i");
		words_add(w, o->ssh_key);
		words_add(w, "-oIdentitiesOnly=yes");
	}
	if (t->user)
		words_take(w, mem_printf("-l%s", t->user));
	words_add(w, "--");
	words_add(w, t->host);
}

struct words connect_args(const struct config_job *job, enum session_class class,
                          const struct session_options *o)
{
	const struct config_list *rsync = &job->options.rsync_path;
	autofree char *dir = connect_path(&job->target);
	char **args = session_args(SESSION_PIPE, class, o, dir);
	bool ssh = job->target.kind == TARGET_SSH;
	struct words w = {0};

	if (ssh)
		add_ssh(&w, job);
	for (size_t i = 0; i < rsync->count; i++)
		words_take(&w, ssh ? shell_word(rsync->items[i]) : mem_strdup(rsync->items[i]));
	for (size_t i = 0; args && args[i]; i++)
		words_take(&w, ssh ? shell_word(args[i]) : mem_strdup(args[i]));
	session_args_free(args);
	return w;
}

struct tls_setup connect_tls_setup(const struct config_job *job, char **peer)
{
	const struct config_options *o = &job->options;
	const struct target *t = &job->target;

	*peer = mem_printf("%s port %u", t->host, t->port);
	return (struct tls_setup){
	        .peer = *peer,
	        .name = o->tls_name ? o->tls_name : t->host,
	        .ca = o->tls_ca,
	        .cert = o->tls_cert,
	        .key = o->tls_key,
	};
}

struct words connect_relay_args(const struct config_job *job)
{
	autofree char *peer = NULL;
	struct tls_setup s = connect_tls_setup(job, &peer);
	const char *const args[] = {s.peer, s.name, s.ca, s.cert, s.key};
	struct words w = {0};

	words_add(&w, "/proc/self/exe");
	words_add(&w, RELAY_ARGUMENT);
	for (size_t i = 0; i < ARRAY_LEN(args); i++)
		words_add(&w, args[i] ? args[i] : "");
	return w;
}

int connect_unreachable(const struct target *t, int code, struct err *err)
{
	const char *step = "";

	if (code == ECONNREFUSED)
		step = t->tls ? ". Does what speaks TLS for `rsync --daemon` run there?"
		              : ". Does `rsync --daemon` run there?";
	return err_set(err, code, "cannot reach %s port %u: %s%s", t->host, t->port, strerror(code),
	               step);
}
