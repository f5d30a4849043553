#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/path.h"
#include "cli/client.h"
#include "cli/show.h"

/* The daemon keeps the time; this is only for one that does not answer at all. */
#define GRACE_MS 10000

/* {"settled": "yes|stuck|pending", "jobs": [...]} */
static int tell_answer(const struct cli_args *args, json_t *answer, long http)
{
	const char *settled = json_string_value(json_object_get(answer, "settled"));
	bool stuck = settled && strcmp(settled, "stuck") == 0;
	struct buf out;

	if (!cli_given(args, "json")) {
		buf_init(&out, 1 << 20);
		show_remaining(&out, answer);
		(void)fwrite(out.p ? out.p : "", 1, out.n, stderr);
		buf_done(&out);
	}
	if (http == 504)
		return CLI_TIMEOUT;
	return stuck ? CLI_STUCK : CLI_OK;
}

/* Where verify could not look. */
static void tell_limits(json_t *answer)
{
	json_int_t listed = (json_int_t)json_array_size(json_object_get(answer, "differences"));
	json_int_t all = json_integer_value(json_object_get(answer, "count"));
	json_int_t cut = json_integer_value(json_object_get(answer, "directories_without_extras"));

	if (all > listed)
		(void)fprintf(stderr, "%" JSON_INTEGER_FORMAT " more differences are not listed\n",
		              all - listed);
	if (json_is_false(json_object_get(answer, "extras_known")))
		(void)fputs("what only the target has is not known: it refuses --delete\n", stderr);
	if (cut > 0)
		(void)fprintf(stderr,
		              "what only the target has is not known in %" JSON_INTEGER_FORMAT
		              " directories: they hold too many names\n",
		              cut);
}

/* What verify found, each with what is wrong. True: there is something. */
static bool tell_differences(const struct cli_args *args, json_t *answer)
{
	json_t *list = json_object_get(answer, "differences"), *d;
	size_t i;

	json_array_foreach(list, i, d)
	{
		const char *job = json_string_value(json_object_get(d, "job"));
		const char *path = json_string_value(json_object_get(d, "path"));
		const char *what = json_string_value(json_object_get(d, "what"));
		struct buf raw;

		buf_init(&raw, 1 << 16);
		if (!cli_given(args, "json") && path &&
		    path_from_percent(&raw, bytes_of(path)) == 0)
			printf("%s: %s: %s\n", job ? job : "?", path_show(buf_bytes(&raw)),
			       what ? what : "differs");
		buf_done(&raw);
	}
	if (!cli_given(args, "json"))
		tell_limits(answer);
	return json_array_size(list) > 0;
}

static int ask(const struct cli_args *args, enum control_verb verb, json_t *body)
{
	json_t *answer = NULL;
	int64_t timeout_ms;
	long http = 0;
	int code;

	if (cli_duration_ms(args, "timeout", 0, &timeout_ms) < 0) {
		json_decref(body);
		return CLI_USAGE;
	}
	if (cli_given(args, "timeout") && timeout_ms == 0) {
		cli_complain("--timeout: 0 leaves no time for an answer; without --timeout there "
		             "is no limit");
		json_decref(body);
		return CLI_USAGE;
	}
	if (cli_given(args, "timeout"))
		(void)json_object_set_new(body, "timeout_ms", json_integer(timeout_ms));
	code = client_once(args, verb, body, cli_given(args, "timeout") ? timeout_ms + GRACE_MS : 0,
	                   &answer, &http);
	if (code != CLI_OK)
		return code;
	code = tell_answer(args, answer, http);
	if (tell_differences(args, answer))
		code = CLI_FAILURE;
	json_decref(answer);
	return code;
}

int cmd_wait(const struct cli_args *args)
{
	return ask(args, CONTROL_WAIT, client_jobs(args));
}

int cmd_verify(const struct cli_args *args)
{
	json_t *body = client_jobs(args);

	(void)json_object_set_new(body, "repair", json_boolean(cli_given(args, "repair")));
	(void)json_object_set_new(body, "checksum", json_boolean(cli_given(args, "checksum")));
	return ask(args, CONTROL_VERIFY, body);
}
