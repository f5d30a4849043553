#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "cli/client.h"
#include "cli/show.h"

#define REDRAW_MS   1000
#define ANSWER_MS   10000
#define LAG_WARN_MS (30 * 1000)
#define LAG_CRIT_MS (300 * 1000)

/* Exit codes of monitoring plug-ins. */
enum nagios { NAGIOS_OK, NAGIOS_WARNING, NAGIOS_CRITICAL, NAGIOS_UNKNOWN };

static int flush(struct buf *out, int code)
{
	bool ok = fwrite(out->p ? out->p : "", 1, out->n, stdout) == out->n && fflush(stdout) == 0;

	buf_done(out);
	return ok ? code : CLI_FAILURE;
}

/* The status of the jobs that were named, or of all. */
static int ask(struct client *client, const struct cli_args *args, json_t **ret, struct err *err)
{
	const char *unknown = NULL;
	long http = 0;
	int code = client_ask(client, CONTROL_STATUS, NULL, ANSWER_MS, ret, &http, err);

	if (code == CLI_OK && http != 200) {
		const char *why = json_string_value(json_object_get(*ret, "error"));

		(void)err_set(err, EPROTO, "%s", why ? why : "the daemon refuses");
		json_decref(TAKE(*ret));
		return CLI_FAILURE;
	}
	if (code == CLI_OK)
		unknown = show_select(*ret, args->words, args->word_count);
	if (!unknown)
		return code;
	json_decref(TAKE(*ret));
	(void)err_set(err, ENOENT, "no job is named %s; see: lockstep status",
	              path_show(bytes_of(unknown)));
	return CLI_USAGE;
}

static int check_for_monitoring(const struct cli_args *args)
{
	struct show_limits limits;
	struct client *client = NULL;
	struct err err = {0};
	json_t *status = NULL;
	struct buf out;
	int code;

	if (cli_duration_ms(args, "lag-warn", LAG_WARN_MS, &limits.warn_ms) < 0 ||
	    cli_duration_ms(args, "lag-crit", LAG_CRIT_MS, &limits.critical_ms) < 0)
		return NAGIOS_UNKNOWN;
	code = client_open(&client, args);
	if (code == CLI_OK)
		code = ask(client, args, &status, &err);
	client_close(client);
	if (code != CLI_OK) {
		bool down = code == CLI_NO_DAEMON || code == CLI_TIMEOUT;

		printf("LOCKSTEP %s - %s\n", down ? "CRITICAL" : "UNKNOWN",
		       err.text[0] ? err.text : "no daemon can be reached");
		return down ? NAGIOS_CRITICAL : NAGIOS_UNKNOWN;
	}
	buf_init(&out, 1 << 20);
	code = show_check(&out, status, limits);
	json_decref(status);
	return flush(&out, code);
}

static void print_json(json_t *status)
{
	(void)json_dumpf(status, stdout, JSON_INDENT(2));
	(void)putchar('\n');
}

static int watch(const struct cli_args *args, struct client *client)
{
	bool terminal = isatty(STDOUT_FILENO);
	json_t *previous = NULL, *status = NULL;
	struct err err = {0};
	int64_t before_ns = 0;
	int code;

	while ((code = ask(client, args, &status, &err)) == CLI_OK) {
		int64_t now_ns = clock_boot_ns();
		struct buf out;

		buf_init(&out, 1 << 20);
		if (terminal) /* home, draw, clear what is left of the last picture */
			buf_add_bytes(&out, BYTES("\033[H\033[2J"));
		show_status(&out, status, previous, (double)(now_ns - before_ns) / 1e9);
		json_decref(previous);
		previous = TAKE(status);
		before_ns = now_ns;
		if (flush(&out, CLI_OK) != CLI_OK)
			break;
		(void)poll(NULL, 0, REDRAW_MS);
	}
	json_decref(previous);
	if (code != CLI_OK)
		cli_complain("%s", err.text);
	return code;
}

static int once(const struct cli_args *args, struct client *client)
{
	json_t *status = NULL;
	struct err err = {0};
	struct buf out;
	int code = ask(client, args, &status, &err);

	if (code != CLI_OK) {
		cli_complain("%s", err.text);
		return code;
	}
	buf_init(&out, 1 << 20);
	if (cli_given(args, "json"))
		print_json(status);
	else
		show_status(&out, status, NULL, 0);
	json_decref(status);
	return flush(&out, code);
}

int cmd_status(const struct cli_args *args)
{
	struct client *client;
	int code;

	if (cli_given(args, "check"))
		return check_for_monitoring(args);
	code = client_open(&client, args);
	if (code != CLI_OK)
		return code;
	code = cli_given(args, "watch") ? watch(args, client) : once(args, client);
	client_close(client);
	return code;
}
