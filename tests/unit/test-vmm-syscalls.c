/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/syscalls.h: what a thread of each kind may do, and how it ends otherwise (a child of the
 * test). */
#include "vmm/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vhost-user/daemon/sanitized.h"

#define BIT(kind) (1u << VMM_THREAD_##kind)
#define ALL       ((1u << VMM_N_THREAD_KINDS) - 1)

/* Each is made, or fails by itself, and returns; or ends the process. */

static void call_log(void)
{
    (void)!write(STDERR_FILENO, "", 0);
    (void)eventfd(0, EFD_CLOEXEC);
}

static void call_open(void)
{
    g_assert_cmpint(open("/etc/passwd", O_RDONLY), ==, -1);
    g_assert_cmpint(errno, ==, EACCES);
}

static void call_unix_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0)
        close(fd);
}

static void call_pair(void)
{
    int fds[2];

    (void)socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
}

static void call_accept(void)
{
    (void)accept4(-1, NULL, NULL, SOCK_CLOEXEC);
}

static void call_run(void)
{
    (void)ioctl(-1, KVM_RUN, 0);
}

static void call_irq(void)
{
    (void)ioctl(-1, KVM_IRQ_LINE, NULL);
}

static void call_fpu(void)
{
    (void)ioctl(-1, KVM_SET_FPU, NULL);
}

static void call_reset(void)
{
    (void)ioctl(-1, KVM_SET_MP_STATE, NULL);
}

static void call_read_kernel(void)
{
    char byte;

    (void)!pread(-1, &byte, 1, 0);
}

static void call_remove(void)
{
    (void)unlinkat(INT32_MAX, "x", 0);
}

static void *thread_run(void *arg)
{
    return arg;
}

static void call_thread(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, thread_run, NULL) == 0)
        pthread_join(thread, NULL);
}

static void call_exec(void)
{
    execl("/bin/true", "true", NULL);
}

static void call_fork(void)
{
    (void)!fork();
}

static void call_type(void)
{
    (void)ioctl(0, TIOCSTI, "x");
}

static void call_memory_slot(void)
{
    (void)ioctl(-1, KVM_SET_USER_MEMORY_REGION, NULL);
}

static void call_inet(void)
{
    (void)socket(AF_INET, SOCK_STREAM, 0);
}

static void call_bind(void)
{
    (void)bind(-1, NULL, 0);
}

static void call_unlink(void)
{
    (void)unlink("/nowhere");
}

static void call_executable(void)
{
    (void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void call_kill(void)
{
    kill(getppid(), 0);
}

static void call_unshare(void)
{
    (void)!unshare(CLONE_NEWUSER);
}

/* Who survives it. */
static const struct {
    const char *name;
    void (*call)(void);
    unsigned kinds;
} calls[] = {
    {"log", call_log, ALL},
    {"open", call_open, ALL},               /* which fails */
    {"unix socket", call_unix_socket, ALL}, /* fails but for those that connect */
    {"socket pair", call_pair, BIT(MAIN_QMP) | BIT(LINK)},
    {"accept", call_accept, BIT(MAIN) | BIT(MAIN_QMP) | BIT(CONTROL)},
    {"KVM_RUN", call_run, BIT(VCPU) | BIT(VCPU_PVM)},
    {"KVM_IRQ_LINE", call_irq, ALL & ~BIT(CONTROL)},
    {"KVM_SET_FPU", call_fpu, BIT(VCPU_PVM)},
    {"KVM_SET_MP_STATE", call_reset, BIT(MAIN) | BIT(MAIN_QMP)},
    {"pread", call_read_kernel, BIT(MAIN) | BIT(MAIN_QMP) | BIT(CONTROL)},
    {"unlinkat", call_remove, BIT(MAIN) | BIT(MAIN_QMP)},
    {"a thread", call_thread, BIT(MAIN_QMP) | BIT(CONTROL)},
    {"exec", call_exec, 0},
    {"fork", call_fork, 0},
    {"TIOCSTI", call_type, 0},
    {"KVM_SET_USER_MEMORY_REGION", call_memory_slot, 0},
    {"a network", call_inet, BIT(VCPU) | BIT(VCPU_PVM) | BIT(CONTROL) | BIT(MAIN)}, /* fails */
    {"bind", call_bind, 0},
    {"unlink", call_unlink, 0},
    {"executable memory", call_executable, 0},
    {"kill", call_kill, 0},
    {"unshare", call_unshare, 0},
};

/* How a child of that kind ends that makes the call: a wait status. */
static int end_of(enum vmm_thread_kind kind, void (*call)(void), bool no_sandbox)
{
    const struct vmm_config config = {.no_sandbox = no_sandbox};
    pid_t pid = fork();
    int status;

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        if (!vmm_confine(&config, kind, NULL))
            _exit(99);
        call();
        _exit(0);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return status;
}

static void test_calls(void)
{
    if (VU_SANITIZED) {
        g_test_skip("built with a sanitizer: no filter");
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++)
        for (unsigned kind = 0; kind < VMM_N_THREAD_KINDS; kind++) {
            int status = end_of((enum vmm_thread_kind)kind, calls[i].call, false);
            bool survives = WIFEXITED(status) && WEXITSTATUS(status) == 0;
            bool is_ended = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;

            if (calls[i].kinds >> kind & 1 ? !survives : !is_ended)
                g_error("%s in a thread of kind %u: status %x", calls[i].name, kind,
                        (unsigned)status);
        }
}

/* -sandbox off. */
static void test_off(void)
{
    for (unsigned kind = 0; kind < VMM_N_THREAD_KINDS; kind++)
        g_assert_cmpint(end_of((enum vmm_thread_kind)kind, call_unlink, true), ==, 0);
}

/* A misspelt name would be passed over, and kill a guest one day. */
static void test_names(void)
{
    for (unsigned kind = 0; kind < VMM_N_THREAD_KINDS; kind++)
        for (const struct vu_syscall_rules *const *table = vmm_thread_syscalls[kind]; *table;
             table++)
            for (size_t i = 0; i < (*table)->n_rules; i++)
                if (seccomp_syscall_resolve_name((*table)->rules[i].name) == __NR_SCMP_ERROR)
                    g_error("no system call is called %s", (*table)->rules[i].name);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmm/syscalls/calls", test_calls);
    g_test_add_func("/vmm/syscalls/off", test_off);
    g_test_add_func("/vmm/syscalls/names", test_names);
    return g_test_run();
}
