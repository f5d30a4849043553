/*
 * without: what a target refuses, or is too old to know, and the job does without.
 *
 * Each refusal costs one session and is remembered until the job ends, since a target may be
 * renewed; what it means is told in the log and, where anything is other than configured, in
 * `status`. An option without which the user would lose what the job promises is none of these: its
 * refusal is trouble.
 */
#include <string.h>
#include "base/log.h"
#include "daemon/runtime.h"

static const struct {
	enum session_without without;
	const char *log;
	const char *note; /* NULL: nothing is other than configured */
} kinds[] = {
        {SESSION_WITHOUT_XATTRS, "extended attributes are not kept there",
         "extended attributes are not kept: the target refuses them"},
        {SESSION_WITHOUT_ACLS, "ACLs are not kept there",
         "ACLs are not kept: the target refuses them"},
        {SESSION_WITHOUT_ACKS, "files are confirmed by the end of their list",
         "files are confirmed list by list: the target refuses --remove-source-files"},
        {SESSION_WITHOUT_NS,
         "it compares whole seconds. What changed within one goes by its content",
         "times are compared to the second: the target's rsync is older than 3.1.3, or refuses "
         "--modify-window"},
        {SESSION_WITHOUT_MSGS, "it needs no telling", NULL},
        {SESSION_WITHOUT_COMPRESS, "nothing is compressed",
         "nothing is compressed: the target refuses it"},
        {SESSION_WITHOUT_CHOICE, "zlibx compresses, which all have since 3.1.1",
         "compressed by zlibx: the target lacks the method, or is older than rsync 3.2"},
        {SESSION_WITHOUT_COPIES, "what was copied is sent",
         "copies are sent: the target refuses --copy-dest"},
};

static bool asks_for(const struct job *j, enum session_without without)
{
	const struct session_options *o = &j->session_options;

	switch (without) {
	case SESSION_WITHOUT_XATTRS:
		return o->xattrs;
	case SESSION_WITHOUT_ACLS:
		return o->acls;
	case SESSION_WITHOUT_ACKS:
		return true;
	case SESSION_WITHOUT_NS:
		return o->times;
	case SESSION_WITHOUT_MSGS:
		return j->config->target.kind != TARGET_RSYNCD;
	case SESSION_WITHOUT_COMPRESS:
		return o->compress != SESSION_COMPRESS_NO;
	case SESSION_WITHOUT_CHOICE:
		return o->compress != SESSION_COMPRESS_NO && o->compress != SESSION_COMPRESS_ZLIBX;
	case SESSION_WITHOUT_COPIES:
		return o->copies;
	case SESSION_WITHOUT_ALL:
		break;
	}
	return false;
}

static void say(struct job *j, struct bytes option, enum session_without without)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (kinds[i].without == without)
			job_log(j, kinds[i].note ? LOG_WARN : LOG_INFO, "target.without",
			        "the target refuses --%.*s: %s. It is asked again when lockstep "
			        "starts anew",
			        (int)option.n, option.p, kinds[i].log);
	}
}

bool without_leave_out(struct job *j, struct bytes option)
{
	enum session_without without = session_without(option);

	if (!without || !asks_for(j, without))
		return false;
	/* The batch of a session that had begun before may have met it, too, and wait for a retry.
	 */
	engine_kick(j->engine, instance_now());
	job_touch(j);
	if (j->without & without)
		return true;
	j->without |= without;
	j->compress = SESSION_COMPRESS_NO;
	say(j, option, without);
	if (without == SESSION_WITHOUT_NS)
		engine_set_whole_seconds(j->engine);
	if (without == SESSION_WITHOUT_COPIES)
		engine_set_copies_off(j->engine);
	job_options_left_out(j);
	return true;
}

static void add(char *text, size_t n, const char *more)
{
	size_t used = strlen(text);

	(void)snprintf(text + used, n - used, "%s%s", used ? "; " : "", more);
}

void without_note(const struct job *j, char *text, size_t n)
{
	const unsigned both = SESSION_WITHOUT_XATTRS | SESSION_WITHOUT_ACLS;
	bool together = (j->without & both) == both;
	unsigned told = together ? both : 0;

	if (j->without & SESSION_WITHOUT_COMPRESS)
		told |= SESSION_WITHOUT_CHOICE;
	if (together)
		add(text, n, "extended attributes and ACLs are not kept: the target refuses them");
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if ((j->without & ~told & kinds[i].without) && kinds[i].note)
			add(text, n, kinds[i].note);
	}
}
