/* SPDX-License-Identifier: Apache-2.0 */
/* Where --metrics listens. At start-up, before the sandbox. */
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/daemon/metrics.h"
#include "vhost-user/daemon/options.h"

#define METRICS_UNIX    "unix:"
#define METRICS_BACKLOG 16

static int metrics_fail(GError **error, const char *where, const char *why)
{
    g_set_error(error, VU_OPTION_ERROR, 0, "--metrics=%s: %s", where, why);
    return -1;
}

/* HOST:PORT, [HOST]:PORT; false where it is neither. */
static bool metrics_split(const char *where, char **ret_host, char **ret_port)
{
    const char *colon = strrchr(where, ':'), *host = where;
    size_t host_len = colon ? (size_t)(colon - where) : 0;

    if (host_len == 0 || colon[1] == '\0')
        return false;
    if (host[0] == '[' && host_len > 2 && host[host_len - 1] == ']') {
        host++;
        host_len -= 2;
    } else if (memchr(host, ':', host_len)) {
        return false;
    }
    *ret_host = g_strndup(host, host_len);
    *ret_port = g_strdup(colon + 1);
    return true;
}

static int metrics_listen_at(const struct addrinfo *address)
{
    vu_autofd int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;

    /* A daemon that is started again finds its port in use by connections that have ended. */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, METRICS_BACKLOG) < 0)
        return -1;
    return vu_steal_fd(&fd);
}

int vu_metrics_listen(const char *where, GError **error)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    g_autofree char *host = NULL, *port = NULL;
    struct addrinfo *addresses;
    int fd = -1, err;

    /* Without a name the kernel would choose one. */
    if (g_str_has_prefix(where, METRICS_UNIX) && where[strlen(METRICS_UNIX)] != '\0')
        return vu_daemon_listen_at("--metrics", where + strlen(METRICS_UNIX), error);
    if (!metrics_split(where, &host, &port))
        return metrics_fail(error, where, "expected unix:PATH or HOST:PORT");
    err = getaddrinfo(host, port, &hints, &addresses);
    if (err != 0)
        return metrics_fail(error, where, gai_strerror(err));
    for (const struct addrinfo *a = addresses; a && fd < 0; a = a->ai_next)
        fd = metrics_listen_at(a);
    err = errno;
    freeaddrinfo(addresses);
    return fd >= 0 ? fd : metrics_fail(error, where, g_strerror(err));
}
