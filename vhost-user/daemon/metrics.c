/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics thread: a few clients at a time, each with a few seconds for its request and the
 * answer. One that sends too much, too slowly, or something else than a GET is told so, or not,
 * and disconnected.
 *
 *   READING --an empty line--> WRITING --all is sent--> ENDING --the client closes--> gone
 */
#include "vhost-user/daemon/metrics.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"
#include "vhost-user/thread.h"

#define METRICS_MAX_CLIENTS 8
#define METRICS_MAX_REQUEST 4096
#define METRICS_PATIENCE_MS 5000
#define METRICS_RETRY_MS    100

enum metrics_state { METRICS_READING, METRICS_WRITING, METRICS_ENDING };

struct metrics_client {
    int fd;
    enum metrics_state state;
    int64_t deadline_ms;
    char in[METRICS_MAX_REQUEST];
    size_t in_len;
    GString *out;
    bool is_done;
};

struct vu_metrics {
    int listen_fd, wake_fd;
    void (*collect)(void *opaque, GString *text);
    void *opaque;
    pthread_t thread;
    bool is_running, is_stopping; /* is_stopping: atomic */
    struct metrics_client *clients[METRICS_MAX_CLIENTS];
    unsigned n_clients;
};

/* --- answers --- */

static void metrics_answer(struct metrics_client *client, const char *status, const char *type,
                           const GString *body)
{
    client->out = g_string_new(NULL);
    g_string_append_printf(client->out,
                           "HTTP/1.0 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                           "Connection: close\r\n\r\n",
                           status, type, body->len);
    g_string_append_len(client->out, body->str, (gssize)body->len);
    client->state = METRICS_WRITING;
}

static void metrics_refuse(struct metrics_client *client, const char *status)
{
    g_autoptr(GString) body = g_string_new(status);

    g_string_append(body, "\n");
    metrics_answer(client, status, "text/plain", body);
}

/* Whether the request's line is METHOD, then the path, and then a space. */
static bool metrics_asks(const struct metrics_client *client, const char *method, const char *path)
{
    size_t method_len = strlen(method), path_len = strlen(path);
    const char *at = client->in;

    if (client->in_len < method_len + path_len + 1 || memcmp(at, method, method_len) != 0)
        return false;
    at += method_len;
    return memcmp(at, path, path_len) == 0 && strchr(" ?\r\n", at[path_len]) && at[path_len];
}

static void metrics_serve(struct vu_metrics *metrics, struct metrics_client *client)
{
    g_autoptr(GString) text = NULL;

    if (client->in_len < 4 || memcmp(client->in, "GET ", 4) != 0) {
        metrics_refuse(client, "405 Method Not Allowed");
        return;
    }
    if (!metrics_asks(client, "GET ", "/metrics")) {
        metrics_refuse(client, "404 Not Found");
        return;
    }
    text = g_string_new(NULL);
    metrics->collect(metrics->opaque, text);
    metrics_answer(client, "200 OK", "text/plain; version=0.0.4; charset=utf-8", text);
}

/* --- a client --- */

static bool metrics_is_whole(const struct metrics_client *client)
{
    return memmem(client->in, client->in_len, "\r\n\r\n", 4) ||
           memmem(client->in, client->in_len, "\n\n", 2);
}

static void metrics_read(struct vu_metrics *metrics, struct metrics_client *client)
{
    ssize_t n = recv(client->fd, client->in + client->in_len, sizeof(client->in) - client->in_len,
                     MSG_DONTWAIT);

    if (n <= 0) {
        client->is_done = n == 0 || (errno != EAGAIN && errno != EINTR);
        return;
    }
    client->in_len += (size_t)n;
    if (metrics_is_whole(client))
        metrics_serve(metrics, client);
    else if (client->in_len == sizeof(client->in))
        metrics_refuse(client, "431 Request Header Fields Too Large");
}

static void metrics_write(struct metrics_client *client)
{
    ssize_t n = send(client->fd, client->out->str, client->out->len, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n < 0) {
        client->is_done = errno != EAGAIN && errno != EINTR;
        return;
    }
    g_string_erase(client->out, 0, n);
    if (client->out->len > 0)
        return;
    /* Closed at once, what the client still sends would take the answer away from it. */
    shutdown(client->fd, SHUT_WR);
    client->state = METRICS_ENDING;
}

