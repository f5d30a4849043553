#include "daemon/config_place.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"

#define DEPTH_MAX 2048

/* The deepest existing directory of `path`, which is cut to it. */
static int open_existing(char *path)
{
	for (;;) {
		int fd = open(path[0] ? path : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		char *slash;

		if (fd >= 0 || !path[0])
			return fd;
		slash = strrchr(path, '/');
		if (!slash)
			return -1;
		*slash = '\0';
	}
}

void place_init(struct place *p, const char *path)
{
	autofree char *existing = mem_strdup(path);
	autoclose int fd = open_existing(existing);
	struct stat st;

	*p = (struct place){0};
	p->rest = mem_strdup(path + strlen(existing));
	while (fd >= 0 && p->count < DEPTH_MAX && fstat(fd, &st) == 0) {
		int up;

		if (p->count > 0 && p->ids[p->count - 1].dev == st.st_dev &&
		    p->ids[p->count - 1].ino == st.st_ino)
			break; /* ".." of the root is the root */
		p->ids = mem_realloc(p->ids, p->count + 1, sizeof(p->ids[0]));
		p->ids[p->count++] = (struct place_id){st.st_dev, st.st_ino};
		up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		(void)close(fd); /* O_PATH: nothing was written */
		fd = up;
	}
}

void place_done(struct place *p)
{
	free(p->ids);
	free(p->rest);
	*p = (struct place){0};
}

static bool same_id(struct place_id a, struct place_id b)
{
	return a.dev == b.dev && a.ino == b.ino;
}

bool place_contains(const struct place *outer, const struct place *inner)
{
	size_t n = strlen(outer->rest);

	if (outer->count == 0 || inner->count == 0)
		return false;
	if (n > 0)
		return same_id(outer->ids[0], inner->ids[0]) &&
		       strncmp(inner->rest, outer->rest, n) == 0 &&
		       (inner->rest[n] == '\0' || inner->rest[n] == '/');
	for (size_t i = 0; i < inner->count; i++) {
		if (same_id(outer->ids[0], inner->ids[i]))
			return true;
	}
	return false;
}
