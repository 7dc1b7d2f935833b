/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A front-end's connection: connecting, negotiating, noticing that the back-end has gone, and
 * handing everything to its successor. Runs on the calling thread, under the session's lock.
 * vhost-user: "Starting and stopping rings", "Multiple queue support", "Reconnection".
 */
#include "vhost-user/frontend.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/frontend-session.h"
#include "vhost-user/log.h"

#define FRONTEND_REPLY_TIMEOUT_MS  5000
#define FRONTEND_STOP_TIMEOUT_MS   30000
#define FRONTEND_RETRY_INTERVAL_MS 20

struct vu_frontend *vu_frontend_create(const struct vu_frontend_config *config)
{
    struct vu_frontend *frontend = g_new0(struct vu_frontend, 1);

    pthread_mutex_init(&frontend->lock, NULL);
    pthread_mutex_init(&frontend->socket_lock, NULL);
    frontend->config = *config;
    if (!frontend->config.name)
        frontend->config.name = "front-end";
    if (frontend->config.reply_timeout_ms == 0)
        frontend->config.reply_timeout_ms = FRONTEND_REPLY_TIMEOUT_MS;
    if (frontend->config.stop_timeout_ms == 0)
        frontend->config.stop_timeout_ms = FRONTEND_STOP_TIMEOUT_MS;
    frontend->inflight_fd = -1;
    return frontend;
}

void vu_frontend_destroy(struct vu_frontend *frontend)
{
    if (!frontend)
        return;
    frontend_hang_up_locked(frontend);
    vu_clear_fd(&frontend->inflight_fd);
    pthread_mutex_destroy(&frontend->socket_lock);
    pthread_mutex_destroy(&frontend->lock);
    g_free(frontend);
}

/* --- connecting --- */

static int frontend_try_connect(const struct sockaddr_un *addr, int *ret_fd)
{
    vu_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
        return -errno;
    *ret_fd = vu_steal_fd(&fd);
    return 0;
}

/* Not there yet, a stale file, or its queue of connections is full: worth another try. */
static bool frontend_is_transient(int rc)
{
    return rc == -ENOENT || rc == -ECONNREFUSED || rc == -EAGAIN;
}

static int frontend_connect_path(struct vu_frontend *frontend, const char *path,
                                 unsigned timeout_ms, int *ret_fd)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
    int rc;

    if (strlen(path) >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path));
    for (;;) {
        rc = frontend_try_connect(&addr, ret_fd);
        if (!frontend_is_transient(rc) || g_get_monotonic_time() >= deadline ||
            frontend_is_interrupted(frontend))
            return rc;
        g_usleep(FRONTEND_RETRY_INTERVAL_MS * 1000);
    }
}

/* --- negotiating --- */

static int frontend_open_backend_channel(struct vu_frontend *frontend)
{
    struct vu_message msg = frontend_message(VU_SET_BACKEND_REQ_FD, 0);
    int fds[2];
    int rc;

    if (!frontend_has_locked(frontend, VU_PF_BACKEND_REQ))
        return 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    vu_channel_init(&frontend->backend, fds[0]);
    frontend->has_backend = true;
    msg.fds[msg.n_fds++] = fds[1];
    rc = frontend_call_locked(frontend, &msg);
    close(fds[1]);
    return rc;
}

static int frontend_negotiate_protocol(struct vu_frontend *frontend)
{
    uint64_t offered, n_queues;
    int rc = frontend_get_u64_locked(frontend, VU_GET_PROTOCOL_FEATURES, &offered);

    if (rc < 0)
        return rc;
    offered &= frontend->config.protocol_features;
    if (frontend->inflight_fd >= 0 && !vu_has(offered, VU_PF_INFLIGHT_SHMFD))
        return -ENOTSUP;
    /* REPLY_ACK holds from the message after this one on. */
    rc = frontend_set_u64_locked(frontend, VU_SET_PROTOCOL_FEATURES, offered);
    if (rc < 0)
        return rc;
    frontend->protocol_features = offered;
    if (vu_has(offered, VU_PF_MQ)) {
        rc = frontend_get_u64_locked(frontend, VU_GET_QUEUE_NUM, &n_queues);
        if (rc < 0)
            return rc;
        if (n_queues == 0)
            return frontend_fail_locked(frontend, -EPROTO, "no queues");
        frontend->max_queues = (unsigned)MIN(n_queues, VU_FRONTEND_MAX_QUEUES);
    }
    return frontend_open_backend_channel(frontend);
}

/* What both want. */
static void frontend_choose_features(struct vu_frontend *frontend)
{
    frontend->features =
        frontend->offered & (frontend->config.features | VU_BIT(VU_F_PROTOCOL_FEATURES));
}

static int frontend_negotiate(struct vu_frontend *frontend)
{
    struct vu_message owner = frontend_message(VU_SET_OWNER, 0);
    uint64_t required = frontend->config.required_features, missing;
    int rc;

    frontend->protocol_features = 0;
    frontend->max_queues = 1;
    rc = frontend_call_locked(frontend, &owner);
    if (rc == 0)
        rc = frontend_get_u64_locked(frontend, VU_GET_FEATURES, &frontend->offered);
    if (rc < 0)
        return rc;
    if (frontend->features_set)
        required = frontend->features;
    missing = required & ~frontend->offered;
    if (missing != 0) {
        const char *name = vu_feature_name((unsigned)__builtin_ctzll(missing));

        vu_warning("%s: the back-end lacks %s (feature bit %u)", frontend->config.name,
                   name ? name : "a feature", (unsigned)__builtin_ctzll(missing));
        return -ENOTSUP;
    }
    if (!frontend->features_set)
        frontend_choose_features(frontend);
    if (!vu_has(frontend->offered, VU_F_PROTOCOL_FEATURES))
        return 0;
    return frontend_negotiate_protocol(frontend);
}