static void metrics_end(struct metrics_client *client)
{
    ssize_t n = recv(client->fd, client->in, sizeof(client->in), MSG_DONTWAIT);

    client->is_done = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static void metrics_step(struct vu_metrics *metrics, struct metrics_client *client)
{
    switch (client->state) {
    case METRICS_READING:
        metrics_read(metrics, client);
        break;
    case METRICS_WRITING:
        metrics_write(client);
        break;
    case METRICS_ENDING:
        metrics_end(client);
        break;
    }
}

static void metrics_destroy_client(struct metrics_client *client)
{
    close(client->fd);
    if (client->out)
        g_string_free(client->out, TRUE);
    g_free(client);
}

/* --- all of them --- */

static void metrics_accept(struct vu_metrics *metrics)
{
    int fd = accept4(metrics->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct metrics_client *client;

    if (fd < 0) {
        /* The descriptor stays readable: no spinning on it. */
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            poll(NULL, 0, METRICS_RETRY_MS);
        return;
    }
    client = g_new0(struct metrics_client, 1);
    client->fd = fd;
    client->deadline_ms = vu_now_ms() + METRICS_PATIENCE_MS;
    metrics->clients[metrics->n_clients++] = client;
}

static void metrics_drop_done(struct vu_metrics *metrics)
{
    int64_t now_ms = vu_now_ms();
    unsigned n = 0;

    for (unsigned i = 0; i < metrics->n_clients; i++) {
        struct metrics_client *client = metrics->clients[i];

        if (client->is_done || now_ms >= client->deadline_ms)
            metrics_destroy_client(client);
        else
            metrics->clients[n++] = client;
    }
    metrics->n_clients = n;
}

/* Until the first deadline; -1: there is none. */
static int metrics_timeout(const struct vu_metrics *metrics)
{
    int64_t first_ms = INT64_MAX;

    for (unsigned i = 0; i < metrics->n_clients; i++)
        first_ms = MIN(first_ms, metrics->clients[i]->deadline_ms);
    return metrics->n_clients > 0 ? (int)MAX(first_ms - vu_now_ms(), 0) : -1;
}

static void metrics_poll(struct vu_metrics *metrics)
{
    enum { WAKE, LISTEN, CLIENTS };
    bool has_room = metrics->n_clients < METRICS_MAX_CLIENTS;
    struct pollfd fds[CLIENTS + METRICS_MAX_CLIENTS] = {
        [WAKE] = {.fd = metrics->wake_fd, .events = POLLIN},
        /* Who finds no room waits in the backlog; nobody keeps a place for long. */
        [LISTEN] = {.fd = has_room ? metrics->listen_fd : -1, .events = POLLIN},
    };
    unsigned n = metrics->n_clients;

    for (unsigned i = 0; i < n; i++)
        fds[CLIENTS + i] = (struct pollfd){
            .fd = metrics->clients[i]->fd,
            .events = metrics->clients[i]->state == METRICS_WRITING ? POLLOUT : POLLIN,
        };
    if (poll(fds, CLIENTS + n, metrics_timeout(metrics)) < 0)
        return;
    for (unsigned i = 0; i < n; i++)
        if (fds[CLIENTS + i].revents)
            metrics_step(metrics, metrics->clients[i]);
    if (fds[LISTEN].revents)
        metrics_accept(metrics);
}

static void *metrics_thread(void *opaque)
{
    struct vu_metrics *metrics = opaque;

    while (!__atomic_load_n(&metrics->is_stopping, __ATOMIC_ACQUIRE)) {
        metrics_poll(metrics);
        metrics_drop_done(metrics);
    }
    for (unsigned i = 0; i < metrics->n_clients; i++)
        metrics_destroy_client(metrics->clients[i]);
    metrics->n_clients = 0;
    return NULL;
}

/* --- life --- */

struct vu_metrics *vu_metrics_create(int listen_fd, void (*collect)(void *opaque, GString *text),
                                     void *opaque)
{
    struct vu_metrics *metrics;

    if (listen_fd < 0)
        return NULL;
    metrics = g_new0(struct vu_metrics, 1);
    metrics->listen_fd = listen_fd;
    metrics->wake_fd = -1;
    metrics->collect = collect;
    metrics->opaque = opaque;
    return metrics;
}

void vu_metrics_destroy(struct vu_metrics *metrics)
{
    if (!metrics)
        return;
    vu_metrics_stop(metrics);
    vu_clear_fd(&metrics->listen_fd);
    g_free(metrics);
}

int vu_metrics_start(struct vu_metrics *metrics)
{
    int err;

    if (!metrics)
        return 0;
    metrics->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (metrics->wake_fd < 0)
        return -errno;
    err = vu_thread_create("metrics", metrics_thread, metrics, &metrics->thread);
    metrics->is_running = err == 0;
    if (err < 0)
        vu_clear_fd(&metrics->wake_fd);
    return err;
}

void vu_metrics_stop(struct vu_metrics *metrics)
{
    if (!metrics || !metrics->is_running)
        return;
    __atomic_store_n(&metrics->is_stopping, true, __ATOMIC_RELEASE);
    (void)eventfd_write(metrics->wake_fd, 1);
    pthread_join(metrics->thread, NULL);
    metrics->is_running = false;
    vu_clear_fd(&metrics->wake_fd);
}
