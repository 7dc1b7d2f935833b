/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scripted back-end: one thread that receives, notes and answers; see scripted-backend.h.
 */
#include "scripted-backend.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 60000

const char *const wrong_names[N_WRONG] = {
    [HANGS_UP] = "hangs-up",
    [SILENT] = "silent",
    [OTHER_REQUEST] = "other-request",
    [NO_REPLY_FLAG] = "no-reply-flag",
    [SHORT_PAYLOAD] = "short-payload",
    [LONG_PAYLOAD] = "long-payload",
    [EXTRA_FD] = "extra-fd",
    [HALF_A_REPLY] = "half-a-reply",
    [REFUSES] = "refuses",
    [TWO_REPLIES] = "two-replies",
};

/* --- the back-end --- */

static void backend_send(struct backend *backend, struct vu_message *reply)
{
    vu_channel_send(&backend->channel, reply, 1000);
}

static void backend_ask(struct backend *backend)
{
    struct vu_message msg = {
        .header = {VU_BACKEND_CONFIG_CHANGE, VU_VERSION | VU_FLAG_NEED_REPLY, 0}};

    g_assert_cmpint(vu_channel_send(&backend->requests, &msg, 1000), ==, 0);
    g_assert_cmpint(vu_channel_recv(&backend->requests, &msg, 5000), ==, 0);
    g_assert_cmpuint(msg.header.flags, ==, VU_VERSION | VU_FLAG_REPLY);
    g_assert_cmpuint(msg.payload.u64, ==, 0);
}

/* What a good back-end answers to *msg. */
static void backend_fill_reply(struct backend *backend, const struct vu_message *msg,
                               struct vu_message *reply)
{
    uint32_t request = msg->header.request;

    reply->header.size = 8;
    reply->payload.u64 = 0;
    if (request == VU_GET_FEATURES) {
        reply->payload.u64 = backend->features;
    } else if (request == VU_GET_PROTOCOL_FEATURES) {
        reply->payload.u64 = backend->protocol_features;
    } else if (request == VU_GET_QUEUE_NUM) {
        reply->payload.u64 = 4;
    } else if (request == VU_GET_MAX_MEM_SLOTS) {
        reply->payload.u64 = 4;
    } else if (request == VU_GET_VRING_BASE) {
        reply->payload.state = (struct vu_vring_state){msg->payload.state.index, 77};
    } else if (request == VU_GET_STATUS) {
        reply->payload.u64 = backend->status;
    } else if (request == VU_SET_DEVICE_STATE_FD) {
        reply->payload.u64 = VU_VRING_NO_FD;
    } else if (request == VU_GET_CONFIG) {
        reply->header.size = msg->header.size;
        reply->payload.config = msg->payload.config;
        memcpy(reply->payload.config.data, backend->config + msg->payload.config.header.offset,
               msg->payload.config.header.size);
    } else if (request == VU_GET_INFLIGHT_FD) {
        reply->header.size = sizeof(reply->payload.inflight);
        reply->payload.inflight = msg->payload.inflight;
        reply->payload.inflight.mmap_size = 4096;
        reply->fds[0] = memfd_create("inflight", MFD_CLOEXEC);
        g_assert_cmpint(ftruncate(reply->fds[0], backend->short_inflight ? 4095 : 4096), ==, 0);
        reply->n_fds = 1;
    }
}

static void backend_note(struct backend *backend, const struct vu_message *msg)
{
    uint32_t request = msg->header.request;

    backend->seen[request]++;
    backend->last[request] = *msg;
    if (request == VU_SET_PROTOCOL_FEATURES)
        backend->acked_protocol = msg->payload.u64;
    if (request == VU_SET_STATUS)
        backend->status = msg->payload.u64;
    if (request == VU_SET_CONFIG)
        memcpy(backend->config + msg->payload.config.header.offset, msg->payload.config.data,
               msg->payload.config.header.size);
}

