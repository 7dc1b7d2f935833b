/* SPDX-License-Identifier: Apache-2.0 */
/* See signal-fd.h. */
#include "vhost-user/signal-fd.h"

#include <signal.h>
#include <sys/signalfd.h>

int vu_signal_fd_open(const int *signals)
{
    sigset_t set;

    sigemptyset(&set);
    for (; *signals != 0; signals++)
        sigaddset(&set, *signals);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}
