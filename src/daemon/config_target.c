/*
 * Target addresses. What is refused here can reach neither ssh's option parser (names that begin
 * with "-") nor a line of the rsync protocol (line ends), and no address means two things.
 */
#include "daemon/config_target.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/path.h"

static const char forms[] = "rsync://[user@]host[:port]/module/path (rsyncs:// for TLS), "
                            "[user@]host::module/path, [user@]host:path or an absolute local path";

const char *target_kind_word(enum target_kind kind)
{
	switch (kind) {
	case TARGET_RSYNCD:
		return "rsyncd";
	case TARGET_SSH:
		return "ssh";
	case TARGET_LOCAL:
		return "local";
	}
	return "?";
}

void target_done(struct target *t)
{
	free(t->user);
	free(t->host);
	free(t->module);
	free(t->path);
	*t = (struct target){0};
}

void target_copy(struct target *to, const struct target *from)
{
	*to = (struct target){
	        .kind = from->kind,
	        .user = mem_strdup(from->user),
	        .host = mem_strdup(from->host),
	        .port = from->port,
	        .port_given = from->port_given,
	        .tls = from->tls,
	        .module = mem_strdup(from->module),
	        .path = mem_strdup(from->path),
	};
}

void target_use_tls(struct target *t)
{
	if (t->kind != TARGET_RSYNCD)
		return;
	t->tls = true;
	if (!t->port_given)
		t->port = TARGET_TLS_PORT;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_host(const char *a, const char *b)
{
	return a == b || (a && b && strcasecmp(a, b) == 0);
}

bool target_equal(const struct target *a, const struct target *b)
{
	return a->kind == b->kind && same_text(a->user, b->user) && same_host(a->host, b->host) &&
	       a->port == b->port && a->tls == b->tls && same_text(a->module, b->module) &&
	       same_text(a->path, b->path);
}

/* Equal, or one below the other, as text; "" contains everything. */
static bool paths_nest(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b);
	size_t n = na < nb ? na : nb;
	const char *longer = na < nb ? b : a;

	if (n == 0)
		return true;
	return memcmp(a, b, n) == 0 && (na == nb || longer[n] == '/');
}

bool target_overlaps(const struct target *a, const struct target *b)
{
	if (a->kind != b->kind || !same_host(a->host, b->host) || a->port != b->port)
		return false;
	/* A path relative to a home directory is another place for another user. */
	if (a->kind == TARGET_SSH && a->path[0] != '/' && !same_text(a->user, b->user))
		return false;
	return same_text(a->module, b->module) && paths_nest(a->path, b->path);
}

/* Copies `text` without empty and "." components and without the last "/". */
static int tidy_path(char **ret, const char *text, struct err *err)
{
	struct buf out;

	buf_init(&out, strlen(text) + 2);
	if (text[0] == '/')
		buf_add(&out, "/", 1);
	for (const char *p = text; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && memcmp(p, "..", 2) == 0) {
			buf_done(&out);
			return err_set(err, EINVAL, "\"..\" in the path \"%s\" is not allowed",
			               path_show(bytes_of(text)));
		}
		if (n > 0 && !(n == 1 && *p == '.')) {
			if (out.n > 0 && out.p[out.n - 1] != '/')
				buf_add(&out, "/", 1);
			buf_add(&out, p, n);
		}
		p += n + (p[n] == '/');
	}
	*ret = mem_dup(out.p ? out.p : "", out.n);
	buf_done(&out);
	return 0;
}

int target_path_normalise(char **ret, const char *text, struct err *err)
{
	char *path;
	int rc;

	if (text[0] == '\0')
		return err_set(err, EINVAL, "the path is empty");
	if (text[0] == '"' || text[0] == '\'')
		return err_set(err, EINVAL, "quotes would be a part of the name: write it without");
	if (text[0] != '/')
		return err_set(err, EINVAL, "\"%s\" is a relative path: write it from \"/\" on",
		               path_show(bytes_of(text)));
	rc = tidy_path(&path, text, err);
	if (rc < 0)
		return rc;
	if (strcmp(path, "/") == 0) {
		free(path);
		return err_set(err, EINVAL, "\"/\" is refused: name a directory below it");
	}
	if (strlen(path) > PATH_BYTES_MAX) {
		free(path);
		return err_set(err, EINVAL, "the path is longer than %d bytes", PATH_BYTES_MAX);
	}
	*ret = path;
	return 0;
}

