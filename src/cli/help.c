/*
 * Help texts and their twin in the manual page, both from the table of verbs.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/path.h"
#include "cli/cli.h"
#include "daemon/config_keys.h"

#define WIDTH 78

/* Words of `text` in lines of WIDTH, the following ones indented. */
static void add_wrapped(struct buf *out, const char *text, size_t column, size_t indent)
{
	while (*text) {
		size_t n = strcspn(text, " \n");

		if (column > indent && column + 1 + n > WIDTH) {
			buf_printf(out, "\n%*s", (int)indent, "");
			column = indent;
		} else if (column > indent) {
			buf_add(out, " ", 1);
			column++;
		}
		buf_add(out, text, n);
		column += n;
		text += n;
		if (strncmp(text, "\n\n", 2) == 0) {
			buf_printf(out, "\n\n%*s", (int)indent, "");
			column = indent;
		}
		text += strspn(text, " \n");
	}
	buf_add(out, "\n", 1);
}

static void add_flag(struct buf *out, const struct cli_flag *f)
{
	size_t start = out->n;

	buf_printf(out, "  %c%c%s--%s%s%s", f->letter ? '-' : ' ', f->letter ? f->letter : ' ',
	           f->letter ? ", " : "  ", f->name, f->value ? " " : "", f->value ? f->value : "");
	size_t column = out->n - start;

	if (column < 25)
		buf_printf(out, "%*s", (int)(25 - column), "");
	else
		buf_printf(out, "\n%*s", 25, "");
	buf_add(out, " ", 1);
	add_wrapped(out, f->help, 26, 26);
}

/* The line of the overview as a sentence, and what there is to say besides. */
static char *verb_text(const struct cli_verb *v)
{
	return mem_printf("%c%s.%s%s", v->line[0] & ~0x20, v->line + 1, v->help[0] ? " " : "",
	                  v->help);
}

static void add_verb_help(struct buf *out, const struct cli_verb *v)
{
	autofree char *text = verb_text(v);

	buf_printf(out, "usage: lockstep %s%s%s%s\n\n", v->name,
	           v->flags[0].name ? " [options]" : "", v->words[0] ? " " : "", v->words);
	add_wrapped(out, text, 0, 0);
	buf_add_bytes(out, BYTES("\noptions:\n"));
	for (size_t i = 0; i < CLI_FLAGS_MAX && v->flags[i].name; i++)
		add_flag(out, &v->flags[i]);
	for (size_t i = 0; i < cli_global_flag_count; i++)
		add_flag(out, &cli_global_flags[i]);
}

static void add_overview(struct buf *out)
{
	buf_add_bytes(out, BYTES("lockstep keeps directory trees mirrored, in real time.\n\n"
	                         "  lockstep run SRC TARGET...     start mirroring now\n"
	                         "  lockstep status -w             see how it goes\n\nverbs:\n"));
	for (size_t i = 0; i < cli_verb_count; i++) {
		if (!cli_verbs[i].hidden)
			buf_printf(out, "  %-9s %s\n", cli_verbs[i].name, cli_verbs[i].line);
	}
	buf_add_bytes(out, BYTES("\noptions of every verb, before or behind it:\n"));
	for (size_t i = 0; i < cli_global_flag_count; i++)
		add_flag(out, &cli_global_flags[i]);
	buf_add_bytes(out, BYTES("\nexit codes:\n"));
	for (size_t i = 0; i < cli_exit_code_count; i++)
		buf_printf(out, "  %d  %s\n", (int)cli_exit_codes[i].code,
		           cli_exit_codes[i].meaning);
	buf_add_bytes(out, BYTES("\n\"lockstep help VERB\" tells more; see lockstep(1) and "
	                         "lockstep.conf(5).\n"));
}

void cli_print_help(const struct cli_verb *verb, struct buf *out)
{
	if (verb)
		add_verb_help(out, verb);
	else
		add_overview(out);
}