/* Goes wrong instead of, or after, a good reply. False: the session is over. */
static bool backend_go_wrong(struct backend *backend, struct vu_message *reply)
{
    if (backend->wrong == HANGS_UP)
        return false;
    if (backend->wrong == SILENT)
        return true;
    if (backend->wrong == OTHER_REQUEST)
        reply->header.request = VU_SET_OWNER;
    if (backend->wrong == NO_REPLY_FLAG)
        reply->header.flags &= ~VU_FLAG_REPLY;
    if (backend->wrong == SHORT_PAYLOAD)
        reply->header.size -= 8;
    if (backend->wrong == LONG_PAYLOAD)
        reply->header.size = VU_PAYLOAD_MAX;
    if (backend->wrong == REFUSES)
        reply->payload.u64 = 1;
    if (backend->wrong == HALF_A_REPLY)
        return write(backend->channel.fd, &reply->header, 7) == 7;
    if (backend->wrong == EXTRA_FD)
        reply->fds[reply->n_fds++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (backend->wrong == TWO_REPLIES)
        backend_send(backend, reply);
    backend_send(backend, reply);
    return true;
}

static bool backend_handle(struct backend *backend, struct vu_message *msg)
{
    const struct vu_request_info *info = vu_request_info(msg->header.request);
    struct vu_message reply = {
        .header = {.request = msg->header.request, .flags = VU_VERSION | VU_FLAG_REPLY}};
    bool is_wrong = backend->wrong != BEHAVES && backend->n_messages == backend->wrong_at;
    bool go_on = true;

    backend->wrong_matters |=
        is_wrong && msg->header.request != VU_SET_LOG_BASE &&
        (info->reply != VU_REPLY_NONE || (msg->header.flags & VU_FLAG_NEED_REPLY) != 0);
    g_assert_nonnull(info);
    g_assert_cmpuint(msg->header.size, >=, info->min_size);
    g_assert_cmpuint(msg->header.size, <=, info->max_size);
    g_assert_cmpuint(msg->n_fds, >=, info->min_fds);
    g_assert_cmpuint(msg->n_fds, <=, info->max_fds);
    backend->n_messages++;
    backend_note(backend, msg);
    if (msg->header.request == VU_SET_BACKEND_REQ_FD) {
        if (backend->has_requests)
            vu_channel_close(&backend->requests);
        vu_channel_init(&backend->requests, vu_message_take_fd(msg, 0));
        backend->has_requests = true;
    }
    if (backend->asks_first && backend->has_requests)
        backend_ask(backend);
    if (is_wrong || info->reply != VU_REPLY_NONE || (msg->header.flags & VU_FLAG_NEED_REPLY)) {
        backend_fill_reply(backend, msg, &reply);
        if (is_wrong)
            go_on = backend_go_wrong(backend, &reply);
        else
            backend_send(backend, &reply);
        vu_message_close_fds(&reply);
    }
    return go_on;
}

void *scripted_backend_run(void *opaque)
{
    struct backend *backend = opaque;
    int patience_ms = backend->patience_ms ? backend->patience_ms : 20000;
    struct vu_message msg;
    bool go_on = true;

    while (go_on && vu_channel_recv(&backend->channel, &msg, patience_ms) == 0) {
        pthread_mutex_lock(&backend->lock);
        go_on = backend_handle(backend, &msg);
        vu_message_close_fds(&msg);
        pthread_mutex_unlock(&backend->lock);
    }
    pthread_mutex_lock(&backend->lock);
    vu_channel_close(&backend->channel);
    if (backend->has_requests)
        vu_channel_close(&backend->requests);
    pthread_mutex_unlock(&backend->lock);
    return NULL;
}

void backend_sync(struct backend *backend)
{
    pthread_mutex_lock(&backend->lock);
    pthread_mutex_unlock(&backend->lock);
}

/* --- fixture --- */

static void on_config_changed(void *opaque)
{
    ((struct fixture *)opaque)->n_config_changes++;
}

static void on_vring_call(void *opaque, unsigned index)
{
    ((struct fixture *)opaque)->n_calls++;
}

static void backend_start(struct backend *backend, int fd)
{
    vu_channel_init(&backend->channel, fd);
    pthread_create(&backend->thread, NULL, scripted_backend_run, backend);
}

int fixture_attach(struct fixture *f)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    backend_start(&f->backend, fds[0]);
    return vu_frontend_attach(f->frontend, fds[1]);
}

