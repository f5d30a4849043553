/*
 * check_target: can the job do at its target what it has to: log in, write, remove?
 *
 * What is written is one empty file in the directory that is lockstep's own there.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "daemon/check_talk.h"
#include "daemon/connect.h"
#include "daemon/connect_args.h"
#include "daemon/daemon.h"

#define TRIAL_DIR  ".lockstep"
#define TRIAL_FILE ".lockstep/check"
#define INDENT     "             "
#define AGAIN      1

static void tell(FILE *out, const char *step)
{
	(void)fprintf(out, INDENT "%s\n", step);
	(void)fflush(out);
}

/* What a person can do about it. */
static const char *advice(enum session_fault fault, enum target_kind kind)
{
	switch (fault) {
	case SESSION_FAULT_BUSY:
		return "Its `max connections` are used up; try again later or raise it";
	case SESSION_FAULT_LOGIN:
		return kind == TARGET_RSYNCD
		               ? "Check the user name and password_file, and `auth users`, "
		                 "`secrets file` and `hosts allow` over there"
		               : "Check user and key; ssh must be able to log in without a "
		                 "question";
	case SESSION_FAULT_READONLY:
		return "Set `read only = no` for the module over there";
	case SESSION_FAULT_MISSING:
		return kind == TARGET_RSYNCD ? "Check the module's name, its path and its `hosts "
		                               "allow` over there"
		                             : "Check the path, or create what is missing";
	case SESSION_FAULT_REFUSED:
		return "Take that option out of `refuse options` over there";
	case SESSION_FAULT_NONE:
	case SESSION_FAULT_PROTOCOL:
	case SESSION_FAULT_HANGUP:
		break;
	}
	return NULL;
}

/* `err` becomes what the target said itself, where it did, and what to do about it. */
static void explain(struct check_talk *t, enum session_fault fault, struct err *err)
{
	enum session_fault told = SESSION_FAULT_NONE;
	const char *what;
	char text[sizeof(err->text)];

	if (t->errors[0])
		told = session_fault_of_text(bytes_of(t->errors), NULL, 0);
	if (strstr(t->errors, "Permission denied (") ||
	    strstr(t->errors, "Host key verification failed"))
		told = SESSION_FAULT_LOGIN;
	if (told == SESSION_FAULT_NONE)
		told = fault;
	if (strstr(err->text, "Unknown module"))
		told = SESSION_FAULT_MISSING; /* or it is hidden from our address */
	what = advice(told, t->job->target.kind);
	if (strstr(t->errors, "Host key verification failed"))
		what = "Put the host's key into known_hosts of the user that lockstep runs as "
		       "(ssh-keyscan), or set ssh_option = StrictHostKeyChecking=accept-new";
	if (strstr(err->text, "mkdir") && strstr(err->text, "No such file"))
		what = "Create it over there: the receiver makes only the last part of a path";
	(void)snprintf(text, sizeof(text), "%s", err->text);
	/* The last words of ssh, rsync or the relay say more than that its socket was closed. */
	if (t->errors[0] && err->code != ETIMEDOUT)
		(void)snprintf(text, sizeof(text), "%s", path_show(bytes_of(t->errors)));
	(void)err_set(err, err->code ? err->code : EPROTO, "%s%s%s%s", text,
	              what ? err_stop(text) : "", what ? " " : "", what ? what : "");
}

static struct session_entry trial_entry(const char *path, uint32_t mode)
{
	return (struct session_entry){
	        .path = bytes_of(path),
	        .mode = mode,
	        .uid = (uint32_t)geteuid(),
	        .gid = (uint32_t)getegid(),
	        .mtime_ns = clock_wall_ns(),
	};
}

static int write_trial(struct check_talk *t, struct err *err)
{
	struct session_entry list[2] = {trial_entry(TRIAL_DIR, S_IFDIR | 0700),
	                                trial_entry(TRIAL_FILE, S_IFREG | 0600)};
	int r;

	list[0].implied = true;
	r = check_talk_list(t, list, ARRAY_LEN(list), NULL, 0, err);
	if (r == 0 && !(t->options.no_ack ? t->phase && !t->complaint[0] : t->written))
		r = err_set(err, EACCES, "%s",
		            t->complaint[0] ? t->complaint : "it did not confirm the file");
	return r;
}

