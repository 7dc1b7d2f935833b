/* SPDX-License-Identifier: Apache-2.0 */
/* See echo-session.h. */
#include "echo-session.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/iov.h"

#define ECHO_TIMEOUT_MS 10000

/* --- the device --- */

static void echo_complete(struct vu_elem *elem)
{
    struct vu_iov_cursor out, in;
    uint8_t piece[256];
    uint32_t written = 0;
    size_t n;

    vu_iov_cursor_init(&out, elem->iov, elem->n_out, 0);
    vu_iov_cursor_init(&in, elem->iov + elem->n_out, elem->n_in, 0);
    while ((n = vu_iov_read(&out, piece, sizeof(piece))) > 0)
        written += (uint32_t)vu_iov_write(&in, piece, n);
    vu_elem_complete(elem, written);
}

static void echo_process(void *device, struct vu_vring *vring, struct vu_elem **elems, unsigned n)
{
    struct echo_session *echo = device;
    bool hold;

    {
        VU_LOCK_SCOPE(&echo->lock);
        echo->n_processed += n;
        hold = echo->hold;
        for (unsigned i = 0; hold && i < n; i++)
            g_ptr_array_add(echo->held, elems[i]);
    }
    for (unsigned i = 0; !hold && i < n; i++)
        echo_complete(elems[i]);
}

static void echo_get_config(void *device, uint8_t *ret_config)
{
    struct echo_session *echo = device;

    memcpy(ret_config, echo->config, sizeof(echo->config));
}

static int echo_set_config(void *device, uint32_t offset, const uint8_t *data, uint32_t len)
{
    struct echo_session *echo = device;

    if (offset == 0) /* the first byte is read-only */
        return -EINVAL;
    memcpy(echo->config + offset, data, len);
    return 0;
}

static void echo_set_features(void *device, uint64_t features)
{
    struct echo_session *echo = device;

    VU_LOCK_SCOPE(&echo->lock);
    echo->features = features;
}

static void echo_quiesce(void *device, unsigned queue)
{
    struct echo_session *echo = device;

    VU_LOCK_SCOPE(&echo->lock);
    echo->n_quiesced++;
}

static void echo_reset(void *device)
{
    struct echo_session *echo = device;

    VU_LOCK_SCOPE(&echo->lock);
    echo->n_resets++;
}

static int echo_save_state(void *device, int fd)
{
    struct echo_session *echo = device;

    if (write(fd, echo->state, strlen(echo->state)) < 0)
        return -errno;
    return echo->state_error;
}

static int echo_load_state(void *device, int fd)
{
    struct echo_session *echo = device;

    memset(echo->state, 0, sizeof(echo->state));
    if (read(fd, echo->state, sizeof(echo->state) - 1) < 0)
        return -errno;
    return echo->state_error;
}

static const struct vu_device echo_device = {
    .name = "echo",
    .n_queues = ECHO_QUEUES,
    .config_len = ECHO_CONFIG_LEN,
    .worker = {.process = echo_process},
    .get_config = echo_get_config,
    .set_config = echo_set_config,
    .set_features = echo_set_features,
    .quiesce = echo_quiesce,
    .reset = echo_reset,
    .save_state = echo_save_state,
    .load_state = echo_load_state,
};

/* --- sessions --- */

static void echo_init_device(struct echo_session *echo, const struct vu_device *device, bool inband)
{
    const struct vu_backend_options options = {.inband_notifications = inband};

    memset(echo, 0, sizeof(*echo));
    pthread_mutex_init(&echo->lock, NULL);
    echo->held = g_ptr_array_new();
    echo->stop_fd = eventfd(0, EFD_CLOEXEC);
    echo->backend = vu_backend_create(device, echo, &options);
}

void echo_init(struct echo_session *echo, bool inband)
{
    echo_init_device(echo, &echo_device, inband);
}

void echo_init_resumed(struct echo_session *echo)
{
    struct vu_device device = echo_device;

    device.serves_resumed = true;
    echo_init_device(echo, &device, false);
}

