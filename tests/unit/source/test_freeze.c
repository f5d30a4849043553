#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "live.h"
#include "source/guard.h"
#include "source/hotlist.h"

static bool own_mounts; /* we are in a mount namespace of our own */

static size_t deletions(const struct live *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->nmarks; i++)
		n += l->marks[i].action == MARK_DELETE;
	return n;
}

static void start_with_files_until(struct live *l, enum source_health health)
{
	live_init(l, NULL);
	make(l, "d");
	put(l, "d/a", "1");
	put(l, "b", "1");
	live_start(l);
	live_settle(l);
	live_await_health(l, health);
	live_forget(l);
}

static void start_with_files(struct live *l)
{
	start_with_files_until(l, SOURCE_LIVE);
}

static void replaced_root_freezes_and_thaws_when_it_is_back(void **state)
{
	struct live l;
	char away[128];

	(void)state;
	start_with_files(&l);
	(void)snprintf(away, sizeof(away), "%s/away", l.dir);
	assert_int_equal(rename(l.root, away), 0);
	assert_int_equal(mkdir(l.root, 0755), 0);
	put(&l, "foreign", "1");
	/* It may have been caught while there was no root at all. */
	while (!strstr(l.text, "is not the file system that was mirrored (was dev "))
		live_barrier(&l);
	assert_int_equal(l.health, SOURCE_FROZEN);
	live_barrier(&l);
	assert_int_equal(l.nmarks, 0);
	assert_int_equal(remove_tree(l.root), 0);
	assert_int_equal(rename(away, l.root), 0);
	put(&l, "new", "1");
	live_await_health(&l, SOURCE_LIVE);
	live_settle(&l);
	assert_int_equal(deletions(&l), 0);
	live_assert_equal(&l);
	put(&l, "new", "watched again");
	live_settle(&l);
	live_assert_equal(&l);
	live_stop(&l);
}

static void removed_root_freezes(void **state)
{
	struct live l;
	char away[128];

	(void)state;
	start_with_files(&l);
	(void)snprintf(away, sizeof(away), "%s/away", l.dir);
	assert_int_equal(rename(l.root, away), 0);
	live_await_health(&l, SOURCE_FROZEN);
	assert_non_null(strstr(l.text, "cannot be opened"));
	source_want_root(l.source, 1);
	live_barrier(&l);
	assert_int_equal(l.nmarks, 0);
	assert_int_equal(rename(away, l.root), 0);
	live_await_health(&l, SOURCE_LIVE);
	live_settle(&l);
	live_assert_equal(&l);
	live_stop(&l);
}

