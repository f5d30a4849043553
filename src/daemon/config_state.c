#include "daemon/config_state.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"

static bool name_fits(const char *name)
{
	size_t n =
	        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");

	return n > 0 && n <= 64 && name[n] == '\0' && name[0] != '.' && name[0] != '-';
}

/* $name if it is an absolute path, else NULL. */
static const char *absolute_env(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] == '/' ? value : NULL;
}

/* Of a plain user. By malloc. */
static int user_state(char **ret, struct err *err)
{
	const char *state = absolute_env("XDG_STATE_HOME"), *home = absolute_env("HOME");

	if (!state && !home) {
		const struct passwd *pw = getpwuid(geteuid());

		home = pw ? pw->pw_dir : NULL;
	}
	if (!state && !home)
		return err_set(err, ENOENT, "no home directory is known: give --state DIR");
	*ret = state ? mem_printf("%s/lockstep", state)
	             : mem_printf("%s/.local/state/lockstep", home);
	return 0;
}

int state_socket_dir(char **ret, struct err *err)
{
	const char *runtime = absolute_env("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		*ret = mem_strdup("/run/lockstep");
	else if (runtime)
		*ret = mem_printf("%s/lockstep", runtime);
	else
		return user_state(ret, err);
	return 0;
}

int state_paths(const char *name, const char *state, char **ret_dir, char **ret_socket,
                struct err *err)
{
	autofree char *base = NULL, *sockets = NULL;
	int rc;

	if (!name_fits(name))
		return err_set(
		        err, EINVAL,
		        "\"%s\" is no name of an instance: letters, digits, \"_\", \".\" and \"-\"",
		        path_show(bytes_of(name)));
	if (state) {
		*ret_dir = mem_strdup(state);
		*ret_socket = mem_printf("%s/control.sock", state);
		return 0;
	}
	if (geteuid() == 0)
		base = mem_strdup("/var/lib/lockstep");
	else if ((rc = user_state(&base, err)) < 0)
		return rc;
	rc = state_socket_dir(&sockets, err);
	if (rc < 0)
		return rc;
	*ret_dir = mem_printf("%s/%s", base, name);
	*ret_socket = mem_printf("%s/%s.sock", sockets, name);
	return 0;
}

static int say_holder(int fd, const char *dir, struct err *err)
{
	char pid[24];
	ssize_t n = fd_pread_full(fd, pid, sizeof(pid), 0);
	size_t digits = 0;

	while ((ssize_t)digits < n && pid[digits] >= '0' && pid[digits] <= '9')
		digits++;
	if (digits == 0)
		return err_set(err, EBUSY, "another lockstep runs on the state %s",
		               path_show(bytes_of(dir)));
	return err_set(
	        err, EBUSY,
	        "another lockstep (pid %.*s) runs on the state %s; give this one another --name "
	        "or --state, or end that one by \"lockstep stop\"",
	        (int)digits, pid, path_show(bytes_of(dir)));
}

int state_lock(const char *dir, int *ret_fd, struct err *err)
{
	autofree char *path = mem_printf("%s/lock", dir);
	autoclose int fd = -1;
	char pid[24];
	int n, rc;

	rc = fd_make_dirs(dir, 0750, err);
	if (rc < 0)
		return err_wrap(err, "state");
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0640);
	if (fd < 0)
		return err_errno(err, errno, "%s", path_show(bytes_of(path)));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return say_holder(fd, dir, err);
		return err_errno(err, errno, "locking %s", path_show(bytes_of(path)));
	}
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	/* The lock is what counts; on a full disk the next one just cannot tell our pid. */
	if (ftruncate(fd, 0) == 0)
		(void)!pwrite(fd, pid, (size_t)n, 0);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
