/*
 * The keys as manual page text, from the table: what cannot be forgotten there is not forgotten
 * here.
 */
#include "base/bytes.h"
#include "daemon/config_keys.h"
#include "daemon/config_value.h"

/* Text for roff: "-" and "\" are literal, a "." or "'" cannot begin a line. */
static void add_text(struct buf *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		buf_add_bytes(out, BYTES("\\&"));
	for (; *text; text++) {
		if (*text == '\\')
			buf_add_bytes(out, BYTES("\\e"));
		else if (*text == '-')
			buf_add_bytes(out, BYTES("\\-"));
		else
			buf_add(out, text, 1);
	}
}

static const char *type_words(enum config_type type)
{
	switch (type) {
	case CONFIG_BOOL:
		return "yes or no";
	case CONFIG_SIZE:
		return "size";
	case CONFIG_DURATION:
		return "duration";
	case CONFIG_COUNT:
		return "number";
	case CONFIG_PERCENT:
		return "percent";
	case CONFIG_STRING:
		return "name";
	case CONFIG_PATH:
		return "absolute path";
	case CONFIG_ENUM:
		return "one of";
	case CONFIG_SET:
		return "some of";
	case CONFIG_LIST:
		return "text, repeatable";
	case CONFIG_WORDS:
		return "words";
	case CONFIG_OWNER:
		return "user and group";
	case CONFIG_MODE:
		return "permissions";
	case CONFIG_RULE:
		return "pattern, repeatable";
	case CONFIG_ADDRESS:
		return "address";
	}
	return "";
}

static void add_limit(struct buf *out, const struct config_key *key, uint64_t limit)
{
	if (key->type == CONFIG_DURATION)
		config_show_duration(out, (int64_t)limit);
	else if (key->type == CONFIG_SIZE)
		config_show_size(out, limit);
	else
		buf_printf(out, "%llu%s", (unsigned long long)limit,
		           key->type == CONFIG_PERCENT ? "%" : "");
}

static void add_facts(struct buf *out, const struct config_key *key)
{
	buf_printf(out, "(%s", type_words(key->type));
	for (size_t i = 0; key->words && key->words[i]; i++)
		buf_printf(out, "%s%s", i ? ", " : " ", key->words[i]);
	if (key->max > 0) {
		buf_add_bytes(out, BYTES(", "));
		add_limit(out, key, key->min);
		buf_add_bytes(out, BYTES(" to "));
		add_limit(out, key, key->max);
	}
	buf_add_bytes(out, BYTES("; default: "));
	add_text(out, key->preset ? key->preset : "none");
	buf_add_bytes(out, BYTES(")\n"));
}

static void add_key(struct buf *out, const struct config_key *key)
{
	buf_printf(out, ".TP\n.BR %s \" = \\fI...\\fR\"\n", key->name);
	add_facts(out, key);
	buf_add_bytes(out, BYTES(".br\n"));
	add_text(out, key->help);
	buf_add_bytes(out, BYTES("\n.br\nExample: "));
	buf_printf(out, "\\fB%s = ", key->name);
	add_text(out, key->example);
	buf_add_bytes(out, BYTES("\\fR\n"));
}

static void add_group(struct buf *out, const char *title, unsigned sections)
{
	buf_printf(out, ".SS %s\n", title);
	for (size_t i = 0; i < config_key_count; i++) {
		if (config_keys[i].sections == sections)
			add_key(out, &config_keys[i]);
	}
}

void config_doc_man(struct buf *out)
{
	add_group(out, "The instance (top of the file only)", CONFIG_TOP);
	add_group(out, "Only in [tree NAME]", CONFIG_TREE);
	add_group(out, "In [tree NAME] and [target NAME]", CONFIG_TREE | CONFIG_TARGET);
	add_group(out, "Only in [target NAME]", CONFIG_TARGET);
	add_group(out, "A tree (top of the file and [tree NAME])", CONFIG_TOP | CONFIG_TREE);
	add_group(out, "A job (everywhere)", CONFIG_TOP | CONFIG_TREE | CONFIG_TARGET);
}