void fixture_init(struct fixture *f, uint64_t protocol_features)
{
    fixture_init_patient(f, protocol_features, PATIENCE_MS);
}

void fixture_init_patient(struct fixture *f, uint64_t protocol_features, unsigned patience_ms)
{
    struct vu_frontend_config config = {
        .name = "test",
        .features = RING_FEATURES,
        .required_features = VU_BIT(VU_F_VERSION_1),
        .protocol_features = protocol_features,
        .reply_timeout_ms = patience_ms,
        .stop_timeout_ms = patience_ms,
        .ops = {.config_changed = on_config_changed, .vring_call = on_vring_call},
        .opaque = f,
    };
    struct vu_driver_config driver_config = {.index = 1, .num = 8};

    memset(f, 0, sizeof(*f));
    pthread_mutex_init(&f->backend.lock, NULL);
    f->backend.features = RING_FEATURES | VU_BIT(VU_F_PROTOCOL_FEATURES);
    f->backend.protocol_features = ALL_PROTOCOL_FEATURES;
    f->frontend = vu_frontend_create(&config);
    vu_shmem_init(&f->shmem);
    g_assert_cmpint(vu_shmem_add(&f->shmem, 0x100000, 0x10000), ==, 0);
    g_assert_cmpint(vu_shmem_add(&f->shmem, 0x110000, 0x10000), ==, 0);
    g_assert_cmpint(vu_driver_create(&f->shmem, &driver_config, &f->driver), ==, 0);
}

void fixture_clear(struct fixture *f)
{
    vu_frontend_destroy(f->frontend);
    if (f->backend.thread)
        pthread_join(f->backend.thread, NULL);
    vu_driver_destroy(f->driver);
    vu_shmem_clear(&f->shmem);
}

int fixture_run_session(struct fixture *f)
{
    uint8_t byte, two[2] = {1, 2};
    uint32_t base;
    int pipe_fds[2], fd = -1;
    int rc = fixture_attach(f);

    if (rc == 0)
        rc = vu_frontend_set_features(f->frontend, vu_frontend_features(f->frontend));
    if (rc == 0)
        rc = vu_frontend_get_config(f->frontend, 0, two, 2);
    if (rc == 0)
        rc = vu_frontend_set_config(f->frontend, 2, two, 2);
    if (rc == 0)
        rc = vu_frontend_set_memory(f->frontend, &f->shmem);
    if (rc == 0)
        rc = vu_frontend_setup_inflight(f->frontend, 1, 8);
    if (rc == 0)
        rc = vu_frontend_start_driver(f->frontend, f->driver);
    if (rc == 0)
        rc = vu_frontend_set_status(f->frontend, 15);
    if (rc == 0)
        rc = vu_frontend_get_status(f->frontend, &byte);
    if (rc == 0)
        rc = vu_frontend_set_log(f->frontend, f->shmem.regions[0].fd, 4096, 0);
    if (rc == 0)
        rc = vu_frontend_stop_ring(f->frontend, 1, &base);
    g_assert_cmpint(pipe2(pipe_fds, O_CLOEXEC), ==, 0);
    if (rc == 0)
        rc = vu_frontend_set_device_state_fd(f->frontend, VU_TRANSFER_SAVE, pipe_fds[1], &fd);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    if (fd >= 0)
        close(fd);
    if (rc == 0)
        rc = vu_frontend_check_device_state(f->frontend);
    if (rc == 0)
        rc = vu_frontend_reset_device(f->frontend);
    return rc;
}
