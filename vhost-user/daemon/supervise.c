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
#include <sys/wait.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/daemon/ready.h"
#include "vhost-user/log.h"

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

    if (signal_fd < 0 || pipe2(ret_life, O_CLOEXEC) < 0)
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

/* In the child: it keeps the reading end of one pipe and the writing end of the other. */
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
        .child = child, .life_fd = life[1], .ready_fd = ready[0], .signal_fd = signal_fd};
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
    vu_clear_fd(&supervision->life_fd);
    return alive;
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

/* Waits for something to pass on, one way or the other, or for the child's end. */
static void supervise_pass_on(struct vu_supervision *supervision)
{
    struct pollfd fds[] = {
        {.fd = supervision->signal_fd, .events = POLLIN},
        {.fd = supervision->ready_fd, .events = POLLIN},
    };
    struct signalfd_siginfo info;
    char byte;

    if (poll(fds, G_N_ELEMENTS(fds), -1) < 0)
        return;
    if (fds[1].revents != 0) {
        if (read(supervision->ready_fd, &byte, 1) == 1)
            vu_ready_announce();
        vu_clear_fd(&supervision->ready_fd);
    }
    if (fds[0].revents != 0 && read(supervision->signal_fd, &info, sizeof(info)) == sizeof(info) &&
        info.ssi_signo != SIGCHLD)
        kill(supervision->child, (int)info.ssi_signo);
}

int vu_supervise_wait(struct vu_supervision *supervision, const char *program)
{
    int status;

    /* A child that was stopped or continued raises SIGCHLD, too. */
    while (waitpid(supervision->child, &status, WNOHANG) != supervision->child)
        supervise_pass_on(supervision);
    supervise_close(supervision);
    vu_daemon_remove_socket();
    return supervise_end(program, status);
}
