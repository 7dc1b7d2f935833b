/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls of every daemon once it serves. No program is started, no socket made, no file
 * opened by a path of its own, no memory made executable.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "vhost-user/daemon/seccomp.h"

/* What makes a thread, and nothing else: no process, no namespace. */
#define RULES_THREAD (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
#define RULES_NO_NAMESPACE                                                                        \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
     CLONE_NEWNET)

static const struct vu_syscall_rule rules_daemon[] = {
    /* memory */
    VU_SYSCALL("brk"),
    VU_SYSCALL_BITS("mmap", 2, PROT_EXEC, 0),
    VU_SYSCALL_BITS("mprotect", 2, PROT_EXEC, 0),
    VU_SYSCALL("munmap"),
    VU_SYSCALL("mremap"),
    VU_SYSCALL("madvise"),
    VU_SYSCALL("memfd_create"),

    /* threads; clone3 hides its flags, and the C library falls back to clone */
    VU_SYSCALL_BITS("clone", 0, RULES_THREAD | RULES_NO_NAMESPACE, RULES_THREAD),
    VU_SYSCALL_FAILS("clone3", ENOSYS),
    VU_SYSCALL("set_robust_list"),
    VU_SYSCALL("rseq"),
    VU_SYSCALL("futex"),
    VU_SYSCALL("exit"),
    VU_SYSCALL("exit_group"),
    VU_SYSCALL("gettid"),
    VU_SYSCALL("getpid"),
    VU_SYSCALL("sched_yield"),
    VU_SYSCALL("sched_getaffinity"),
    VU_SYSCALL("sched_setaffinity"), /* to the node of a ring, as numa.c has it */
    VU_SYSCALL("get_mempolicy"),
    VU_SYSCALL("set_mempolicy"),
    VU_SYSCALL_IF("prctl", 0, PR_SET_NAME),

    /* signals; what a process sends itself when it ends by SIGABRT or SIGBUS */
    VU_SYSCALL("rt_sigaction"),
    VU_SYSCALL("rt_sigprocmask"),
    VU_SYSCALL("rt_sigreturn"),
    VU_SYSCALL("sigaltstack"),
    VU_SYSCALL_IF("tgkill", 2, SIGABRT),
    VU_SYSCALL_IF("tgkill", 2, SIGBUS),
    VU_SYSCALL("restart_syscall"),

    /* time and chance */
    VU_SYSCALL("clock_gettime"),
    VU_SYSCALL("clock_getres"),
    VU_SYSCALL("clock_nanosleep"),
    VU_SYSCALL("nanosleep"),
    VU_SYSCALL("gettimeofday"),
    VU_SYSCALL("getrandom"),
    VU_SYSCALL("sysinfo"),

    /* descriptors */
    VU_SYSCALL("read"),
    VU_SYSCALL("write"),
    VU_SYSCALL("readv"),
    VU_SYSCALL("writev"),
    VU_SYSCALL("pread64"),
    VU_SYSCALL("pwrite64"),
    VU_SYSCALL("lseek"),
    VU_SYSCALL("close"),
    VU_SYSCALL("fstat"),
    VU_SYSCALL("fstatfs"), /* the page size of guest memory */
    VU_SYSCALL_ON_FD("newfstatat", 0),
    VU_SYSCALL("ftruncate"),
    VU_SYSCALL("fallocate"),
    VU_SYSCALL_IF("fcntl", 1, F_GETFD),
    VU_SYSCALL_IF("fcntl", 1, F_SETFD),
    VU_SYSCALL_IF("fcntl", 1, F_GETFL),
    VU_SYSCALL_IF("fcntl", 1, F_SETFL),
    VU_SYSCALL_IF("fcntl", 1, F_DUPFD_CLOEXEC),
    VU_SYSCALL_IF("fcntl", 1, F_ADD_SEALS),
    VU_SYSCALL_IF("fcntl", 1, F_GET_SEALS),
    VU_SYSCALL("dup3"), /* by what is nothing: of terminals, and of sockets at a hard end */
    VU_SYSCALL("eventfd2"),
    VU_SYSCALL("epoll_create1"),
    VU_SYSCALL("epoll_ctl"),
    VU_SYSCALL("epoll_wait"),
    VU_SYSCALL("epoll_pwait"),
    VU_SYSCALL("epoll_pwait2"),
    VU_SYSCALL("poll"),
    VU_SYSCALL("ppoll"),

    /* the front-end's connection, and the socket file's end */
    VU_SYSCALL("accept4"),
    VU_SYSCALL("recvmsg"),
    VU_SYSCALL("sendmsg"),
    VU_SYSCALL("recvfrom"),
    VU_SYSCALL("sendto"),
    VU_SYSCALL("getsockopt"),
    VU_SYSCALL("shutdown"),
    VU_SYSCALL_ON_FD("unlinkat", 0),

    /* what libraries try on their own: files of locales and time zones, a new line to syslog, the
     * kind of a terminal */
    VU_SYSCALL_FAILS("open", EACCES),
    VU_SYSCALL_FAILS("stat", EACCES),
    VU_SYSCALL_FAILS("access", EACCES),
    VU_SYSCALL_FAILS("readlink", EACCES),
    VU_SYSCALL_OFF_FD_FAILS("openat", 0, EACCES),
    VU_SYSCALL_OFF_FD_FAILS("newfstatat", 0, EACCES),
    VU_SYSCALL_FAILS("socket", EACCES),
    VU_SYSCALL_FAILS("connect", EACCES),
    VU_SYSCALL_IF_FAILS("ioctl", 1, TCGETS, ENOTTY),
};

const struct vu_syscall_rules vu_seccomp_daemon_rules = {rules_daemon, G_N_ELEMENTS(rules_daemon)};
