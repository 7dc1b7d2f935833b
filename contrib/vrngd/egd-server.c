/* SPDX-License-Identifier: Apache-2.0 */
/* The EGD server's thread: see egd-server.h. */
#include "contrib/vrngd/egd-server.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "contrib/vrngd/egd-connection.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"
#include "vhost-user/log.h"
#include "vhost-user/thread.h"

#define SERVER_MS_NS       UINT64_C(1000000)
#define SERVER_GRACE_MS    20
#define SERVER_STALL_MS    30000
#define SERVER_RETRY_MS    100 /* where there is no descriptor for a client, say */
#define SERVER_CHUNK       4096
#define SERVER_ROUNDS      16 /* without a look at the sockets */
#define SERVER_ACCEPTS     16 /* likewise */
#define SERVER_MAX_CLIENTS (EGD_MAX_LISTEN * EGD_SERVER_PLACES)

/* Where a client is connected from. */
struct server_origin {
    unsigned listener;
    uint8_t host[16]; /* of its address what an administrator gives to one host */
    bool has_host;
};

struct egd_server {
    struct rng_source *instant;
    struct egd_sockets sockets;
    struct egd_connection_options options;
    char pid[16];
    int wake_fd;
    uint64_t max_bytes, period_ms; /* atomic: what options are to say */
    pthread_t thread;
    bool is_running, is_stopping;    /* is_stopping: atomic */
    struct egd_server_status status; /* each figure atomic */

    struct rng_client *client; /* of the pool */
    struct rng_request request;
    bool is_waiting; /* the request is the pool's, or is_served */
    bool is_served;  /* atomic: `served` has what it got, and n_served tells how much */
    uint8_t served[SERVER_CHUNK];
    size_t n_served;

    /* the thread's */
    struct egd_connection *connections[SERVER_MAX_CLIENTS];
    struct server_origin origins[SERVER_MAX_CLIENTS];
    unsigned n_connections, turn; /* who gets random bytes first */
    uint64_t accept_ns;           /* no connection is accepted before */
};

/* --- random bytes --- */

static void server_count(uint64_t *counter, uint64_t n)
{
    __atomic_add_fetch(counter, n, __ATOMIC_RELAXED);
}

static void server_wake(struct egd_server *server)
{
    (void)eventfd_write(server->wake_fd, 1);
}

/* On the feeder's thread. */
static void server_done(struct rng_request *request, const uint8_t *data, size_t size)
{
    struct egd_server *server =
        (struct egd_server *)((char *)request - offsetof(struct egd_server, request));

    memcpy(server->served, data, size);
    server->n_served = size;
    __atomic_store_n(&server->is_served, true, __ATOMIC_RELEASE);
    server_wake(server);
}

static size_t server_wanted(struct egd_server *server, uint64_t now_ns, unsigned *ret_n_hungry)
{
    size_t wanted = 0;

    *ret_n_hungry = 0;
    for (unsigned i = 0; i < server->n_connections; i++) {
        size_t n = egd_connection_wanted(server->connections[i], now_ns);

        wanted += n;
        *ret_n_hungry += n > 0;
    }
    return wanted;
}

/* A share of the bytes to everyone who wants some, beginning with another one each time. */
static void server_share(struct egd_server *server, const uint8_t *data, size_t len,
                         uint64_t now_ns)
{
    unsigned n_hungry, n = server->n_connections;
    size_t given = 0;

    while (given < len && server_wanted(server, now_ns, &n_hungry) > 0) {
        size_t share = (len - given + n_hungry - 1) / n_hungry;

        for (unsigned i = 0; i < n && given < len; i++) {
            struct egd_connection *connection = server->connections[(server->turn + i) % n];
            size_t part = MIN(MIN(egd_connection_wanted(connection, now_ns), share), len - given);

            egd_connection_give(connection, data + given, part);
            given += part;
        }
        server->turn++;
    }
    server_count(&server->status.n_bytes, given);
}

