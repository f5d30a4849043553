#include "daemon/connect_args.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/un.h>
#include "base/mem.h"
#include "daemon/tether.h"

#define NS_PER_S 1000000000LL
/* ssh asks so often, and hangs up when it has had no answer to all but the first time. */
#define ALIVE_ASKS 4
/* "." and 16 letters, as long as ssh has not given its socket the name that it is to have. */
#define SOCKET_SUFFIX 17

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
	        .copies = o->copies,
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

bool connect_may_share(const struct config_job *job)
{
	const struct config_options *o = &job->options;

	if (job->target.kind != TARGET_SSH || !o->ssh_share)
		return false;
	for (size_t i = 0; i < o->ssh_option.count; i++) {
		if (strncasecmp(o->ssh_option.items[i], "Control", 7) == 0)
			return false;
	}
	for (size_t i = 1; i < o->ssh_command.count; i++) {
		const char *word = o->ssh_command.items[i];

		if (strcasestr(word, "Control") || strncmp(word, "-S", 2) == 0 ||
		    strncmp(word, "-M", 2) == 0)
			return false;
	}
	return true;
}

char *connect_control(const char *path, const char **why)
{
	struct buf b;
	char *text;

	if (strlen(path) + SOCKET_SUFFIX >= sizeof((struct sockaddr_un){0}.sun_path)) {
		*why = "its path is too long for a socket";
		return NULL;
	}
	/* ssh reads the option as a line of its configuration, and has no escape for these. */
	if (strpbrk(path, "\"\\\r\n\f") || strstr(path, "${")) {
		*why = "ssh has no way to write its path";
		return NULL;
	}
	buf_init(&b, 1024);
	buf_add_u8(&b, '"'); /* there may be blanks in it */
	for (const char *p = path; *p; p++) {
		if (*p == '%')
			buf_add_u8(&b, '%');
		buf_add_u8(&b, (uint8_t)*p);
	}
	buf_add_u8(&b, '"');
	text = mem_dup(b.p, b.n);
	buf_done(&b);
	return text;
}

/* Of an option that is given twice ssh takes the first: `first` stands before what is configured.
 */
static void add_ssh(struct words *w, const struct config_job *job, struct words *first)
{
	const struct config_options *o = &job->options;
	const struct target *t = &job->target;
	unsigned port = t->port ? t->port : (unsigned)o->ssh_port;

	for (size_t i = 0; i < o->ssh_command.count; i++)
		words_add(w, o->ssh_command.items[i]);
	words_add(w, "-oBatchMode=yes");
	for (size_t i = 0; i < first->count; i++)
		words_add(w, first->items[i]);
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

struct words connect_master_args(const struct config_job *job, const char *control, pid_t parent)
{
	unsigned timeout_s = (unsigned)(job->options.timeout_ns / NS_PER_S);
	struct words w = {0}, first = {0};

	words_add(&w, "/proc/self/exe");
	words_add(&w, TETHER_ARGUMENT);
	words_take(&w, mem_printf("%d", (int)parent));
	words_add(&first, "-N");
	words_add(&first, "-oControlMaster=yes");
	words_take(&first, mem_printf("-oControlPath=%s", control));
	words_add(&first, "-oControlPersist=no");
	words_take(&first, mem_printf("-oServerAliveInterval=%u",
	                              timeout_s > ALIVE_ASKS ? timeout_s / ALIVE_ASKS : 1));
	words_take(&first, mem_printf("-oServerAliveCountMax=%u", ALIVE_ASKS - 1));
	/* Ports that the user's configuration forwards are for sessions of the user's. */
	words_add(&first, "-oClearAllForwardings=yes");
	add_ssh(&w, job, &first);
	words_done(&first);
	return w;
}

struct words connect_args(const struct config_job *job, enum session_class class,
                          const struct session_options *o, const char *control)
{
	const struct config_list *rsync = &job->options.rsync_path;
	autofree char *dir = connect_path(&job->target);
	char **args = session_args(SESSION_PIPE, class, o, dir);
	bool ssh = job->target.kind == TARGET_SSH;
	struct words w = {0}, first = {0};

	if (control) {
		words_add(&first, "-oControlMaster=no");
		words_take(&first, mem_printf("-oControlPath=%s", control));
	}
	if (ssh)
		add_ssh(&w, job, &first);
	words_done(&first);
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
