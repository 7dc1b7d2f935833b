/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals outside are blocked and fetched one by one, so that nothing happens in a handler. The
 * child in a pid namespace is its init: the kernel drops a signal for which init has no handler,
 * unless it is blocked.
 */
#include "vhost-user/daemon/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/daemon/ready.h"
#include "vhost-user/log.h"

/* In the child, once it is bound: its end of life_fd. */
static int supervise_bond_fd = -1;

void vu_supervise_signals(sigset_t *ret_set)
{
    struct sigaction hangup;

    sigemptyset(ret_set);
    sigaddset(ret_set, SIGTERM);
    sigaddset(ret_set, SIGINT);
    sigaddset(ret_set, SIGUSR1);
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaddset(ret_set, SIGHUP);
}

static void supervise_close(struct vu_supervision *supervision)
{
    vu_clear_fd(&supervision->life_fd);
    vu_clear_fd(&supervision->ready_fd);
    vu_clear_fd(&supervision->signal_fd);
}

/* What both sides have to open: pairs of descriptors, and the outside's signals. 0 or -errno. */
static int supervise_open(const sigset_t *set, int *ret_life, int *ret_ready, int *ret_signal_fd)
{
    vu_autofd int signal_fd = signalfd(-1, set, SFD_CLOEXEC);

    if (signal_fd < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_life) < 0)
        return -errno;
    if (pipe2(ret_ready, O_CLOEXEC) < 0) {
        int err = errno;

        close(ret_life[0]);
        close(ret_life[1]);
        return -err;
    }
    *ret_signal_fd = vu_steal_fd(&signal_fd);
    return 0;
}

/* In the child: it keeps one end of the pair and the writing end of the pipe. */
static void supervise_become_child(struct vu_supervision *supervision, const int *life,
                                   const int *ready, int signal_fd)
{
    sigset_t child_end;

    sigemptyset(&child_end);
    sigaddset(&child_end, SIGCHLD);
    sigprocmask(SIG_UNBLOCK, &child_end, NULL);
    close(life[1]);
    close(ready[0]);
    close(signal_fd);
    vu_ready_pass_to(ready[1]);
    *supervision =
        (struct vu_supervision){.child = 0, .life_fd = life[0], .ready_fd = -1, .signal_fd = -1};
}

int vu_supervise_fork(struct vu_supervision *ret_supervision)
{
    int life[2], ready[2], signal_fd = -1, ret;
    sigset_t set, saved;
    pid_t child;

    vu_supervise_signals(&set);
    sigaddset(&set, SIGCHLD);
    ret = supervise_open(&set, life, ready, &signal_fd);
    if (ret < 0)
        return ret;
    sigprocmask(SIG_BLOCK, &set, &saved);
    child = fork();
    if (child == 0) {
        supervise_become_child(ret_supervision, life, ready, signal_fd);
        return 0;
    }
    ret = child < 0 ? -errno : 0;
    close(life[0]);
    close(ready[1]);
    *ret_supervision = (struct vu_supervision){
        .child = child,
        .life_fd = life[1],
        .ready_fd = ready[0],
        .signal_fd = signal_fd,
    };
    if (ret < 0) {
        sigprocmask(SIG_SETMASK, &saved, NULL);
        supervise_close(ret_supervision);
    }
    return ret;
}

bool vu_supervise_bind(struct vu_supervision *supervision)
{
    struct pollfd fd = {.fd = supervision->life_fd};
    bool alive;

    /* First the request, then the look: the end of the other cannot fall between them. */
    alive = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && poll(&fd, 1, 0) == 0;
    supervise_bond_fd = vu_steal_fd(&supervision->life_fd);
    return alive;
}

void vu_supervise_take_leave(void)
{
    vu_clear_fd(&supervise_bond_fd);
}

/* The child's end as our own. */
static int supervise_end(const char *program, int status)
{
    struct rlimit no_core = {0, 0};
    int sig = WTERMSIG(status);
    sigset_t set;

    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    vu_error("%s: killed by signal %d (%s)%s", program, sig, strsignal(sig),
             sig == SIGSYS ? ": a system call that the filter does not know, see --seccomp" : "");
    setrlimit(RLIMIT_CORE, &no_core);
    signal(sig, SIG_DFL);
    raise(sig);
    sigemptyset(&set);
    sigaddset(&set, sig);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    return 128 + sig;
}

/* It is about to end, or would but for a thread that the kernel holds, until when there is nothing
 * to wait for. */
static void supervise_expect_end(struct vu_supervision *supervision)
{
    vu_clear_fd(&supervision->life_fd);
    if (supervision->leave_ms == 0)
        supervision->leave_ms = vu_now_ms() + VU_SUPERVISE_END_S * 1000;
}

static int supervise_timeout_ms(const struct vu_supervision *supervision)
{
    return supervision->leave_ms == 0 ? -1 : (int)MAX(supervision->leave_ms - vu_now_ms(), 0);
}

/* Waits for something to pass on, one way or the other, or for news of the child's end. */
static void supervise_pass_on(struct vu_supervision *supervision)
{
    enum { SIGNALS, READY, LIFE };
    struct pollfd fds[] = {
        [SIGNALS] = {.fd = supervision->signal_fd, .events = POLLIN},
        [READY] = {.fd = supervision->ready_fd, .events = POLLIN},
        [LIFE] = {.fd = supervision->life_fd},
    };
    struct signalfd_siginfo info;
    char byte;

    if (poll(fds, G_N_ELEMENTS(fds), supervise_timeout_ms(supervision)) < 0)
        return;
    if (fds[READY].revents != 0) {
        if (read(supervision->ready_fd, &byte, 1) == 1)
            vu_ready_announce();
        vu_clear_fd(&supervision->ready_fd);
    }
    if (fds[SIGNALS].revents != 0 &&
        read(supervision->signal_fd, &info, sizeof(info)) == sizeof(info) &&
        info.ssi_signo != SIGCHLD)
        kill(supervision->child, (int)info.ssi_signo);
    if (fds[LIFE].revents != 0)
        supervise_expect_end(supervision);
}

int vu_supervise_wait(struct vu_supervision *supervision, const char *program)
{
    pid_t ended;
    int status;

    /* A child that was stopped or continued raises SIGCHLD, too. */
    while ((ended = waitpid(supervision->child, &status, WNOHANG)) != supervision->child &&
           supervise_timeout_ms(supervision) != 0)
        supervise_pass_on(supervision);
    supervise_close(supervision);
    vu_daemon_remove_socket();
    if (ended == supervision->child)
        return supervise_end(program, status);
    vu_error("%s: process %d hangs in the kernel, leaving it behind", program,
             (int)supervision->child);
    return EXIT_FAILURE;
}
