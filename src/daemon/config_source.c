#include "daemon/config_source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/ini.h"
#include "base/mem.h"
#include "base/path.h"

void config_problem(struct config_problems *p, const char *file, int line, const char *fmt, ...)
{
	struct buf text;
	va_list ap;
	char *room;

	buf_init(&text, 8192);
	if (line > 0)
		buf_printf(&text, "%s:%d: ", path_show(bytes_of(file)), line);
	else
		buf_printf(&text, "%s: ", path_show(bytes_of(file)));
	room = buf_reserve(&text, 2048);
	va_start(ap, fmt);
	(void)vsnprintf(room, 2048, fmt, ap);
	va_end(ap);
	p->count++;
	if (p->count == 1)
		(void)err_set(p->first, EINVAL, "%s", text.p);
	if (p->fn)
		p->fn(text.p, p->arg);
	buf_done(&text);
}

static void copy_list(struct config_list *to, const char *const *items, size_t n)
{
	to->items = n ? mem_array(n, sizeof(to->items[0])) : NULL;
	for (size_t i = 0; i < n; i++)
		to->items[i] = mem_strdup(items[i]);
	to->count = n;
}

struct config_source *config_source_new(const struct config_request *request)
{
	struct config_source *s = mem_alloc(sizeof(*s));

	s->request_file = mem_strdup(request->file);
	s->request_name = mem_strdup(request->name);
	s->request_state = mem_strdup(request->state);
	s->request_root = mem_strdup(request->root);
	copy_list(&s->targets, request->targets, request->target_count);
	copy_list(&s->sets, request->sets, request->set_count);
	return s;
}

static void free_list(struct config_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
}

void config_source_free(struct config_source *s)
{
	if (!s)
		return;
	free(s->request_file);
	free(s->request_name);
	free(s->request_state);
	free(s->request_root);
	free_list(&s->targets);
	free_list(&s->sets);
	for (size_t i = 0; i < s->text_count; i++)
		free(s->texts[i]);
	free(s->texts);
	for (size_t i = 0; i < s->line_count; i++)
		free(s->lines[i].value);
	free(s->lines);
	for (size_t i = 0; i < s->part_count; i++)
		free(s->parts[i].name);
	free(s->parts);
	free(s);
}

/* Takes `text`; it lives as long as the source. */
static const char *keep_text(struct config_source *s, char *text)
{
	s->texts = mem_realloc(s->texts, s->text_count + 1, sizeof(s->texts[0]));
	s->texts[s->text_count++] = text;
	return text;
}

static size_t add_part(struct config_source *s, unsigned bit, const char *name, const char *file,
                       int line)
{
	s->parts = mem_realloc(s->parts, s->part_count + 1, sizeof(s->parts[0]));
	s->parts[s->part_count] = (struct config_part){bit, mem_strdup(name), file, line};
	return s->part_count++;
}

static void add_line(struct config_source *s, const char *file, int line, size_t part,
                     const struct config_key *key, const char *value)
{
	s->lines = mem_realloc(s->lines, s->line_count + 1, sizeof(s->lines[0]));
	s->lines[s->line_count++] =
	        (struct config_line){file, line, part, key, mem_strdup(value), false};
}

/* While one file is read. */
struct reading {
	struct config_source *s;
	struct config_problems *problems;
	const char *file;
	size_t part;
	bool skip; /* inside a section that is not understood */
};

static bool name_fits(const char *name)
{
	size_t n =
	        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");

	return n > 0 && n <= CONFIG_NAME_MAX && name[n] == '\0' && name[0] != '.' && name[0] != '-';
}

