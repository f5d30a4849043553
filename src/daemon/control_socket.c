#include "daemon/control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"

#define BACKLOG 16

/* Replaces a socket, but nothing else: a path that names a file is a mistake. */
static int remove_left_over(const char *path, struct err *err)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "%s", path_show(bytes_of(path)));
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, EEXIST, "%s is there and no socket", path_show(bytes_of(path)));
	if (unlink(path) < 0)
		return err_errno(err, errno, "removing %s", path_show(bytes_of(path)));
	return 0;
}

static int bind_at(int fd, const char *path, int dir_fd, const char *name, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int n;

	n = snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (n >= (int)sizeof(address.sun_path))
		n = snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s",
		             dir_fd, name);
	if (n >= (int)sizeof(address.sun_path))
		return err_set(err, ENAMETOOLONG, "the name of the socket %s is too long",
		               path_show(bytes_of(path)));
	/* The mode is there from the first moment, whatever the umask allows; the second call gives
	 * what the umask took. */
	if (fchmod(fd, 0660) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    fchmodat(dir_fd, name, 0660, 0) < 0 || listen(fd, BACKLOG) < 0)
		return err_errno(err, errno, "listening on %s", path_show(bytes_of(path)));
	return 0;
}

int control_listen(const char *path, int *ret_fd, struct err *err)
{
	const char *slash = strrchr(path, '/');
	autofree char *dir = NULL;
	autoclose int fd = -1, dir_fd = -1;
	int rc;

	check(slash);
	dir = mem_dup(path, (size_t)(slash - path));
	rc = fd_make_dirs(dir, 0750, err);
	if (rc == 0)
		rc = remove_left_over(path, err);
	if (rc < 0)
		return rc;
	dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return err_errno(err, errno, "%s", path_show(bytes_of(dir)));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(err, errno, "socket");
	rc = bind_at(fd, path, dir_fd, slash + 1, err);
	if (rc < 0)
		return rc;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

bool control_may_talk(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	gid_t groups[256];

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return false;
	if (peer.uid == 0 || peer.uid == geteuid() || peer.gid == getegid())
		return true;
	size = sizeof(groups);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(groups[0]); i++) {
		if (groups[i] == getegid())
			return true;
	}
	return false;
}