static int parse_host(struct target *t, struct bytes host, struct err *err)
{
	if (host.n == 0)
		return err_set(err, EINVAL, "the host is missing; write %s", forms);
	if (host.n > 255)
		return err_set(err, EINVAL, "the host name is longer than 255 bytes");
	if (host.p[0] == '-')
		return err_set(err, EINVAL, "a host cannot begin with \"-\"");
	for (size_t i = 0; i < host.n; i++) {
		unsigned char c = (unsigned char)host.p[i];

		if (c < 0x80 && !isalnum(c) && !strchr("-._:%", c))
			return err_set(err, EINVAL, "\"%s\" is no host name", path_show(host));
		if (c >= 0x80)
			return err_set(err, EINVAL, "\"%s\" is no host name (write it in ASCII)",
			               path_show(host));
	}
	t->host = mem_dup(host.p, host.n);
	return 0;
}

static int parse_user(struct target *t, struct bytes user, struct err *err)
{
	if (user.n == 0)
		return err_set(err, EINVAL, "the user before \"@\" is missing");
	if (user.n > 255 || user.p[0] == '-')
		return err_set(err, EINVAL, "\"%s\" is no user name", path_show(user));
	for (size_t i = 0; i < user.n; i++) {
		if ((unsigned char)user.p[i] <= ' ' || user.p[i] == 0x7f)
			return err_set(err, EINVAL, "\"%s\" is no user name", path_show(user));
	}
	t->user = mem_dup(user.p, user.n);
	return 0;
}

static int parse_port(struct target *t, struct bytes port, struct err *err)
{
	unsigned n = 0;

	for (size_t i = 0; i < port.n; i++) {
		if (!isdigit((unsigned char)port.p[i]) || port.n > 5)
			return err_set(err, EINVAL, "\"%s\" is no port (1 to 65535)",
			               path_show(port));
		n = n * 10 + (unsigned)(port.p[i] - '0');
	}
	if (n < 1 || n > 65535)
		return err_set(err, EINVAL, "\"%s\" is no port (1 to 65535)", path_show(port));
	t->port = (uint16_t)n;
	t->port_given = true;
	return 0;
}

/* Takes "[...]" or what stands before any of `stops` off the front of *rest. */
static int take_host(struct target *t, const char **rest, const char *stops, struct err *err)
{
	const char *p = *rest, *close;

	if (*p == '[') {
		close = strchr(p, ']');
		if (!close)
			return err_set(err, EINVAL, "the \"]\" behind the IPv6 address is missing");
		*rest = close + 1;
		return parse_host(t, (struct bytes){p + 1, (size_t)(close - p - 1)}, err);
	}
	*rest = p + strcspn(p, stops);
	return parse_host(t, (struct bytes){p, (size_t)(*rest - p)}, err);
}

static int parse_module(struct target *t, const char *text, struct err *err)
{
	size_t n = strcspn(text, "/");
	int rc;

	if (n == 0)
		return err_set(err, EINVAL, "the module is missing; write %s", forms);
	if (text[0] == '#' || text[0] == '-' || n > 255)
		return err_set(err, EINVAL, "\"%s\" is no module name",
		               path_show((struct bytes){text, n}));
	t->module = mem_dup(text, n);
	while (text[n] == '/')
		n++;
	rc = tidy_path(&t->path, text + n, err);
	return rc;
}

static int parse_ssh_path(struct target *t, const char *text, struct err *err)
{
	if (text[0] == '\0')
		return err_set(err, EINVAL, "the path behind \"%s:\" is missing: name a directory",
		               t->host);
	if (text[0] == '~')
		return err_set(err, EINVAL,
		               "\"~\" is not expanded: write %s:dir for a directory below the home "
		               "there",
		               t->host);
	if (text[0] == '-')
		return err_set(err, EINVAL, "the path cannot begin with \"-\": write ./-...");
	if (text[0] == '/')
		return target_path_normalise(&t->path, text, err);
	int rc = tidy_path(&t->path, text, err);

	if (rc == 0 && t->path[0] == '\0')
		rc = err_set(err, EINVAL, "the whole home directory is refused: name one below it");
	if (rc == 0 && t->path[0] == '-')
		rc = err_set(err, EINVAL, "the path cannot begin with \"-\"");
	return rc;
}

/* Behind "rsync://", "rsyncs://" or "ssh://". */
static int parse_url(struct target *t, const char *scheme, const char *rest, struct err *err)
{
	struct bytes authority = {rest, strcspn(rest, "/")};
	const char *at = memrchr(authority.p, '@', authority.n);
	const char *colon;
	int rc = 0;

	if (at) {
		colon = memchr(rest, ':', (size_t)(at - rest));
		if (colon)
			return err_set(err, EINVAL,
			               "a password in the address is refused: write %s://%s@%s and "
			               "put the "
			               "password into a file of mode 0600, named by password_file",
			               scheme,
			               path_show((struct bytes){rest, (size_t)(colon - rest)}),
			               path_show(bytes_of(at + 1)));
		rc = parse_user(t, (struct bytes){rest, (size_t)(at - rest)}, err);
		rest = at + 1;
	}
	if (rc == 0)
		rc = take_host(t, &rest, ":/", err);
	if (rc == 0 && *rest == ':') {
		size_t n = strcspn(rest + 1, "/");

		rc = parse_port(t, (struct bytes){rest + 1, n}, err);
		rest += 1 + n;
	}
	if (rc < 0)
		return rc;
	if (*rest && *rest != '/')
		return err_set(err, EINVAL, "\"%s\" behind the host is not understood; write %s",
		               path_show(bytes_of(rest)), forms);
	if (t->kind == TARGET_SSH)
		return parse_ssh_path(t, rest, err);
	return parse_module(t, *rest ? rest + 1 : rest, err);
}

