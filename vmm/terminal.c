/* SPDX-License-Identifier: Apache-2.0 */
/* Terminal settings, and the many ways in which a program ends. */
#include "vmm/terminal.h"

#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

/* Of crashes; signals that ask a program to end are the main loop's, which leaves by exit. */
static const int terminal_fatal_signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGSYS};

static struct termios terminal_saved, terminal_raw;
static int terminal_fd = -1; /* atomic; -1: nothing to restore */

void vmm_terminal_restore(void)
{
    int fd = __atomic_exchange_n(&terminal_fd, -1, __ATOMIC_ACQ_REL);

    if (fd >= 0)
        tcsetattr(fd, TCSANOW, &terminal_saved);
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
    tcsetattr(fd, TCSANOW, &terminal_raw);
    return true;
}

void vmm_terminal_resume(void)
{
    int fd = __atomic_load_n(&terminal_fd, __ATOMIC_ACQUIRE);

    if (fd >= 0)
        tcsetattr(fd, TCSANOW, &terminal_raw);
}