/* Until then the longest is assumed, and each change would be looked at again after that time. */
static void root_that_appears_brings_the_window_of_its_file_system(void **state)
{
	struct live l;
	char away[128];

	(void)state;
	live_init(&l, NULL);
	put(&l, "a", "1");
	(void)snprintf(away, sizeof(away), "%s/away", l.dir);
	assert_int_equal(rename(l.root, away), 0);
	live_start(&l);
	live_await_health(&l, SOURCE_FROZEN);
	assert_int_equal(rename(away, l.root), 0);
	live_await_health(&l, SOURCE_LIVE);
	autoclose int fd = open(l.root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(l.racy_window_ns, guard_racy_window_ns(fd));
	live_settle(&l);
	live_assert_equal(&l);
	live_stop(&l);
}

static void adopted_root_becomes_the_known_one(void **state)
{
	struct live l;
	char away[128];

	(void)state;
	start_with_files(&l);
	(void)snprintf(away, sizeof(away), "%s/away", l.dir);
	assert_int_equal(rename(l.root, away), 0);
	assert_int_equal(mkdir(l.root, 0755), 0);
	put(&l, "other", "1");
	live_await_health(&l, SOURCE_FROZEN);
	source_adopt(l.source);
	live_await_health(&l, SOURCE_LIVE);
	live_settle(&l);
	assert_true(deletions(&l) > 0);
	live_assert_equal(&l);
	live_stop(&l);
}

static void emptied_root_freezes_until_something_appears(void **state)
{
	struct live l;

	(void)state;
	start_with_files(&l);
	put(&l, "keep", "1");
	live_settle(&l);
	l.apply = false;
	live_forget(&l);
	assert_int_equal(remove_tree(at(&l, "d")), 0);
	drop(&l, "b");
	drop(&l, "keep");
	live_await_health(&l, SOURCE_FROZEN);
	assert_non_null(strstr(l.text, "is empty"));
	/* Looks are kept, not answered by silence. */
	struct mark m = {.path = BYTES("b"), .action = MARK_LOOK, .born = 1};
	source_look(l.source, 0, 55, &m, 1);
	live_barrier(&l);
	live_forget(&l);
	l.apply = true;
	put(&l, "again", "1");
	live_await_looked(&l, 55);
	live_settle(&l);
	assert_int_equal(l.health, SOURCE_LIVE);
	live_assert_equal(&l);
	live_stop(&l);
}

/* What was asked and is not answered when it ends is not answered afterwards: live_end() looks. */
static void looks_kept_by_a_frozen_source_end_with_it(void **state)
{
	struct live l;
	struct mark m = {.path = BYTES("b"), .action = MARK_LOOK, .born = 1};

	(void)state;
	start_with_files(&l);
	l.apply = false;
	assert_int_equal(remove_tree(at(&l, "d")), 0);
	drop(&l, "b");
	live_await_health(&l, SOURCE_FROZEN);
	source_look(l.source, 0, 55, &m, 1);
	live_barrier(&l);
	live_stop(&l);
}

static void emptied_root_is_deleted_after_approval(void **state)
{
	struct live l;

	(void)state;
	start_with_files(&l);
	l.apply = false;
	assert_int_equal(remove_tree(at(&l, "d")), 0);
	drop(&l, "b");
	live_await_health(&l, SOURCE_FROZEN);
	l.apply = true;
	source_adopt(l.source);
	live_await_health(&l, SOURCE_LIVE);
	live_settle(&l);
	live_assert_equal(&l);
	live_stop(&l);
}

static void unmounted_root_freezes_and_can_be_unmounted(void **state)
{
	struct live l;

	(void)state;
	if (!own_mounts) {
		print_message("SKIPPED: no mount namespace of our own (needs root)\n");
		skip();
	}
	live_init(&l, NULL);
	assert_int_equal(mount("t", l.root, "tmpfs", 0, "size=4m"), 0);
	for (int i = 0; i < 12; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "f%d", i);
		put(&l, name, "1");
	}
	live_start(&l);
	live_settle(&l);
	live_await_health(&l, SOURCE_LIVE);
	assert_string_equal(source_identity(l.source), "sample");
	live_forget(&l);
	/* Nothing of ours keeps it busy, once idle. */
	while (umount(l.root) != 0) {
		assert_int_equal(errno, EBUSY);
		live_barrier(&l);
	}
	live_await_health(&l, SOURCE_FROZEN);
	live_barrier(&l);
	assert_int_equal(l.nmarks, 0);
	/* Another file system does not do. */
	assert_int_equal(mount("t", l.root, "tmpfs", 0, "size=4m"), 0);
	put(&l, "foreign", "1");
	live_barrier(&l);
	assert_int_equal(l.health, SOURCE_FROZEN);
	assert_int_equal(l.nmarks, 0);
	source_adopt(l.source);
	live_await_health(&l, SOURCE_LIVE);
	live_settle(&l);
	live_assert_equal(&l);
	while (umount(l.root) != 0) {
		assert_int_equal(errno, EBUSY);
		live_barrier(&l);
	}
	live_stop(&l);
}

static void mount_below_the_root_is_left_alone(void **state)
{
	struct live l;

	(void)state;
	if (!own_mounts) {
		print_message("SKIPPED: no mount namespace of our own (needs root)\n");
		skip();
	}
	start_with_files(&l);
	assert_int_equal(mount("t", at(&l, "d"), "tmpfs", 0, "size=4m"), 0);
	put(&l, "d/inside", "1");
	while (!strstr(l.text, "Mount points below the root are left alone (d)"))
		live_barrier(&l);
	live_audit(&l);
	assert_int_equal(deletions(&l), 0);
	assert_null(live_mark(&l, "d/inside"));
	assert_int_equal(umount(at(&l, "d")), 0);
	put(&l, "d/a", "2");
	while (strstr(l.text, "Mount points below"))
		live_barrier(&l);
	live_settle(&l);
	live_assert_equal(&l);
	live_stop(&l);
}

