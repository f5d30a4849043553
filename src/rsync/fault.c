#include "rsync/fault.h"

#include "base/mem.h"

static const struct phrase {
	const char *start;
	enum session_fault fault;
} phrases[] = {
        {"max connections", SESSION_FAULT_BUSY},  {"auth failed", SESSION_FAULT_LOGIN},
        {"Unknown module", SESSION_FAULT_LOGIN},  {"access denied", SESSION_FAULT_LOGIN},
        {"invalid uid", SESSION_FAULT_LOGIN},     {"invalid gid", SESSION_FAULT_LOGIN},
        {"pre-xfer exec", SESSION_FAULT_LOGIN},   {"chdir failed", SESSION_FAULT_MISSING},
        {"chroot failed", SESSION_FAULT_MISSING}, {"module is read only", SESSION_FAULT_READONLY},
};

/* Of servers that were built without it, or whose environment does not list it. */
static const struct {
	const char *start, *option;
} without[] = {{"ACLs are not supported on this server", "acls"},
               {"extended attributes are not supported on this server", "xattrs"},
               {"Your --compress-choice value", "new-compress"},
               /* A module that excludes names which begin with a dot, "." among them. */
               {"Your options have been rejected by the server", "copy-dest"}};

/* Known words count only where a sentence of rsync's begins: a file name further in may be
 * anything. */
static bool skip(struct bytes *text, const char *prefix)
{
	size_t n = strlen(prefix);

	if (!bytes_starts(*text, bytes_of(prefix)))
		return false;
	text->p += n;
	text->n -= n;
	return true;
}

static void copy_option(struct bytes name, char *option, size_t size)
{
	size_t n;

	if (!option || !size)
		return;
	for (n = 0; n < name.n && n + 1 < size; n++) {
		char c = name.p[n];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
			break;
		option[n] = c;
	}
	option[n] = '\0';
}

/* "--fsync: unknown option", "-@-1: unknown option", "--log-format=%i: unknown option" */
static bool unknown_option(struct bytes text, char *option, size_t size)
{
	static const char tail[] = ": unknown option";
	const char *at = memmem(text.p, text.n, tail, sizeof(tail) - 1);

	if (!at || text.n < 2 || text.p[0] != '-')
		return false;
	if (bytes_starts(text, BYTES("-@")))
		copy_option(BYTES("modify-window"), option, size);
	else if (skip(&text, "--"))
		copy_option((struct bytes){text.p, (size_t)(at - text.p)}, option, size);
	return true;
}

static enum session_fault fault_of_sentence(struct bytes text, char *option, size_t size)
{
	for (size_t i = 0; i < ARRAY_LEN(phrases); i++)
		if (bytes_starts(text, bytes_of(phrases[i].start)))
			return phrases[i].fault;
	if (skip(&text, "The server is configured to refuse --") ||
	    skip(&text, "The server does not support --")) {
		copy_option(text, option, size);
		return SESSION_FAULT_REFUSED;
	}
	for (size_t i = 0; i < ARRAY_LEN(without); i++) {
		if (bytes_starts(text, bytes_of(without[i].start))) {
			copy_option(bytes_of(without[i].option), option, size);
			return SESSION_FAULT_REFUSED;
		}
	}
	if (unknown_option(text, option, size))
		return SESSION_FAULT_REFUSED;
	return SESSION_FAULT_NONE;
}

enum session_fault session_fault_of_text(struct bytes text, char *option, size_t size)
{
	if (option && size)
		option[0] = '\0';
	while (text.n) {
		const char *nl = memchr(text.p, '\n', text.n);
		size_t n = nl ? (size_t)(nl - text.p) : text.n;
		struct bytes line = {text.p, n};
		enum session_fault fault;

		while (skip(&line, "@ERROR: ") || skip(&line, "ERROR: ") ||
		       skip(&line, "rsync: ") || skip(&line, "on remote machine: "))
			;
		fault = fault_of_sentence(line, option, size);
		if (fault != SESSION_FAULT_NONE)
			return fault;
		n += nl ? 1 : 0;
		text.p += n;
		text.n -= n;
	}
	return SESSION_FAULT_NONE;
}

enum session_fault fault_of_refusal(struct bytes text)
{
	enum session_fault fault = session_fault_of_text(text, NULL, 0);

	return fault == SESSION_FAULT_NONE ? SESSION_FAULT_LOGIN : fault;
}