/* At once, from a source that allows it. Whether there were any. */
static bool server_take(struct egd_server *server, size_t wanted, uint64_t now_ns)
{
    uint8_t data[SERVER_CHUNK];
    ssize_t n = 0;
    size_t size;

    if (!server->instant)
        return false;
    size = rng_client_take(server->client, MIN(wanted, sizeof(data)), now_ns);
    if (size > 0)
        n = server->instant->ops->read(server->instant, data, size);
    if (n > 0)
        server_share(server, data, (size_t)n, now_ns);
    explicit_bzero(data, size);
    return n > 0;
}

static void server_ask(struct egd_server *server, size_t wanted)
{
    if (server->is_waiting)
        return;
    server->is_waiting = true;
    server->request = (struct rng_request){.size = MIN(wanted, SERVER_CHUNK), .done = server_done};
    rng_client_request(server->client, &server->request);
}

/* What the pool had for us; it is kept until somebody wants some. Whether there was any. */
static bool server_collect(struct egd_server *server, uint64_t now_ns)
{
    if (!__atomic_load_n(&server->is_served, __ATOMIC_ACQUIRE))
        return false;
    server_share(server, server->served, server->n_served, now_ns);
    explicit_bzero(server->served, sizeof(server->served));
    server->is_served = server->is_waiting = false;
    return true;
}

/* Works for all clients until they want nothing more that can be had at once. False: there is more
 * to do after a look at the sockets. */
static bool server_work(struct egd_server *server)
{
    for (int round = 0; round < SERVER_ROUNDS; round++) {
        uint64_t now_ns = vu_now_ns();
        unsigned n_hungry;
        size_t wanted;

        for (unsigned i = 0; i < server->n_connections; i++)
            egd_connection_work(server->connections[i], now_ns);
        wanted = server_wanted(server, now_ns, &n_hungry);
        if (wanted == 0)
            return true;
        if (!server_collect(server, now_ns) && !server_take(server, wanted, now_ns)) {
            server_ask(server, wanted);
            return true;
        }
    }
    return false;
}

/* --- clients --- */

/* The network of an IPv6 address is one host's; an IPv4 address all of it. */
static void server_note_host(struct server_origin *origin, const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        memcpy(origin->host, &((const struct sockaddr_in *)address)->sin_addr, 4);
    } else if (address->ss_family == AF_INET6) {
        const struct in6_addr *in6 = &((const struct sockaddr_in6 *)address)->sin6_addr;

        memcpy(origin->host, in6, IN6_IS_ADDR_V4MAPPED(in6) ? 16 : 8);
    }
    origin->has_host = address->ss_family != AF_UNIX;
}

static bool server_has_place(const struct egd_server *server, const struct server_origin *origin,
                             int fd)
{
    unsigned n = 0, n_host = 0;

    for (unsigned i = 0; i < server->n_connections; i++) {
        const struct server_origin *other = &server->origins[i];

        if (other->listener != origin->listener)
            continue;
        n++;
        n_host += memcmp(other->host, origin->host, sizeof(origin->host)) == 0;
    }
    return n < EGD_SERVER_PLACES && (!origin->has_host || n_host < EGD_SERVER_PLACES / 2) &&
           fd < server->sockets.max_client_fd;
}

/* None can be accepted for a while, unless there just was none. */
static void server_pause(struct egd_server *server, int err)
{
    static uint64_t next_line_ns;

    if (err == EAGAIN || err == EINTR || err == ECONNABORTED)
        return;
    server->accept_ns = vu_now_ns() + SERVER_RETRY_MS * SERVER_MS_NS;
    if (vu_log_is_due(&next_line_ns))
        vu_error("vrngd: egd: cannot accept a client yet: %s", g_strerror(err));
}

