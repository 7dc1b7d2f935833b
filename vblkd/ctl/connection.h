/* SPDX-License-Identifier: Apache-2.0 */
/* A control socket, from the client's side: a line goes out, a line comes back. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

#define CTL_MAX_FDS 8

struct ctl_connection {
    int fd;
    GString *in;
};

/* NULL with *error. The greeting is waited for, which tells that it is such a socket. */
struct ctl_connection *ctl_connect(const char *path, GError **error);
void ctl_disconnect(struct ctl_connection *connection);

/* Sends a line (its end is added), with descriptors, which stay the caller's. */
bool ctl_send(struct ctl_connection *connection, const char *line, const int *fds, unsigned n_fds,
              GError **error);
/* The next line, without its end; g_free. NULL with *error: also where the daemon is gone. */
char *ctl_receive(struct ctl_connection *connection, GError **error);
/* The next line that is no event; json_node_unref. */
JsonNode *ctl_receive_answer(struct ctl_connection *connection, GError **error);

/* Sends a command, takes `arguments` (NULL: none), and returns what it returns; an error of the
 * daemon's is *error. */
JsonNode *ctl_execute(struct ctl_connection *connection, const char *command, JsonNode *arguments,
                      const int *fds, unsigned n_fds, GError **error);
