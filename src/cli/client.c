#include "cli/client.h"

#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "daemon/config.h"
#include "daemon/config_state.h"

#define ANSWER_MAX (64u << 20)

/* A job that does not exist; a configuration that cannot be taken. */
#define HTTP_UNKNOWN 404
#define HTTP_MISTAKE 422

struct client {
	CURL *curl;
	char *path;       /* for people */
	char *short_path; /* for connect(2): sun_path is small */
	int dir_fd;
	struct buf answer;
};

static int socket_of_config(const char *file, const struct cli_args *args, char **ret)
{
	struct config_request request = {.file = file, .name = args->name};
	struct config *config;
	struct err err = {0};

	if (config_load(&config, &request, &err) < 0) {
		cli_complain("%s", err.text);
		return CLI_USAGE;
	}
	*ret = mem_strdup(config->socket_path);
	config_free(config);
	return CLI_OK;
}

/* Is somebody there? */
static bool answers(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || snprintf(address.sun_path, sizeof(address.sun_path), "%s", path) >=
	                      (int)sizeof(address.sun_path))
		return false;
	return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

/* The only instance that runs. */
static int find_only(char **ret)
{
	autofree char *dir = NULL;
	struct buf names;
	struct err err = {0};
	struct dirent *e;
	size_t found = 0;
	DIR *d;

	if (state_socket_dir(&dir, &err) < 0) {
		cli_complain("%s", err.text);
		return CLI_NO_DAEMON;
	}
	buf_init(&names, 4096);
	d = opendir(dir);
	while (d && (e = readdir(d))) {
		size_t n = strlen(e->d_name);
		autofree char *path = NULL;

		if (n <= 5 || strcmp(e->d_name + n - 5, ".sock") != 0)
			continue;
		path = mem_printf("%s/%s", dir, e->d_name);
		if (!answers(path))
			continue;
		buf_printf(&names, "%s%.*s", found ? ", " : "", (int)n - 5, e->d_name);
		if (found++ == 0)
			*ret = TAKE(path);
	}
	if (d)
		(void)closedir(d);
	if (found > 1) {
		cli_complain("several instances run: %.*s; choose one by --name", (int)names.n,
		             names.p);
		free(TAKE(*ret));
	} else if (found == 0) {
		cli_complain(
		        "no daemon runs here (looked in %s); start one by \"lockstep run\", or say "
		        "where it is by --state, --name or -c",
		        dir);
	}
	buf_done(&names);
	return found == 1 ? CLI_OK : found ? CLI_USAGE : CLI_NO_DAEMON;
}

static int find_socket(const struct cli_args *args, char **ret)
{
	autofree char *dir = NULL, *state = NULL, *here = NULL;
	struct err err = {0};

	if (!args->state && args->config)
		return socket_of_config(args->config, args, ret);
	if (!args->state && !args->name)
		return find_only(ret);
	if (args->state && args->state[0] != '/') {
		here = getcwd(NULL, 0);
		state = mem_printf("%s/%s", here ? here : "", args->state);
	}
	if (state_paths(args->name ? args->name : "main", state ? state : args->state, &dir, ret,
	                &err) < 0) {
		cli_complain("%s", err.text);
		return CLI_USAGE;
	}
	return CLI_OK;
}

static size_t on_data(char *p, size_t size, size_t n, void *arg)
{
	struct client *c = arg;

	buf_add(&c->answer, p, size * n);
	return c->answer.overflowed ? 0 : size * n;
}

int client_open(struct client **ret, const struct cli_args *args)
{
	char *path = NULL, *slash;
	struct client *c;
	int code = find_socket(args, &path);

	if (code != CLI_OK)
		return code;
	c = mem_alloc(sizeof(*c));
	c->path = path;
	c->dir_fd = -1;
	buf_init(&c->answer, ANSWER_MAX);
	slash = strrchr(path, '/');
	if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		*slash = '\0';
		c->dir_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		*slash = '/';
		c->short_path = mem_printf("/proc/self/fd/%d/%s", c->dir_fd, slash + 1);
	} else {
		c->short_path = mem_strdup(path);
	}
	(void)curl_global_init(CURL_GLOBAL_NOTHING);
	c->curl = curl_easy_init();
	check(c->curl);
	*ret = c;
	return CLI_OK;
}

