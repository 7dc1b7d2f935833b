/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox.h and supervise.h: what a process finds in each mode, and how the process outside follows
 * it. The program under test is a child of ours; what it checks inside is told by its exit status.
 */
#include "vhost-user/daemon/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/supervise.h"
#include "vhost-user/log.h"

#define NOBODY     65534
#define FIRST_HOST 100000 /* of mapped ids */

struct fixture {
    char *dir;
    struct vu_sandbox_options options;
    struct vu_id_map uids, gids;
    uid_t uid;      /* of the program; 0: the test's own */
    int pipe_fd[2]; /* the program may tell something; nothing of it is left at the end of file */
};

typedef int (*body)(const struct fixture *f, const struct vu_sandbox *sandbox);

static void set_up(struct fixture *f, gconstpointer data)
{
    g_autofree char *marker = NULL;

    f->dir = g_dir_make_tmp("test-sandbox-XXXXXX", NULL);
    marker = g_build_filename(f->dir, "marker", NULL);
    g_assert_true(g_file_set_contents(marker, "", 0, NULL));
    g_assert_cmpint(chmod(f->dir, 0777), ==, 0);
    f->options.program = "test-sandbox";
    f->options.root = f->dir;
    f->options.uid_map = &f->uids;
    f->options.gid_map = &f->gids;
    g_assert_cmpint(pipe2(f->pipe_fd, O_CLOEXEC), ==, 0);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
    static const char *const names[] = {"marker", "made"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(f->dir, names[i], NULL);

        g_unlink(path);
    }
    g_assert_cmpint(g_rmdir(f->dir), ==, 0);
    vu_clear_fd(&f->pipe_fd[0]);
    vu_clear_fd(&f->pipe_fd[1]);
    vu_id_map_clear(&f->uids);
    vu_id_map_clear(&f->gids);
    g_free(f->dir);
}

/* The program: goes into the sandbox, runs the body there, ends with its status. */
static pid_t program_start(struct fixture *f, body run)
{
    struct vu_sandbox sandbox;
    pid_t pid = fork();
    int status;

    g_assert_cmpint(pid, >=, 0);
    if (pid > 0)
        return pid;
    alarm(30);
    vu_clear_fd(&f->pipe_fd[0]);
    if (f->uid != 0 &&
        (setresgid(f->uid, f->uid, f->uid) < 0 || setresuid(f->uid, f->uid, f->uid) < 0))
        _exit(98);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* as after an exec: its files in /proc are its own */
    if (vu_sandbox_enter(&f->options, open("/dev/null", O_RDONLY), &sandbox, &status))
        status = run(f, &sandbox);
    else
        vu_clear_fd(&f->pipe_fd[1]);
    _exit(status);
}

static int program_end(pid_t pid)
{
    int status;

    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return status;
}

static void expect(struct fixture *f, body run, int exit_status)
{
    int status = program_end(program_start(f, run));

    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, exit_status);
}

static bool is_same(int dir_fd, const char *a, const char *b)
{
    struct stat st_a, st_b;

    return fstatat(dir_fd, a, &st_a, 0) == 0 && fstatat(dir_fd, b, &st_b, 0) == 0 &&
           st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
}

/* Descriptors that any mode gives. */
static int body_descriptors(const struct fixture *f, const struct vu_sandbox *sandbox)
{
    char name[16];
    int fd;

    if (faccessat(sandbox->root_fd, "marker", F_OK, 0) < 0)
        return 1;
    fd = openat(sandbox->root_fd, "marker", O_PATH | O_CLOEXEC);
    snprintf(name, sizeof(name), "%d", fd);
    if (openat(sandbox->proc_fds, name, O_RDONLY | O_CLOEXEC) < 0)
        return 2;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return 3;
    return 0;
}

static int body_none(const struct fixture *f, const struct vu_sandbox *sandbox)
{
    if (access("/proc/self", F_OK) < 0)
        return 10;
    return body_descriptors(f, sandbox);
}

static int body_rooted(const struct fixture *f, const struct vu_sandbox *sandbox)
{
    if (access("/marker", F_OK) < 0 || access("marker", F_OK) < 0 || access("/proc", F_OK) == 0)
        return 20;
    if (!is_same(AT_FDCWD, "/..", "/"))
        return 21;
    return body_descriptors(f, sandbox);
}

/* Nothing but the directory is mounted; no way leads up from /proc/self/fd; devices stay shut. */
static int body_namespace(const struct fixture *f, const struct vu_sandbox *sandbox)
{
    if (getpid() != 1 || !is_same(sandbox->proc_fds, "..", "."))
        return 30;
    if (geteuid() == 0 && f->uids.n_ranges == 0) {
        if (mknod("/made", S_IFCHR | 0666, makedev(1, 3)) < 0)
            return 31;
        if (open("/made", O_RDONLY) >= 0 || errno != EACCES)
            return 32;
    }
    return body_rooted(f, sandbox);
}

static bool may_unshare(int flags)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(unshare(flags) < 0);
    return program_end(pid) == 0;
}

static bool skip_unless_root(void)
{
    if (may_unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET))
        return false;
    g_test_skip("takes root");
    return true;
}

static void test_modes(struct fixture *f, gconstpointer data)
{
    f->options.mode = VU_SANDBOX_NONE;
    expect(f, body_none, 0);
    if (skip_unless_root())
        return;
    f->options.mode = VU_SANDBOX_CHROOT;
    expect(f, body_rooted, 0);
    f->options.mode = VU_SANDBOX_NAMESPACE;
    expect(f, body_namespace, 0);
}

