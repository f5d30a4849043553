/*
 * fileattr: the extended attributes and ACLs of one file at the source.
 *
 * Read through a descriptor (O_PATH is enough), so that it is those of the very file that was
 * opened without following links (I5). What nobody can read, or the kernel will not let us, is left
 * out and told in words; the file goes all the same.
 */
#ifndef WORKER_FILEATTR_H
#define WORKER_FILEATTR_H

#include <sys/types.h>
#include "rsync/session.h"

/* Of one file; what is beyond is left out. */
#define FILEATTR_BYTES_MAX (8u << 20)

struct fileattr {
	struct fileattr *next; /* the user's */
	struct session_xattr *xattrs;
	size_t xattrs_n;
	struct session_acl acl, default_acl;
	bool has_acl, has_default;
	size_t bytes;  /* that all this takes */
	char *trouble; /* what is left out, and why; NULL: nothing */
	int error;     /* errno of what may work another time; 0: none. Without what it concerns
	                * nothing should be sent: the target would remove what it has of that */
	struct buf data;
};

/* Memory to read into, for as many files as are to be read. */
struct fileattr_reader;
struct fileattr_reader *fileattr_reader_new(void);
void fileattr_reader_free(struct fileattr_reader *r);

/* `mode` says what fd is. All attributes but those of the kernel itself (system.*) and the notes of
 * a receiver that plays superuser (user.rsync.%*), as rsync has it. */
struct fileattr *fileattr_read(struct fileattr_reader *r, int fd, mode_t mode, bool xattrs,
                               bool acls);
void fileattr_free(struct fileattr *a);
/* The value of system.posix_acl_access or _default (linux/posix_acl_xattr.h): 0, or -EINVAL. Names
 * are owned by the caller. */
int fileattr_parse_acl(struct bytes value, struct session_acl *ret);

#endif
