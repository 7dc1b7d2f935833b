/* SPDX-License-Identifier: Apache-2.0 */
/* --egd-listen: where EGD is served (egd-server.h), and what for that is opened before the sandbox.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "vhost-user/daemon/options.h"

#define EGD_MAX_LISTEN 4

struct egd_options {
    char *listen[EGD_MAX_LISTEN]; /* "unix:PATH" or "HOST:PORT", those that are not NULL */
};

void egd_options_init(struct egd_options *options);
void egd_options_clear(struct egd_options *options);
struct vu_option_table egd_options_table(struct egd_options *options);

struct egd_sockets {
    int fds[EGD_MAX_LISTEN]; /* that listen; -1: none */
    int mix_fd;              /* /dev/urandom, for what clients write; -1: it goes nowhere */
    int max_client_fd;       /* descriptors from this on are not for clients */
    pid_t pid;               /* as others know this process */
};

/* Before vu_daemon_open_sockets. False with *error, and none open. */
bool egd_sockets_open(struct egd_sockets *sockets, const struct egd_options *options,
                      GError **error);
/* Files of sockets stay (vu_daemon_remove_socket). */
void egd_sockets_close(struct egd_sockets *sockets);
