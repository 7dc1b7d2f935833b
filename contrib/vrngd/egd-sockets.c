/* SPDX-License-Identifier: Apache-2.0 */
/* See egd-sockets.h. */
#include "contrib/vrngd/egd-sockets.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/address.h"
#include "vhost-user/daemon/listen.h"

#define SOCKETS_OPTION    "egd-listen"
#define SOCKETS_GROUP     "Serving others"
#define SOCKETS_ACTIVATED "egd" /* what systemd calls its sockets for this */
#define SOCKETS_MAX_FDS   8192  /* of the process, where it is allowed so many */

/* --- options --- */

static bool sockets_parse(void *target, const char *name, const char *value, GError **error)
{
    struct egd_options *options = target;
    struct vu_address address;

    if (!vu_address_parse(value, &address, error))
        return false;
    vu_address_clear(&address);
    for (unsigned i = 0; i < EGD_MAX_LISTEN; i++)
        if (!options->listen[i]) {
            options->listen[i] = g_strdup(value);
            return true;
        }
    g_set_error(error, VU_OPTION_ERROR, 0, "expected at most %d of them", EGD_MAX_LISTEN);
    return false;
}

/* clang-format off */
static const struct vu_option sockets_rows[] = {
    {.name = SOCKETS_OPTION, .is_long = true, .type = VU_OPTION_CALL, .parse = sockets_parse,
     .metavar = "unix:PATH|HOST:PORT", .group = SOCKETS_GROUP,
     .help = "Give random bytes to EGD clients, too: on a unix socket (mode 0600), or on a port, "
             "where whoever can connect is served, unencrypted. Up to four times; without it, on "
             "those that systemd calls \"egd\", if any. Each client has the limits of a device. What a client writes is mixed into the host's pool and "
             "credited nothing."},
};
/* clang-format on */

void egd_options_init(struct egd_options *options)
{
    *options = (struct egd_options){0};
}

void egd_options_clear(struct egd_options *options)
{
    for (unsigned i = 0; i < EGD_MAX_LISTEN; i++)
        g_clear_pointer(&options->listen[i], g_free);
}

struct vu_option_table egd_options_table(struct egd_options *options)
{
    return (struct vu_option_table){sockets_rows, G_N_ELEMENTS(sockets_rows), options};
}

/* --- sockets --- */

/* Where no option says, systemd's. False with *error. */
static bool sockets_listen(struct egd_sockets *sockets, const struct egd_options *options,
                           GError **error)
{
    if (!options->listen[0])
        return vu_daemon_take_activated(SOCKETS_ACTIVATED, sockets->fds, EGD_MAX_LISTEN, error) >=
               0;
    for (unsigned i = 0; i < EGD_MAX_LISTEN && options->listen[i]; i++) {
        sockets->fds[i] = vu_address_listen("--" SOCKETS_OPTION, options->listen[i], error);
        if (sockets->fds[i] < 0)
            return false;
    }
    return true;
}

/* Half of the descriptors stay for front-ends, whatever clients come. */
static int sockets_limit_clients(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return INT_MAX;
    if (limit.rlim_cur < SOCKETS_MAX_FDS) {
        limit.rlim_cur = MIN(limit.rlim_max, SOCKETS_MAX_FDS);
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    return (int)MIN(limit.rlim_cur / 2, INT_MAX);
}

bool egd_sockets_open(struct egd_sockets *sockets, const struct egd_options *options,
                      GError **error)
{
    *sockets = (struct egd_sockets){.fds = {-1, -1, -1, -1}, .mix_fd = -1, .pid = getpid()};
    if (!sockets_listen(sockets, options, error)) {
        egd_sockets_close(sockets);
        vu_daemon_remove_socket();
        return false;
    }
    if (sockets->fds[0] < 0)
        return true;
    sockets->mix_fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
    sockets->max_client_fd = sockets_limit_clients();
    return true;
}

void egd_sockets_close(struct egd_sockets *sockets)
{
    for (unsigned i = 0; i < EGD_MAX_LISTEN; i++)
        vu_clear_fd(&sockets->fds[i]);
    vu_clear_fd(&sockets->mix_fd);
}