void client_close(struct client *c)
{
	if (!c)
		return;
	curl_easy_cleanup(c->curl);
	curl_global_cleanup();
	buf_done(&c->answer);
	mem_closep(&c->dir_fd);
	free(c->path);
	free(c->short_path);
	free(c);
}

static int explain(const struct client *c, CURLcode rc, struct err *err)
{
	if (rc == CURLE_OPERATION_TIMEDOUT) {
		(void)err_set(err, ETIMEDOUT, "the daemon did not answer in time");
		return CLI_TIMEOUT;
	}
	if (rc == CURLE_COULDNT_CONNECT) {
		(void)err_set(err, ECONNREFUSED, "no daemon can be reached at %s",
		              path_show(bytes_of(c->path)));
		return CLI_NO_DAEMON;
	}
	if (rc == CURLE_GOT_NOTHING || rc == CURLE_RECV_ERROR || rc == CURLE_SEND_ERROR) {
		(void)err_set(err, ECONNRESET,
		              "the daemon at %s hung up: it ended, is busy with too many clients, "
		              "or does "
		              "not trust this user",
		              path_show(bytes_of(c->path)));
		return CLI_NO_DAEMON;
	}
	(void)err_set(err, EIO, "%s", curl_easy_strerror(rc));
	return CLI_FAILURE;
}

int client_ask(struct client *c, enum control_verb verb, json_t *body, int64_t timeout_ms,
               json_t **ret, long *ret_code, struct err *err)
{
	autofree char *url = mem_printf("http://lockstep%s", control_verb_path(verb));
	autofree char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_error_t where;
	CURLcode rc;

	json_decref(body);
	buf_clear(&c->answer);
	curl_easy_reset(c->curl);
	(void)curl_easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, c->short_path);
	(void)curl_easy_setopt(c->curl, CURLOPT_URL, url);
	(void)curl_easy_setopt(c->curl, CURLOPT_NOPROXY, "*");
	(void)curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_data);
	(void)curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, c);
	(void)curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
	if (timeout_ms > 0 && timeout_ms < INT32_MAX)
		(void)curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	if (control_verb_is_post(verb))
		(void)curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, text ? text : "");
	rc = curl_easy_perform(c->curl);
	if (rc != CURLE_OK)
		return explain(c, rc, err);
	(void)curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, ret_code);
	*ret = json_loadb(c->answer.p ? c->answer.p : "", c->answer.n, 0, &where);
	if (!*ret) {
		(void)err_set(err, EPROTO, "the answer is no JSON: %s",
		              path_show(bytes_of(where.text)));
		return CLI_FAILURE;
	}
	return CLI_OK;
}

int client_once(const struct cli_args *args, enum control_verb verb, json_t *body,
                int64_t timeout_ms, json_t **ret, long *ret_code)
{
	struct client *c = NULL;
	struct err err = {0};
	json_t *answer = NULL;
	long http = 0;
	int code = client_open(&c, args);

	if (code != CLI_OK) {
		json_decref(body);
		return code;
	}
	code = client_ask(c, verb, body, timeout_ms, &answer, &http, &err);
	client_close(c);
	if (code != CLI_OK) {
		cli_complain("%s", err.text);
		return code;
	}
	if (cli_given(args, "json")) {
		(void)json_dumpf(answer, stdout, JSON_INDENT(2));
		(void)putchar('\n');
	}
	if (http != 200 && http != 504) {
		const char *text = json_string_value(json_object_get(answer, "error"));

		cli_complain("%s", text ? text : "the daemon refuses");
		code = http == HTTP_UNKNOWN || http == HTTP_MISTAKE ? CLI_USAGE : CLI_FAILURE;
	}
	if (ret_code)
		*ret_code = http;
	if (ret && code == CLI_OK)
		*ret = answer;
	else
		json_decref(answer);
	return code;
}

json_t *client_jobs(const struct cli_args *args)
{
	json_t *jobs = json_array();

	for (size_t i = 0; i < args->word_count; i++) {
		/* A name that is no UTF-8 is no name of a job; the daemon says so. */
		if (json_array_append_new(jobs, json_string(args->words[i])) < 0)
			(void)json_array_append_new(jobs, json_string("?"));
	}
	return json_pack("{s:o}", "jobs", jobs);
}
