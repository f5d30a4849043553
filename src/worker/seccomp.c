#include "worker/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

#if defined(__x86_64__)
#define ARCH    AUDIT_ARCH_X86_64
#define FOREIGN 0x40000000u /* x32 calls carry this bit */
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* Numbers of calls that are younger than the headers of some systems; the same on all of ours. */
enum young_call {
	YOUNG_PIDFD_SEND_SIGNAL = 424,
	YOUNG_IO_URING_SETUP,
	YOUNG_IO_URING_ENTER,
	YOUNG_IO_URING_REGISTER,
	YOUNG_OPEN_TREE,
	YOUNG_MOVE_MOUNT,
	YOUNG_FSOPEN,
	YOUNG_FSCONFIG,
	YOUNG_FSMOUNT,
	YOUNG_FSPICK,
	YOUNG_CLONE3 = 435,
	YOUNG_PIDFD_GETFD = 438,
	YOUNG_PROCESS_MADVISE = 440,
	YOUNG_MOUNT_SETATTR = 442,
	YOUNG_FCHMODAT2 = 452,
	YOUNG_SETXATTRAT = 463,
	YOUNG_REMOVEXATTRAT = 466,
};

static const uint32_t denied[] = {
        /* programs and processes */
        SYS_execve,
        SYS_execveat,
#ifndef SECCOMP_SANITIZED
        SYS_ptrace,
#ifdef SYS_fork
        SYS_fork,
        SYS_vfork,
#endif
#endif
        /* other processes */
        SYS_process_vm_readv,
        SYS_process_vm_writev,
        SYS_kcmp,
        SYS_rt_sigqueueinfo,
        SYS_rt_tgsigqueueinfo,
        YOUNG_PIDFD_SEND_SIGNAL,
        YOUNG_PIDFD_GETFD,
        YOUNG_PROCESS_MADVISE,
        /* other peers */
        SYS_bind,
        SYS_listen,
        SYS_accept,
        SYS_accept4,
        YOUNG_IO_URING_SETUP,
        YOUNG_IO_URING_ENTER,
        YOUNG_IO_URING_REGISTER,
        /* files: names */
        SYS_renameat2,
        SYS_linkat,
        SYS_symlinkat,
        SYS_mkdirat,
        SYS_mknodat,
        SYS_unlinkat,
#ifdef SYS_renameat
        SYS_renameat,
#endif
#ifdef SYS_rename
        SYS_rename,
        SYS_link,
        SYS_symlink,
        SYS_mkdir,
        SYS_mknod,
        SYS_unlink,
        SYS_rmdir,
        SYS_creat,
#endif
        /* files: content and attributes */
        SYS_truncate,
        SYS_fchmod,
        SYS_fchmodat,
        YOUNG_FCHMODAT2,
        SYS_fchown,
        SYS_fchownat,
        SYS_utimensat,
        SYS_setxattr,
        SYS_lsetxattr,
        SYS_fsetxattr,
        SYS_removexattr,
        SYS_lremovexattr,
        SYS_fremovexattr,
        YOUNG_SETXATTRAT,
        YOUNG_REMOVEXATTRAT,
#ifdef SYS_chmod
        SYS_chmod,
        SYS_chown,
        SYS_lchown,
        SYS_utime,
        SYS_utimes,
        SYS_futimesat,
#endif
        /* file systems and namespaces */
        SYS_mount,
        SYS_umount2,
        SYS_pivot_root,
        SYS_chroot,
        SYS_unshare,
        SYS_setns,
        YOUNG_OPEN_TREE,
        YOUNG_MOVE_MOUNT,
        YOUNG_FSOPEN,
        YOUNG_FSCONFIG,
        YOUNG_FSMOUNT,
        YOUNG_FSPICK,
        YOUNG_MOUNT_SETATTR,
        SYS_open_by_handle_at,
        SYS_quotactl,
        SYS_swapon,
        SYS_swapoff,
        SYS_acct,
        /* the kernel and the machine */
        SYS_bpf,
        SYS_perf_event_open,
        SYS_userfaultfd,
        SYS_init_module,
        SYS_finit_module,
        SYS_delete_module,
        SYS_kexec_load,
        SYS_keyctl,
        SYS_add_key,
        SYS_request_key,
        SYS_reboot,
        SYS_syslog,
        SYS_sethostname,
        SYS_setdomainname,
        SYS_settimeofday,
        SYS_clock_settime,
        SYS_adjtimex,
        SYS_clock_adjtime,
        SYS_personality,
#ifdef SYS_kexec_file_load
        SYS_kexec_file_load,
#endif
#ifdef SYS_iopl
        SYS_iopl,
        SYS_ioperm,
        SYS_modify_ldt,
#endif
};

