/* SPDX-License-Identifier: Apache-2.0 */
/* Signals that a loop reads beside everything else it waits for. */
#pragma once

/* Blocks signals, ended by 0, in the calling thread and those that it creates from now on. Returns
 * a descriptor that gives a struct signalfd_siginfo for each and never waits, or -1 with errno. */
int vu_signal_fd_open(const int *signals);