/* Takes over fd; it is the connection now, unless there is to be none. */
static int frontend_take_socket(struct vu_frontend *frontend, int fd)
{
    VU_LOCK_SCOPE(&frontend->socket_lock);

    if (frontend->is_interrupted) {
        close(fd);
        return -ECANCELED;
    }
    vu_channel_init(&frontend->channel, fd);
    frontend->connected = true;
    return 0;
}

static int frontend_attach_locked(struct vu_frontend *frontend, int fd)
{
    int rc;

    frontend_hang_up_locked(frontend);
    rc = frontend_take_socket(frontend, fd);
    if (rc == 0)
        rc = frontend_negotiate(frontend);
    if (rc < 0)
        frontend_hang_up_locked(frontend);
    return rc;
}

int vu_frontend_attach(struct vu_frontend *frontend, int fd)
{
    VU_LOCK_SCOPE(&frontend->lock);

    return frontend_attach_locked(frontend, fd);
}

int vu_frontend_connect(struct vu_frontend *frontend, const char *path, unsigned timeout_ms)
{
    int fd;
    int rc = frontend_connect_path(frontend, path, timeout_ms, &fd);

    return rc < 0 ? rc : vu_frontend_attach(frontend, fd);
}

void vu_frontend_disconnect(struct vu_frontend *frontend)
{
    VU_LOCK_SCOPE(&frontend->lock);

    frontend_hang_up_locked(frontend);
}

void vu_frontend_interrupt(struct vu_frontend *frontend)
{
    VU_LOCK_SCOPE(&frontend->socket_lock);

    frontend->is_interrupted = true;
    if (frontend->connected)
        shutdown(frontend->channel.fd, SHUT_RDWR); /* wakes who waits for it */
}

int vu_frontend_reconnect(struct vu_frontend *frontend, const char *path, unsigned timeout_ms)
{
    int fd;
    int rc = frontend_connect_path(frontend, path, timeout_ms, &fd);

    if (rc < 0)
        return rc;
    VU_LOCK_SCOPE(&frontend->lock);
    rc = frontend_attach_locked(frontend, fd);
    if (rc == 0 && frontend->features_set)
        rc = frontend_set_u64_locked(frontend, VU_SET_FEATURES, frontend->features);
    if (rc == 0 && frontend->shmem)
        rc = frontend_share_memory_locked(frontend);
    if (rc == 0)
        rc = frontend_resume_rings_locked(frontend);
    if (rc < 0)
        frontend_hang_up_locked(frontend);
    return rc;
}

/* --- features --- */

uint64_t vu_frontend_features(struct vu_frontend *frontend)
{
    VU_LOCK_SCOPE(&frontend->lock);

    return frontend->features;
}

uint64_t vu_frontend_protocol_features(struct vu_frontend *frontend)
{
    VU_LOCK_SCOPE(&frontend->lock);

    return frontend->protocol_features;
}

unsigned vu_frontend_max_queues(struct vu_frontend *frontend)
{
    VU_LOCK_SCOPE(&frontend->lock);

    return frontend->max_queues;
}

int vu_frontend_set_features(struct vu_frontend *frontend, uint64_t features)
{
    int rc;

    VU_LOCK_SCOPE(&frontend->lock);

    if (!frontend->connected)
        return -ENOTCONN;
    if (vu_has(frontend->offered, VU_F_PROTOCOL_FEATURES))
        features |= VU_BIT(VU_F_PROTOCOL_FEATURES);
    if (features & ~frontend->offered)
        return -ENOTSUP;
    rc = frontend_set_u64_locked(frontend, VU_SET_FEATURES, features);
    if (rc < 0)
        return rc;
    frontend->features = features;
    frontend->features_set = true;
    return 0;
}

void vu_frontend_forget(struct vu_frontend *frontend)
{
    VU_LOCK_SCOPE(&frontend->lock);

    frontend->features_set = false;
    vu_clear_fd(&frontend->inflight_fd);
    if (frontend->connected)
        frontend_choose_features(frontend);
}

/* --- waiting for the back-end --- */

int vu_frontend_sync(struct vu_frontend *frontend)
{
    VU_LOCK_SCOPE(&frontend->lock);

    return frontend_sync_locked(frontend);
}

unsigned vu_frontend_get_poll_fds(struct vu_frontend *frontend, int ret_fds[2])
{
    unsigned n = 0;

    VU_LOCK_SCOPE(&frontend->lock);

    if (frontend->connected)
        ret_fds[n++] = frontend->channel.fd;
    if (frontend->has_backend)
        ret_fds[n++] = frontend->backend.fd;
    return n;
}

int vu_frontend_dispatch(struct vu_frontend *frontend)
{
    struct vu_message msg;
    int rc;

    VU_LOCK_SCOPE(&frontend->lock);

    if (!frontend->connected)
        return -ENOTCONN;
    rc = frontend_serve_backend_locked(frontend);
    if (rc < 0 && rc != -EAGAIN)
        return rc;
    rc = vu_channel_recv(&frontend->channel, &msg, 0);
    if (rc == -EAGAIN)
        return 0;
    if (rc == 0) { /* a reply that nobody asked for */
        vu_message_close_fds(&msg);
        rc = -EPROTO;
    }
    return frontend_fail_locked(frontend, rc, "idle");
}
