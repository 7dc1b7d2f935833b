/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of rows, and which of them a kind of thread has; see syscalls.h. */
#include "vmm/syscalls.h"

#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "vhost-user/daemon/capabilities.h"

#define RULES_OF(rows) \
    static const struct vu_syscall_rules rows##_table = {rows, G_N_ELEMENTS(rows)}
#define IOCTL(request) VU_SYSCALL_IF("ioctl", 1, request)

/* Of all: memory, locks, time, the log, the end. */
static const struct vu_syscall_rule common[] = {
    VU_SYSCALL("read"),
    VU_SYSCALL("readv"),
    VU_SYSCALL("write"),
    VU_SYSCALL("writev"),
    VU_SYSCALL("lseek"), /* of standard streams, at the end */
    VU_SYSCALL("close"),
    VU_SYSCALL("eventfd2"),
    VU_SYSCALL("poll"),
    VU_SYSCALL("ppoll"),
    VU_SYSCALL("futex"),
    VU_SYSCALL("restart_syscall"),
    VU_SYSCALL("brk"),
    VU_SYSCALL_BITS("mmap", 2, PROT_EXEC, 0),
    VU_SYSCALL_BITS("mprotect", 2, PROT_EXEC, 0),
    VU_SYSCALL("munmap"),
    VU_SYSCALL("mremap"),
    VU_SYSCALL("madvise"),
    VU_SYSCALL("exit"),
    VU_SYSCALL("exit_group"),
    VU_SYSCALL("clock_gettime"),
    VU_SYSCALL("clock_getres"),
    VU_SYSCALL("clock_nanosleep"),
    VU_SYSCALL("nanosleep"),
    VU_SYSCALL("gettimeofday"),
    VU_SYSCALL("sysinfo"),
    VU_SYSCALL("getrandom"),
    VU_SYSCALL("gettid"),
    VU_SYSCALL("getpid"),
    VU_SYSCALL("sched_yield"),

    /* signals; what a process sends itself when it crashes, with the terminal as it was */
    VU_SYSCALL("rt_sigaction"),
    VU_SYSCALL("rt_sigprocmask"),
    VU_SYSCALL("rt_sigreturn"),
    VU_SYSCALL("sigaltstack"),
    VU_SYSCALL_IF("tgkill", 2, SIGABRT),
    VU_SYSCALL_IF("tgkill", 2, SIGSEGV),
    VU_SYSCALL_IF("tgkill", 2, SIGBUS),
    VU_SYSCALL_IF("tgkill", 2, SIGILL),
    VU_SYSCALL_IF("tgkill", 2, SIGFPE),
    IOCTL(TCSETS),
    IOCTL(TCSETS2),

    /* messages on sockets that are there: back-ends, QMP, the console, syslog */
    VU_SYSCALL("sendto"),
    VU_SYSCALL("sendmsg"),
    VU_SYSCALL("recvmsg"),
    VU_SYSCALL("recvfrom"),
    VU_SYSCALL("fstat"),
    VU_SYSCALL_ON_FD("newfstatat", 0),

    /* what libraries try on their own: time zones, tables of character sets, kinds of terminals */
    VU_SYSCALL_OFF_FD_FAILS("openat", 0, EACCES),
    VU_SYSCALL_OFF_FD_FAILS("newfstatat", 0, EACCES),
    VU_SYSCALL_FAILS("access", EACCES),
    VU_SYSCALL_FAILS("readlink", EACCES),
    VU_SYSCALL_IF_FAILS("ioctl", 1, TCGETS, ENOTTY),
    VU_SYSCALL_IF_FAILS("ioctl", 1, TCGETS2, ENOTTY),
};
RULES_OF(common);

/* Interrupts and kicks of devices. */
static const struct vu_syscall_rule devices[] = {
    IOCTL(KVM_IRQ_LINE),
    IOCTL(KVM_SET_GSI_ROUTING),
    IOCTL(KVM_IRQFD),
    IOCTL(KVM_IOEVENTFD),
};
RULES_OF(devices);

/* The guest itself. */
static const struct vu_syscall_rule vcpu[] = {
    IOCTL(KVM_RUN),
    IOCTL(KVM_GET_REGS),
    IOCTL(KVM_GET_SREGS),
};
RULES_OF(vcpu);

static const struct vu_syscall_rule vcpu_pvm[] = {
    IOCTL(KVM_SET_REGS),        IOCTL(KVM_SET_MSRS),        IOCTL(KVM_TRANSLATE),
    IOCTL(KVM_GET_VCPU_EVENTS), IOCTL(KVM_SET_VCPU_EVENTS), IOCTL(KVM_GET_FPU),
    IOCTL(KVM_SET_FPU),
};
RULES_OF(vcpu_pvm);

