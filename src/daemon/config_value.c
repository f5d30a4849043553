/*
 * Values of the configuration: numbers with units, words, lists. Texts of errors say what would
 * have been right.
 */
#include "daemon/config_value.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/path.h"

struct unit {
	const char *word;
	uint64_t factor;
};

/* The larger first: show picks the largest that divides. */
static const struct unit durations[] = {
        {"w", UINT64_C(604800000000000)}, {"d", UINT64_C(86400000000000)},
        {"h", UINT64_C(3600000000000)},   {"m", UINT64_C(60000000000)},
        {"s", UINT64_C(1000000000)},      {"ms", UINT64_C(1000000)},
};
static const struct unit sizes[] = {
        {"T", UINT64_C(1) << 40},
        {"G", UINT64_C(1) << 30},
        {"M", UINT64_C(1) << 20},
        {"K", UINT64_C(1) << 10},
};

/* Digits off the front of *p; false: none, or more than fits. */
static bool take_number(const char **p, uint64_t *ret)
{
	uint64_t n = 0;
	const char *s = *p;

	if (!isdigit((unsigned char)*s))
		return false;
	for (; isdigit((unsigned char)*s); s++) {
		if (__builtin_mul_overflow(n, UINT64_C(10), &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
			return false;
	}
	*p = s;
	*ret = n;
	return true;
}

static const struct unit *find_unit(const struct unit *units, size_t n, const char *word,
                                    size_t length)
{
	for (size_t i = 0; i < n; i++) {
		if (strlen(units[i].word) == length &&
		    strncasecmp(units[i].word, word, length) == 0)
			return &units[i];
	}
	return NULL;
}

int config_parse_duration(const char *text, int64_t *ret_ns, struct err *err)
{
	uint64_t sum = 0, n;
	const char *p = text;

	if (strcmp(text, "0") == 0) {
		*ret_ns = 0;
		return 0;
	}
	do {
		const struct unit *u;
		size_t length;

		if (!take_number(&p, &n) || (*p && !isalpha((unsigned char)*p)))
			return err_set(err, EINVAL,
			               "\"%s\" is no duration (500ms, 30s, 5m, 1h30m, 1d)",
			               text[0] ? path_show(bytes_of(text)) : "");
		length = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
		if (length == 0)
			return err_set(err, EINVAL,
			               "the unit is missing: write %ss, or ms, m, h, d",
			               path_show(bytes_of(text)));
		u = find_unit(durations, ARRAY_LEN(durations), p, length);
		if (!u)
			return err_set(err, EINVAL, "\"%s\" is no unit of time (ms, s, m, h, d, w)",
			               path_show((struct bytes){p, length}));
		p += length;
		if (__builtin_mul_overflow(n, u->factor, &n) ||
		    __builtin_add_overflow(sum, n, &sum) || sum > INT64_MAX)
			return err_set(err, EINVAL, "\"%s\" is too long",
			               path_show(bytes_of(text)));
	} while (*p);
	*ret_ns = (int64_t)sum;
	return 0;
}

int config_parse_size(const char *text, uint64_t *ret_bytes, struct err *err)
{
	const char *p = text;
	uint64_t n;
	size_t length;

	if (!take_number(&p, &n))
		return err_set(err, EINVAL, "\"%s\" is no size (4096, 64K, 16M, 1G)",
		               path_show(bytes_of(text)));
	length = strlen(p);
	if (length > 0) {
		const struct unit *u;

		if (length > 1 && (strcasecmp(p + 1, "B") == 0 || strcasecmp(p + 1, "iB") == 0))
			length = 1;
		u = find_unit(sizes, ARRAY_LEN(sizes), p, length);
		if (!u)
			return err_set(err, EINVAL,
			               "\"%s\" is no unit of size (K, M, G, T; 1K is 1024)",
			               path_show(bytes_of(p)));
		if (__builtin_mul_overflow(n, u->factor, &n))
			return err_set(err, EINVAL, "\"%s\" is too large",
			               path_show(bytes_of(text)));
	}
	*ret_bytes = n;
	return 0;
}

int config_parse_bool(const char *text, bool *ret, struct err *err)
{
	static const char *const words[] = {"yes", "no", "true", "false", "on", "off", "1", "0"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*ret = i % 2 == 0;
			return 0;
		}
	}
	return err_set(err, EINVAL, "\"%s\": write yes or no", path_show(bytes_of(text)));
}

static void show_unit(struct buf *out, const struct unit *units, size_t n, uint64_t value)
{
	for (size_t i = 0; i < n; i++) {
		if (value >= units[i].factor && value % units[i].factor == 0) {
			buf_printf(out, "%llu%s", (unsigned long long)(value / units[i].factor),
			           units[i].word);
			return;
		}
	}
	buf_printf(out, "%llu", (unsigned long long)value);
}

void config_show_duration(struct buf *out, int64_t ns)
{
	show_unit(out, durations, ARRAY_LEN(durations), ns > 0 ? (uint64_t)ns : 0);
}

void config_show_size(struct buf *out, uint64_t bytes)
{
	show_unit(out, sizes, ARRAY_LEN(sizes), bytes);
}

/* A range of 1 and more still takes 0 where 0 is the preset or switches off: "never", "no limit".
 */
static int check_range(const struct config_key *key, uint64_t n, bool zero_is_off, struct err *err)
{
	struct buf text;
	int rc = 0;

	if ((n >= key->min && n <= key->max) || (n == 0 && zero_is_off))
		return 0;
	buf_init(&text, 256);
	for (int i = 0; i < 2; i++) {
		uint64_t limit = i == 0 ? key->min : key->max;

		if (i == 1)
			buf_add_bytes(&text, BYTES(" to "));
		if (key->type == CONFIG_DURATION)
			config_show_duration(&text, (int64_t)limit);
		else if (key->type == CONFIG_SIZE)
			config_show_size(&text, limit);
		else
			buf_printf(&text, "%llu", (unsigned long long)limit);
	}
	rc = err_set(err, EINVAL, "too %s: %.*s%s", n < key->min ? "small" : "large", (int)text.n,
	             text.p, zero_is_off ? ", or 0" : "");
	buf_done(&text);
	return rc;
}

/* Does the table say that 0 means something of its own? */
static bool zero_is_off(const struct config_key *key)
{
	return key->min > 0 && ((key->preset && strcmp(key->preset, "0") == 0) ||
	                        (key->type == CONFIG_DURATION && strstr(key->help, " 0: ")));
}

static int parse_count(const struct config_key *key, const char *text, uint64_t *ret,
                       struct err *err)
{
	const char *p = text;
	uint64_t n;

	if (!take_number(&p, &n) || (*p && !(key->type == CONFIG_PERCENT && strcmp(p, "%") == 0)))
		return err_set(err, EINVAL, "\"%s\" is no whole number", path_show(bytes_of(text)));
	int rc = check_range(key, n, zero_is_off(key), err);

	if (rc == 0)
		*ret = n;
	return rc;
}

static int find_word(const struct config_key *key, const char *word, size_t n, struct err *err)
{
	struct buf all;

	for (int i = 0; key->words[i]; i++) {
		if (strlen(key->words[i]) == n && strncasecmp(key->words[i], word, n) == 0)
			return i;
	}
	buf_init(&all, 512);
	for (int i = 0; key->words[i]; i++)
		buf_printf(&all, "%s%s", i ? ", " : "", key->words[i]);
	(void)err_set(err, EINVAL, "\"%s\" is none of %.*s", path_show((struct bytes){word, n}),
	              (int)all.n, all.p);
	buf_done(&all);
	return -EINVAL;
}

/* A choice that grew out of yes and no takes what they take. */
static int find_choice(const struct config_key *key, const char *word, struct err *err)
{
	static const char *const plain[] = {"no", "yes"};
	bool yes;

	for (int i = 0; i < 2; i++)
		if (!key->words[i] || strcmp(key->words[i], plain[i]) != 0)
			return find_word(key, word, strlen(word), err);
	if (config_parse_bool(word, &yes, NULL) == 0)
		return yes;
	return find_word(key, word, strlen(word), err);
}

static int parse_set(const struct config_key *key, const char *text, unsigned *ret, struct err *err)
{
	unsigned set = 0;
	const char *p = text;

	if (strcasecmp(text, "none") == 0) {
		*ret = 0;
		return 0;
	}
	for (;;) {
		size_t n;
		int word;

		p += strspn(p, " \t");
		n = strcspn(p, ", \t");
		word = find_word(key, p, n, err);
		if (word < 0)
			return word;
		set |= 1u << word;
		p += n;
		p += strspn(p, " \t");
		if (!*p)
			break;
		p += *p == ',';
	}
	*ret = set;
	return 0;
}

static void list_add(struct config_list *list, const char *p, size_t n)
{
	list->items = mem_realloc(list->items, list->count + 1, sizeof(list->items[0]));
	list->items[list->count++] = mem_dup(p, n);
}

static void list_free(struct config_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct config_list){0};
}