void echo_clear(struct echo_session *echo)
{
    if (echo->running) {
        g_assert_cmpint(eventfd_write(echo->stop_fd, 1), ==, 0);
        g_assert_cmpint(echo_join(echo), ==, -ECANCELED);
    }
    vu_backend_destroy(echo->backend);
    g_ptr_array_unref(echo->held);
    close(echo->stop_fd);
    pthread_mutex_destroy(&echo->lock);
}

static void *echo_run(void *opaque)
{
    struct echo_session *echo = opaque;

    echo->result = vu_backend_serve(echo->backend, echo->conn_fd, echo->stop_fd);
    return NULL;
}

int echo_connect(struct echo_session *echo)
{
    int pair[2];

    g_assert_false(echo->running);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    echo->conn_fd = pair[0];
    echo->running = true;
    g_assert_cmpint(pthread_create(&echo->thread, NULL, echo_run, echo), ==, 0);
    return pair[1];
}

int echo_join(struct echo_session *echo)
{
    pthread_join(echo->thread, NULL);
    echo->running = false;
    return echo->result;
}

void echo_wait_held(struct echo_session *echo, unsigned n)
{
    for (unsigned i = 0; i < ECHO_TIMEOUT_MS; i++) {
        {
            VU_LOCK_SCOPE(&echo->lock);
            if (echo->held->len >= n)
                return;
        }
        g_usleep(1000);
    }
    g_assert_not_reached();
}

void echo_release(struct echo_session *echo)
{
    g_autoptr(GPtrArray) held = NULL;

    {
        VU_LOCK_SCOPE(&echo->lock);
        held = echo->held;
        echo->held = g_ptr_array_new();
        echo->hold = false;
    }
    for (unsigned i = 0; i < held->len; i++)
        echo_complete(g_ptr_array_index(held, i));
}

/* --- messages --- */

void echo_send(struct vu_channel *channel, uint32_t request, uint32_t flags, const void *payload,
               uint32_t size, const int *fds, unsigned n_fds)
{
    struct vu_message msg = {.header = {request, flags, size}, .n_fds = n_fds};

    if (size > 0)
        memcpy(msg.payload.bytes, payload, size);
    for (unsigned i = 0; i < n_fds; i++)
        msg.fds[i] = fds[i];
    vu_channel_send(channel, &msg, ECHO_TIMEOUT_MS); /* the session may have ended */
}

uint64_t echo_ask(struct vu_channel *channel, uint32_t request, const void *payload, uint32_t size,
                  const int *fds, unsigned n_fds)
{
    struct vu_message reply;

    echo_send(channel, request, VU_VERSION | VU_FLAG_NEED_REPLY, payload, size, fds, n_fds);
    if (vu_channel_recv(channel, &reply, ECHO_TIMEOUT_MS) < 0)
        return UINT64_MAX;
    g_assert_cmpuint(reply.header.request, ==, request);
    g_assert_cmpuint(reply.header.flags, ==, VU_VERSION | VU_FLAG_REPLY);
    g_assert_cmpuint(reply.header.size, ==, 8);
    g_assert_cmpuint(reply.n_fds, ==, 0);
    return reply.payload.u64;
}

bool echo_get(struct vu_channel *channel, uint32_t request, const void *payload, uint32_t size,
              struct vu_message *ret_reply)
{
    echo_send(channel, request, VU_VERSION, payload, size, NULL, 0);
    if (vu_channel_recv(channel, ret_reply, ECHO_TIMEOUT_MS) < 0)
        return false;
    g_assert_cmpuint(ret_reply->header.request, ==, request);
    g_assert_cmpuint(ret_reply->header.flags, ==, VU_VERSION | VU_FLAG_REPLY);
    return true;
}

void echo_negotiate(struct vu_channel *channel, uint64_t features)
{
    struct vu_message reply;

    features |= VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_PROTOCOL_FEATURES);
    echo_send(channel, VU_SET_OWNER, VU_VERSION, NULL, 0, NULL, 0);
    g_assert_true(echo_get(channel, VU_GET_PROTOCOL_FEATURES, NULL, 0, &reply));
    echo_send(channel, VU_SET_PROTOCOL_FEATURES, VU_VERSION, &reply.payload.u64, 8, NULL, 0);
    g_assert_cmpuint(echo_ask(channel, VU_SET_FEATURES, &features, 8, NULL, 0), ==, 0);
}
