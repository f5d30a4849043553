#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
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

static int check_for_monitoring(const struct cli_args *args)
{
	struct show_limits limits;
	struct client *client = NULL;
	struct err err = {0};
	json_t *status = NULL;
	struct buf out;
	long http = 0;
	int code;

	if (cli_duration_ms(args, "lag-warn", LAG_WARN_MS, &limits.warn_ms) < 0 ||
	    cli_duration_ms(args, "lag-crit", LAG_CRIT_MS, &limits.critical_ms) < 0)
		return NAGIOS_UNKNOWN;
	code = client_open(&client, args);
	if (code == CLI_OK)
		code = client_ask(client, CONTROL_STATUS, NULL, ANSWER_MS, &status, &http, &err);
	client_close(client);
	if (code != CLI_OK || http != 200) {
		bool down = code == CLI_NO_DAEMON || code == CLI_TIMEOUT;

		printf("LOCKSTEP %s - %s\n", down ? "CRITICAL" : "UNKNOWN",
		       err.text[0] ? err.text : "no daemon can be reached");
		json_decref(status);
		return down ? NAGIOS_CRITICAL : NAGIOS_UNKNOWN;
	}
	buf_init(&out, 1 << 20);
	code = show_check(&out, status, limits);
	json_decref(status);
	return flush(&out, code);
}

static int unknown_job(struct buf *out)
{
	buf_done(out);
	cli_complain("there is no job of that name; \"lockstep status\" lists them");
	return CLI_USAGE;
}

static int watch(const struct cli_args *args, struct client *client)
{
	bool terminal = isatty(STDOUT_FILENO);
	json_t *previous = NULL, *status = NULL;
	struct err err = {0};
	int64_t before_ns = 0;
	int code;

	for (;;) {
		int64_t now_ns;
		struct buf out;
		long http;

		code = client_ask(client, CONTROL_STATUS, NULL, ANSWER_MS, &status, &http, &err);
		if (code != CLI_OK)
			break;
		now_ns = clock_boot_ns();
		buf_init(&out, 1 << 20);
		if (terminal) /* home, draw, clear what is left of the last picture */
			buf_add_bytes(&out, BYTES("\033[H\033[2J"));
		if (!show_status(&out, status, previous, (double)(now_ns - before_ns) / 1e9,
		                 args->words, args->word_count)) {
			json_decref(status);
			json_decref(previous);
			return unknown_job(&out);
		}
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

int cmd_status(const struct cli_args *args)
{
	json_t *status = NULL;
	struct buf out;
	int code;

	if (cli_given(args, "check"))
		return check_for_monitoring(args);
	if (cli_given(args, "watch")) {
		struct client *client;

		code = client_open(&client, args);
		if (code == CLI_OK) {
			code = watch(args, client);
			client_close(client);
		}
		return code;
	}
	code = client_once(args, CONTROL_STATUS, NULL, ANSWER_MS, &status, NULL);
	if (code != CLI_OK || cli_given(args, "json")) {
		json_decref(status);
		return code;
	}
	buf_init(&out, 1 << 20);
	if (!show_status(&out, status, NULL, 0, args->words, args->word_count))
		code = unknown_job(&out);
	json_decref(status);
	return code == CLI_OK ? flush(&out, code) : code;
}