static bool list_equal(const struct config_list *a, const struct config_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	}
	return true;
}

static int parse_words(const char *text, struct config_list *ret)
{
	list_free(ret);
	for (const char *p = text + strspn(text, " \t"); *p;) {
		size_t n = strcspn(p, " \t");

		list_add(ret, p, n);
		p += n;
		p += strspn(p, " \t");
	}
	return 0;
}

static void owner_free(struct config_chown *c)
{
	free(c->user);
	free(c->group);
	*c = (struct config_chown){0};
}

static int parse_path(const char *text, char **slot, struct err *err)
{
	char *path;
	int rc = target_path_normalise(&path, text, err);

	if (rc == 0) {
		free(*slot);
		*slot = path;
	}
	return rc;
}

static int parse_duration(const struct config_key *key, const char *text, int64_t *slot,
                          struct err *err)
{
	int64_t ns;
	int rc = config_parse_duration(text, &ns, err);

	if (rc == 0)
		rc = check_range(key, (uint64_t)ns, zero_is_off(key), err);
	if (rc == 0)
		*slot = ns;
	return rc;
}

static int parse_size(const struct config_key *key, const char *text, uint64_t *slot,
                      struct err *err)
{
	uint64_t bytes;
	int rc = config_parse_size(text, &bytes, err);

