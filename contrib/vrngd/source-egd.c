/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An EGD server as a source. "egd:" asks it to wait until it has enough; "egd-poll:" takes what it
 * has and asks again, for servers that do not serve others while one waits.
 */
#include "contrib/vrngd/egd-client.h"
#include "contrib/vrngd/egd-connector.h"
#include "contrib/vrngd/source.h"
#include "vhost-user/daemon/address.h"
#include "vhost-user/daemon/options.h"

#include <netdb.h>
#include <sys/socket.h>

struct rng_egd {
    struct rng_source source; /* first */
    struct egd_client *client;
};

static int source_egd_open(struct rng_source *source)
{
    return egd_client_open(((struct rng_egd *)source)->client);
}

static void source_egd_want(struct rng_source *source, size_t size)
{
    egd_client_want(((struct rng_egd *)source)->client, size);
}

static int source_egd_poll_fd(const struct rng_source *source, short *ret_events)
{
    return egd_client_poll_fd(((const struct rng_egd *)source)->client, ret_events);
}

static ssize_t source_egd_read(struct rng_source *source, void *to, size_t size)
{
    return egd_client_read(((struct rng_egd *)source)->client, to, size);
}

static void source_egd_close(struct rng_source *source)
{
    egd_client_close(((struct rng_egd *)source)->client);
}

static void source_egd_destroy(struct rng_source *source)
{
    egd_client_destroy(((struct rng_egd *)source)->client);
    g_free(source);
}

static const struct rng_source_ops source_egd_ops = {
    .open = source_egd_open,
    .want = source_egd_want,
    .poll_fd = source_egd_poll_fd,
    .read = source_egd_read,
    .close = source_egd_close,
    .destroy = source_egd_destroy,
};

/* The host is looked up when it is connected to, and the port now: it is in a file. */
static bool source_egd_check_port(const struct vu_address *address, GError **error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *infos;
    int err = address->path ? 0 : getaddrinfo(NULL, address->port, &hints, &infos);

    if (err != 0) {
        g_set_error(error, VU_OPTION_ERROR, 0, "expected a port, got \"%s\"", address->port);
        return false;
    }
    if (!address->path)
        freeaddrinfo(infos);
    return true;
}

static struct rng_source *source_egd_create(const char *what, bool polls, GError **error)
{
    struct vu_address address;
    struct rng_egd *egd = NULL;
    int fd;

    if (!vu_address_parse(what, &address, error))
        return NULL;
    if (!source_egd_check_port(&address, error))
        goto out;
    fd = egd_connector_start(&address);
    if (fd < 0) {
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: cannot start its connector: %s", what,
                    g_strerror(-fd));
        goto out;
    }
    egd = g_new0(struct rng_egd, 1);
    egd->source.ops = &source_egd_ops;
    egd->source.fd = fd;
    egd->client = egd_client_create(&(struct egd_client_options){
        .connector_fd = fd, .polls = polls, .patience_ms = EGD_CLIENT_PATIENCE_MS});
out:
    vu_address_clear(&address);
    return egd ? &egd->source : NULL;
}

struct rng_source *rng_source_create_egd(const char *what, GError **error)
{
    return source_egd_create(what, false, error);
}

struct rng_source *rng_source_create_egd_poll(const char *what, GError **error)
{
    return source_egd_create(what, true, error);
}