/* False: there is none to accept now. */
static bool server_accept(struct egd_server *server, unsigned listener)
{
    static uint64_t next_line_ns;
    struct server_origin origin = {.listener = listener};
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    int fd = accept4(server->sockets.fds[listener], (struct sockaddr *)&address, &len,
                     SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0) {
        server_pause(server, errno);
        return false;
    }
    server_note_host(&origin, &address);
    if (!server_has_place(server, &origin, fd)) {
        close(fd);
        server_count(&server->status.n_refused, 1);
        if (vu_log_is_due(&next_line_ns))
            vu_warning("vrngd: egd: no place for another client");
        return true;
    }
    server->origins[server->n_connections] = origin;
    server->connections[server->n_connections++] = egd_connection_create(&server->options, fd);
    server_count(&server->status.n_accepted, 1);
    return true;
}

static void server_drop_done(struct egd_server *server)
{
    unsigned n = 0;

    for (unsigned i = 0; i < server->n_connections; i++) {
        if (egd_connection_is_done(server->connections[i])) {
            egd_connection_destroy(server->connections[i]);
            continue;
        }
        server->origins[n] = server->origins[i];
        server->connections[n++] = server->connections[i];
    }
    server->n_connections = n;
    __atomic_store_n(&server->status.n_clients, n, __ATOMIC_RELAXED);
}

/* --- the loop --- */

/* Until when nothing needs to be done, as poll wants it. */
static int server_timeout(struct egd_server *server)
{
    uint64_t now_ns = vu_now_ns(),
             due_ns = server->accept_ns > now_ns ? server->accept_ns : UINT64_MAX;

    for (unsigned i = 0; i < server->n_connections; i++)
        due_ns = MIN(due_ns, egd_connection_due_ns(server->connections[i], now_ns));
    if (due_ns == UINT64_MAX)
        return -1;
    return due_ns > now_ns ? (int)MIN((due_ns - now_ns) / SERVER_MS_NS + 1, INT32_MAX) : 0;
}

/* Waits for any of them, and receives. */
static void server_poll(struct egd_server *server, int timeout_ms)
{
    enum { WAKE, LISTEN, CLIENTS = LISTEN + EGD_MAX_LISTEN };
    struct pollfd fds[CLIENTS + SERVER_MAX_CLIENTS] = {
        [WAKE] = {.fd = server->wake_fd, .events = POLLIN}};
    unsigned n = server->n_connections;
    bool may_accept = vu_now_ns() >= server->accept_ns;
    eventfd_t ignored;

    for (unsigned i = 0; i < EGD_MAX_LISTEN; i++)
        fds[LISTEN + i] = (struct pollfd){
            .fd = may_accept ? server->sockets.fds[i] : -1,
            .events = POLLIN,
        };
    for (unsigned i = 0; i < n; i++)
        fds[CLIENTS + i] = (struct pollfd){
            .fd = server->connections[i]->fd,
            .events = egd_connection_events(server->connections[i]),
        };
    if (poll(fds, CLIENTS + n, timeout_ms) <= 0)
        return;
    if (fds[WAKE].revents)
        (void)eventfd_read(server->wake_fd, &ignored);
    for (unsigned i = 0; i < n; i++)
        if (fds[CLIENTS + i].revents)
            egd_connection_receive(server->connections[i], fds[CLIENTS + i].revents);
    for (unsigned i = 0; i < EGD_MAX_LISTEN; i++)
        for (int k = 0; fds[LISTEN + i].revents && k < SERVER_ACCEPTS; k++)
            if (!server_accept(server, i))
                break;
}

/* A limit that was set meanwhile. The figures may be of two calls at once, until the second wakes
 * us. */
static void server_update_limit(struct egd_server *server)
{
    uint64_t max_bytes = __atomic_load_n(&server->max_bytes, __ATOMIC_RELAXED);
    uint64_t period_ms = __atomic_load_n(&server->period_ms, __ATOMIC_RELAXED);

    if (max_bytes == server->options.max_bytes && period_ms == server->options.period_ms)
        return;
    server->options.max_bytes = max_bytes;
    server->options.period_ms = period_ms;
    for (unsigned i = 0; i < server->n_connections; i++)
        rng_limit_set(&server->connections[i]->limit, max_bytes, period_ms);
}

