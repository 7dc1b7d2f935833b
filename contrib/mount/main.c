/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-user-mount: mounts a running virtiofsd on the host itself, without a VM.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "contrib/mount/bridge.h"
#include "contrib/mount/mount-options.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"
#include "vhost-user/signal-fd.h"

/* A descriptor that is readable once the user wants the program to end. */
static int open_stop_fd(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, 0};

    signal(SIGPIPE, SIG_IGN);
    return vu_signal_fd_open(signals);
}

static int fail(GError *error)
{
    fprintf(stderr, "vhost-user-mount: %s\n", error->message);
    g_error_free(error);
    return 1;
}

static int mount_and_serve(const struct mount_options *options)
{
    vu_autofd int stop_fd = -1;
    GError *error = NULL;
    struct fuse_mount *mount;
    struct bridge *bridge;
    int rc;

    bridge = bridge_create(&options->bridge, &error);
    if (!bridge)
        return fail(error);
    stop_fd = open_stop_fd(); /* so far a signal just ends the program */
    mount = fuse_mount_open(options->dir, options->fuse_options->str, &error);
    if (!mount) {
        bridge_destroy(bridge);
        return fail(error);
    }
    rc = bridge_run(bridge, mount, stop_fd);
    bridge_destroy(bridge);
    return rc < 0;
}

int main(int argc, char **argv)
{
    struct mount_options options;
    int status = 1;

    mount_options_init(&options);
    if (mount_options_parse(&options, argc, argv, &status))
        status = mount_and_serve(&options);
    mount_options_clear(&options);
    return status;
}
