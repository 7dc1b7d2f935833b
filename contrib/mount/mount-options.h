/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of vhost-user-mount. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "contrib/mount/bridge.h"

struct mount_options {
    struct bridge_config bridge; /* its strings are argv's */
    const char *dir;             /* argv's */
    GString *fuse_options;       /* for libfuse, comma separated */
    int n_queues, depth, poll_us, connect_timeout, reconnect_timeout; /* seconds the last two */
    bool no_reconnect, packed, foreground, syslog;
    bool help, version, print_man, print_completion;
    int log_level;
};

void mount_options_init(struct mount_options *options);
void mount_options_clear(struct mount_options *options);
/* True to go on; false with *ret_exit_status: --help was printed, or an error. */
bool mount_options_parse(struct mount_options *options, int argc, char **argv,
                         int *ret_exit_status);
