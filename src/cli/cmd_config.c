#include "cli/cmd_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"

static void tell(const char *text, void *arg)
{
	bool *told = arg;

	*told = true;
	cli_complain("%s", text);
}

/* A path as typed, from "/" on: only the process that was started in this directory knows it. */
static char *absolute(const char *path)
{
	autofree char *here = NULL;

	if (!path || path[0] == '/')
		return mem_strdup(path);
	here = getcwd(NULL, 0);
	return mem_printf("%s/%s", here ? here : "", path);
}

static int check_usage(const struct cli_args *args)
{
	if (args->word_count > 0 && args->config) {
		cli_complain("give either SRC TARGET... or -c FILE, not both");
		return CLI_USAGE;
	}
	if (args->word_count == 1) {
		cli_complain("where to? lockstep %s %s TARGET...", args->verb->name,
		             path_show(bytes_of(args->words[0])));
		return CLI_USAGE;
	}
	return CLI_OK;
}

int cmd_load_config(struct config **ret, const struct cli_args *args)
{
	autofree char *state = absolute(args->state);
	const char *sets[CLI_GIVEN_MAX];
	struct config_request request = {
	        .name = args->name,
	        .state = state,
	        .sets = sets,
	        .problem = tell,
	};
	struct err err = {0};
	bool told = false;
	int rc;

	request.problem_arg = &told;
	if (check_usage(args) != CLI_OK)
		return CLI_USAGE;
	for (size_t i = 0; i < args->given_count; i++) {
		if (strcmp(args->given[i].flag->name, "set") == 0)
			sets[request.set_count++] = args->given[i].value;
	}
	autofree char *file = args->word_count ? NULL : absolute(args->config);

	if (args->word_count > 0) {
		request.root = args->words[0];
		request.targets = args->words + 1;
		request.target_count = args->word_count - 1;
	} else {
		request.file = file ? file : CLI_CONFIG_DEFAULT;
	}
	rc = config_load(ret, &request, &err);
	if (rc == 0)
		return CLI_OK;
	if (rc == -ENOENT && !args->config && args->word_count == 0)
		cli_complain(
		        "there is no %s; say what to mirror: lockstep %s SRC TARGET..., or -c FILE",
		        CLI_CONFIG_DEFAULT, args->verb->name);
	else if (!told)
		cli_complain("%s", err.text);
	return CLI_USAGE;
}