static void begin_section(struct reading *r, const struct ini_line *l)
{
	static const char *const kinds[] = {"tree", "target"};
	unsigned bit = 0;

	if (strcmp(l->section, "tree") == 0)
		bit = CONFIG_TREE;
	else if (strcmp(l->section, "target") == 0)
		bit = CONFIG_TARGET;
	r->skip = bit == 0;
	if (bit == 0) {
		const char *guess = ini_did_you_mean(l->section, kinds, ARRAY_LEN(kinds));

		config_problem(
		        r->problems, r->file, l->line, "unknown section [%s]; %s%s%s",
		        path_show(bytes_of(l->section)), guess ? "did you mean [" : "there are ",
		        guess ? guess : "[tree NAME] and [target NAME]", guess ? " ...]?" : "");
		return;
	}
	if (!name_fits(l->name)) {
		config_problem(
		        r->problems, r->file, l->line,
		        "[%s %s]: a name has 1 to %d letters, digits, \"_\", \".\" or \"-\" and "
		        "does not begin with \".\" or \"-\"",
		        l->section, l->name[0] ? path_show(bytes_of(l->name)) : "",
		        CONFIG_NAME_MAX);
		r->skip = true;
		return;
	}
	for (size_t i = 1; i < r->s->part_count; i++) {
		const struct config_part *p = &r->s->parts[i];

		if (p->bit == bit && strcmp(p->name, l->name) == 0) {
			config_problem(r->problems, r->file, l->line,
			               "[%s %s] exists already at %s:%d", l->section, l->name,
			               p->file, p->line);
			r->skip = true;
			return;
		}
	}
	r->part = add_part(r->s, bit, l->name, r->file, l->line);
}

static const char *part_words(const struct config_part *p)
{
	if (p->bit == CONFIG_TREE)
		return "[tree ";
	return p->bit == CONFIG_TARGET ? "[target " : "the top of the file";
}

/* The key may stand in this part and has not been given there before. */
static const struct config_key *accept_key(struct reading *r, const char *file, int line,
                                           const char *name)
{
	const struct config_part *part = &r->s->parts[r->part];
	const struct config_key *key = config_key_find(name);
	const char *close = part->bit == CONFIG_TOP ? "" : "]";
	const char *guess;

	if (!key) {
		guess = config_key_guess(name, part->bit);
		config_problem(r->problems, file, line, "unknown key \"%s\" in %s%s%s%s%s%s",
		               path_show(bytes_of(name)), part_words(part), part->name, close,
		               guess ? "; did you mean \"" : "", guess ? guess : "",
		               guess ? "\"?" : "");
		return NULL;
	}
	if (!(key->sections & part->bit)) {
		config_problem(
		        r->problems, file, line, "\"%s\" cannot stand in %s%s%s, only in %s%s%s",
		        name, part_words(part), part->name, close,
		        key->sections & CONFIG_TOP ? "the top of the file" : "",
		        key->sections & CONFIG_TOP && key->sections & CONFIG_TREE ? " and " : "",
		        key->sections & CONFIG_TREE     ? "[tree ...]"
		        : key->sections & CONFIG_TARGET ? "[target ...]"
		                                        : "");
		return NULL;
	}
	if (config_key_adds_up(key) || (key->type == CONFIG_ADDRESS && part->bit == CONFIG_TREE))
		return key;
	for (size_t i = 0; i < r->s->line_count; i++) {
		const struct config_line *l = &r->s->lines[i];

		/* A file in conf.d may change what the top of another said. */
		if (l->key == key && l->part == r->part && l->file == file && l->line > 0) {
			config_problem(r->problems, file, line,
			               "\"%s\" is given twice, first in line %d", name, l->line);
			return NULL;
		}
	}
	return key;
}

static int read_line(const struct ini_line *l, void *arg, struct err *err)
{
	struct reading *r = arg;
	const struct config_key *key;

	if (!l->key) {
		begin_section(r, l);
		return 0;
	}
	if (r->skip)
		return 0;
	if (r->s->line_count >= CONFIG_LINES_MAX)
		return err_set(err, E2BIG, "%s:%d: more than %d lines",
		               path_show(bytes_of(r->file)), l->line, CONFIG_LINES_MAX);
	key = accept_key(r, r->file, l->line, l->key);
	if (key)
		add_line(r->s, r->file, l->line, r->part, key, l->value);
	return 0;
}

/* The operator's own file: a symbolic link is fine here. */
static int read_text(const char *path, struct buf *text, struct err *err)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char *room = buf_reserve(text, CONFIG_FILE_MAX + 1);
	ssize_t n;

	if (fd < 0)
		return err_errno(err, errno, "%s", path_show(bytes_of(path)));
	n = fd_read_full(fd, room, CONFIG_FILE_MAX + 1);
	if (n < 0)
		return err_errno(err, (int)-n, "%s", path_show(bytes_of(path)));
	if (n > (ssize_t)CONFIG_FILE_MAX)
		return err_set(err, EFBIG, "%s is larger than 4 MiB", path_show(bytes_of(path)));
	text->n = (size_t)n;
	return 0;
}

