#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "worker/sandbox.h"
#include "worker/seccomp.h"

#define LACKING 77 /* exit status: the kernel does not have the part */

static void assert_child(int (*run)(struct rig *), struct rig *r)
{
	int status = -1;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0)
		_exit(run(r));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == LACKING)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* In the child: 0, or the number of the first expectation that does not hold. */
static int confined(struct rig *r)
{
	unsigned parts = sandbox_enter(false);
	int refused = parts & SANDBOX_CALLS ? EPERM : EACCES, dir_fd = r->dir_fd, fd;

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 1;
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return 2;
	fd = openat(dir_fd, "src/a", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 3;
	if (!(parts & SANDBOX_FILES))
		return LACKING;
	if (openat(dir_fd, "src/a", O_WRONLY | O_CLOEXEC) >= 0 || errno != EACCES)
		return 4;
	if (openat(dir_fd, "src/new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0 || errno != EACCES)
		return 5;
	if (unlinkat(dir_fd, "src/a", 0) == 0 || errno != refused)
		return 6;
	if (mkdirat(dir_fd, "src/d", 0700) == 0 || errno != refused)
		return 7;
	(void)execl("/bin/true", "true", (char *)NULL);
	return errno == refused ? 0 : 8;
}

static void sandbox_leaves_reading_only(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a", "x", 0);
	assert_child(confined, r);
}

static bool refused(long result)
{
	return result == -1 && errno == EPERM;
}

/* What would change nothing even if it were let through. */
static int without_calls(struct rig *r)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return 1;
	if (!(sandbox_enter(false) & SANDBOX_CALLS))
		return LACKING;
	if (!refused(execl("/nonexistent", "x", (char *)NULL)))
		return 2;
	if (!refused(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) ||
	    !refused(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) ||
	    !refused(connect(pair[0], &none, sizeof(none))) || !refused(listen(pair[0], 1)))
		return 3;
	if (!refused(fchmodat(r->dir_fd, "src/a", 0600, 0)) ||
	    !refused(fchownat(r->dir_fd, "src/a", 0, 0, 0)) ||
	    !refused(utimensat(r->dir_fd, "src/a", NULL, 0)) ||
	    !refused(renameat(r->dir_fd, "src/a", r->dir_fd, "src/a")))
		return 4;
	if (!refused(mount("none", "/nonexistent", "tmpfs", 0, NULL)) || !refused(unshare(0)) ||
	    !refused(chroot("/nonexistent")))
		return 5;
	if (!refused(kill(getppid(), 0)) || kill(getpid(), 0))
		return 6;
	if (!refused(syscall(SYS_bpf, -1, NULL, 0)) ||
	    !refused(syscall(SYS_keyctl, -1, 0, 0, 0, 0)) ||
	    !refused(syscall(SYS_perf_event_open, NULL, 0, 0, -1, 0)) ||
	    !refused(syscall(SYS_finit_module, -1, "", 0)) ||
	    !refused(syscall(SYS_open_by_handle_at, -1, NULL, 0)) ||
	    !refused(syscall(425, 0, NULL))) /* io_uring_setup */
		return 7;
	if (send(pair[0], "x", 1, MSG_NOSIGNAL) != 1)
		return 8;
	return 0;
}

static void sandbox_refuses_what_a_sender_never_calls(void **state)
{
	rig_write(*state, "src/a", "x", 0);
	assert_child(without_calls, *state);
}

/* The runtime of a sanitizer looks into its process by another one. */
#ifndef SECCOMP_SANITIZED
static int without_processes(struct rig *r)
{
	(void)r;
	if (!(sandbox_enter(true) & SANDBOX_CALLS))
		return LACKING;
	if (!refused(fork()))
		return 1;
	if (!refused(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL)))
		return 2;
	if (syscall(435, NULL, 0) != -1 || errno != ENOSYS) /* clone3 */
		return 3;
	return refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL)) ? 0 : 4;
}

static void sandbox_refuses_new_processes(void **state)
{
	assert_child(without_processes, *state);
}
#endif

static int with_names(struct rig *r)
{
	(void)r;
	if (!(sandbox_enter(true) & SANDBOX_CALLS))
		return LACKING;
	if (socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) < 0)
		return 1;
	if (!refused(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) ||
	    !refused(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0)))
		return 2;
	return 0;
}

static void sandbox_that_asks_for_names_has_unix_sockets_only(void **state)
{
	assert_child(with_names, *state);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_make, rig_drop)
	const struct CMUnitTest tests[] = {
	        TEST(sandbox_leaves_reading_only),
	        TEST(sandbox_refuses_what_a_sender_never_calls),
#ifndef SECCOMP_SANITIZED
	        TEST(sandbox_refuses_new_processes),
#endif
	        TEST(sandbox_that_asks_for_names_has_unix_sockets_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
