/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtiofsd: parse, open the share and the socket, serve, close.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "vhost-user/daemon/daemon.h"
#include "virtiofsd/device.h"

static const char man_text[] =
    ".SH DESCRIPTION\n"
    "The guest mounts the directory with \\fBmount -t virtiofs TAG DIR\\fR. virtiofsd listens on "
    "a\n"
    "unix socket for the virtual machine monitor, serves it, and listens again when it has gone.\n"
    "It stays in the foreground and ends on SIGTERM.\n"
    ".SH EXIT STATUS\n"
    "0 after SIGTERM, SIGINT or the end of an only session; 1 where it could not start.\n";

static const struct vu_program program = {
    .name = "virtiofsd",
    .usage = "virtiofsd --socket-path=PATH --shared-dir=DIR [OPTION]...",
    .summary = "share a host directory with a virtual machine",
    .device_type = "fs",
    .man_text = man_text,
};

static int fail(GError *error)
{
    fprintf(stderr, "%s: %s\n", program.name, error->message);
    g_error_free(error);
    return 1;
}

static int serve(const struct vu_daemon_options *daemon, const struct fs_options *options)
{
    struct vu_device device;
    struct fs_share share;
    GError *error = NULL;
    int socket_fd, status;

    if (!fs_options_check(options, &error) || !fs_share_open(&share, options, &error))
        return fail(error);
    socket_fd = vu_daemon_open_socket(daemon, &error);
    if (socket_fd < 0) {
        fs_share_close(&share);
        return fail(error);
    }
    umask(0); /* what is created gets the mode that the guest asks for */
    fs_device_describe(options, &device);
    status = vu_daemon_run(daemon, &device, &share, socket_fd);
    fs_share_close(&share);
    return status;
}

int main(int argc, char **argv)
{
    struct vu_daemon_options daemon;
    struct fs_options options;
    struct vu_option_table table = {fs_option_rows, fs_n_option_rows, &options};
    int status = 1;

    vu_daemon_options_init(&daemon);
    fs_options_init(&options);
    if (vu_daemon_parse(&program, &daemon, &table, argc, argv, &status))
        status = serve(&daemon, &options);
    fs_options_clear(&options);
    vu_daemon_options_clear(&daemon);
    return status;
}