static int read_file(struct config_source *s, const char *path, struct config_problems *problems,
                     struct err *err)
{
	struct reading r = {s, problems, keep_text(s, mem_strdup(path)), 0, false};
	struct err syntax = {0};
	struct buf text;
	int rc;

	buf_init(&text, CONFIG_FILE_MAX + 1);
	rc = read_text(path, &text, err);
	if (rc < 0) {
		buf_done(&text);
		return rc;
	}
	rc = ini_parse(r.file, buf_bytes(&text), read_line, &r, &syntax);
	if (rc < 0) {
		problems->count++;
		if (problems->count == 1 && problems->first)
			*problems->first = syntax;
		if (problems->fn)
			problems->fn(syntax.text, problems->arg);
	}
	buf_done(&text);
	return 0;
}

static int only_conf(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return d->d_name[0] != '.' && n > 5 && strcmp(d->d_name + n - 5, ".conf") == 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* conf.d beside a file named lockstep.conf, names in byte order; other files are whole in
 * themselves, so that several instances can lie in one directory. */
static int read_conf_d(struct config_source *s, struct config_problems *problems, struct err *err)
{
	const char *slash = strrchr(s->request_file, '/');
	autofree char *dir =
	        slash ? mem_printf("%.*s/conf.d", (int)(slash - s->request_file), s->request_file)
	              : mem_strdup("conf.d");
	struct dirent **names;
	int n, rc = 0;

	if (strcmp(slash ? slash + 1 : s->request_file, "lockstep.conf") != 0)
		return 0;
	n = scandir(dir, &names, only_conf, by_bytes);
	if (n < 0)
		return errno == ENOENT || errno == ENOTDIR
		               ? 0
		               : err_errno(err, errno, "%s", path_show(bytes_of(dir)));
	for (int i = 0; i < n; i++) {
		autofree char *path = mem_printf("%s/%s", dir, names[i]->d_name);

		if (rc == 0)
			rc = read_file(s, path, problems, err);
		free(names[i]);
	}
	free(names);
	return rc;
}

static void read_sets(struct config_source *s, struct config_problems *problems)
{
	struct reading r = {s, problems, NULL, 0, false};

	for (size_t i = 0; i < s->sets.count; i++) {
		const char *equals = strchr(s->sets.items[i], '=');
		const char *origin = keep_text(s, mem_printf("--set %s", s->sets.items[i]));
		autofree char *name = NULL;
		const struct config_key *key;

		if (!equals || equals == s->sets.items[i]) {
			config_problem(problems, origin, 0, "write KEY=VALUE");
			continue;
		}
		name = mem_dup(s->sets.items[i], (size_t)(equals - s->sets.items[i]));
		for (char *p = name; *p; p++) {
			if (*p == '-')
				*p = '_';
		}
		key = accept_key(&r, origin, 0, name);
		if (key)
			add_line(s, origin, 0, 0, key, equals + 1);
	}
}

/* `run SRC TARGET...` reads as one tree "main". */
static void read_arguments(struct config_source *s)
{
	const char *origin = keep_text(s, mem_strdup("command line"));
	size_t part = add_part(s, CONFIG_TREE, "main", origin, 0);

	add_line(s, origin, 0, part, config_key_find("root"), s->request_root);
	for (size_t i = 0; i < s->targets.count; i++)
		add_line(s, origin, 0, part, config_key_find("target"), s->targets.items[i]);
}

int config_source_read(struct config_source *s, struct config_problems *problems, struct err *err)
{
	int rc = 0;

	(void)add_part(s, CONFIG_TOP, "", s->request_file ? s->request_file : "command line", 0);
	if (s->request_file) {
		rc = read_file(s, s->request_file, problems, err);
		if (rc == 0)
			rc = read_conf_d(s, problems, err);
	} else if (s->request_root) {
		read_arguments(s);
	}
	if (rc == 0)
		read_sets(s, problems);
	return rc;
}