#define PROGRAM_MAX 320

#define LOAD(field)                                                                                \
	((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,                                    \
	                              offsetof(struct seccomp_data, field)))
/* The low half, which is all that the kernel looks at in these arguments. */
#define LOAD_ARG(n)                                                                                \
	((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,                                    \
	                              offsetof(struct seccomp_data, args) + 8 * (n)))
/* Skips the next instructions if it does not hold. */
#define UNLESS(op, value, skipped)                                                                 \
	((struct sock_filter)BPF_JUMP(BPF_JMP | (op) | BPF_K, (value), 0, (skipped)))
#define IF(op, value, skipped)                                                                     \
	((struct sock_filter)BPF_JUMP(BPF_JMP | (op) | BPF_K, (value), (skipped), 0))
#define RETURN(value) ((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, (value)))
#define REFUSE(error) RETURN(SECCOMP_RET_ERRNO | (error))
#define ALLOW         RETURN(SECCOMP_RET_ALLOW)

#ifdef ARCH
struct program {
	struct sock_filter code[PROGRAM_MAX];
	unsigned short n;
};

static void add(struct program *p, struct sock_filter instruction)
{
	check(p->n < PROGRAM_MAX);
	p->code[p->n++] = instruction;
}

/* The number is in the accumulator, before and after. */
static void deny(struct program *p, uint32_t number, int error)
{
	add(p, UNLESS(BPF_JEQ, number, 1));
	add(p, REFUSE((uint32_t)error));
}

static void add_start(struct program *p)
{
	add(p, LOAD(arch));
	add(p, IF(BPF_JEQ, ARCH, 1));
	add(p, REFUSE(EPERM));
	add(p, LOAD(nr));
#ifdef FOREIGN
	add(p, UNLESS(BPF_JGE, FOREIGN, 1));
	add(p, REFUSE(EPERM));
#endif
}

/* The call is allowed only with this first argument. */
static void allow_only(struct program *p, uint32_t number, uint32_t argument)
{
	add(p, UNLESS(BPF_JEQ, number, 4));
	add(p, LOAD_ARG(0));
	add(p, UNLESS(BPF_JEQ, argument, 1));
	add(p, ALLOW);
	add(p, REFUSE(EPERM));
}

static void add_processes(struct program *p)
{
#ifndef SECCOMP_SANITIZED
	add(p, UNLESS(BPF_JEQ, SYS_clone, 4));
	add(p, LOAD_ARG(0));
	add(p, UNLESS(BPF_JSET, CLONE_THREAD, 1));
	add(p, ALLOW);
	add(p, REFUSE(EPERM));
	/* Its flags lie in memory. The C library takes this for an old kernel, and calls clone. */
	deny(p, YOUNG_CLONE3, ENOSYS);
#endif
	/* Whoever gives up signals himself. */
	allow_only(p, SYS_kill, (uint32_t)getpid());
	allow_only(p, SYS_tkill, (uint32_t)getpid());
	allow_only(p, SYS_tgkill, (uint32_t)getpid());
}

static void add_sockets(struct program *p, bool asks_names)
{
	if (asks_names) {
		allow_only(p, SYS_socket, AF_UNIX);
		return;
	}
	/* A descriptor that we were given could be turned to somebody else. */
	deny(p, SYS_connect, EPERM);
	deny(p, SYS_socket, EPERM);
}

bool seccomp_enter(bool asks_names)
{
	struct program p = {.n = 0};
	struct sock_fprog whole = {.filter = p.code};

	add_start(&p);
	for (size_t i = 0; i < ARRAY_LEN(denied); i++)
		deny(&p, denied[i], EPERM);
	add_processes(&p);
	add_sockets(&p, asks_names);
	add(&p, ALLOW);
	whole.len = p.n;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole, 0, 0) == 0;
}
#else
bool seccomp_enter(bool asks_names)
{
	(void)asks_names;
	(void)denied;
	return false;
}
#endif