/* user:password@host:... would read as a path at the host "user", and the password would stand in
 * the arguments of ssh and in the log. A path that looks so can be written with "./" in front. */
static bool holds_password(const char *text)
{
	const char *colon = strchr(text, ':'), *at = strrchr(text, '@'), *behind;

	if (text[0] == '[' || !colon || !at || at < colon || colon[1] == ':' ||
	    strncmp(colon + 1, "./", 2) == 0)
		return false;
	behind = at + strcspn(at, ":/");
	return *behind == ':' && (colon[1] != '/' || behind[1] == ':');
}

/* [user@]host::module/path and [user@]host:path */
static int parse_colon(struct target *t, const char *text, struct err *err)
{
	const char *rest = text, *at = strchr(text, '@');
	size_t hex;
	int rc = 0;

	if (holds_password(text))
		return err_set(err, EINVAL,
		               "a password in the address is refused: write %s%s and put the "
		               "password into a file of mode 0600, named by password_file",
		               path_show((struct bytes){text, strcspn(text, ":")}),
		               path_show(bytes_of(strrchr(text, '@'))));
	if (at && at < text + strcspn(text, ":/[")) {
		rc = parse_user(t, (struct bytes){text, (size_t)(at - text)}, err);
		rest = at + 1;
	}
	if (rc < 0)
		return rc;
	hex = strspn(rest, "0123456789abcdefABCDEF:");
	unsigned colons = 0;

	for (size_t i = 0; i < hex; i++)
		colons += rest[i] == ':';
	if (colons >= 3)
		return err_set(err, EINVAL,
		               "an IPv6 address needs brackets: write [2001:db8::1]::module or "
		               "[2001:db8::1]:path");
	rc = take_host(t, &rest, ":/", err);
	if (rc < 0)
		return rc;
	if (strncmp(rest, "::", 2) == 0) {
		t->kind = TARGET_RSYNCD;
		t->port = TARGET_RSYNCD_PORT;
		return parse_module(t, rest + 2, err);
	}
	if (*rest != ':')
		return err_set(err, EINVAL, "\"%s\" is no target; write %s",
		               path_show(bytes_of(text)), forms);
	t->kind = TARGET_SSH;
	return parse_ssh_path(t, rest + 1, err);
}

static int parse(struct target *t, const char *text, struct err *err)
{
	size_t scheme =
	        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");
	size_t first = strcspn(text, ":/");

	if (text[0] == '\0')
		return err_set(err, EINVAL, "the target is empty; write %s", forms);
	if (strpbrk(text, "\n\r") && text[0] != '/')
		return err_set(err, EINVAL, "a remote target cannot hold a line end");
	if (strncmp(text, "rsync://", 8) == 0) {
		t->kind = TARGET_RSYNCD;
		t->port = TARGET_RSYNCD_PORT;
		return parse_url(t, "rsync", text + 8, err);
	}
	if (strncmp(text, "rsyncs://", 9) == 0) {
		t->kind = TARGET_RSYNCD;
		target_use_tls(t);
		return parse_url(t, "rsyncs", text + 9, err);
	}
	if (strncmp(text, "ssh://", 6) == 0) {
		t->kind = TARGET_SSH;
		return parse_url(t, "ssh", text + 6, err);
	}
	if (scheme > 0 && strncmp(text + scheme, "://", 3) == 0)
		return err_set(err, EINVAL, "\"%s://\" is not known; write %s",
		               path_show((struct bytes){text, scheme}), forms);
	if (text[0] == '/' || text[0] == '"' || text[0] == '\'') {
		t->kind = TARGET_LOCAL;
		return target_path_normalise(&t->path, text, err);
	}
	if (text[0] != '[' && !strchr(text, '[') && text[first] != ':')
		return err_set(
		        err, EINVAL,
		        "\"%s\" is a relative path: write it from \"/\" on, or a remote target "
		        "as [user@]host:path, [user@]host::module/path, "
		        "rsync://[user@]host/module/path",
		        path_show(bytes_of(text)));
	return parse_colon(t, text, err);
}

int target_parse(struct target *ret, const char *text, struct err *err)
{
	struct target t = {0};
	int rc = parse(&t, text, err);

	if (rc < 0)
		target_done(&t);
	else
		*ret = t;
	return rc;
}
