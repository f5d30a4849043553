/*
 * Verbs that ask one thing and tell the answer.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "cli/client.h"
#include "cli/show.h"

#define ANSWER_MS 10000
#define END_MS    10000 /* a daemon ends within 5 s */

static int list(const struct cli_args *args, enum control_verb verb,
                void (*show)(struct buf *out, json_t *answer))
{
	json_t *answer = NULL;
	struct buf out;
	int code = client_once(args, verb, NULL, ANSWER_MS, &answer, NULL);

	if (code == CLI_OK && !cli_given(args, "json")) {
		buf_init(&out, 16 << 20);
		show(&out, answer);
		if (fwrite(out.p, 1, out.n, stdout) != out.n || fflush(stdout) != 0)
			code = CLI_FAILURE;
		buf_done(&out);
	}
	json_decref(answer);
	return code;
}

int cmd_held(const struct cli_args *args)
{
	return list(args, CONTROL_HELD, show_held);
}

int cmd_failed(const struct cli_args *args)
{
	return list(args, CONTROL_FAILED, show_failed);
}

int cmd_approve(const struct cli_args *args)
{
	const char *digits = args->words[0];
	size_t n = strspn(digits, "0123456789");
	json_int_t id = 0;
	json_t *body;

	if (n == 0 || n > 9 || digits[n]) {
		cli_complain("\"%s\" is no number; \"lockstep held\" lists them",
		             path_show(bytes_of(digits)));
		return CLI_USAGE;
	}
	for (size_t i = 0; i < n; i++)
		id = id * 10 + (digits[i] - '0');
	body = json_pack("{s:I}", "id", id);
	if (args->word_count > 1)
		(void)json_object_set_new(body, "job", json_string(args->words[1]));
	return client_once(args, CONTROL_APPROVE, body, ANSWER_MS, NULL, NULL);
}

int cmd_pause(const struct cli_args *args)
{
	return client_once(args, CONTROL_PAUSE, client_jobs(args), ANSWER_MS, NULL, NULL);
}

int cmd_resume(const struct cli_args *args)
{
	return client_once(args, CONTROL_RESUME, client_jobs(args), ANSWER_MS, NULL, NULL);
}

int cmd_retry(const struct cli_args *args)
{
	return client_once(args, CONTROL_KICK, client_jobs(args), ANSWER_MS, NULL, NULL);
}

int cmd_reload(const struct cli_args *args)
{
	json_t *answer = NULL;
	int code = client_once(args, CONTROL_RELOAD, NULL, ANSWER_MS, &answer, NULL);
	const char *text = json_string_value(json_object_get(answer, "text"));

	if (text && !cli_given(args, "json"))
		(void)puts(text);
	json_decref(answer);
	return code;
}

static int wait_for_end(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	if (poll(&p, 1, END_MS) == 1)
		return CLI_OK;
	cli_complain("the daemon was told to stop, but has not ended yet");
	return CLI_TIMEOUT;
}

int cmd_stop(const struct cli_args *args)
{
	struct client *client;
	json_t *answer = NULL;
	struct err err = {0};
	autoclose int pidfd = -1;
	long http = 0;
	int code = client_open(&client, args);

	if (code != CLI_OK)
		return code;
	code = client_ask(client, CONTROL_STATUS, NULL, ANSWER_MS, &answer, &http, &err);
	if (code == CLI_OK) {
		pid_t pid = (pid_t)json_integer_value(json_object_get(answer, "pid"));

		/* Kernels before 5.3 lack it: then nobody waits for the end. */
		if (pid > 0)
			pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		json_decref(answer);
		answer = NULL;
		code = client_ask(client, CONTROL_STOP, NULL, ANSWER_MS, &answer, &http, &err);
	}
	client_close(client);
	json_decref(answer);
	if (code != CLI_OK) {
		cli_complain("%s", err.text);
		return code;
	}
	if (http != 200) {
		cli_complain("the daemon refuses to stop");
		return CLI_FAILURE;
	}
	return pidfd >= 0 ? wait_for_end(pidfd) : CLI_OK;
}