static int remove_trial(struct check_talk *t, struct err *err)
{
	struct session_entry dir = trial_entry(TRIAL_DIR, S_IFDIR | 0700);
	struct session_risk risk = {BYTES(TRIAL_FILE), false};
	int r;

	dir.content_dir = true;
	r = check_talk_list(t, &dir, 1, &risk, 1, err);
	if (r == 0 && !(t->removed && t->phase))
		r = err_set(err, EACCES, "%s",
		            t->complaint[0] ? t->complaint : "it did not remove the file");
	return r;
}

/* The target refused something that the job would do without: so does what follows. `option`: what
 * the session knows of it; a child has said it on standard error. */
static bool leave_out(const struct check_talk *t, const char *option, struct session_options *o,
                      unsigned *without, FILE *out)
{
	char told[32], line[96];
	unsigned more;

	if (t->errors[0] && !option[0]) {
		(void)session_fault_of_text(bytes_of(t->errors), told, sizeof(told));
		option = told;
	}
	more = session_without(bytes_of(option));
	if (!more || (*without & more))
		return false;
	*without |= more;
	session_leave_out(o, more);
	(void)snprintf(line, sizeof(line), "goes on without --%s, which it refuses", option);
	tell(out, line);
	return true;
}

/* One conversation; `first` tells the steps that both have. AGAIN: it takes another, in which less
 * is asked for. */
static int converse(const struct config_job *job, struct session_options *o, unsigned *without,
                    bool first, FILE *out, struct err *err)
{
	enum session_class class = first ? SESSION_QUICK : SESSION_DELETE;
	struct check_talk t = {.job = job, .options = *o};
	enum session_fault fault = SESSION_FAULT_NONE;
	char line[64], option[32] = "";
	int r = check_talk_connect(&t, class, err);

	if (r == 0 && first)
		tell(out, job->target.kind == TARGET_RSYNCD ? "connected" : "started");
	if (r == 0)
		r = check_talk_login(&t, class, err);
	if (r == 0 && first) {
		const char *packed = session_compress_name(session_compress(t.session));

		(void)snprintf(line, sizeof(line), "%s (protocol %d%s%s%s)",
		               job->target.kind == TARGET_LOCAL ? "answers" : "logged in",
		               session_protocol(t.session), job->target.tls ? ", by TLS" : "",
		               packed ? ", compressed by " : "", packed ? packed : "");
		tell(out, line);
	}
	if (r == 0)
		r = first ? write_trial(&t, err) : remove_trial(&t, err);
	if (t.session)
		fault = session_fault(t.session);
	if (fault == SESSION_FAULT_NONE && t.complaint[0])
		fault = session_fault_of_text(bytes_of(t.complaint), NULL, 0);
	if (r < 0 && t.session)
		(void)snprintf(option, sizeof(option), "%s", session_refused_option(t.session));
	check_talk_end(&t);
	if (r < 0 && leave_out(&t, option, o, without, out))
		return AGAIN;
	if (r < 0)
		explain(&t, fault, err);
	else
		tell(out, first ? "trial write: ok" : "trial removal: ok");
	return r;
}

/* A server would make a missing directory; lockstep does not let it. */
static int check_local(const struct config_job *job, struct err *err)
{
	const char *path = job->target.path;
	autoclose int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0 && errno == ENOENT)
		return err_set(err, ENOENT, "%s does not exist. Create it or mount it",
		               path_show(bytes_of(path)));
	if (dir < 0 && errno == ENOTDIR)
		return err_set(err, ENOTDIR, "%s is not a directory", path_show(bytes_of(path)));
	if (dir < 0)
		return err_errno(err, errno, "cannot look at %s", path_show(bytes_of(path)));
	if (job->options.require_mount && !connect_is_mount(dir))
		return err_set(err, ENOENT, "nothing is mounted on %s (require_mount = yes)",
		               path_show(bytes_of(path)));
	return 0;
}

int daemon_check_target(const struct config_job *job, FILE *out, struct err *err)
{
	struct session_options o;
	char *usermap, *groupmap;
	unsigned without = 0;
	int r = job->target.kind == TARGET_LOCAL ? check_local(job, err) : 0;

	if (r < 0)
		return r;
	connect_options(&job->options, &o, &usermap, &groupmap);
	do {
		r = converse(job, &o, &without, true, out, err);
	} while (r == AGAIN);
	if (r == 0)
		r = converse(job, &o, &without, false, out, err);
	free(usermap);
	free(groupmap);
	return r;
}