	if (rc == 0)
		rc = check_range(key, bytes, zero_is_off(key), err);
	if (rc == 0)
		*slot = bytes;
	return rc;
}

int config_value_parse(const struct config_key *key, const char *text, void *slot, struct err *err)
{
	int rc;

	if (text[0] == '\0')
		return err_set(err, EINVAL, "the value is missing");
	switch (key->type) {
	case CONFIG_BOOL:
		return config_parse_bool(text, slot, err);
	case CONFIG_SIZE:
		return parse_size(key, text, slot, err);
	case CONFIG_DURATION:
		return parse_duration(key, text, slot, err);
	case CONFIG_COUNT:
	case CONFIG_PERCENT:
		return parse_count(key, text, slot, err);
	case CONFIG_STRING:
		free(*(char **)slot);
		*(char **)slot = mem_strdup(text);
		return 0;
	case CONFIG_PATH:
		return parse_path(text, slot, err);
	case CONFIG_ENUM:
		rc = find_choice(key, text, err);
		if (rc >= 0)
			*(int *)slot = rc;
		return rc < 0 ? rc : 0;
	case CONFIG_SET:
		return parse_set(key, text, slot, err);
	case CONFIG_LIST:
		list_add(slot, text, strlen(text));
		return 0;
	case CONFIG_WORDS:
		return parse_words(text, slot);
	case CONFIG_OWNER:
		owner_free(slot);
		return config_parse_owner(text, slot, err);
	case CONFIG_MODE:
		return config_parse_mode(text, slot, err);
	case CONFIG_RULE:
	case CONFIG_ADDRESS:
		break;
	}
	check(!"a type with a slot");
	return -EINVAL;
}

