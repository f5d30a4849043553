#include "source/guard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <time.h>
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000u /* Linux 5.8 */
#endif
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000u /* Linux 6.8: never given to another mount */
#endif

/* Magic numbers that <linux/magic.h> leaves out or that older headers lack. */
#define MAGIC_CIFS  0xff534d42u
#define MAGIC_SMB2  0xfe534d42u
#define MAGIC_FUSE  0x65735546u
#define MAGIC_CEPH  0x00c36400u
#define MAGIC_9P    0x01021997u
#define MAGIC_XFS   0x58465342u
#define MAGIC_VFAT  0x00004d44u
#define MAGIC_EXFAT 0x2011bab0u
#define MAGIC_BTRFS 0x9123683eu

/* struct fsuuid2 and FS_IOC_GETFSUUID of <linux/fs.h>, Linux 6.9. */
struct fs_uuid {
	uint8_t len;
	uint8_t uuid[16];
};
#define IOC_GET_FS_UUID _IOR(0x15, 0, struct fs_uuid)

int guard_open(const char *path, struct guard_root *ret, struct err *err)
{
	struct statx stx;
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(err, errno, "%s cannot be opened", path);
	if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID | STATX_MNT_ID_UNIQUE, &stx) !=
	    0) {
		int rc = err_errno(err, errno, "%s cannot be examined", path);

		(void)close(fd);
		return rc;
	}
	ret->mount_id = stx.stx_mask & (STATX_MNT_ID | STATX_MNT_ID_UNIQUE) ? stx.stx_mnt_id : 0;
	ret->dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	ret->ino = stx.stx_ino;
	return fd;
}

static uint32_t kind_of(int rootfd)
{
	struct statfs sf;

	return fstatfs(rootfd, &sf) == 0 ? (uint32_t)sf.f_type : 0;
}

const char *guard_remote_kind(int rootfd)
{
	switch (kind_of(rootfd)) {
	case NFS_SUPER_MAGIC:
		return "nfs";
	case SMB_SUPER_MAGIC:
	case MAGIC_CIFS:
	case MAGIC_SMB2:
		return "cifs";
	case MAGIC_FUSE:
		return "fuse";
	case MAGIC_9P:
		return "9p";
	case MAGIC_CEPH:
		return "ceph";
	default:
		return NULL;
	}
}

/* tmpfs has a UUID, too, but a new one for each mount; overlay and network kinds have none. */
static bool kind_lasts(uint32_t kind)
{
	return kind == EXT4_SUPER_MAGIC || kind == MAGIC_XFS || kind == MAGIC_BTRFS ||
	       kind == F2FS_SUPER_MAGIC || kind == MAGIC_VFAT || kind == MAGIC_EXFAT;
}

static bool uuid_by_ioctl(int rootfd, char *ret, size_t size)
{
	struct fs_uuid u = {0};
	size_t n = 0;
	autoclose int fd = openat(rootfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, IOC_GET_FS_UUID, &u) != 0 || u.len != sizeof(u.uuid))
		return false;
	for (size_t i = 0; i < sizeof(u.uuid) && n + 4 < size; i++)
		n += (size_t)snprintf(ret + n, size - n, "%s%02x",
		                      i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u.uuid[i]);
	return true;
}

static bool uuid_by_device(dev_t dev, char *ret, size_t size)
{
	DIR *dir = opendir("/dev/disk/by-uuid");
	bool found = false;

	if (!dir)
		return false;
	for (struct dirent *e; !found && (e = readdir(dir));) {
		struct stat st;

		if (e->d_name[0] != '.' && fstatat(dirfd(dir), e->d_name, &st, 0) == 0 &&
		    S_ISBLK(st.st_mode) && st.st_rdev == dev) {
			(void)snprintf(ret, size, "%.60s", e->d_name);
			found = true;
		}
	}
	(void)closedir(dir);
	return found;
}

void guard_lasting(int rootfd, const char *path, char *ret, size_t size)
{
	struct statfs sf;
	struct stat st;
	char uuid[64];
	int fsid[2];

	(void)path;
	(void)snprintf(ret, size, "sample");
	if (fstatfs(rootfd, &sf) != 0 || fstat(rootfd, &st) != 0 ||
	    !kind_lasts((uint32_t)sf.f_type))
		return;
	memcpy(fsid, &sf.f_fsid, sizeof(fsid));
	if (!uuid_by_ioctl(rootfd, uuid, sizeof(uuid)) &&
	    !uuid_by_device(st.st_dev, uuid, sizeof(uuid))) {
		/* ext4 and btrfs derive f_fsid from the UUID; xfs from the device number. */
		if ((uint32_t)sf.f_type != EXT4_SUPER_MAGIC && (uint32_t)sf.f_type != MAGIC_BTRFS)
			return;
		(void)snprintf(uuid, sizeof(uuid), "fsid-%08x%08x", (unsigned)fsid[0],
		               (unsigned)fsid[1]);
	}
	/* All btrfs subvolume roots have inode 256; their f_fsid tells them apart. */
	if ((uint32_t)sf.f_type == MAGIC_BTRFS)
		(void)snprintf(ret, size, "uuid=%s sub=%08x%08x ino=%llu", uuid, (unsigned)fsid[0],
		               (unsigned)fsid[1], (unsigned long long)st.st_ino);
	else
		(void)snprintf(ret, size, "uuid=%s ino=%llu", uuid, (unsigned long long)st.st_ino);
}

