/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Terminal settings, and the many ways in which a program ends. Most of them pass by here; for
 * those that do not (SIGKILL, a system call that a filter forbids) there is the guard, a process
 * that waits for the end of a pipe. What was written last into it says whether there is something
 * to do.
 */
#include "vmm/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <termios.h>
#include <unistd.h>

/* Of crashes; signals that ask a program to end are the main loop's, which leaves by exit. */
static const int terminal_fatal_signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGSYS};

/* What the guard is told. */
#define TERMINAL_IS_RAW   'r'
#define TERMINAL_IS_SOUND 's'

static struct termios terminal_saved, terminal_raw;
static int terminal_fd = -1;    /* atomic; -1: nothing to restore */
static int terminal_guard = -1; /* the pipe to it; constant once there are threads */

static void terminal_tell_guard(char state)
{
    if (terminal_guard >= 0)
        (void)!write(terminal_guard, &state, 1);
}

/* --- the guard --- */

static void terminal_guard_run(int fd, int pipe_fd, const struct termios *settings)
    __attribute__((noreturn));

static void terminal_guard_run(int fd, int pipe_fd, const struct termios *settings)
{
    static const int others[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGTTOU};
    char state = TERMINAL_IS_SOUND;
    ssize_t n;

    /* What is sent to all that have the terminal is not for us. */
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        signal(others[i], SIG_IGN);
    prctl(PR_SET_NAME, "vmm-terminal");
    /* Readers of our output wait for its end. */
    for (int i = 0; i < pipe_fd; i++)
        if (i != fd)
            close(i);
    close_range((unsigned)pipe_fd + 1, UINT_MAX, 0);
    do
        n = read(pipe_fd, &state, 1);
    while (n > 0 || (n < 0 && errno == EINTR));
    if (state == TERMINAL_IS_RAW)
        tcsetattr(fd, TCSANOW, settings);
    _exit(EXIT_SUCCESS);
}

void vmm_terminal_guard(int fd)
{
    struct termios settings; /* as they are before this process changes them */
    int fds[2];
    pid_t pid;

    if (!isatty(fd) || tcgetattr(fd, &settings) < 0 || pipe2(fds, O_CLOEXEC) < 0)
        return;
    pid = fork();
    if (pid == 0) {
        close(fds[1]);
        terminal_guard_run(fd, fds[0], &settings);
    }
    close(fds[0]);
    if (pid > 0)
        terminal_guard = fds[1];
    else
        close(fds[1]);
}

/* --- here --- */

void vmm_terminal_restore(void)
{
    int fd = __atomic_exchange_n(&terminal_fd, -1, __ATOMIC_ACQ_REL);

    if (fd < 0)
        return;
    tcsetattr(fd, TCSANOW, &terminal_saved);
    terminal_tell_guard(TERMINAL_IS_SOUND);
}

static void terminal_on_crash(int signal_number)
{
    vmm_terminal_restore();
    raise(signal_number); /* the default action, as of SA_RESETHAND */
}

bool vmm_terminal_make_raw(int fd)
{
    struct sigaction action = {.sa_handler = terminal_on_crash, .sa_flags = (int)SA_RESETHAND};

    if (!isatty(fd) || tcgetattr(fd, &terminal_saved) < 0)
        return false;
    terminal_raw = terminal_saved;
    cfmakeraw(&terminal_raw);
    terminal_raw.c_oflag = terminal_saved.c_oflag;
    __atomic_store_n(&terminal_fd, fd, __ATOMIC_RELEASE);
    atexit(vmm_terminal_restore);
    for (size_t i = 0; i < sizeof(terminal_fatal_signals) / sizeof(terminal_fatal_signals[0]); i++)
        sigaction(terminal_fatal_signals[i], &action, NULL);
    terminal_tell_guard(TERMINAL_IS_RAW);
    tcsetattr(fd, TCSANOW, &terminal_raw);
    return true;
}

void vmm_terminal_resume(void)
{
    int fd = __atomic_load_n(&terminal_fd, __ATOMIC_ACQUIRE);

    if (fd >= 0)
        tcsetattr(fd, TCSANOW, &terminal_raw);
}
