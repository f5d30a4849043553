/*
 * config: what a daemon has been told to do; a value that never changes once loaded.
 *
 * It comes from a file (one named lockstep.conf is followed by conf.d/ beside it) or from the
 * command line (`run SRC TARGET...`), both through the same table of keys (config_keys.h), so that
 * a default, a range or an error text exists once. Sections:
 *
 *     log_level = info      instance keys; tree keys here are defaults for every tree
 *     [tree uploads]        a tree; each `target` line makes a job: "uploads.1", "uploads.2", ...
 *     [target web2]         a job named "web2" of the tree in `tree` (or of the tree section before
 *                           it in the same file), with values of its own
 *
 * Values are taken from the narrowest section that gives them. Lists add up: the narrower section's
 * lines come first. Strings belong to the config and die with it.
 */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/log.h"
#include "core/filter.h"
#include "daemon/config_target.h"

#define CONFIG_TREES_MAX 256
#define CONFIG_JOBS_MAX  32 /* of one tree */
#define CONFIG_NAME_MAX  64
#define CONFIG_FILE_MAX  (4u << 20)

/* Bits of config_options.keep. */
enum config_keep {
	CONFIG_KEEP_MODE = 1,
	CONFIG_KEEP_OWNER = 2,
	CONFIG_KEEP_GROUP = 4,
	CONFIG_KEEP_TIMES = 8,
	CONFIG_KEEP_LINKS = 16, /* hard links; symbolic links are always kept */
	CONFIG_KEEP_DEVICES = 32,
};

struct config_list {
	char **items;
	size_t count;
};

/* chown = USER[:GROUP]: everything belongs to them at the target. Names are resolved there. */
struct config_chown {
	char *user, *group; /* as written; NULL: not mapped */
	bool user_is_id, group_is_id;
	uint32_t uid, gid; /* when *_is_id */
};

/* mode = (mode & and) | or, permission bits (07777) only; all ones and zero: unchanged. */
struct config_chmod {
	uint32_t file_and, file_or, dir_and, dir_or;
};

/* What may differ from job to job. Sizes in bytes, rates in bytes a second, 0: no limit. */
struct config_options {
	char *password_file; /* NULL: none */
	int64_t longest_wait_ns;
	uint64_t lanes, warm_sessions;
	uint64_t batch_files, batch_bytes;
	int64_t timeout_ns, connect_timeout_ns, handshake_timeout_ns;
	uint64_t bwlimit_bytes;
	int compress; /* enum session_compress */
	uint64_t compress_level;
	unsigned keep; /* enum config_keep */
	bool xattrs, acls;
	bool numeric_ids;
	struct config_chown chown;
	struct config_chmod chmod;
	bool fsync, sparse, renames, copies;
	bool require_mount; /* a local target must be a mount point */
	bool delete;        /* no: what disappears here stays there */
	bool brake;
	uint64_t brake_files, brake_percent, brake_absolute;
	bool stamp;
	uint64_t marks_limit;
	bool tls;                                     /* as if the address began with rsyncs:// */
	char *tls_name, *tls_ca, *tls_cert, *tls_key; /* struct tls_setup; NULL: none */
	uint64_t ssh_port;                            /* 0: ssh's own */
	char *ssh_key;                                /* NULL: ssh's own */
	bool ssh_share;                               /* sessions over one connection */
	struct config_list ssh_option;                /* each for one -o */
	struct config_list ssh_command;               /* words of `ssh_command`, at least one */
	struct config_list rsync_path;                /* words of `rsync_path`, at least one */
};

struct config_job {
	char *name;        /* "TREE.N", or that of its [target NAME] section */
	char *target_text; /* as written */
	struct target target;
	struct config_options options;
	const char *file; /* where the target was written; borrowed from the config */
	int line;
};

struct config_tree {
	char *name;
	char *root;                /* absolute, normalised as text */
	struct filter_rule *rules; /* in the order in which they are asked */
	size_t rule_count;
	bool cross_mounts;
	int64_t audit_period_ns; /* 0: never */
	struct config_job *jobs;
	size_t job_count;
	const char *file;
	int line;
};

struct config {
	char *name;        /* of the instance */
	char *state_dir;   /* absolute */
	char *socket_path; /* of the control API */
	char *log_file;    /* NULL: stderr */
	enum log_level log_level;
	struct config_tree *trees;
	size_t tree_count;
	struct config_source *source; /* where it came from: config_reload() */
};

/* One problem, "FILE:LINE: text", while loading; `check` prints them all. */
typedef void config_problem_fn(const char *text, void *arg);

/* What to load. With `file` set, root and targets must be empty; `sets` override the top of the
 * file. */
struct config_request {
	const char *file;  /* NULL: from the command line */
	const char *name;  /* --name, NULL: "main" */
	const char *state; /* --state, NULL: key `state` or the default */
	const char *root;  /* SRC of `run SRC TARGET...`: tree "main", jobs "main.1", ... */
	const char *const *targets;
	size_t target_count;
	const char *const *sets; /* "KEY=VALUE" */
	size_t set_count;
	config_problem_fn *problem; /* may be NULL */
	void *problem_arg;
};

/* Reads and checks everything that can be checked without a target: 0 and *ret (config_free), or
 * -errno with the first problem in err. -ENOENT: no such file. Touches nothing. */
int config_load(struct config **ret, const struct config_request *request, struct err *err);
/* The same request once more: for `reload`. The old config stays as it is, and is not read any more
 * once the first file or directory is looked at; this may run in any thread, and take as long as
 * these do not answer. */
int config_reload(struct config **ret, const struct config *old, struct err *err);
void config_free(struct config *c);

const struct config_tree *config_find_tree(const struct config *c, const char *name);
/* *ret_tree may be NULL. */
const struct config_job *config_find_job(const struct config *c, const char *name,
                                         const struct config_tree **ret_tree);

/* The password of a job: from password_file or the systemd credential of the same name as the job
 * ("lockstep.JOB" in $CREDENTIALS_DIRECTORY). *ret NULL: none is configured. Free it by
 * mem_free_secret(). Read anew for each session, so that a changed password needs no reload. */
int config_read_password(const struct config_job *job, char **ret, struct err *err);

enum config_change { CONFIG_SAME, CONFIG_CHANGED, CONFIG_ADDED, CONFIG_REMOVED };

/* What a reload does, tree by tree (by name), job by job (by name within trees of one name): called
 * with job NULL for the tree itself (its root, rules, cross_mounts or audit_period), then for each
 * of its jobs. was / now are NULL for ADDED / REMOVED. All values are compared. */
struct config_difference {
	enum config_change change;
	const struct config_tree *was_tree, *now_tree;
	const struct config_job *was, *now; /* both NULL: the tree itself */
	bool root_changed, rules_changed;   /* of a CHANGED tree */
	bool target_changed;                /* of a CHANGED job; otherwise only options */
};
typedef void config_difference_fn(const struct config_difference *d, void *arg);
void config_diff(const struct config *was, const struct config *now, config_difference_fn *fn,
                 void *arg);
/* state, socket, log_file and log_level: name of the first that differs, or NULL. State and socket
 * cannot change while running; log_file and log_level can. */
const char *config_diff_instance(const struct config *was, const struct config *now);

#endif