static void directory_mounted_twice_is_mirrored_once(void **state)
{
	struct live l;

	(void)state;
	if (!own_mounts) {
		print_message("SKIPPED: no mount namespace of our own (needs root)\n");
		skip();
	}
	live_init(&l, NULL);
	l.config.cross_mounts = true;
	make(&l, "d");
	make(&l, "e");
	make(&l, "loop");
	put(&l, "d/a", "1");
	assert_int_equal(mount(at(&l, "d"), at(&l, "e"), NULL, MS_BIND, NULL), 0);
	assert_int_equal(mount(l.root, at(&l, "loop"), NULL, MS_BIND, NULL), 0);
	live_start(&l);
	live_settle(&l);
	put(&l, "d/b", "1");
	live_settle(&l);
	assert_non_null(live_mark(&l, "d/a"));
	assert_non_null(live_mark(&l, "d/b"));
	for (size_t i = 0; i < l.nmarks; i++) {
		assert_false(path_below(l.marks[i].path, BYTES("e")));
		assert_false(path_below(l.marks[i].path, BYTES("loop")));
	}
	assert_int_equal(deletions(&l), 0);
	assert_int_equal(umount(at(&l, "e")), 0);
	assert_int_equal(umount(at(&l, "loop")), 0);
	live_stop(&l);
}

/* A tmpfs has no identity that lasts, and gives a new one the same inode numbers. */
static void mount_with_files(struct live *l, time_t mtime_s)
{
	struct timespec when[2] = {{mtime_s, 0}, {mtime_s, 0}};
	char name[32];

	assert_int_equal(mount("t", l->root, "tmpfs", 0, "size=4m"), 0);
	for (int i = 0; i < 20; i++) {
		(void)snprintf(name, sizeof(name), "d%d", i % 5);
		if (i < 5)
			make(l, name);
		(void)snprintf(name, sizeof(name), "d%d/%d", i % 5, i);
		put(l, name, "1");
		assert_int_equal(utimensat(AT_FDCWD, at(l, name), when, 0), 0);
	}
}

static void stop_and_unmount(struct live *l)
{
	live_end(l);
	while (umount(l->root) != 0)
		assert_int_equal(errno, EBUSY);
	l->health = (enum source_health) - 1;
}

static void tree_of_the_same_names_is_told_from_the_known_one(void **state)
{
	struct live l;

	(void)state;
	if (!own_mounts) {
		print_message("SKIPPED: no mount namespace of our own (needs root)\n");
		skip();
	}
	live_init(&l, NULL);
	mount_with_files(&l, 1000);
	live_start(&l);
	live_settle(&l);
	stop_and_unmount(&l);
	mount_with_files(&l, 1000); /* restored */
	live_start(&l);
	live_settle(&l);
	assert_int_equal(l.health, SOURCE_LIVE);
	stop_and_unmount(&l);
	mount_with_files(&l, 2000); /* somebody else's */
	live_start(&l);
	live_await_health(&l, SOURCE_FROZEN);
	assert_non_null(strstr(l.text, "holds hardly anything of what was mirrored"));
	source_adopt(l.source);
	live_await_health(&l, SOURCE_LIVE);
	live_settle(&l);
	live_assert_equal(&l);
	stop_and_unmount(&l);
	live_start(&l);
	live_stop(&l);
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		(void)close(fd);
	return done;
}

#define LIMIT_FILE "/proc/sys/user/max_inotify_watches"

/* In a user namespace of our own, where the limit is ours. */
static void inside_watch_limit(void **state)
{
	struct live l;
	char name[32];

	(void)state;
	live_init(&l, NULL);
	for (int i = 0; i < 40; i++) {
		(void)snprintf(name, sizeof(name), "d%d", i);
		make(&l, name);
	}
	live_start(&l);
	live_settle(&l);
	live_await_health(&l, SOURCE_DEGRADED);
	live_assert_equal(&l);
	assert_non_null(
	        strstr(l.text, "inotify watch limit reached (fs.inotify.max_user_watches = "));
	assert_non_null(strstr(l.text, "21 directories are not watched). Run: sysctl -w "
	                               "fs.inotify.max_user_watches="));
	for (int i = 0; i < 40; i++) {
		(void)snprintf(name, sizeof(name), "d%d/f", i);
		put(&l, name, "x");
	}
	move(&l, "d39", "d12/moved");
	live_settle(&l);
	live_assert_equal(&l);
	assert_true(write_file(LIMIT_FILE, "1000"));
	live_audit(&l);
	live_await_health(&l, SOURCE_LIVE);
	put(&l, "d38/f", "now watched");
	live_settle(&l);
	live_assert_equal(&l);
	live_stop(&l);
}

