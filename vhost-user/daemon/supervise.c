/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals outside are blocked and fetched one by one, so that nothing happens in a handler. The
 * child in a pid namespace is its init: the kernel drops a signal for which init has no handler,
 * unless it is blocked.
 */
#include "vhost-user/daemon/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/log.h"

static void supervise_signals(sigset_t *ret_set)
{
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGTERM);
    sigaddset(ret_set, SIGINT);
    sigaddset(ret_set, SIGCHLD);
}

int vu_supervise_fork(struct vu_supervision *ret_supervision)
{
    sigset_t set, saved;
    int fds[2];
    pid_t child;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    supervise_signals(&set);
    sigprocmask(SIG_BLOCK, &set, &saved);
    child = fork();
    if (child < 0) {
        int err = errno;

        sigprocmask(SIG_SETMASK, &saved, NULL);
        close(fds[0]);
        close(fds[1]);
        return -err;
    }
    if (child == 0) {
        sigdelset(&set, SIGTERM);
        sigdelset(&set, SIGINT);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
    }
    close(fds[child == 0]);
    *ret_supervision = (struct vu_supervision){.child = child, .life_fd = fds[child != 0]};
    return 0;
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

int vu_supervise_wait(struct vu_supervision *supervision, const char *program)
{
    pid_t child = supervision->child;
    siginfo_t info;
    sigset_t set;
    int status;

    supervise_signals(&set);
    /* A child that was stopped or continued raises SIGCHLD, too. */
    while (waitpid(child, &status, WNOHANG) != child) {
        int sig = sigwaitinfo(&set, &info);

        if (sig == SIGTERM || sig == SIGINT)
            kill(child, sig);
    }
    vu_clear_fd(&supervision->life_fd);
    vu_daemon_remove_socket();
    return supervise_end(program, status);
}
