/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp.h: what a filter made of rows does to a process (a child of the test). */
#include "vhost-user/daemon/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vhost-user/log.h"

static const struct vu_syscall_rule own[] = {
    VU_SYSCALL("mkdirat"),
    VU_SYSCALL_ON_FD("openat", 0),
    VU_SYSCALL_IF("unshare", 0, CLONE_FS),
    VU_SYSCALL_FAILS("chdir", EXDEV),
    VU_SYSCALL("no_such_call_on_any_machine"),
};
static const struct vu_syscall_rules own_rules = {own, G_N_ELEMENTS(own)};

/* How a child ends that installs the filter and then makes `call`: a wait status. */
static int end_of(enum vu_seccomp_mode mode, int (*call)(void))
{
    pid_t pid = fork();
    int status;

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        if (!vu_seccomp_install(mode, &own_rules, NULL))
            _exit(99);
        _exit(call());
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return status;
}

static bool is_filtered(void)
{
    int status = end_of(VU_SECCOMP_KILL, getppid);

    if (WIFSIGNALED(status))
        return true;
    g_test_skip("built with a sanitizer: no filter");
    return false;
}

/* Rows of ours and of every daemon: made, or failing as they say. */
static int call_good(void)
{
    errno = 0;
    if (open("/", O_PATH) != -1 || errno != EACCES)
        return 1;
    if (openat(12345, "x", O_RDONLY) != -1 || errno != EBADF)
        return 2;
    if (unshare(CLONE_FS) < 0)
        return 3;
    if (chdir("/") != -1 || errno != EXDEV)
        return 4;
    if (socket(AF_UNIX, SOCK_STREAM, 0) != -1 || errno != EACCES)
        return 5;
    if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
        return 6;
    return 0;
}

static void *thread_run(void *arg)
{
    return arg;
}

static int call_thread(void)
{
    pthread_t thread;
    void *result = NULL;
    int arg = 0;

    if (pthread_create(&thread, NULL, thread_run, &arg) != 0)
        return 1;
    pthread_join(thread, &result);
    return result != &arg;
}

static int call_fork(void)
{
    return fork() < 0;
}

static int call_exec(void)
{
    return execl("/bin/true", "true", NULL);
}

static int call_namespace(void)
{
    return unshare(CLONE_NEWNS);
}

static int call_executable_memory(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
           MAP_FAILED;
}

static int call_lease(void)
{
    return fcntl(0, F_SETLEASE, F_UNLCK);
}

static void test_good(void)
{
    if (!is_filtered())
        return;
    g_assert_cmpint(end_of(VU_SECCOMP_KILL, call_good), ==, 0);
    g_assert_cmpint(end_of(VU_SECCOMP_KILL, call_thread), ==, 0);
    g_assert_cmpint(end_of(VU_SECCOMP_TRAP, call_good), ==, 0);
}

static void test_bad(void)
{
    static int (*const calls[])(void) = {getppid,        call_fork,  call_exec,
                                         call_namespace, call_lease, call_executable_memory};

    if (!is_filtered())
        return;
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
        int status = end_of(VU_SECCOMP_KILL, calls[i]);

        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            g_error("call %zu: status %x", i, (unsigned)status);
        status = end_of(VU_SECCOMP_TRAP, calls[i]);
        g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    }
}

/* Made all the same. */
static int call_parent(void)
{
    return getppid() <= 0;
}

static void test_lenient(void)
{
    g_assert_cmpint(end_of(VU_SECCOMP_LOG, call_parent), ==, 0);
    g_assert_cmpint(end_of(VU_SECCOMP_NONE, call_exec), ==, 0);
}

/* --- a thread's own filter --- */

static const struct vu_syscall_rule thread_rules[] = {
    VU_SYSCALL("futex"),
    VU_SYSCALL("exit"),
    VU_SYSCALL("exit_group"),
    VU_SYSCALL("madvise"),
    VU_SYSCALL("rt_sigprocmask"),
    VU_SYSCALL("munmap"),
    VU_SYSCALL_FAILS("getppid", EXDEV),
};

static void *confined_run(void *arg)
{
    const struct vu_syscall_rules first = {thread_rules, 1};
    const struct vu_syscall_rules rest = {thread_rules + 1, G_N_ELEMENTS(thread_rules) - 1};
    const struct vu_syscall_rules *const tables[] = {&first, &rest, NULL};

    if (!vu_seccomp_install_for_thread(VU_SECCOMP_KILL, tables, NULL))
        return NULL;
    return syscall(SYS_getppid) == -1 && errno == EXDEV ? arg : NULL;
}

/* The thread is confined, and this one is not. */
static int call_confined_thread(void)
{
    pthread_t thread;
    void *result = NULL;
    int arg = 0;

    if (pthread_create(&thread, NULL, confined_run, &arg) != 0)
        return 1;
    pthread_join(thread, &result);
    return result != &arg || getppid() <= 0 || fcntl(0, F_GETOWN) < 0;
}

static void test_thread(void)
{
    if (is_filtered())
        g_assert_cmpint(end_of(VU_SECCOMP_NONE, call_confined_thread), ==, 0);
}

/* A misspelt name would be passed over, and kill a daemon one day. */
static void test_names(void)
{
    for (size_t i = 0; i < vu_seccomp_daemon_rules.n_rules; i++) {
        const char *name = vu_seccomp_daemon_rules.rules[i].name;

        if (seccomp_syscall_resolve_name(name) == __NR_SCMP_ERROR)
            g_error("no system call is called %s", name);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_ERROR);
    g_test_add_func("/seccomp/good", test_good);
    g_test_add_func("/seccomp/bad", test_bad);
    g_test_add_func("/seccomp/lenient", test_lenient);
    g_test_add_func("/seccomp/thread", test_thread);
    g_test_add_func("/seccomp/names", test_names);
    return g_test_run();
}
