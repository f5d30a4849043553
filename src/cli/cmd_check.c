/*
 * check: what would be done, and whether it can be.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "cli/cli.h"
#include "cli/cmd_config.h"
#include "daemon/config_keys.h"
#include "daemon/config_value.h"
#include "daemon/connect_args.h"
#include "daemon/daemon.h"

#define DEPTH_MAX 512

struct count {
	uint64_t dirs, unreadable;
	dev_t dev;
	bool cross_mounts;
};

/* Takes the descriptor. Excluded directories count, too: what comes out is an upper bound. */
static void count_dirs(struct count *c, int fd, unsigned depth)
{
	struct dirent *e;
	struct stat st;
	DIR *d;

	if (fstat(fd, &st) < 0 || (!c->cross_mounts && st.st_dev != c->dev) ||
	    !(d = fdopendir(fd))) {
		(void)close(fd);
		return;
	}
	c->dirs++;
	while (depth < DEPTH_MAX && (e = readdir(d))) {
		int below;

		if ((e->d_type != DT_DIR && e->d_type != DT_UNKNOWN) ||
		    strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		below = openat(fd, e->d_name,
		               O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (below >= 0)
			count_dirs(c, below, depth + 1);
		else if (errno == EACCES)
			c->unreadable++;
	}
	(void)closedir(d);
}

static bool read_watch_limit(uint64_t *ret)
{
	autoclose int fd = open("/proc/sys/fs/inotify/max_user_watches", O_RDONLY | O_CLOEXEC);
	char text[32] = {0};

	return fd >= 0 && fd_read_full(fd, text, sizeof(text) - 1) > 0 &&
	       sscanf(text, "%" SCNu64, ret) == 1;
}

static bool check_root(const struct config_tree *t, uint64_t *dirs)
{
	struct count c = {.cross_mounts = t->cross_mounts};
	int fd = open(t->root, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		printf("  root       %s: %s%s\n", path_show(bytes_of(t->root)), strerror(errno),
		       strstr(t->root, " #") ? " (comments stand on lines of their own)" : "");
		if (fd >= 0)
			(void)close(fd);
		return false;
	}
	c.dev = st.st_dev;
	count_dirs(&c, fd, 0);
	printf("  root       %s: ok, %" PRIu64 " directories", path_show(bytes_of(t->root)),
	       c.dirs);
	if (c.unreadable)
		printf(", %" PRIu64 " more cannot be read", c.unreadable);
	(void)putchar('\n');
	*dirs += c.dirs;
	return c.unreadable == 0;
}

/* Values that differ from the table's presets. */
static void print_values(enum config_of of, const void *base, const char *indent)
{
	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];
		struct buf now, preset;

		if (key->of != of)
			continue;
		buf_init(&now, 1 << 16);
		buf_init(&preset, 1 << 12);
		config_value_show(key, (const char *)base + key->offset, &now);
		if (key->preset)
			buf_add_bytes(&preset, bytes_of(key->preset));
		if (!bytes_equal(buf_bytes(&now), buf_bytes(&preset)))
			printf("%s%s = %s\n", indent, key->name, path_show(buf_bytes(&now)));
		buf_done(&now);
		buf_done(&preset);
	}
}

/* What a session needs from files here. */
static bool check_secrets(const struct config_job *job)
{
	const char *key = job->options.ssh_key;
	char *password = NULL;
	struct err err = {0};
	int r = 0;

	if (job->target.kind == TARGET_RSYNCD) {
		r = config_read_password(job, &password, &err);
		mem_free_secret(password);
	} else if (job->target.kind == TARGET_SSH && key) {
		autoclose int fd = open(key, O_RDONLY | O_NOCTTY | O_CLOEXEC);

		r = fd < 0 ? err_errno(&err, errno, "%s", path_show(bytes_of(key))) : 0;
	}
	if (r == 0 && job->target.tls) {
		autofree char *peer = NULL;
		struct tls_setup setup = connect_tls_setup(job, &peer);

		r = relay_check_files(&setup, &err);
	}
	if (r < 0)
		printf("             FAILED: %s\n", err.text);
	return r >= 0;
}

static bool check_job(const struct config_job *job, bool offline)
{
	struct err err = {0};

	printf("  %-10s %s (%s%s)\n", job->name, path_show(bytes_of(job->target_text)),
	       target_kind_word(job->target.kind), job->target.tls ? " by TLS" : "");
	print_values(CONFIG_OF_JOB, &job->options, "             ");
	(void)fflush(stdout);
	if (offline)
		return check_secrets(job);
	if (daemon_check_target(job, stdout, &err) == 0)
		return true;
	printf("             FAILED: %s\n", err.text);
	return false;
}

static bool check_tree(const struct config_tree *t, bool offline, uint64_t *dirs)
{
	bool ok;

	if (t->line > 0)
		printf("[tree %s] %s:%d\n", t->name, path_show(bytes_of(t->file)), t->line);
	else
		printf("[tree %s]\n", t->name);
	ok = check_root(t, dirs);
	for (size_t i = 0; i < t->rule_count; i++)
		printf("  %-10s %s\n", t->rules[i].include ? "include" : "exclude",
		       path_show(bytes_of(t->rules[i].pattern)));
	print_values(CONFIG_OF_TREE, t, "  ");
	for (size_t i = 0; i < t->job_count; i++)
		ok = check_job(&t->jobs[i], offline) && ok;
	return ok;
}

static bool check_watches(uint64_t dirs)
{
	uint64_t limit;

	if (!read_watch_limit(&limit)) {
		printf("watches: the limit cannot be read; inotify is missing here?\n");
		return false;
	}
	printf("watches: at most %" PRIu64 " needed, fs.inotify.max_user_watches = %" PRIu64 "\n",
	       dirs, limit);
	if (dirs < limit)
		return true;
	printf("         too few: sysctl fs.inotify.max_user_watches=%" PRIu64 "\n",
	       dirs * 2 > 524288 ? dirs * 2 : 524288);
	return false;
}

int cmd_check(const struct cli_args *args)
{
	struct config *config;
	uint64_t dirs = 0;
	bool ok = true;
	int code = cmd_load_config(&config, args);

	if (code != CLI_OK)
		return code;
	printf("instance %s, state %s, control socket %s\n", config->name,
	       path_show(bytes_of(config->state_dir)), path_show(bytes_of(config->socket_path)));
	for (size_t i = 0; i < config->tree_count; i++)
		ok = check_tree(&config->trees[i], cli_given(args, "offline"), &dirs) && ok;
	ok = check_watches(dirs) && ok;
	printf(ok ? "ok\n" : "there are problems, see above\n");
	config_free(config);
	return ok && fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
}