/* Every watch is refused for another reason than a limit. */
static void inside_unwatchable(void **state)
{
	struct live l;

	(void)state;
	start_with_files_until(&l, SOURCE_DEGRADED);
	assert_non_null(strstr(l.text, "cannot be watched (Cannot allocate memory)"));
	put(&l, "d/new", "1");
	live_settle(&l);
	live_assert_equal(&l);
	live_stop(&l);
}

/* Nobody may ask who has a file open: not everything that has links or was moved is looked at from
 * time to time for that, which would leave no room for what is known to be open. */
static void inside_unleased(void **state)
{
	struct live l;
	char name[32], other[32];

	(void)state;
	live_init(&l, NULL);
	for (int i = 0; i < HOTLIST_MAX; i++) {
		(void)snprintf(name, sizeof(name), "f%d", i);
		put(&l, name, "1");
	}
	live_start(&l);
	live_settle(&l);
	int fd = open(at(&l, "mapped"), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	live_settle(&l);
	for (int i = 0; i < HOTLIST_MAX; i++) {
		(void)snprintf(name, sizeof(name), "f%d", i);
		(void)snprintf(other, sizeof(other), "g%d", i);
		assert_int_equal(link(at(&l, name), at(&l, other)), 0);
	}
	live_settle(&l);
	live_forget(&l);
	p[0] = 'x'; /* raises no event */
	live_settle(&l);
	assert_non_null(live_mark(&l, "mapped"));
	assert_int_equal(munmap(p, 4096), 0);
	assert_int_equal(close(fd), 0);
	live_settle(&l);
	live_assert_equal(&l);
	live_stop(&l);
}

static void inside_unreadable(void **state)
{
	struct live l;

	(void)state;
	start_with_files(&l);
	assert_int_equal(chmod(at(&l, "d"), 0), 0);
	live_audit(&l);
	assert_int_equal(deletions(&l), 0);
	live_barrier(&l);
	assert_non_null(strstr(l.text, "cannot be read"));
	assert_int_equal(chmod(at(&l, "d"), 0755), 0);
	put(&l, "d/new", "1");
	live_settle(&l);
	live_assert_equal(&l);
	live_stop(&l);
}

/* Without an audit: the barrier itself tries again what could not be read, and says what is left.
 */
static void inside_unread_barrier(void **state)
{
	struct live l;

	(void)state;
	live_init(&l, NULL);
	make(&l, "shut");
	make(&l, "shut/sub");
	put(&l, "shut/sub/f", "1");
	make(&l, "blind"); /* to be listed, not to be searched */
	put(&l, "blind/f", "1");
	put(&l, "open", "1");
	assert_int_equal(chmod(at(&l, "shut/sub"), 0), 0);
	assert_int_equal(chmod(at(&l, "shut"), 0), 0);
	assert_int_equal(chmod(at(&l, "blind"), 0444), 0);
	live_start(&l);
	live_settle(&l);
	assert_int_equal(l.unreadable, 2);
	live_barrier(&l);
	assert_int_equal(l.unreadable, 2);
	assert_non_null(strstr(l.text, "2 entries cannot be read ("));
	assert_non_null(strstr(l.text, ": Permission denied)"));

	assert_int_equal(chmod(at(&l, "blind"), 0755), 0);
	live_settle(&l);
	assert_int_equal(l.unreadable, 1);
	assert_non_null(strstr(l.text, "1 entries cannot be read (shut: Permission denied)"));
	move(&l, "shut", "moved");
	live_settle(&l);
	assert_int_equal(l.unreadable, 1);
	assert_non_null(strstr(l.text, "(moved: Permission denied)"));

	assert_int_equal(chmod(at(&l, "moved"), 0755), 0);
	live_settle(&l);
	assert_int_equal(l.unreadable, 1);
	assert_non_null(strstr(l.text, "(moved/sub: Permission denied)"));
	assert_int_equal(chmod(at(&l, "moved/sub"), 0755), 0);
	live_settle(&l);
	assert_int_equal(l.unreadable, 0);
	assert_int_equal(l.text[0], '\0');
	live_assert_equal(&l);
	live_stop(&l);
}

/* No event tells that an unreadable directory left the tree together with its parent. */
static void inside_unread_gone(void **state)
{
	struct live l;
	char away[128];

	(void)state;
	live_init(&l, NULL);
	make(&l, "d");
	make(&l, "d/shut");
	put(&l, "open", "1");
	assert_int_equal(chmod(at(&l, "d/shut"), 0), 0);
	live_start(&l);
	live_settle(&l);
	assert_int_equal(l.unreadable, 1);
	(void)snprintf(away, sizeof(away), "%s/away", l.dir);
	assert_int_equal(rename(at(&l, "d"), away), 0);
	live_settle(&l);
	assert_int_equal(l.unreadable, 0);
	assert_int_equal(l.text[0], '\0');
	live_assert_equal(&l);
	live_stop(&l);
}

/* Runs this program again, for one test, in a process that has prepared itself. */
static void run_inside(const char *what, bool (*prepare)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)dup2(STDERR_FILENO, STDOUT_FILENO); /* its own TAP is not ours */
		if (!prepare())
			_exit(77);
		(void)execl("/proc/self/exe", "test_freeze", what, (char *)NULL);
		_exit(78);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		/* Meson reads cmocka's own skip of one case as a failure. */
		print_message("# SKIPPED: %s cannot be set up here\n", what);
		return;
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

static bool own_limit(void)
{
	return unshare(CLONE_NEWUSER) == 0 && write_file("/proc/self/uid_map", "0 0 1") &&
	       write_file(LIMIT_FILE, "20");
}

static bool no_privileges(void)
{
	return geteuid() != 0 || (setgid(65534) == 0 && setuid(65534) == 0);
}

static bool refuse(struct sock_filter *code, size_t n)
{
	struct sock_fprog program = {(unsigned short)n, code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static bool no_watches(void)
{
	struct sock_filter code[] = {
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_inotify_add_watch, 0, 1),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	return refuse(code, ARRAY_LEN(code));
}

static bool no_leases(void)
{
	struct sock_filter code[] = {
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fcntl, 0, 3),
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, F_SETLEASE, 0, 1),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	return refuse(code, ARRAY_LEN(code));
}

static void refused_leases_leave_room_for_what_is_known_to_be_open(void **state)
{
	(void)state;
	run_inside("unleased", no_leases);
}

static void refused_watches_degrade_whatever_the_reason(void **state)
{
	(void)state;
	run_inside("unwatchable", no_watches);
}

static void watch_limit_degrades_and_is_healed_by_crawls(void **state)
{
	(void)state;
	run_inside("limit", own_limit);
}

static void unreadable_directory_raises_no_deletions_and_is_counted(void **state)
{
	(void)state;
	run_inside("unreadable", no_privileges);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest limit[] = {cmocka_unit_test(inside_watch_limit)};
	const struct CMUnitTest unreadable[] = {cmocka_unit_test(inside_unreadable),
	                                        cmocka_unit_test(inside_unread_barrier),
	                                        cmocka_unit_test(inside_unread_gone)};
	const struct CMUnitTest unleased[] = {cmocka_unit_test(inside_unleased)};
	const struct CMUnitTest unwatchable[] = {cmocka_unit_test(inside_unwatchable)};
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(replaced_root_freezes_and_thaws_when_it_is_back),
	        cmocka_unit_test(removed_root_freezes),
	        cmocka_unit_test(root_that_appears_brings_the_window_of_its_file_system),
	        cmocka_unit_test(adopted_root_becomes_the_known_one),
	        cmocka_unit_test(emptied_root_freezes_until_something_appears),
	        cmocka_unit_test(looks_kept_by_a_frozen_source_end_with_it),
	        cmocka_unit_test(emptied_root_is_deleted_after_approval),
	        cmocka_unit_test(unmounted_root_freezes_and_can_be_unmounted),
	        cmocka_unit_test(mount_below_the_root_is_left_alone),
	        cmocka_unit_test(directory_mounted_twice_is_mirrored_once),
	        cmocka_unit_test(tree_of_the_same_names_is_told_from_the_known_one),
	        cmocka_unit_test(refused_watches_degrade_whatever_the_reason),
	        cmocka_unit_test(refused_leases_leave_room_for_what_is_known_to_be_open),
	        cmocka_unit_test(watch_limit_degrades_and_is_healed_by_crawls),
	        cmocka_unit_test(unreadable_directory_raises_no_deletions_and_is_counted),
	};

	if (argc > 1) {
		cmocka_set_message_output(CM_OUTPUT_STDOUT);
		if (strcmp(argv[1], "unleased") == 0)
			return cmocka_run_group_tests(unleased, NULL, NULL);
		if (strcmp(argv[1], "unwatchable") == 0)
			return cmocka_run_group_tests(unwatchable, NULL, NULL);
		return strcmp(argv[1], "limit") == 0
		               ? cmocka_run_group_tests(limit, NULL, NULL)
		               : cmocka_run_group_tests(unreadable, NULL, NULL);
	}
	own_mounts =
	        unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
