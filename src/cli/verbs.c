#include "cli/cli.h"

#include <string.h>

#include "base/mem.h"

const struct cli_exit_code cli_exit_codes[] = {
        {CLI_OK, "done; everything is as it should be"},
        {CLI_FAILURE, "it failed; the reason is on standard error"},
        {CLI_USAGE, "wrong usage or configuration, or no such job; nothing was touched"},
        {CLI_STUCK,
         "only failed, held, paused, frozen or unreadable items remain (wait, verify, run "
         "--once)"},
        {CLI_TIMEOUT, "the time given by --timeout has passed"},
        {CLI_NO_DAEMON, "no daemon can be reached"},
        {CLI_RUNNING, "another instance runs on this state"},
};
const size_t cli_exit_code_count = ARRAY_LEN(cli_exit_codes);

const struct cli_flag cli_global_flags[] = {
        {"state", 0, "DIR", "state and control socket of the instance lie in DIR"},
        {"name", 0, "NAME", "name of the instance (default: main, or the only one that runs)"},
        {"config", 'c', "FILE", "configuration (default: /etc/lockstep/lockstep.conf)"},
};
const size_t cli_global_flag_count = ARRAY_LEN(cli_global_flags);

#define JSON                                                                                       \
	{                                                                                          \
		"json", 0, NULL, "print the daemon's answer as JSON"                               \
	}
#define TIMEOUT                                                                                    \
	{                                                                                          \
		"timeout", 't', "TIME", "give up after TIME (30s, 5m, ...) with exit code 4"       \
	}
#define MANY 1024

const struct cli_verb cli_verbs[] = {
        {"run",
         "[SRC TARGET...]",
         "mirror, in the foreground",
         "Mirrors the directory SRC to each TARGET as one tree named main; without SRC, what the "
         "configuration says. A TARGET is an absolute path, [user@]host:path (by ssh), "
         "[user@]host::module/path or rsync://[user@]host[:port]/module/path (rsyncs:// for "
         "TLS).\n\n"
         "Ends on SIGTERM, SIGINT or `lockstep stop`. SIGHUP reloads the configuration, SIGUSR1 "
         "opens "
         "the log file again.\n\n"
         "With --once it compares everything and ends: with 0 when every target is proven equal, "
         "with 3 when only failed, held or unreadable items remain or the source is not there, "
         "which it names. While a target cannot be reached it goes on trying and says so in its "
         "log; told to end before, it ends with 1. "
         "What the brake or another source or target holds can be approved in a daemon that "
         "stays, not here.",
         {{"once", 0, NULL, "compare everything, end when every target is proven equal"},
          {"set", 0, "KEY=VALUE",
           "a key of lockstep.conf(5), as at the top of the file; repeatable"}},
         0,
         MANY,
         cmd_run,
         false},
        {"check",
         "[SRC TARGET...]",
         "check the configuration and log in at each target",
         "Prints what would be done: trees, targets, values that differ from the defaults. Checks "
         "paths and overlaps, compares the directories with the limit of inotify watches, logs in "
         "at each "
         "target and makes a trial write there, which is taken back, down to the empty directory "
         ".lockstep.",
         {{"offline", 0, NULL, "do not contact the targets"},
          {"set", 0, "KEY=VALUE", "as for run"}},
         0,
         MANY,
         cmd_check,
         false},
        {"status",
         "[JOB...]",
         "how each job is doing",
         "A line for each job: state, lag (age of the oldest change that is not confirmed), "
         "waiting "
         "files and bytes, bytes sent or their rate, failed and held entries, and when something "
         "was "
         "last confirmed. Below it what keeps a job from being live.\n\n"
         "With --check it prints one line for Nagios and exits with 0 (ok), 1 (warning), 2 "
         "(critical) "
         "or 3 (unknown). With JOB all forms tell of these jobs only.",
         {{"watch", 'w', NULL, "redraw every second"},
          JSON,
          {"check", 0, NULL, "one line and an exit code for monitoring"},
          {"lag-warn", 0, "TIME", "with --check: warning from this lag on (default: 30s)"},
          {"lag-crit", 0, "TIME", "with --check: critical from this lag on (default: 5m)"}},
         0,
         MANY,
         cmd_status,
         false},
        {"wait",
         "[JOB...]",
         "wait until all changes made so far are confirmed",
         "Returns when every change made before the call is confirmed by each target. When only "
         "failed, held or paused items remain, what cannot be read at the source, or a source that "
         "is frozen, it returns at "
         "once with exit code 3. With that, and with the exit code 4 of a timeout, it names what "
         "is left in each job: the first entries, why, and what to do.",
         {TIMEOUT, JSON},
         0,
         MANY,
         cmd_wait,
         false},
        {"verify",
         "[JOB...]",
         "compare the targets with the source",
         "Compares the targets themselves with the source: size and times in the receiver's quick "
         "check, with --checksum the contents. Ends with 1 when they differ, extras included.",
         {{"repair", 0, NULL,
           "send what differs instead of listing it, and wait for it; extras stay"},
          {"checksum", 0, NULL, "read and compare the contents"},
          TIMEOUT,
          JSON},
         0,
         MANY,
         cmd_verify,
         false},
        {"held",
         "",
         "what is held back until it is approved",
         "Lists the deletions that the brake holds, with their number, rule and first names.",
         {JSON},
         0,
         0,
         cmd_held,
         false},
        {"failed",
         "",
         "what a target or the source refuses",
         "Lists the entries that could not be brought over, with the reason and the next try.",
         {JSON},
         0,
         0,
         cmd_failed,
         false},
        {"approve",
         "ID [JOB]",
         "let a held set go",
         "Approves exactly the set with this number (see held). Sets are numbered within a job: "
         "where several jobs hold one of that number JOB is needed. ID 0 accepts a source or "
         "target that is not the known one; without JOB wherever that is waited for.",
         {JSON},
         1,
         2,
         cmd_approve,
         false},
        {"pause",
         "[JOB...]",
         "send nothing until resume",
         "Changes are still noted, but nothing is sent, also after a reload; a daemon that is "
         "started again sends. Without JOB: all.",
         {JSON},
         0,
         MANY,
         cmd_pause,
         false},
        {"resume",
         "[JOB...]",
         "go on after pause",
         "Without JOB: all.",
         {JSON},
         0,
         MANY,
         cmd_resume,
         false},
        {"retry",
         "[JOB...]",
         "try again at once what waits for its next try",
         "Without JOB: all.",
         {JSON},
         0,
         MANY,
         cmd_retry,
         false},
        {"reload",
         "",
         "read the configuration again",
         "Applies the difference and keeps what waits. A configuration with a mistake is not "
         "taken: the "
         "old one stays in force.",
         {JSON},
         0,
         0,
         cmd_reload,
         false},
        {"stop", "", "end the daemon", "Returns when it has ended.", {JSON}, 0, 0, cmd_stop, false},
        {"help",
         "[VERB]",
         "this overview, or the help of a verb",
         "",
         {{0}},
         0,
         1,
         cmd_help,
         false},
        {"version", "", "print the version", "", {{0}}, 0, 0, cmd_version, false},
        {"config-doc",
         "keys|verbs",
         "the generated parts of the manual pages",
         "",
         {{0}},
         1,
         1,
         cmd_doc,
         true},
};
const size_t cli_verb_count = ARRAY_LEN(cli_verbs);

const struct cli_verb *cli_verb_find(const char *name)
{
	for (size_t i = 0; i < cli_verb_count; i++) {
		if (strcmp(cli_verbs[i].name, name) == 0)
			return &cli_verbs[i];
	}
	return NULL;
}
