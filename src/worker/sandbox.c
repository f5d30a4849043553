#include "worker/sandbox.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/seccomp.h"

/* From <linux/landlock.h>, which older kernel headers do not have (Landlock ABI 1 to 3). */
#define LANDLOCK_VERSION  (1u << 0)
#define LANDLOCK_EXECUTE  (1ull << 0)
#define LANDLOCK_WRITE    (1ull << 1)
#define LANDLOCK_REMOVE   (3ull << 4)   /* directories, files */
#define LANDLOCK_MAKE     (127ull << 6) /* char, dir, reg, sock, fifo, block, sym */
#define LANDLOCK_REFER    (1ull << 13)  /* ABI 2 */
#define LANDLOCK_TRUNCATE (1ull << 14)  /* ABI 3 */

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self  446
#endif

static bool restrict_files(void)
{
	uint64_t handled = LANDLOCK_EXECUTE | LANDLOCK_WRITE | LANDLOCK_REMOVE | LANDLOCK_MAKE;
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION);
	long fd, r;

	if (abi < 1)
		return false;
	if (abi >= 2)
		handled |= LANDLOCK_REFER;
	if (abi >= 3)
		handled |= LANDLOCK_TRUNCATE;
	fd = syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0);
	if (fd < 0)
		return false;
	r = syscall(SYS_landlock_restrict_self, fd, 0);
	(void)close((int)fd);
	return r == 0;
}

unsigned sandbox_enter(bool asks_names)
{
	unsigned parts = 0;

	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (restrict_files())
		parts |= SANDBOX_FILES;
	if (seccomp_enter(asks_names))
		parts |= SANDBOX_CALLS;
	return parts;
}
