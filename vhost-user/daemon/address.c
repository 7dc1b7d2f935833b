/* SPDX-License-Identifier: Apache-2.0 */
/* See address.h. */
#include "vhost-user/daemon/address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/daemon/options.h"

#define ADDRESS_UNIX     "unix:"
#define ADDRESS_BACKLOG  64
#define ADDRESS_MAX_PORT 65535

/* A name, or a number of which nothing is lost in the sixteen bits of a port. */
static bool address_may_be_port(const char *port)
{
    char *end;
    guint64 number = g_ascii_strtoull(port, &end, 10);

    return *port != '\0' && (*end != '\0' || number <= ADDRESS_MAX_PORT);
}

/* HOST:PORT, [HOST]:PORT; false where it is neither. */
static bool address_split(const char *where, struct vu_address *ret_address)
{
    const char *colon = strrchr(where, ':'), *host = where;
    size_t host_len = colon ? (size_t)(colon - where) : 0;

    if (host_len == 0 || !address_may_be_port(colon + 1))
        return false;
    if (host[0] == '[' && host_len > 2 && host[host_len - 1] == ']') {
        host++;
        host_len -= 2;
    } else if (memchr(host, ':', host_len)) {
        return false;
    }
    ret_address->host = g_strndup(host, host_len);
    ret_address->port = g_strdup(colon + 1);
    return true;
}

bool vu_address_parse(const char *where, struct vu_address *ret_address, GError **error)
{
    *ret_address = (struct vu_address){0};
    /* Without a name the kernel would choose one. */
    if (g_str_has_prefix(where, ADDRESS_UNIX) && where[strlen(ADDRESS_UNIX)] != '\0') {
        ret_address->path = g_strdup(where + strlen(ADDRESS_UNIX));
        return true;
    }
    if (address_split(where, ret_address))
        return true;
    g_set_error(error, VU_OPTION_ERROR, 0, "expected unix:PATH or HOST:PORT, got \"%s\"", where);
    return false;
}

void vu_address_clear(struct vu_address *address)
{
    g_clear_pointer(&address->path, g_free);
    g_clear_pointer(&address->host, g_free);
    g_clear_pointer(&address->port, g_free);
}

/*
 * Connections inherit these. A daemon that is started again finds its port in use by connections
 * that have ended; an answer does not wait for more of the same; a host that is gone without a word
 * does not stay a client for ever.
 */
static const struct address_socket_option {
    int level, name, value;
} address_socket_options[] = {
    {SOL_SOCKET, SO_REUSEADDR, 1},    {IPPROTO_TCP, TCP_NODELAY, 1},
    {SOL_SOCKET, SO_KEEPALIVE, 1},    {IPPROTO_TCP, TCP_KEEPIDLE, 60},
    {IPPROTO_TCP, TCP_KEEPINTVL, 20}, {IPPROTO_TCP, TCP_KEEPCNT, 3},
};

static int address_listen_at(const struct addrinfo *info)
{
    vu_autofd int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    for (size_t i = 0; fd >= 0 && i < G_N_ELEMENTS(address_socket_options); i++) {
        const struct address_socket_option *option = &address_socket_options[i];

        if (setsockopt(fd, option->level, option->name, &option->value, sizeof(option->value)) < 0)
            return -1;
    }
    if (fd < 0 || bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, ADDRESS_BACKLOG) < 0)
        return -1;
    return vu_steal_fd(&fd);
}

static int address_listen_port(const char *option, const char *where,
                               const struct vu_address *address, GError **error)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *infos = NULL;
    int fd = -1, err = getaddrinfo(address->host, address->port, &hints, &infos);
    const char *why = err != 0 ? gai_strerror(err) : NULL;

    for (const struct addrinfo *info = infos; info && fd < 0; info = info->ai_next)
        fd = address_listen_at(info);
    if (fd < 0)
        g_set_error(error, VU_OPTION_ERROR, 0, "%s=%s: %s", option, where,
                    why ? why : g_strerror(errno));
    if (infos)
        freeaddrinfo(infos);
    return fd;
}

int vu_address_listen(const char *option, const char *where, GError **error)
{
    struct vu_address address;
    int fd;

    if (!vu_address_parse(where, &address, error)) {
        g_prefix_error(error, "%s: ", option);
        return -1;
    }
    if (address.path) {
        fd = vu_daemon_listen_at(option, address.path, error);
        if (fd >= 0)
            (void)listen(fd, ADDRESS_BACKLOG); /* more of them than front-ends */
    } else {
        fd = address_listen_port(option, where, &address, error);
    }
    vu_address_clear(&address);
    return fd;
}
