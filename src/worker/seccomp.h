/*
 * seccomp: the system calls that a sender of files has no use for, refused with EPERM.
 *
 * A list of what is denied, not of what is allowed: what a library, an allocator or a later kernel
 * calls goes on to work, and what leads out of the process, or changes anything, does not. Refused
 * are starting programs and processes (threads stay inside and are let be), sockets and whatever
 * leads to another peer, signals to others, looking into others, changing names and attributes of
 * files, mounts, namespaces, kernel modules and keys, clocks, and the interfaces that bring calls
 * past this filter (io_uring, foreign ABIs).
 */
#ifndef WORKER_SECCOMP_H
#define WORKER_SECCOMP_H

#include <stdbool.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SECCOMP_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SECCOMP_SANITIZED 1
#endif

/* For this process and all its future threads, for good; needs no_new_privs. `asks_names`: names of
 * users may be asked of a local service (nscd, sssd, winbind), so that Unix sockets stay. Returns
 * whether the filter is in force: not with a kernel without seccomp, or on other than x86-64 and
 * arm64. In a build with a sanitizer (SECCOMP_SANITIZED) processes and ptrace stay as well, which
 * its runtime needs. */
bool seccomp_enter(bool asks_names);

#endif