static void *server_thread(void *opaque)
{
    struct egd_server *server = opaque;
    bool is_idle = true;

    while (!__atomic_load_n(&server->is_stopping, __ATOMIC_ACQUIRE)) {
        server_poll(server, is_idle ? server_timeout(server) : 0);
        server_update_limit(server);
        is_idle = server_work(server);
        server_drop_done(server);
    }
    return NULL;
}

/* --- life --- */

struct egd_server *egd_server_create(const struct egd_server_options *options,
                                     struct egd_sockets *sockets)
{
    struct egd_server *server;

    if (sockets->fds[0] < 0)
        return NULL;
    server = g_new0(struct egd_server, 1);
    server->instant = options->instant;
    server->sockets = *sockets;
    *sockets = (struct egd_sockets){.fds = {-1, -1, -1, -1}, .mix_fd = -1};
    g_snprintf(server->pid, sizeof(server->pid), "%d", (int)server->sockets.pid);
    server->options = (struct egd_connection_options){
        .pid = server->pid,
        .mix_fd = server->sockets.mix_fd,
        .grace_ns = (options->grace_ms ? options->grace_ms : SERVER_GRACE_MS) * SERVER_MS_NS,
        .stall_ns = (options->stall_ms ? options->stall_ms : SERVER_STALL_MS) * SERVER_MS_NS,
        .max_bytes = options->max_bytes,
        .period_ms = MAX(options->period_ms, 1),
    };
    server->max_bytes = server->options.max_bytes;
    server->period_ms = server->options.period_ms;
    server->client = rng_client_create(options->pool);
    server->wake_fd = -1;
    return server;
}

int egd_server_start(struct egd_server *server)
{
    int err;

    if (!server)
        return 0;
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->wake_fd < 0)
        return -errno;
    err = vu_thread_create("egd", server_thread, server, &server->thread);
    server->is_running = err == 0;
    return err;
}

void egd_server_stop(struct egd_server *server)
{
    if (!server || !server->is_running)
        return;
    __atomic_store_n(&server->is_stopping, true, __ATOMIC_RELEASE);
    server_wake(server);
    pthread_join(server->thread, NULL);
    server->is_running = false;
    rng_client_cancel(server->client, &server->request);
    while (server->n_connections > 0)
        egd_connection_destroy(server->connections[--server->n_connections]);
}

void egd_server_destroy(struct egd_server *server)
{
    if (!server)
        return;
    rng_client_destroy(server->client);
    egd_sockets_close(&server->sockets);
    vu_clear_fd(&server->wake_fd);
    explicit_bzero(server->served, sizeof(server->served));
    g_free(server);
}

void egd_server_set_limit(struct egd_server *server, uint64_t max_bytes, uint64_t period_ms)
{
    __atomic_store_n(&server->max_bytes, max_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&server->period_ms, MAX(period_ms, 1), __ATOMIC_RELAXED);
    server_wake(server);
}

void egd_server_get_limit(const struct egd_server *server, uint64_t *ret_max_bytes,
                          uint64_t *ret_period_ms)
{
    *ret_max_bytes = __atomic_load_n(&server->max_bytes, __ATOMIC_RELAXED);
    *ret_period_ms = __atomic_load_n(&server->period_ms, __ATOMIC_RELAXED);
}

void egd_server_get_status(const struct egd_server *server, struct egd_server_status *ret_status)
{
    *ret_status = (struct egd_server_status){
        .n_clients = __atomic_load_n(&server->status.n_clients, __ATOMIC_RELAXED),
        .n_accepted = __atomic_load_n(&server->status.n_accepted, __ATOMIC_RELAXED),
        .n_refused = __atomic_load_n(&server->status.n_refused, __ATOMIC_RELAXED),
        .n_bytes = __atomic_load_n(&server->status.n_bytes, __ATOMIC_RELAXED),
    };
}