/* Everyone's own id is the one inside. */
static int body_user(const struct fixture *f, const struct vu_sandbox *sandbox)
{
    if (getuid() != f->uid || getgid() != f->uid)
        return 40;
    return body_namespace(f, sandbox);
}

static void test_user(struct fixture *f, gconstpointer data)
{
    if (!may_unshare(CLONE_NEWUSER | CLONE_NEWNS)) {
        g_test_skip("no user namespaces here");
        return;
    }
    f->uid = geteuid() == 0 ? NOBODY : geteuid();
    f->options.mode = VU_SANDBOX_NAMESPACE;
    expect(f, body_user, 0);
}

static int body_mapped(const struct fixture *f, const struct vu_sandbox *sandbox)
{
    int fd;

    if (getuid() != 0 || getgid() != 0 || getgroups(0, NULL) != 0)
        return 50;
    fd = open("/made", O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd < 0 || fchown(fd, 5, 6) < 0)
        return 51;
    return body_namespace(f, sandbox);
}

static void test_mapped(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = g_build_filename(f->dir, "made", NULL);
    struct stat st;

    if (skip_unless_root())
        return;
    if (!may_unshare(CLONE_NEWUSER)) {
        g_test_skip("no user namespaces here");
        return;
    }
    g_assert_true(vu_id_map_add(&f->uids, ":0:100000:1000:", NULL));
    g_assert_true(vu_id_map_add(&f->gids, ":0:100000:1000:", NULL));
    f->options.mode = VU_SANDBOX_NAMESPACE;
    expect(f, body_mapped, 0);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpuint(st.st_uid, ==, FIRST_HOST + 5);
    g_assert_cmpuint(st.st_gid, ==, FIRST_HOST + 6);
}

static void test_refused(struct fixture *f, gconstpointer data)
{
    if (g_test_subprocess()) {
        f->uid = geteuid() == 0 ? NOBODY : geteuid();
        f->options.mode = VU_SANDBOX_CHROOT;
        exit(WEXITSTATUS(program_end(program_start(f, body_none))));
    }
    g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*--sandbox=chroot is not possible here*; use --sandbox=none\n");
}

static int body_status(const struct fixture *f, const struct vu_sandbox *sandbox)
{
    return 7;
}

static int body_trap(const struct fixture *f, const struct vu_sandbox *sandbox)
{
    signal(SIGILL, SIG_DFL);
    __builtin_trap();
}

/* Is late to look at its signals. */
static int body_wait_for_term(const struct fixture *f, const struct vu_sandbox *sandbox)
{
    const struct timespec patience = {.tv_sec = 10};
    sigset_t set;

    if (write(f->pipe_fd[1], "", 1) != 1)
        return 60;
    g_usleep(200000);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    return sigtimedwait(&set, NULL, &patience) == SIGTERM ? 8 : 61;
}

static int body_sleep(const struct fixture *f, const struct vu_sandbox *sandbox)
{
    if (write(f->pipe_fd[1], "", 1) == 1)
        sleep(20);
    return 70;
}

/* Says that it ends, and never does. */
static int body_take_leave(const struct fixture *f, const struct vu_sandbox *sandbox)
{
    vu_supervise_take_leave();
    return body_sleep(f, sandbox);
}

/* Whatever mode makes a child here. */
static bool skip_unless_forking(struct fixture *f)
{
    f->options.mode = VU_SANDBOX_NAMESPACE;
    if (may_unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET) ||
        may_unshare(CLONE_NEWUSER | CLONE_NEWNS))
        return false;
    g_test_skip("no namespaces here");
    return true;
}

static void test_status(struct fixture *f, gconstpointer data)
{
    int status;

    if (skip_unless_forking(f))
        return;
    expect(f, body_status, 7);
    status = program_end(program_start(f, body_trap));
    g_assert_true(WIFSIGNALED(status));
    g_assert_cmpint(WTERMSIG(status), ==, SIGILL);
}

static void test_signal(struct fixture *f, gconstpointer data)
{
    pid_t pid;
    int status;
    char byte;

    if (skip_unless_forking(f))
        return;
    pid = program_start(f, body_wait_for_term);
    g_assert_cmpint(read(f->pipe_fd[0], &byte, 1), ==, 1);
    g_assert_cmpint(kill(pid, SIGTERM), ==, 0);
    status = program_end(pid);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 8);
}

/* Nobody is left behind. */
static void test_outside_killed(struct fixture *f, gconstpointer data)
{
    pid_t pid;
    char byte;

    if (skip_unless_forking(f))
        return;
    pid = program_start(f, body_sleep);
    vu_clear_fd(&f->pipe_fd[1]);
    g_assert_cmpint(read(f->pipe_fd[0], &byte, 1), ==, 1);
    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    g_assert_true(WIFSIGNALED(program_end(pid)));
    g_assert_cmpint(read(f->pipe_fd[0], &byte, 1), ==, 0);
}

/* The process outside does not wait for what may take for ever. */
static void test_left_behind(struct fixture *f, gconstpointer data)
{
    if (!skip_unless_forking(f))
        expect(f, body_take_leave, EXIT_FAILURE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_OFF);
#define ADD(name, test) g_test_add("/sandbox/" name, struct fixture, NULL, set_up, test, tear_down)
    ADD("modes", test_modes);
    ADD("user", test_user);
    ADD("mapped", test_mapped);
    ADD("refused", test_refused);
    ADD("status", test_status);
    ADD("signal", test_signal);
    ADD("outside-killed", test_outside_killed);
    ADD("left-behind", test_left_behind);
    return g_test_run();
}
