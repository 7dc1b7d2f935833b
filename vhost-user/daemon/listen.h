/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's sockets, as parse.c and daemon.c see them beside vu_daemon_open_socket (daemon.h).
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* Whether systemd hands this very process a socket (LISTEN_FDS, LISTEN_PID). */
bool vu_daemon_is_activated(void);

/*
 * systemd's sockets of that name, which a program of ours knows and the library does not: stream
 * sockets of any family that listen, at most max. To be called before vu_daemon_open_sockets, which
 * takes what nobody has for front-ends. How many; -1 with *error.
 */
int vu_daemon_take_activated(const char *name, int *ret_fds, unsigned max, GError **error);

/* A socket that listens at path, mode 0600; a stale one is replaced, a live one refused. -1 with
 * *error, which names the option. */
int vu_daemon_listen_at(const char *option, const char *path, GError **error);

/* Whether fd listens, rather than being connected. */
bool vu_daemon_is_listening(int fd);

/* Whether the socket's path held that of a daemon that did not remove it: it was killed. */
bool vu_daemon_is_successor(void);

/*
 * Removes the socket files that vu_daemon_open_socket and the like made, unless others have taken
 * their places. They are found through their directories' descriptors, so that a changed root or
 * working directory is no matter. Once; any thread.
 */
void vu_daemon_remove_socket(void);

/* Leaves the socket files to another process, which has the same knowledge of them. */
void vu_daemon_forget_socket(void);
