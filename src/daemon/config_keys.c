#include "daemon/config_keys.h"

#include <string.h>

#include "base/ini.h"
#include "base/mem.h"

#define SECOND UINT64_C(1000000000)
#define DAY    (86400 * SECOND)
#define KIB    UINT64_C(1024)
#define MIB    (1024 * KIB)
#define GIB    (1024 * MIB)

static const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};
/* In the order of enum session_compress. */
static const char *const compressions[] = {"no", "yes", "zstd", "lz4", "zlibx", NULL};
/* In the order of the bits of enum config_keep. */
static const char *const keeps[] = {"mode", "owner", "group", "times", "links", "devices", NULL};

#define INSTANCE(member) .of = CONFIG_OF_INSTANCE, .offset = offsetof(struct config, member)
#define TREE(member)     .of = CONFIG_OF_TREE, .offset = offsetof(struct config_tree, member)
#define JOB(member)      .of = CONFIG_OF_JOB, .offset = offsetof(struct config_options, member)
#define TOP              .sections = CONFIG_TOP
#define TOP_TREE         .sections = CONFIG_TOP | CONFIG_TREE
#define ANYWHERE         .sections = CONFIG_TOP | CONFIG_TREE | CONFIG_TARGET

const struct config_key config_keys[] = {
        {"state", TOP, INSTANCE(state_dir), .type = CONFIG_PATH, .example = "/srv/lockstep",
         .help = "Directory of the ledgers. Without it root uses /var/lib/lockstep/NAME, a plain "
                 "user "
                 "$XDG_STATE_HOME/lockstep/NAME. It must not lie inside a tree or a local target."},
        {"log_file", TOP, INSTANCE(log_file), .type = CONFIG_PATH,
         .example = "/var/log/lockstep.log",
         .help = "Log to this file instead of standard error. It is opened again on SIGUSR1 and by "
                 "POST /v1/reopen-log, for logrotate. It must not lie inside a tree."},
        {"log_level", TOP, INSTANCE(log_level), .type = CONFIG_ENUM, .words = log_levels,
         .preset = "info", .example = "debug", .help = "Least important lines that are logged."},

        {"root", .sections = CONFIG_TREE, .of = CONFIG_OF_NOTHING, .type = CONFIG_PATH,
         .example = "/srv/uploads",
         .help = "The directory that is mirrored. Absolute and not \"/\". Required."},
        {"target", .sections = CONFIG_TREE | CONFIG_TARGET, .of = CONFIG_OF_NOTHING,
         .type = CONFIG_ADDRESS, .example = "rsync://backup@b1/uploads",
         .help = "Where to: rsync://[user@]host[:port]/module/path, rsyncs:// in the same form for "
                 "TLS, [user@]host::module/path, "
                 "[user@]host:path (by ssh), ssh://[user@]host[:port]/path, or an absolute local "
                 "path. "
                 "IPv6 addresses stand in brackets. In a tree it may be repeated: each line is a "
                 "job, "
                 "named TREE.1, TREE.2 and so on. A [target NAME] section has exactly one. A local "
                 "directory must exist; elsewhere the receiver makes the last part of the path."},
        {"tree", .sections = CONFIG_TARGET, .of = CONFIG_OF_NOTHING, .type = CONFIG_STRING,
         .example = "uploads",
         .help = "The tree that this target belongs to. Without it: the tree section before it in "
                 "the "
                 "same file."},
        {"exclude", TOP_TREE, .of = CONFIG_OF_NOTHING, .type = CONFIG_RULE, .example = "*.tmp",
         .help = "Do not mirror what matches. Repeatable; exclude and include lines are asked in "
                 "their "
                 "order, the first match decides, those at the top of the file come last. The "
                 "pattern is "
                 "rsync's: * and ? stop at /, ** does not, a / at the front anchors it at the "
                 "root, a / at "
                 "the end matches directories only; regex: in front makes it a regular expression "
                 "over "
                 "the whole path. What becomes excluded stays at the targets."},
        {"include", TOP_TREE, .of = CONFIG_OF_NOTHING, .type = CONFIG_RULE,
         .example = "/cache/keep/**",
         .help = "Mirror what matches although a later exclude line names it."},
        {"cross_mounts", TOP_TREE, TREE(cross_mounts), .type = CONFIG_BOOL, .preset = "no",
         .example = "yes",
         .help = "Follow mount points below the root. Otherwise what is mounted there is neither "
                 "sent "
                 "nor deleted, and status names it."},
        {"audit_period", TOP_TREE, TREE(audit_period_ns), .type = CONFIG_DURATION, .preset = "1d",
         .min = 60 * SECOND, .max = 365 * DAY, .example = "12h",
         .help = "How often the whole tree is compared with the ledger, at low priority. 0: "
                 "never."},

        {"password_file", ANYWHERE, JOB(password_file), .type = CONFIG_PATH,
         .example = "/etc/lockstep/b1.secret",
         .help = "File with the password for the rsync daemon: one line, mode 0600, owned by root "
                 "or "
                 "the user that lockstep runs as. Read for each session. Without it the systemd "
                 "credential lockstep.JOB is used, if there is one."},
        {"longest_wait", ANYWHERE, JOB(longest_wait_ns), .type = CONFIG_DURATION, .preset = "30s",
         .min = SECOND / 10, .max = DAY, .example = "5s",
         .help = "A file that is written without being closed is sent at the latest this long "
                 "after "
                 "the change. One that the target has and that grows is shown sooner: after a "
                 "second, or one for each 256 MB, and later on as often as makes 16 MB a second."},
        {"lanes", ANYWHERE, JOB(lanes), .type = CONFIG_COUNT, .preset = "4", .min = 1, .max = 32,
         .example = "2", .help = "Most sessions at work at the same time for a job."},
        {"warm_sessions", ANYWHERE, JOB(warm_sessions), .type = CONFIG_COUNT, .preset = "2",
         .min = 0, .max = 32, .example = "1",
         .help = "Sessions opened ahead of need, so that a change costs one flight. Over a long "
                 "line, while changes come faster than sessions open, there are up to `lanes` of "
                 "them. 0: a session is opened when there is something to send."},
        {"batch_files", ANYWHERE, JOB(batch_files), .type = CONFIG_COUNT, .preset = "2000",
         .min = 1, .max = 10000, .example = "200", .help = "Most entries in one batch."},
        {"batch_size", ANYWHERE, JOB(batch_bytes), .type = CONFIG_SIZE, .preset = "64M", .min = MIB,
         .max = 16 * GIB, .example = "16M",
         .help = "Content after which a batch is closed. A single larger file still goes."},
        {"timeout", ANYWHERE, JOB(timeout_ns), .type = CONFIG_DURATION, .preset = "30s",
         .min = 5 * SECOND, .max = 3600 * SECOND, .example = "60s",
         .help = "A session without any progress for this long is given up; one whose target only "
                 "shows that it is alive, after ten minutes more and a second for each 4 MiB "
                 "listed. Sent to the target, too, in whole seconds."},
        {"connect_timeout", ANYWHERE, JOB(connect_timeout_ns), .type = CONFIG_DURATION,
         .preset = "5s", .min = SECOND, .max = 300 * SECOND, .example = "2s",
         .help = "How long a connection may take, for each address of the host."},
        {"handshake_timeout", ANYWHERE, JOB(handshake_timeout_ns), .type = CONFIG_DURATION,
         .preset = "15s", .min = SECOND, .max = 300 * SECOND, .example = "30s",
         .help = "How long the target may take from the connection until it is ready for a list."},
        {"bwlimit", ANYWHERE, JOB(bwlimit_bytes), .type = CONFIG_SIZE, .preset = "0",
         .min = 8 * KIB, .max = 1024 * GIB, .example = "5M",
         .help = "Most bytes a second that a job sends, all its sessions together. 0: no limit."},
        {"compress", ANYWHERE, JOB(compress), .type = CONFIG_ENUM, .words = compressions,
         .preset = "no", .example = "yes",
         .help = "Compress what is sent. yes: by the best method that the target has, too, zstd "
                 "before lz4 before zlibx. A target that lacks the one that is named, or is older "
                 "than rsync 3.2, gets zlibx; one older than 3.1.1, or that refuses it, all as it "
                 "is; and status says so. Worth it on slow lines only."},
        {"compress_level", ANYWHERE, JOB(compress_level), .type = CONFIG_COUNT, .preset = "0",
         .min = 1, .max = 19, .example = "9",
         .help = "How hard to compress: 1 is fastest, zlibx ends at 9, lz4 has no levels. At 19 "
                 "zstd takes 90 MiB for each session. 0: the method's own, 3 of zstd and 6 of "
                 "zlibx."},
        {"keep", ANYWHERE, JOB(keep), .type = CONFIG_SET, .words = keeps,
         .preset = "mode,owner,group,times,links", .example = "mode,times",
         .help = "What is kept besides names, types and content, separated by commas: mode, owner, "
                 "group, times, links (hard links), devices (device nodes and special files); or "
                 "none. "
                 "What a receiver cannot keep it leaves out without a word, and neither status nor "
                 "verify can tell: owners where it runs as a plain user, the text of symbolic "
                 "links that an rsync daemon munges."},
        {"xattrs", ANYWHERE, JOB(xattrs), .type = CONFIG_BOOL, .preset = "no", .example = "yes",
         .help = "Keep extended attributes, as rsync --xattrs does: all but system.*; a receiver "
                 "that does not run as root keeps user.* only. One that refuses them gets the "
                 "rest, and status says so."},
        {"acls", ANYWHERE, JOB(acls), .type = CONFIG_BOOL, .preset = "no", .example = "yes",
         .help = "Keep POSIX ACLs, default ones included, as rsync --acls does; the mode is then "
                 "kept in any case. One that refuses them gets the rest, and status says so."},
        {"numeric_ids", ANYWHERE, JOB(numeric_ids), .type = CONFIG_BOOL, .preset = "no",
         .example = "yes", .help = "Keep owners and groups by number instead of by name."},
        {"chown", ANYWHERE, JOB(chown), .type = CONFIG_OWNER, .example = "www-data:www-data",
         .help = "USER, USER:GROUP or :GROUP that everything belongs to at the target, by name "
                 "(known "
                 "there) or number."},
        {"chmod", ANYWHERE, JOB(chmod), .type = CONFIG_MODE, .example = "D755,F644",
         .help = "Changes the permissions of what is sent, as rsync's --chmod: octal or symbolic "
                 "parts "
                 "separated by commas, D in front for directories only, F for all else."},
        {"fsync", ANYWHERE, JOB(fsync), .type = CONFIG_BOOL, .preset = "no", .example = "yes",
         .help = "Let the target write each file to its disk before it confirms. Needs rsync 3.2.4 "
                 "there. Slow, but then a confirmation outlives the target's power cut."},
        {"sparse", ANYWHERE, JOB(sparse), .type = CONFIG_BOOL, .preset = "no", .example = "yes",
         .help = "Let the target turn blocks of zeros into holes."},
        {"renames", ANYWHERE, JOB(renames), .type = CONFIG_BOOL, .preset = "yes", .example = "no",
         .help = "Link what was renamed at the target instead of sending it again: all that lies "
                 "in a renamed directory; a file from 1 MB on that is renamed by itself goes as "
                 "differences. Where the target takes no hard links it is sent. So it is without "
                 "links or times in keep, with xattrs or acls, and with delete = no."},
        {"copies", ANYWHERE, JOB(copies), .type = CONFIG_BOOL, .preset = "yes", .example = "no",
         .help = "Let the target build a new file from 1 MB on from another of the same size in "
                 "its "
                 "directory, if it begins alike: of a copy hardly anything is sent, of one that "
                 "was "
                 "changed what differs. A local target just gets it. Needs rsync 3.1 there."},
        {"require_mount", ANYWHERE, JOB(require_mount), .type = CONFIG_BOOL, .preset = "no",
         .example = "yes",
         .help = "A local target must be a mount point: nothing is written while its disk is not "
                 "mounted."},
        {"delete", ANYWHERE, JOB(delete), .type = CONFIG_BOOL, .preset = "yes", .example = "no",
         .help = "Delete at the target what lockstep put there and the source no longer has. What "
                 "others put there is never deleted."},
        {"brake", ANYWHERE, JOB(brake), .type = CONFIG_BOOL, .preset = "yes", .example = "no",
         .help = "Hold mass deletions until they are approved (lockstep held, lockstep approve)."},
        {"brake_files", ANYWHERE, JOB(brake_files), .type = CONFIG_COUNT, .preset = "1000",
         .min = 1, .max = UINT32_MAX, .example = "100",
         .help = "The brake holds a loss of more than this many entries and more than "
                 "brake_percent."},
        {"brake_percent", ANYWHERE, JOB(brake_percent), .type = CONFIG_PERCENT, .preset = "10%",
         .min = 0, .max = 100, .example = "25%",
         .help = "The brake holds a loss of more than this part of the highest number of entries "
                 "in the "
                 "last 10 minutes and more than brake_files."},
        {"brake_absolute", ANYWHERE, JOB(brake_absolute), .type = CONFIG_COUNT, .preset = "100000",
         .min = 1, .max = UINT32_MAX, .example = "20000",
         .help = "The brake holds a loss of more than this many entries, whatever part that is."},
        {"stamp", ANYWHERE, JOB(stamp), .type = CONFIG_BOOL, .preset = "yes", .example = "no",
         .help = "Keep two small files in .lockstep/ at the target, which prove that it has not "
                 "been "
                 "replaced or rolled back. Without them it is compared after each gap of over an "
                 "hour."},
        {"marks_limit", ANYWHERE, JOB(marks_limit), .type = CONFIG_COUNT, .preset = "65536",
         .min = 1024, .max = 16777216, .example = "262144",
         .help = "Waiting marks that a job keeps one by one; beyond that directories are marked as "
                 "a "
                 "whole. Bounds the memory."},
        {"tls", ANYWHERE, JOB(tls), .type = CONFIG_BOOL, .preset = "no", .example = "yes",
         .help = "Reach rsync daemons by TLS 1.2 or later, through stunnel, haproxy or another "
                 "that "
                 "ends TLS in front of them: port 874 unless the address names one. An address "
                 "that begins with rsyncs:// does so anyway; ssh and local targets are not "
                 "concerned. The server's certificate and its name are always verified."},
        {"tls_name", ANYWHERE, JOB(tls_name), .type = CONFIG_STRING,
         .example = "backup.example.net",
         .help = "Host name or IP address that the server's certificate must be for, and that it "
                 "is asked for (SNI), where it is not the host in the address."},
        {"tls_ca", ANYWHERE, JOB(tls_ca), .type = CONFIG_PATH, .example = "/etc/lockstep/ca.pem",
         .help = "PEM file with the certificates that are believed instead of the system's store: "
                 "those of authorities, or a copy of the server's own."},
        {"tls_cert", ANYWHERE, JOB(tls_cert), .type = CONFIG_PATH,
         .example = "/etc/lockstep/client.pem",
         .help = "PEM file with our own certificate, and those in between behind it, for a server "
                 "that asks for one."},
        {"tls_key", ANYWHERE, JOB(tls_key), .type = CONFIG_PATH,
         .example = "/etc/lockstep/client.key",
         .help = "PEM file with the private key of tls_cert, without a passphrase, owned by root "
                 "or "
                 "the user that lockstep runs as, not readable by everybody. Without it: in the "
                 "file of tls_cert. These files are read for each session."},
        {"ssh_port", ANYWHERE, JOB(ssh_port), .type = CONFIG_COUNT, .preset = "0", .min = 1,
         .max = 65535, .example = "2222",
         .help = "Port for ssh. A port in the address wins. 0: what ssh's own configuration says."},
        {"ssh_key", ANYWHERE, JOB(ssh_key), .type = CONFIG_PATH,
         .example = "/etc/lockstep/id_ed25519",
         .help = "Identity file for ssh; then no key of an agent is tried."},
        {"ssh_share", ANYWHERE, JOB(ssh_share), .type = CONFIG_BOOL, .preset = "yes",
         .example = "no",
         .help = "Run the sessions of a job over one lasting ssh connection (ControlMaster of "
                 "ssh_config(5)), so that not each of them logs in. Off, too, where ssh_option or "
                 "ssh_command says anything of Control*: then ssh does as it is told there."},
        {"ssh_option", ANYWHERE, JOB(ssh_option), .type = CONFIG_LIST,
         .example = "StrictHostKeyChecking=accept-new",
         .help = "An option of ssh_config(5) as Name=value. Repeatable."},
        {"ssh_command", ANYWHERE, JOB(ssh_command), .type = CONFIG_WORDS, .preset = "ssh",
         .example = "/usr/local/bin/ssh -4",
         .help = "The ssh program and arguments for it, split on blanks. No shell is involved. A "
                 "script of your own should end in exec: else a connection may outlive a lockstep "
                 "that is killed."},
        {"rsync_path", ANYWHERE, JOB(rsync_path), .type = CONFIG_WORDS, .preset = "rsync",
         .example = "sudo rsync",
         .help = "How rsync is started at an ssh or local target, split on blanks."},
};

const size_t config_key_count = ARRAY_LEN(config_keys);

const struct config_key *config_key_find(const char *name)
{
	for (size_t i = 0; i < config_key_count; i++) {
		if (strcmp(config_keys[i].name, name) == 0)
			return &config_keys[i];
	}
	return NULL;
}

const char *config_key_guess(const char *name, unsigned section)
{
	const char *names[ARRAY_LEN(config_keys)];
	size_t n = 0;

	for (size_t i = 0; i < config_key_count; i++) {
		if (config_keys[i].sections & section)
			names[n++] = config_keys[i].name;
	}
	return ini_did_you_mean(name, names, n);
}