/* "-" and "\" literal, paragraphs as .IP. */
static void add_roff(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '-')
			buf_add_bytes(out, BYTES("\\-"));
		else if (*text == '\\')
			buf_add_bytes(out, BYTES("\\e"));
		else if (strncmp(text, "\n\n", 2) == 0) {
			buf_add_bytes(out, BYTES("\n.IP\n"));
			text++;
		} else
			buf_add(out, text, 1);
	}
	buf_add(out, "\n", 1);
}

static void add_roff_flag(struct buf *out, const struct cli_flag *f)
{
	buf_add_bytes(out, BYTES(".IP \"\\fB"));
	if (f->letter)
		buf_printf(out, "\\-%c\\fR, \\fB", f->letter);
	buf_add_bytes(out, BYTES("\\-\\-"));
	for (const char *p = f->name; *p; p++)
		buf_printf(out, "%s%c", *p == '-' ? "\\" : "", *p);
	buf_printf(out, "\\fR%s%s%s\" 4\n", f->value ? " \\fI" : "", f->value ? f->value : "",
	           f->value ? "\\fR" : "");
	add_roff(out, f->help);
}

void cli_doc_man(struct buf *out)
{
	buf_add_bytes(out, BYTES(".SH VERBS\n"));
	for (size_t i = 0; i < cli_verb_count; i++) {
		const struct cli_verb *v = &cli_verbs[i];

		if (v->hidden)
			continue;
		autofree char *text = verb_text(v);

		buf_printf(out, ".TP\n\\fBlockstep %s\\fR%s\\fI%s\\fR\n", v->name,
		           v->words[0] ? " " : "", v->words);
		add_roff(out, text);
		if (!v->flags[0].name)
			continue;
		buf_add_bytes(out, BYTES(".RS\n"));
		for (size_t f = 0; f < CLI_FLAGS_MAX && v->flags[f].name; f++)
			add_roff_flag(out, &v->flags[f]);
		buf_add_bytes(out, BYTES(".RE\n"));
	}
	buf_add_bytes(out, BYTES(".SH OPTIONS\nOf every verb, before or behind it:\n"));
	for (size_t i = 0; i < cli_global_flag_count; i++)
		add_roff_flag(out, &cli_global_flags[i]);
	buf_add_bytes(out, BYTES(".SH \"EXIT STATUS\"\n"));
	for (size_t i = 0; i < cli_exit_code_count; i++) {
		buf_printf(out, ".IP %d 4\n", (int)cli_exit_codes[i].code);
		add_roff(out, cli_exit_codes[i].meaning);
	}
}

static int print(struct buf *text)
{
	bool ok = fwrite(text->p, 1, text->n, stdout) == text->n && fflush(stdout) == 0;

	buf_done(text);
	return ok ? CLI_OK : CLI_FAILURE;
}

int cmd_help(const struct cli_args *args)
{
	const struct cli_verb *verb = NULL;
	struct buf text;

	if (args->verb && strcmp(args->verb->name, "help") != 0)
		verb = args->verb;
	else if (args->word_count > 0) {
		verb = cli_verb_find(args->words[0]);
		if (!verb) {
			cli_complain("there is no verb \"%s\"",
			             path_show(bytes_of(args->words[0])));
			return CLI_USAGE;
		}
	}
	buf_init(&text, 1 << 16);
	cli_print_help(verb, &text);
	return print(&text);
}

int cmd_version(const struct cli_args *args)
{
	(void)args;
	return puts("lockstep " LOCKSTEP_VERSION) < 0 ? CLI_FAILURE : CLI_OK;
}

int cmd_doc(const struct cli_args *args)
{
	struct buf text;

	buf_init(&text, 1 << 20);
	if (strcmp(args->words[0], "keys") == 0)
		config_doc_man(&text);
	else
		cli_doc_man(&text);
	return print(&text);
}
