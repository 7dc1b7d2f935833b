/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's socket, as parse.c and daemon.c see it beside vu_daemon_open_socket (daemon.h). */
#pragma once

#include <stdbool.h>

/* Whether systemd hands this very process a socket (LISTEN_FDS, LISTEN_PID). */
bool vu_daemon_is_activated(void);

/* Whether fd listens, rather than being connected. */
bool vu_daemon_is_listening(int fd);

/*
 * Removes the socket file that vu_daemon_open_socket made, unless another has taken its place. It
 * is found through its directory's descriptor, so that a changed root or working directory is no
 * matter. Once; any thread.
 */
void vu_daemon_remove_socket(void);

/* Leaves the socket file to another process, which has the same knowledge of it. */
void vu_daemon_forget_socket(void);
