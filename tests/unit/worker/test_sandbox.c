#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/sandbox.h"

/* In the child: 0, or the number of the first expectation that does not hold; 77: no Landlock. */
static int confined(int dir_fd)
{
	bool landlock = sandbox_enter();
	int fd;

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 1;
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return 2;
	fd = openat(dir_fd, "src/a", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 3;
	if (!landlock)
		return 77;
	if (openat(dir_fd, "src/a", O_WRONLY | O_CLOEXEC) >= 0 || errno != EACCES)
		return 4;
	if (openat(dir_fd, "src/new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0 || errno != EACCES)
		return 5;
	if (unlinkat(dir_fd, "src/a", 0) == 0 || errno != EACCES)
		return 6;
	if (mkdirat(dir_fd, "src/d", 0700) == 0 || errno != EACCES)
		return 7;
	(void)execl("/bin/true", "true", (char *)NULL);
	return errno == EACCES ? 0 : 8;
}

static void sandbox_leaves_reading_only(void **state)
{
	struct rig *r = *state;
	int status = -1;
	pid_t child;

	rig_write(r, "src/a", "x", 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(confined(r->dir_fd));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(sandbox_leaves_reading_only, rig_make, rig_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