/* Connecting to back-ends. */
static const struct vu_syscall_rule connecting[] = {
    VU_SYSCALL_IF("socket", 0, AF_UNIX),
    VU_SYSCALL_IF("socketpair", 0, AF_UNIX),
    VU_SYSCALL("connect"),
    VU_SYSCALL_IF("fcntl", 1, F_GETFL),
    VU_SYSCALL_IF("fcntl", 1, F_SETFL),
};
RULES_OF(connecting);

/* syslog(3) tries. */
static const struct vu_syscall_rule not_connecting[] = {
    VU_SYSCALL_FAILS("socket", EACCES),
    VU_SYSCALL_FAILS("connect", EACCES),
};
RULES_OF(not_connecting);

/* INTA of a device whose configuration changes. */
static const struct vu_syscall_rule link_thread[] = {
    IOCTL(KVM_IRQ_LINE),
};
RULES_OF(link_thread);

/* What makes a thread, and no process or namespace. clone3 hides its flags; the C library then
 * falls back to clone. */
#define FLAGS_THREAD (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
#define FLAGS_SPACES                                                                              \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
     CLONE_NEWNET)

static const struct vu_syscall_rule threads[] = {
    VU_SYSCALL_BITS("clone", 0, FLAGS_THREAD | FLAGS_SPACES, FLAGS_THREAD),
    VU_SYSCALL_FAILS("clone3", ENOSYS),
    VU_SYSCALL("set_robust_list"),
    VU_SYSCALL("rseq"),
    VU_SYSCALL("sched_getaffinity"),
    VU_SYSCALL_IF("prctl", 0, PR_SET_NAME),
    VU_SYSCALL_IF("prctl", 0, PR_SET_NO_NEW_PRIVS), /* a filter of their own, on top */
    VU_SYSCALL("seccomp"),
};
RULES_OF(threads);

static const struct vu_syscall_rule accepting[] = {
    VU_SYSCALL("accept4"),
    VU_SYSCALL("shutdown"),
};
RULES_OF(accepting);

/* What the process takes of the host: /proc/self/stat, opened at the start. */
static const struct vu_syscall_rule telling[] = {
    VU_SYSCALL("pread64"),
};
RULES_OF(telling);

/* Pauses and resets of the machine, and its end. */
static const struct vu_syscall_rule main_thread[] = {
    VU_SYSCALL_IF("tgkill", 2, SIGUSR1), /* vCPUs are to leave the guest */
    VU_SYSCALL("pread64"),               /* the kernel and the initrd, again */
    IOCTL(KVM_GET_TSC_KHZ),
    IOCTL(KVM_SET_IRQCHIP),
    IOCTL(KVM_SET_SREGS),
    IOCTL(KVM_SET_REGS),
    IOCTL(KVM_SET_XSAVE),
    IOCTL(KVM_SET_XCRS),
    IOCTL(KVM_SET_LAPIC),
    IOCTL(KVM_SET_DEBUGREGS),
    IOCTL(KVM_SET_VCPU_EVENTS),
    IOCTL(KVM_SET_MSRS),
    IOCTL(KVM_SET_MP_STATE),
    VU_SYSCALL_ON_FD("unlinkat", 0), /* sockets and the pid file */
};
RULES_OF(main_thread);

#define TABLES(...) ((const struct vu_syscall_rules *const[]){__VA_ARGS__, NULL})

const struct vu_syscall_rules *const *const vmm_thread_syscalls[VMM_N_THREAD_KINDS] = {
    [VMM_THREAD_MAIN] = TABLES(&common_table, &devices_table, &main_thread_table, &accepting_table,
                               &not_connecting_table),
    [VMM_THREAD_MAIN_QMP] = TABLES(&common_table, &devices_table, &main_thread_table,
                                   &accepting_table, &connecting_table, &threads_table),
    [VMM_THREAD_VCPU] = TABLES(&common_table, &devices_table, &vcpu_table, &not_connecting_table),
    [VMM_THREAD_VCPU_PVM] =
        TABLES(&common_table, &devices_table, &vcpu_table, &vcpu_pvm_table, &not_connecting_table),
    [VMM_THREAD_LINK] = TABLES(&common_table, &connecting_table, &link_thread_table),
    [VMM_THREAD_CONTROL] = TABLES(&common_table, &accepting_table, &telling_table, &threads_table,
                                  &not_connecting_table),
};

bool vmm_confine(const struct vmm_config *config, enum vmm_thread_kind kind, GError **error)
{
    return config->no_sandbox ||
           vu_seccomp_install_for_thread(VU_SECCOMP_KILL, vmm_thread_syscalls[kind], error);
}

bool vmm_drop_privileges(const struct vmm_config *config, GError **error)
{
    static const struct vu_capability_changes none;

    return config->no_sandbox ||
           vu_capabilities_limit(VU_CAPABILITY(CAP_DAC_OVERRIDE), &none, error);
}
