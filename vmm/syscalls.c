/* SPDX-License-Identifier: Apache-2.0 */
/* A row for each call; see syscalls.h. */
#include "vmm/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

static const struct vu_syscall_rule vcpu_rules[] = {
    /* the guest, and its devices */
    VU_SYSCALL("ioctl"),
    VU_SYSCALL("read"),
    VU_SYSCALL("write"),
    VU_SYSCALL("writev"),
    VU_SYSCALL("poll"),
    VU_SYSCALL("ppoll"),
    VU_SYSCALL("sendto"),
    VU_SYSCALL("sendmsg"),
    VU_SYSCALL("recvmsg"),
    VU_SYSCALL("recvfrom"),
    VU_SYSCALL("shutdown"),
    VU_SYSCALL("eventfd2"),
    VU_SYSCALL("epoll_ctl"),
    VU_SYSCALL("memfd_create"),
    VU_SYSCALL("ftruncate"),
    VU_SYSCALL("fallocate"),
    VU_SYSCALL("close"),
    VU_SYSCALL("dup"),
    VU_SYSCALL("fstat"),
    VU_SYSCALL_ON_FD("newfstatat", 0),
    VU_SYSCALL_IF("fcntl", 1, F_GETFL),
    VU_SYSCALL_IF("fcntl", 1, F_SETFL),
    VU_SYSCALL_IF("fcntl", 1, F_DUPFD_CLOEXEC),
    VU_SYSCALL_IF("fcntl", 1, F_ADD_SEALS),
    VU_SYSCALL_IF("fcntl", 1, F_GET_SEALS),

    /* memory */
    VU_SYSCALL("brk"),
    VU_SYSCALL_BITS("mmap", 2, PROT_EXEC, 0),
    VU_SYSCALL_BITS("mprotect", 2, PROT_EXEC, 0),
    VU_SYSCALL("munmap"),
    VU_SYSCALL("mremap"),
    VU_SYSCALL("madvise"),

    /* threads and signals; what a process sends itself when it ends by SIGABRT */
    VU_SYSCALL("futex"),
    VU_SYSCALL("exit"),
    VU_SYSCALL("exit_group"),
    VU_SYSCALL("gettid"),
    VU_SYSCALL("getpid"),
    VU_SYSCALL("sched_yield"),
    VU_SYSCALL("rt_sigaction"),
    VU_SYSCALL("rt_sigprocmask"),
    VU_SYSCALL("rt_sigreturn"),
    VU_SYSCALL("restart_syscall"),
    VU_SYSCALL_IF("tgkill", 2, SIGABRT),

    /* time, where it is not read without a call */
    VU_SYSCALL("clock_gettime"),
    VU_SYSCALL("clock_nanosleep"),
    VU_SYSCALL("gettimeofday"),
    VU_SYSCALL("getrandom"),

    /* what libraries try on their own: a new line to syslog, time zones */
    VU_SYSCALL_FAILS("socket", EACCES),
    VU_SYSCALL_FAILS("connect", EACCES),
    VU_SYSCALL_OFF_FD_FAILS("openat", 0, EACCES),
    VU_SYSCALL_OFF_FD_FAILS("newfstatat", 0, EACCES),
};

const struct vu_syscall_rules vmm_vcpu_syscalls = {vcpu_rules, G_N_ELEMENTS(vcpu_rules)};
