/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of listen.h share: sockets that somebody else opened, and those made at a path. */
#pragma once

#include <glib.h>
#include <sys/types.h>

#include "vhost-user/daemon/daemon.h"

/* Sets *error to the formatted text and the text of err (0: none); returns -1. */
int listen_fail(GError **error, int err, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* --- listen-inherited.c --- */

/* Checks a descriptor that somebody else opened: a stream socket of that domain (AF_UNSPEC: any).
 * `origin` names it: "--fd=5". */
int listen_adopt(int fd, int wanted, const char *origin, GError **error);
/* "fd:5": the inherited socket 5, which listens. -1 with *error. */
int listen_adopt_named(const char *text, const char *origin, GError **error);
#define LISTEN_FD_PREFIX "fd:"

/* Those of systemd's sockets that are for that, in their order. How many; -1 with *error: more than
 * max, or what is no socket. */
int listen_find_activated(enum vu_daemon_socket purpose, int *ret_fds, unsigned max,
                          GError **error);
/* For front-ends; the last to be asked for, since the environment is forgotten. */
int listen_adopt_activated(int *ret_fds, unsigned max, GError **error);

/* --- listen-path.c --- */

/* A listening socket, which is the group's, too (gid NULL: nobody else's). `option` says what asks
 * for it. -1 with *error. */
int listen_at_path(const char *option, const char *path, const gid_t *gid, GError **error);