void guard_learn(struct guard *g, int rootfd, const struct guard_root *now)
{
	g->known = *now;
	guard_lasting(rootfd, g->path, g->lasting, sizeof(g->lasting));
}

enum guard_verdict guard_compare(const struct guard *g, int rootfd, const struct guard_root *now)
{
	char lasting[sizeof(g->lasting)];
	bool same_dir = now->dev == g->known.dev && now->ino == g->known.ino;

	if (same_dir && now->mount_id == g->known.mount_id)
		return GUARD_SAME;
	guard_lasting(rootfd, g->path, lasting, sizeof(lasting));
	if (strcmp(lasting, g->lasting) != 0)
		return GUARD_FOREIGN;
	if (strcmp(lasting, "sample") != 0)
		return GUARD_REMADE;
	/* Device numbers of such file systems are given again. On the same mount it is certain that
	 * another directory was put in its place. */
	return now->mount_id == g->known.mount_id ? GUARD_FOREIGN : GUARD_UNSURE;
}

void guard_doubt(struct guard *g)
{
	g->known.mount_id = UINT64_MAX;
}

void guard_explain(const struct guard *g, const struct guard_root *now, struct buf *out)
{
	buf_printf(out,
	           "%s is not the file system that was mirrored (was dev %u:%u ino %llu, is dev "
	           "%u:%u ino %llu). Nothing is sent or deleted. It goes on by itself when the "
	           "known file system is back; if this one is right: lockstep approve 0",
	           path_show(bytes_of(g->path)), major(g->known.dev), minor(g->known.dev),
	           (unsigned long long)g->known.ino, major(now->dev), minor(now->dev),
	           (unsigned long long)now->ino);
}

/* In small steps: this is asked whenever a name has left the root, which may hold millions. */
bool guard_is_empty(int rootfd)
{
	_Alignas(8) char space[512];
	autoclose int fd = openat(rootfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long got;

	if (fd < 0)
		return false;
	while ((got = syscall(SYS_getdents64, fd, space, sizeof(space))) > 0) {
		for (long at = 0; at < got;) {
			const struct dirent *e = (const struct dirent *)(space + at);

			if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
			    strcmp(e->d_name, "lost+found") != 0)
				return false;
			at += e->d_reclen;
		}
	}
	return got == 0;
}

int64_t guard_racy_window_ns(int rootfd)
{
	struct timespec tick = {0, 4000000};
	struct utsname u;
	uint32_t kind = kind_of(rootfd);
	int major_no = 0, minor_no = 0;

	if (guard_remote_kind(rootfd) || kind == MAGIC_VFAT || kind == MAGIC_EXFAT)
		return 2000000000;
	/* Multigrain time stamps: a stamp that somebody has looked at is not given again. */
	if (uname(&u) == 0 && sscanf(u.release, "%d.%d", &major_no, &minor_no) == 2 &&
	    (major_no > 6 || (major_no == 6 && minor_no >= 13)) &&
	    (kind == EXT4_SUPER_MAGIC || kind == MAGIC_XFS || kind == MAGIC_BTRFS ||
	     kind == TMPFS_MAGIC))
		return 0;
	(void)clock_getres(CLOCK_REALTIME_COARSE, &tick);
	return 2 * (tick.tv_sec * 1000000000 + tick.tv_nsec);
}

bool guard_inodes_last(int rootfd)
{
	uint32_t kind = kind_of(rootfd);

	return kind != TMPFS_MAGIC && kind != RAMFS_MAGIC;
}

/* Mount points are written with \040 for a blank and the like. */
static size_t unescape(char *s, size_t n)
{
	size_t out = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\\' && i + 3 < n) {
			s[out++] = (char)((s[i + 1] - '0') << 6 | (s[i + 2] - '0') << 3 |
			                  (s[i + 3] - '0'));
			i += 3;
		} else {
			s[out++] = s[i];
		}
	}
	return out;
}

uint64_t guard_mounts_below(const char *path, struct buf *first)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	size_t cap = 0, root_n = strlen(path);
	char *line = NULL;
	uint64_t hash = 0;

	buf_clear(first);
	while (root_n && path[root_n - 1] == '/')
		root_n--;
	for (ssize_t n; f && (n = getline(&line, &cap, f)) > 0;) {
		char *at = line, *end;
		uint64_t h = 0xcbf29ce484222325u;
		size_t len;

		/* "36 35 98:0 /root /mount/point options..." */
		for (int field = 0; at && field < 4; field++) {
			at = strchr(at, ' ');
			at += at != NULL;
		}
		end = at ? strchr(at, ' ') : NULL;
		if (!end)
			continue;
		for (char *p = line; p < end; p++)
			h = (h ^ (unsigned char)*p) * 0x100000001b3u;
		len = unescape(at, (size_t)(end - at));
		if (len <= root_n + 1 || memcmp(at, path, root_n) != 0 || at[root_n] != '/')
			continue;
		hash += h | 1;
		if (!first->n)
			buf_add(first, at + root_n + 1, len - root_n - 1);
	}
	free(line);
	if (f)
		(void)fclose(f);
	return hash;
}
