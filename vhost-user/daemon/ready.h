/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for the daemon to be ready, and how they are told: systemd by a datagram to
 * $NOTIFY_SOCKET (sd_notify(3)), a shell that gave --daemonize by the end of the process it
 * started.
 *
 * systemd only believes the process that it started, so a daemon that works in a child of it
 * (supervise.c) tells that process, which passes it on. Main thread.
 */
#pragma once

#include <stdbool.h>

/* Before anything is opened: where 0, 1 or 2 are closed, what is opened would get that number and
 * the log be written to it. */
void vu_ready_secure_standard_fds(void);
/*
 * First of all, before there are threads and sockets. With `background`, what follows happens in
 * another process: true in that one; false in the one that was started, when the other is ready or
 * has ended, with main's exit status in *ret_exit_status (the reason is told). Without, true.
 */
bool vu_ready_prepare(const char *program, bool background, int *ret_exit_status);
/* Requests can be served from now on. In the background, standard input, output and error are gone
 * after this. Only the first call does something. */
void vu_ready_announce(void);
/* In a child: whoever reads the other end of fd passes on that we are ready. Takes fd over. */
void vu_ready_pass_to(int fd);