void config_value_free(const struct config_key *key, void *slot)
{
	switch (key->type) {
	case CONFIG_STRING:
	case CONFIG_PATH:
		free(*(char **)slot);
		*(char **)slot = NULL;
		return;
	case CONFIG_LIST:
	case CONFIG_WORDS:
		list_free(slot);
		return;
	case CONFIG_OWNER:
		owner_free(slot);
		return;
	case CONFIG_BOOL:
	case CONFIG_SIZE:
	case CONFIG_DURATION:
	case CONFIG_COUNT:
	case CONFIG_PERCENT:
	case CONFIG_ENUM:
	case CONFIG_SET:
	case CONFIG_MODE:
	case CONFIG_RULE:
	case CONFIG_ADDRESS:
		return;
	}
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool config_value_equal(const struct config_key *key, const void *a, const void *b)
{
	switch (key->type) {
	case CONFIG_BOOL:
		return *(const bool *)a == *(const bool *)b;
	case CONFIG_SIZE:
	case CONFIG_COUNT:
	case CONFIG_PERCENT:
		return *(const uint64_t *)a == *(const uint64_t *)b;
	case CONFIG_DURATION:
		return *(const int64_t *)a == *(const int64_t *)b;
	case CONFIG_STRING:
	case CONFIG_PATH:
		return same_text(*(char *const *)a, *(char *const *)b);
	case CONFIG_ENUM:
		return *(const int *)a == *(const int *)b;
	case CONFIG_SET:
		return *(const unsigned *)a == *(const unsigned *)b;
	case CONFIG_LIST:
	case CONFIG_WORDS:
		return list_equal(a, b);
	case CONFIG_OWNER:
		return same_text(((const struct config_chown *)a)->user,
		                 ((const struct config_chown *)b)->user) &&
		       same_text(((const struct config_chown *)a)->group,
		                 ((const struct config_chown *)b)->group);
	case CONFIG_MODE:
		return memcmp(a, b, sizeof(struct config_chmod)) == 0;
	case CONFIG_RULE:
	case CONFIG_ADDRESS:
		break;
	}
	check(!"a type with a slot");
	return false;
}

static void show_list(struct buf *out, const struct config_list *list, const char *separator)
{
	for (size_t i = 0; i < list->count; i++)
		buf_printf(out, "%s%s", i ? separator : "", list->items[i]);
}

static void show_set(const struct config_key *key, unsigned set, struct buf *out)
{
	bool first = true;

	for (unsigned i = 0; key->words[i]; i++) {
		if (set & 1u << i) {
			buf_printf(out, "%s%s", first ? "" : ",", key->words[i]);
			first = false;
		}
	}
	if (first)
		buf_add_bytes(out, BYTES("none"));
}

void config_value_show(const struct config_key *key, const void *slot, struct buf *out)
{
	const struct config_chmod *mode;
	const struct config_chown *owner;
	const char *text;

	switch (key->type) {
	case CONFIG_BOOL:
		buf_printf(out, "%s", *(const bool *)slot ? "yes" : "no");
		return;
	case CONFIG_SIZE:
		config_show_size(out, *(const uint64_t *)slot);
		return;
	case CONFIG_DURATION:
		config_show_duration(out, *(const int64_t *)slot);
		return;
	case CONFIG_COUNT:
	case CONFIG_PERCENT:
		buf_printf(out, "%llu%s", (unsigned long long)*(const uint64_t *)slot,
		           key->type == CONFIG_PERCENT ? "%" : "");
		return;
	case CONFIG_STRING:
	case CONFIG_PATH:
		text = *(char *const *)slot;
		buf_add_bytes(out, bytes_of(text ? text : ""));
		return;
	case CONFIG_ENUM:
		buf_add_bytes(out, bytes_of(key->words[*(const int *)slot]));
		return;
	case CONFIG_SET:
		show_set(key, *(const unsigned *)slot, out);
		return;
	case CONFIG_LIST:
		show_list(out, slot, ", ");
		return;
	case CONFIG_WORDS:
		show_list(out, slot, " ");
		return;
	case CONFIG_OWNER:
		owner = slot;
		if (owner->user || owner->group)
			buf_printf(out, "%s%s%s", owner->user ? owner->user : "",
			           owner->group ? ":" : "", owner->group ? owner->group : "");
		return;
	case CONFIG_MODE:
		mode = slot;
		if (mode->file_and != 07777 || mode->file_or || mode->dir_and != 07777 ||
		    mode->dir_or)
			buf_printf(out, "files & %04o | %04o, directories & %04o | %04o",
			           mode->file_and, mode->file_or, mode->dir_and, mode->dir_or);
		return;
	case CONFIG_RULE:
	case CONFIG_ADDRESS:
		break;
	}
	check(!"a type with a slot");
}
