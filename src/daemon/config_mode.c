/*
 * Owner and permission mappings. A chmod text is folded into two masks for files and two for
 * directories, which is why rsync's X (it depends on the bits that are there) is not taken.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/path.h"
#include "daemon/config_value.h"

/* One side of USER:GROUP; empty: not mapped. */
static int parse_id(const char *text, size_t n, char **ret_name, bool *ret_is_id, uint32_t *ret_id,
                    struct err *err)
{
	struct bytes word = {text, n};
	uint64_t id = 0;

	*ret_name = NULL;
	*ret_is_id = false;
	if (n == 0)
		return 0;
	if (strspn(text, "0123456789") >= n) {
		for (size_t i = 0; i < n && id <= UINT32_MAX; i++)
			id = id * 10 + (uint64_t)(text[i] - '0');
		if (id >= UINT32_MAX)
			return err_set(err, EINVAL, "\"%s\" is too large for an id",
			               path_show(word));
		*ret_is_id = true;
		*ret_id = (uint32_t)id;
	}
	for (size_t i = 0; i < n; i++) {
		/* ',', ':' and '*' would be syntax of --usermap. */
		if ((unsigned char)text[i] <= ' ' || strchr(",:*?[\\\x7f", text[i]))
			return err_set(err, EINVAL, "\"%s\" is no user or group name",
			               path_show(word));
	}
	if (text[0] == '-')
		return err_set(err, EINVAL, "\"%s\" is no user or group name", path_show(word));
	*ret_name = mem_dup(text, n);
	return 0;
}

int config_parse_owner(const char *text, struct config_chown *ret, struct err *err)
{
	struct config_chown c = {0};
	size_t n = strcspn(text, ":");
	const char *group = text[n] ? text + n + 1 : text + n;
	int rc = parse_id(text, n, &c.user, &c.user_is_id, &c.uid, err);

	if (rc == 0)
		rc = parse_id(group, strlen(group), &c.group, &c.group_is_id, &c.gid, err);
	if (rc == 0 && !c.user && !c.group)
		rc = err_set(err, EINVAL, "write USER, USER:GROUP or :GROUP");
	if (rc < 0) {
		free(c.user);
		return rc;
	}
	*ret = c;
	return 0;
}

struct mask {
	uint32_t and, or ;
};

static void mask_apply(struct mask *m, char op, uint32_t who, uint32_t bits)
{
	if (op == '=' || op == '-') {
		uint32_t gone = op == '=' ? who : bits;

		m->and &= ~gone;
		m->or &= ~gone;
	}
	if (op == '=' || op == '+')
		m->or |= bits;
}

static int parse_octal(const char *p, size_t n, struct mask *file, struct mask *dir,
                       struct err *err)
{
	uint32_t mode = 0;

	for (size_t i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '7' || n > 4)
			return err_set(err, EINVAL, "\"%s\" is no octal mode",
			               path_show((struct bytes){p, n}));
		mode = mode * 8 + (uint32_t)(p[i] - '0');
	}
	if (file)
		*file = (struct mask){0, mode};
	if (dir)
		*dir = (struct mask){0, mode};
	return 0;
}

/* "go-w", "u=rwx": the who letters, then one operation. */
static int parse_symbolic(const char *p, size_t n, struct mask *file, struct mask *dir,
                          struct err *err)
{
	struct bytes part = {p, n};
	uint32_t who = 0, bits = 0;
	size_t i = 0;
	char op;

	for (; i < n && strchr("ugoa", p[i]); i++)
		who |= p[i] == 'u' ? 04700u : p[i] == 'g' ? 02070u : p[i] == 'o' ? 01007u : 07777u;
	if (i == 0 || i == n || !strchr("+-=", p[i]))
		return err_set(err, EINVAL,
		               "\"%s\" is not understood; write D755, F644, u+rw, go-w, ...",
		               path_show(part));
	op = p[i++];
	for (; i < n; i++) {
		if (p[i] == 'r')
			bits |= 0444;
		else if (p[i] == 'w')
			bits |= 0222;
		else if (p[i] == 'x')
			bits |= 0111;
		else if (p[i] == 's')
			bits |= 06000;
		else if (p[i] == 't')
			bits |= 01000;
		else if (p[i] == 'X')
			return err_set(err, EINVAL, "X depends on the file: write D...+x instead");
		else
			return err_set(err, EINVAL, "\"%s\" is no permission (r, w, x, s, t)",
			               path_show((struct bytes){p + i, 1}));
	}
	if (file)
		mask_apply(file, op, who, bits & who);
	if (dir)
		mask_apply(dir, op, who, bits & who);
	return 0;
}

int config_parse_mode(const char *text, struct config_chmod *ret, struct err *err)
{
	struct mask file = {07777, 0}, dir = {07777, 0};
	int rc = 0;

	for (const char *p = text;; p++) {
		size_t n = strcspn(p, ",");
		bool only_dirs = n > 0 && *p == 'D', only_files = n > 0 && *p == 'F';
		const char *word = p + (only_dirs || only_files);
		size_t left = n - (size_t)(word - p);

		if (left == 0)
			return err_set(err, EINVAL, "an empty part; write D755,F644 or u+rw,go-w");
		rc = (isdigit((unsigned char)*word) ? parse_octal : parse_symbolic)(
		        word, left, only_dirs ? NULL : &file, only_files ? NULL : &dir, err);
		if (rc < 0)
			return rc;
		p += n;
		if (!*p)
			break;
	}
	*ret = (struct config_chmod){file.and, file.or, dir.and, dir.or };
	return 0;
}
