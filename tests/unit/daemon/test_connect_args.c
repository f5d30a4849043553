/* The command lines for ssh: what shares a connection, what makes one, and when neither does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "daemon/connect_args.h"
#include "daemon/tether.h"

#define S INT64_C(1000000000)

static char *ssh_words[] = {(char *)"ssh"}, *rsync_words[] = {(char *)"rsync"};
static struct config_job job;
static struct session_options options;

static int set_up(void **state)
{
	(void)state;
	job = (struct config_job){
	        .name = (char *)"main.1",
	        .target = {.kind = TARGET_SSH,
	                   .user = (char *)"me",
	                   .host = (char *)"b1",
	                   .path = (char *)"/srv/x"},
	        .options = {.timeout_ns = 30 * S,
	                    .connect_timeout_ns = 5 * S,
	                    .ssh_port = 2222,
	                    .ssh_key = (char *)"/k",
	                    .ssh_share = true,
	                    .ssh_command = {ssh_words, 1},
	                    .rsync_path = {rsync_words, 1}},
	};
	options = (struct session_options){.timeout_s = 30, .protocol_max = 32};
	return 0;
}

/* Its words with blanks between them. */
static char *line_of(struct words w)
{
	struct buf b;
	char *line;

	buf_init(&b, 1u << 16);
	for (size_t i = 0; i < w.count; i++)
		buf_printf(&b, "%s%s", i ? " " : "", w.items[i]);
	line = mem_dup(b.p, b.n);
	buf_done(&b);
	words_done(&w);
	return line;
}

static void begins(char *line, const char *start)
{
	line[strnlen(line, strlen(start))] = '\0';
	assert_string_equal(line, start);
	free(line);
}

#define LOGIN "-oConnectTimeout=5 -p2222 -i /k -oIdentitiesOnly=yes -lme -- b1"

static void session_without_control_leaves_ssh_alone(void **state)
{
	(void)state;
	begins(line_of(connect_args(&job, SESSION_QUICK, &options, NULL)),
	       "ssh -oBatchMode=yes " LOGIN " rsync --server ");
}

static void session_is_never_the_owner_of_a_shared_connection(void **state)
{
	(void)state;
	begins(line_of(connect_args(&job, SESSION_QUICK, &options, CONNECT_CONTROL_NONE)),
	       "ssh -oBatchMode=yes -oControlMaster=no -oControlPath=none " LOGIN
	       " rsync --server ");
	begins(line_of(connect_args(&job, SESSION_DELETE, &options, "\"/s/ssh\"")),
	       "ssh -oBatchMode=yes -oControlMaster=no -oControlPath=\"/s/ssh\" " LOGIN
	       " rsync --server ");
}

static void local_target_has_no_words_for_ssh(void **state)
{
	(void)state;
	job.target.kind = TARGET_LOCAL;
	begins(line_of(connect_args(&job, SESSION_QUICK, &options, NULL)), "rsync --server ");
	assert_false(connect_may_share(&job));
}

/* Its own come first, as ssh takes the first of two: a keepalive of the user's may be off. */
static void master_forwards_no_ports_and_ends_with_line_and_daemon(void **state)
{
	static char *more[] = {(char *)"ServerAliveInterval=0", (char *)"Compression=yes"};
	char *line;

	(void)state;
	job.options.ssh_option = (struct config_list){more, 2};
	line = line_of(connect_master_args(&job, "\"/s/ssh\"", 4711));
	assert_string_equal(
	        line, "/proc/self/exe " TETHER_ARGUMENT " 4711 ssh -oBatchMode=yes -N "
	              "-oControlMaster=yes -oControlPath=\"/s/ssh\" -oControlPersist=no "
	              "-oServerAliveInterval=7 -oServerAliveCountMax=3 -oClearAllForwardings=yes "
	              "-oServerAliveInterval=0 -oCompression=yes " LOGIN);
	free(line);
}

static void shortest_timeout_still_asks_each_second(void **state)
{
	char *line;

	(void)state;
	job.options.timeout_ns = 5 * S;
	line = line_of(connect_master_args(&job, "\"/s/ssh\"", 1));
	assert_non_null(strstr(line, " -oServerAliveInterval=1 -oServerAliveCountMax=3 "));
	free(line);
}

static void words_about_control_turn_sharing_off(void **state)
{
	static const char *const options_off[] = {"ControlMaster=auto", "controlpath none",
	                                          "CONTROLPERSIST=1"};
	static const char *const commands_off[] = {"-S", "-S/tmp/x", "-M", "-oControlPath=none",
	                                           "controlmaster=no"};
	char *items[] = {(char *)"ssh", NULL};

	(void)state;
	assert_true(connect_may_share(&job));
	for (size_t i = 0; i < ARRAY_LEN(options_off); i++) {
		items[1] = (char *)options_off[i];
		job.options.ssh_option = (struct config_list){items + 1, 1};
		assert_false(connect_may_share(&job));
	}
	items[1] = (char *)"Compression=yes";
	assert_true(connect_may_share(&job));
	for (size_t i = 0; i < ARRAY_LEN(commands_off); i++) {
		items[1] = (char *)commands_off[i];
		job.options.ssh_option.count = 0;
		job.options.ssh_command = (struct config_list){items, 2};
		assert_false(connect_may_share(&job));
	}
	items[1] = (char *)"-4";
	assert_true(connect_may_share(&job));
	job.options.ssh_share = false;
	assert_false(connect_may_share(&job));
}

static void control_is_quoted_for_ssh(void **state)
{
	const char *why = NULL;
	char *control = connect_control("/var/a b/100%/%h#/ssh", &why);

	(void)state;
	assert_string_equal(control, "\"/var/a b/100%%/%%h#/ssh\"");
	free(control);
	assert_null(why);
}

static void control_that_ssh_cannot_read_is_none(void **state)
{
	static const char *const bad[] = {"/a\"b", "/a\\b", "/${HOME}/x", "/a\nb"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const char *why = NULL;

		assert_null(connect_control(bad[i], &why));
		assert_non_null(why);
	}
}

/* 107 bytes fit into an address, 17 of them are what ssh adds at first. */
static void control_that_is_too_long_for_a_socket_is_none(void **state)
{
	char path[92];
	const char *why = NULL;
	char *control;

	(void)state;
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[90] = '\0';
	control = connect_control(path, &why);
	assert_non_null(control);
	free(control);
	path[90] = 'a';
	path[91] = '\0';
	assert_null(connect_control(path, &why));
	assert_non_null(strstr(why, "too long"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup(session_without_control_leaves_ssh_alone, set_up),
	        cmocka_unit_test_setup(session_is_never_the_owner_of_a_shared_connection, set_up),
	        cmocka_unit_test_setup(local_target_has_no_words_for_ssh, set_up),
	        cmocka_unit_test_setup(master_forwards_no_ports_and_ends_with_line_and_daemon,
	                               set_up),
	        cmocka_unit_test_setup(shortest_timeout_still_asks_each_second, set_up),
	        cmocka_unit_test_setup(words_about_control_turn_sharing_off, set_up),
	        cmocka_unit_test_setup(control_is_quoted_for_ssh, set_up),
	        cmocka_unit_test_setup(control_that_ssh_cannot_read_is_none, set_up),
	        cmocka_unit_test_setup(control_that_is_too_long_for_a_socket_is_none, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
