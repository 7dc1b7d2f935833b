/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest daemon on the library: what a driver writes into the out part of a request, it finds
 * in the in part. A request that begins with "hang" never ends.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/daemon.h"
#include "vhost-user/daemon/process.h"
#include "vhost-user/iov.h"
#include "vhost-user/log.h"

#define ECHO_MAX      65536
#define ECHO_N_QUEUES 4

struct echo_options {
    char *touch; /* a file to make, when all is well with the command line */
};

/* clang-format off */
static const struct vu_option echo_rows[] = {
    {.name = "touch", .is_long = true, .type = VU_OPTION_STRING,
     .offset = offsetof(struct echo_options, touch), .metavar = "FILE", .group = "Echo",
     .help = "Make FILE before serving."},
};
/* clang-format on */

static void echo_process(void *device, struct vu_vring *vring, struct vu_elem **elems, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct vu_iov_cursor out, in;
        char buf[ECHO_MAX];
        size_t len;

        vu_iov_cursor_init(&out, elems[i]->iov, elems[i]->n_out, 0);
        vu_iov_cursor_init(&in, elems[i]->iov + elems[i]->n_out, elems[i]->n_in, 0);
        len = vu_iov_read(&out, buf, sizeof(buf));
        while (len >= 4 && memcmp(buf, "hang", 4) == 0)
            pause();
        elems[i]->written = (uint32_t)vu_iov_write(&in, buf, len);
    }
    vu_vring_push(vring, elems, n);
}

static const struct vu_device echo_device = {
    .name = "echo-daemon",
    .n_queues = ECHO_N_QUEUES,
    .worker = {.process = echo_process},
};

static const struct vu_program echo_program = {
    .name = "echo-daemon",
    .summary = "gives back what it is given",
    .usage = "echo-daemon --socket-path=PATH [OPTION]...",
    .device_type = "echo",
};

int main(int argc, char **argv)
{
    struct echo_options own = {.touch = NULL};
    const struct vu_option_table own_table = {echo_rows, G_N_ELEMENTS(echo_rows), &own};
    struct vu_daemon_options options;
    g_autoptr(GError) error = NULL;
    struct vu_daemon_sockets sockets;
    vu_autofd int proc_fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int status = EXIT_FAILURE;

    vu_process_count_fds(proc_fds);
    vu_daemon_options_init(&options);
    if (vu_daemon_parse(&echo_program, &options, &own_table, 1, argc, argv, &status)) {
        if (vu_daemon_open_sockets(&options, &sockets, &error) &&
            (own.touch == NULL || g_file_set_contents(own.touch, "", 0, &error)))
            status = vu_daemon_run(&options, &echo_device, NULL, &sockets);
        else
            fprintf(stderr, "echo-daemon: %s\n", error->message);
    }
    vu_daemon_options_clear(&options);
    g_free(own.touch);
    return status;
}
