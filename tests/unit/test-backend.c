/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole sessions of a back-end with front-ends that behave: ours with its drivers, split and
 * packed, and by hand what other front-ends do differently.
 */
#include "vhost-user/backend.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "echo-session.h"
#include "vhost-user/frontend.h"
#include "vhost-user/log.h"

#define GPA          UINT64_C(0x100000)
#define LEN          UINT64_C(0x100000)
#define DEPTH        16

#define ALL_PROTOCOL UINT64_MAX

struct client {
    struct vu_shmem shmem;
    struct vu_frontend *frontend;
    struct vu_driver *driver;
    uint8_t *buffer; /* straddles the border of the two regions in guest addresses */
    unsigned n_config_changes;
};

struct variant {
    uint64_t features, protocol;
    bool inband;
};

static void client_config_changed(void *opaque)
{
    ((struct client *)opaque)->n_config_changes++;
}

static void client_init(struct client *client, const struct variant *variant)
{
    struct vu_frontend_config config = {
        .name = "client",
        .features = variant->features | VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_LOG_ALL),
        .required_features = VU_BIT(VU_F_VERSION_1),
        .protocol_features = variant->protocol,
        .ops = {.config_changed = client_config_changed},
        .opaque = client,
    };
    struct vu_driver_config queue = {
        .index = 1, .num = DEPTH, .features = variant->features, .indirect_max = 4};

    memset(client, 0, sizeof(*client));
    vu_shmem_init(&client->shmem);
    g_assert_cmpint(vu_shmem_add(&client->shmem, GPA, LEN), ==, 0);
    g_assert_cmpint(vu_shmem_add(&client->shmem, GPA + LEN, LEN), ==, 0);
    g_assert_cmpint(vu_driver_create(&client->shmem, &queue, &client->driver), ==, 0);
    client->frontend = vu_frontend_create(&config);
}

static void client_clear(struct client *client)
{
    vu_frontend_destroy(client->frontend);
    vu_driver_destroy(client->driver);
    vu_shmem_clear(&client->shmem);
}

static void client_start(struct client *client, struct echo_session *echo)
{
    uint64_t features;

    g_assert_cmpint(vu_frontend_attach(client->frontend, echo_connect(echo)), ==, 0);
    features = vu_frontend_features(client->frontend) & ~VU_BIT(VU_F_LOG_ALL);
    g_assert_cmpint(vu_frontend_set_features(client->frontend, features), ==, 0);
    g_assert_cmpint(vu_frontend_set_memory(client->frontend, &client->shmem), ==, 0);
    g_assert_cmpint(vu_frontend_start_driver(client->frontend, client->driver), ==, 0);
}

/* Adds a request whose text and answer both straddle the two regions. */
static void client_add(struct client *client, unsigned i)
{
    const uint64_t border = GPA + LEN;
    const struct vu_sg sg[] = {{border - 0x8000, 8}, {border - 4, 8}, {border - 0x4000, 16}};

    memcpy(vu_shmem_at(&client->shmem, border - 0x8000, 8), "request ", 8);
    memcpy(vu_shmem_at(&client->shmem, border - 4, 4), "abcd", 4);
    memcpy(vu_shmem_at(&client->shmem, border, 4), "efgh", 4);
    g_assert_cmpint(vu_driver_add(client->driver, sg, 2, 1, GUINT_TO_POINTER(i + 1)), ==, 0);
}

/* Waits for n completions and checks them. */
static void client_harvest(struct client *client, unsigned n)
{
    gint64 deadline = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;

    while (n > 0) {
        struct vu_driver_used used[DEPTH];
        int got = vu_driver_harvest(client->driver, used, DEPTH);

        g_assert_cmpint(got, >=, 0);
        for (int i = 0; i < got; i++)
            g_assert_cmpuint(used[i].len, ==, 16);
        n -= (unsigned)got;
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        vu_frontend_dispatch(client->frontend); /* in-band calls wait to be acknowledged */
        if (got == 0)
            g_usleep(200);
    }
    g_assert_cmpint(
        memcmp(vu_shmem_at(&client->shmem, GPA + LEN - 0x4000, 16), "request abcdefgh", 16), ==, 0);
}

static void client_kick(struct client *client)
{
    if (vu_driver_publish(client->driver)) {
        if (vu_has(vu_frontend_protocol_features(client->frontend), VU_PF_INBAND_NOTIFICATIONS))
            g_assert_cmpint(vu_frontend_kick(client->frontend, 1), ==, 0);
        else
            vu_driver_kick(client->driver);
    }
    vu_driver_force_kick(client->driver);
}

static void client_echo(struct client *client, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        for (unsigned k = 0; k < 4; k++)
            client_add(client, i * 4 + k);
        client_kick(client);
        client_harvest(client, 4);
    }
}

/* --- requests --- */

static void test_echo(gconstpointer data)
{
    const struct variant *variant = data;
    unsigned n_fds = echo_count_fds();
    struct echo_session echo;
    struct client client;
    uint32_t base;

    echo_init(&echo, variant->inband);
    client_init(&client, variant);
    client_start(&client, &echo);
    client_echo(&client, 50);
    g_assert_cmpint(vu_frontend_stop_ring(client.frontend, 1, &base), ==, 0);
    g_assert_cmpuint(echo.n_processed, ==, 200);
    if (!vu_has(variant->features, VU_F_RING_PACKED))
        g_assert_cmpuint(base, ==, 200);
    client_clear(&client);
    g_assert_cmpint(echo_join(&echo), ==, 0);
    g_assert_cmpuint(echo.n_resets, ==, 1);
    g_assert_cmpuint(echo.n_quiesced, ==, 1);
    echo_clear(&echo);
    g_assert_cmpuint(echo_count_fds(), ==, n_fds);
}

static const struct variant plain = {0, ALL_PROTOCOL, false};
static const struct variant table_only = {0, VU_BIT(VU_PF_REPLY_ACK), false};
static const struct variant packed = {VU_BIT(VU_F_RING_PACKED), ALL_PROTOCOL, false};

/* GET_VRING_BASE answers when the last request in flight is done. */
static gpointer release_later(gpointer opaque)
{
    g_usleep(100000);
    echo_release(opaque);
    return NULL;
}

static void test_drain(gconstpointer data)
{
    struct echo_session echo;
    struct client client;
    uint32_t base;
    GThread *helper;

    echo_init(&echo, false);
    client_init(&client, data);
    client_start(&client, &echo);
    echo.hold = true;
    for (unsigned i = 0; i < 3; i++)
        client_add(&client, i);
    client_kick(&client);
    echo_wait_held(&echo, 3);
    helper = g_thread_new("release", release_later, &echo);
    g_assert_cmpint(vu_frontend_stop_ring(client.frontend, 1, &base), ==, 0);
    g_assert_cmpuint(echo.held->len, ==, 0);
    client_harvest(&client, 3);
    g_thread_join(helper);

    g_assert_cmpint(vu_frontend_start_driver(client.frontend, client.driver), ==, 0);
    client_echo(&client, 5);
    client_clear(&client);
    echo_join(&echo);
    echo_clear(&echo);
}

/* The front-end goes while requests are in flight: they end before its memory does. */
static void test_gone_while_in_flight(void)
{
    struct echo_session echo;
    struct client client;
    GThread *helper;

    echo_init(&echo, false);
    client_init(&client, &plain);
    client_start(&client, &echo);
    echo.hold = true;
    client_add(&client, 0);
    client_kick(&client);
    echo_wait_held(&echo, 1);
    helper = g_thread_new("release", release_later, &echo);
    vu_frontend_disconnect(client.frontend);
    g_assert_cmpint(echo_join(&echo), ==, 0);
    g_assert_cmpuint(echo.held->len, ==, 0);
    g_assert_cmpuint(echo.n_resets, ==, 1);
    g_thread_join(helper);
    client_clear(&client);
    echo_clear(&echo);
}

static void test_next_front_end(void)
{
    struct echo_session echo;

    echo_init(&echo, false);
    for (unsigned i = 0; i < 5; i++) {
        struct client client;

        client_init(&client, i % 2 == 0 ? &plain : &packed);
        client_start(&client, &echo);
        client_echo(&client, 3);
        client_clear(&client); /* without stopping the ring */
        g_assert_cmpint(echo_join(&echo), ==, 0);
    }
    g_assert_cmpuint(echo.n_resets, ==, 5);
    echo_clear(&echo);
}

static void test_stop_fd(void)
{
    struct echo_session echo;
    struct client client;

    echo_init(&echo, false);
    client_init(&client, &plain);
    client_start(&client, &echo);
    client_echo(&client, 3);
    echo_clear(&echo); /* -ECANCELED */
    client_clear(&client);
}

/* --- memory --- */

/* Regions come and go while requests run. */
static void test_live_memory(gconstpointer data)
{
    struct echo_session echo;
    struct client client;

    echo_init(&echo, false);
    client_init(&client, data);
    client_start(&client, &echo);
    for (unsigned i = 0; i < 20; i++) {
        for (unsigned k = 0; k < 4; k++)
            client_add(&client, k);
        client_kick(&client);
        g_assert_cmpint(vu_shmem_add(&client.shmem, GPA + 16 * LEN, LEN), ==, 0);
        g_assert_cmpint(vu_frontend_set_memory(client.frontend, &client.shmem), ==, 0);
        g_assert_cmpint(vu_shmem_remove(&client.shmem, GPA + 16 * LEN), ==, 0);
        g_assert_cmpint(vu_frontend_set_memory(client.frontend, &client.shmem), ==, 0);
        client_harvest(&client, 4);
    }
    client_clear(&client);
    echo_join(&echo);
    echo_clear(&echo);
}

/* The ring's own region is taken away and given back: it waits in between. */
static void test_ring_memory_removed(void)
{
    struct echo_session echo;
    struct client client;
    struct vu_channel channel;
    struct vu_mem_reg reg = {0};
    struct vu_vring_state enable = {1, 1};
    struct vu_vring_state num = {1, DEPTH};
    struct vu_vring_addr addr = {.index = 1};
    uint64_t index = 1;
    int kick;

    echo_init(&echo, false);
    client_init(&client, &plain);
    vu_channel_init(&channel, echo_connect(&echo));
    echo_negotiate(&channel, 0);
    for (unsigned i = 0; i < 2; i++) {
        reg.region = vu_shmem_describe(&client.shmem.regions[i]);
        g_assert_cmpuint(
            echo_ask(&channel, VU_ADD_MEM_REG, &reg, sizeof(reg), &client.shmem.regions[i].fd, 1),
            ==, 0);
    }
    addr.desc_uva = (uintptr_t)client.driver->desc;
    addr.avail_uva = (uintptr_t)client.driver->avail;
    addr.used_uva = (uintptr_t)client.driver->used;
    kick = client.driver->kick_fd;
    g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_NUM, &num, 8, NULL, 0), ==, 0);
    g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), ==, 0);
    g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_KICK, &index, 8, &kick, 1), ==, 0);
    g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_ENABLE, &enable, 8, NULL, 0), ==, 0);
    client_echo(&client, 3);

    reg.region = vu_shmem_describe(&client.shmem.regions[0]);
    g_assert_cmpuint(echo_ask(&channel, VU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0), ==, 0);
    client_add(&client, 0);
    vu_driver_kick(client.driver);
    g_usleep(20000);
    g_assert_false(vu_driver_has_used(client.driver));
    g_assert_cmpuint(
        echo_ask(&channel, VU_ADD_MEM_REG, &reg, sizeof(reg), &client.shmem.regions[0].fd, 1), ==,
        0);
    client_harvest(&client, 1);
    client_echo(&client, 3);
    vu_channel_close(&channel);
    g_assert_cmpint(echo_join(&echo), ==, 0);
    client_clear(&client);
    echo_clear(&echo);
}

/* The owner truncates its file: that ring breaks and says so, the session goes on, the next
 * front-end is served. */
static void test_truncated_memory(void)
{
    struct vu_vring_state state = {0, 8};
    struct vu_vring_addr addr = {.desc_uva = 0x10000, .avail_uva = 0x11000, .used_uva = 0x12000};
    struct vu_mem_reg reg = {.region = {.gpa = 0, .size = 0x10000, .uva = 0x10000}};
    uint64_t index = 0;
    int memory_fd = memfd_create("truncated", MFD_CLOEXEC), kick = eventfd(0, 0);
    int err = eventfd(0, EFD_NONBLOCK);
    struct pollfd pollfd = {.fd = err, .events = POLLIN};
    struct echo_session echo;
    struct vu_channel channel;
    struct vu_message reply;

    echo_init(&echo, false);
    vu_channel_init(&channel, echo_connect(&echo));
    echo_negotiate(&channel, 0);
    g_assert_cmpint(ftruncate(memory_fd, 0x10000), ==, 0);
    g_assert_cmpuint(echo_ask(&channel, VU_ADD_MEM_REG, &reg, sizeof(reg), &memory_fd, 1), ==, 0);
    echo_send(&channel, VU_SET_VRING_NUM, VU_VERSION, &state, 8, NULL, 0);
    echo_send(&channel, VU_SET_VRING_ADDR, VU_VERSION, &addr, sizeof(addr), NULL, 0);
    echo_send(&channel, VU_SET_VRING_ERR, VU_VERSION, &index, 8, &err, 1);
    echo_send(&channel, VU_SET_VRING_KICK, VU_VERSION, &index, 8, &kick, 1);
    state.num = 1;
    g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_ENABLE, &state, 8, NULL, 0), ==, 0);
    g_assert_cmpint(ftruncate(memory_fd, 0), ==, 0);
    g_assert_cmpint(eventfd_write(kick, 1), ==, 0);
    g_assert_cmpint(poll(&pollfd, 1, 10000), ==, 1);
    g_assert_true(echo_get(&channel, VU_GET_VRING_BASE, &(struct vu_vring_state){0}, 8, &reply));
    vu_channel_close(&channel);
    g_assert_cmpint(echo_join(&echo), ==, 0);
    {
        struct client client;

        client_init(&client, &plain);
        client_start(&client, &echo);
        client_echo(&client, 3);
        client_clear(&client);
        echo_join(&echo);
    }
    echo_clear(&echo);
    close(memory_fd);
    close(kick);
    close(err);
}

/* --- other messages --- */

static void test_config(void)
{
    struct echo_session echo;
    struct client client;
    uint8_t data[64] = {0};

    echo_init(&echo, false);
    for (unsigned i = 0; i < ECHO_CONFIG_LEN; i++)
        echo.config[i] = (uint8_t)(i + 1);
    client_init(&client, &plain);
    client_start(&client, &echo);
    g_assert_cmpint(vu_frontend_get_config(client.frontend, 4, data, 60), ==, 0);
    for (unsigned i = 0; i < 60; i++)
        g_assert_cmpuint(data[i], ==, i + 4 < ECHO_CONFIG_LEN ? i + 5 : 0);
    g_assert_cmpint(vu_frontend_set_config(client.frontend, 8, "xyz", 3), ==, 0);
    g_assert_cmpint(memcmp(echo.config + 8, "xyz", 3), ==, 0);
    g_assert_cmpint(vu_frontend_set_config(client.frontend, 0, "xyz", 3), ==, -EREMOTEIO);
    g_assert_cmpint(vu_frontend_set_config(client.frontend, 22, "xyz", 3), ==, -EREMOTEIO);
    g_assert_cmpint(vu_frontend_get_config(client.frontend, 0, data, 1), ==, 0);

    g_assert_cmpint(vu_backend_config_changed(echo.backend), ==, 0);
    g_assert_cmpint(vu_frontend_dispatch(client.frontend), ==, 0);
    g_assert_cmpuint(client.n_config_changes, ==, 1);
    client_clear(&client);
    echo_join(&echo);
    g_assert_cmpint(vu_backend_config_changed(echo.backend), ==, -ENOTCONN);
    echo_clear(&echo);
}

static void test_status_and_reset(void)
{
    struct echo_session echo;
    struct client client;
    uint8_t status = 99;

    echo_init(&echo, false);
    client_init(&client, &plain);
    client_start(&client, &echo);
    g_assert_cmpint(vu_frontend_set_status(client.frontend, 0xf), ==, 0);
    g_assert_cmpint(vu_frontend_get_status(client.frontend, &status), ==, 0);
    g_assert_cmpuint(status, ==, 0xf);
    client_echo(&client, 2);
    g_assert_cmpint(vu_frontend_set_status(client.frontend, 0), ==, 0);
    g_assert_cmpuint(echo.n_resets, ==, 0); /* it may be a pause only */
    g_assert_cmpint(vu_frontend_reset_device(client.frontend), ==, 0);
    g_assert_cmpuint(echo.n_resets, ==, 1);
    vu_driver_reset(client.driver);
    g_assert_cmpint(vu_frontend_start_driver(client.frontend, client.driver), ==, 0);
    client_echo(&client, 2);
    client_clear(&client);
    echo_join(&echo);
    echo_clear(&echo);
}

/* Logging is switched on and off under a running ring. */
static void test_log(gconstpointer data)
{
    int log_fd = memfd_create("log", MFD_CLOEXEC);
    const uint64_t page = (GPA + LEN - 0x4000) / 4096;
    const uint8_t bit = (uint8_t)(1u << (page % 8));
    struct echo_session echo;
    struct client client;
    uint64_t features;
    uint8_t byte = 0;

    g_assert_cmpint(ftruncate(log_fd, 4096), ==, 0);
    echo_init(&echo, false);
    client_init(&client, data);
    client_start(&client, &echo);
    features = vu_frontend_features(client.frontend) & ~VU_BIT(VU_F_LOG_ALL);
    client_echo(&client, 3);
    g_assert_cmpint(vu_frontend_set_log(client.frontend, log_fd, 4096, 0), ==, 0);
    client_echo(&client, 3);
    g_assert_cmpint(pread(log_fd, &byte, 1, (off_t)page / 8), ==, 1);
    g_assert_cmpuint(byte, ==, 0);
    g_assert_cmpint(vu_frontend_set_features(client.frontend, features | VU_BIT(VU_F_LOG_ALL)), ==,
                    0);
    client_echo(&client, 3);
    g_assert_cmpint(pread(log_fd, &byte, 1, (off_t)page / 8), ==, 1);
    g_assert_cmphex(byte, ==, bit);
    g_assert_cmpint(vu_frontend_set_features(client.frontend, features), ==, 0);
    g_assert_cmpint(ftruncate(log_fd, 0), ==, 0);
    g_assert_cmpint(ftruncate(log_fd, 4096), ==, 0);
    client_echo(&client, 3);
    g_assert_cmpint(pread(log_fd, &byte, 1, (off_t)page / 8), ==, 1);
    g_assert_cmpuint(byte, ==, 0);
    client_clear(&client);
    echo_join(&echo);
    echo_clear(&echo);
    close(log_fd);
}

static void test_inflight(gconstpointer data)
{
    struct echo_session echo;
    struct client client;
    uint64_t features;

    echo_init(&echo, false);
    client_init(&client, data);
    g_assert_cmpint(vu_frontend_attach(client.frontend, echo_connect(&echo)), ==, 0);
    features = vu_frontend_features(client.frontend) & ~VU_BIT(VU_F_LOG_ALL);
    g_assert_cmpint(vu_frontend_set_features(client.frontend, features), ==, 0);
    g_assert_cmpint(vu_frontend_set_memory(client.frontend, &client.shmem), ==, 0);
    g_assert_cmpint(vu_frontend_setup_inflight(client.frontend, ECHO_QUEUES, DEPTH), ==, 0);
    g_assert_cmpint(vu_frontend_start_driver(client.frontend, client.driver), ==, 0);
    client_echo(&client, 5);
    g_assert_cmpint(vu_frontend_stop_ring(client.frontend, 1, NULL), ==, 0);
    g_assert_cmpint(vu_frontend_start_driver(client.frontend, client.driver), ==, 0);
    client_echo(&client, 5);
    client_clear(&client);
    echo_join(&echo);
    echo_clear(&echo);
}

static void test_device_state(void)
{
    struct echo_session echo;
    struct client client;
    int pipe_fds[2], other;
    char text[64] = "";

    echo_init(&echo, false);
    strcpy(echo.state, "what it remembers");
    client_init(&client, &plain);
    client_start(&client, &echo);
    g_assert_cmpint(pipe(pipe_fds), ==, 0);
    g_assert_cmpint(
        vu_frontend_set_device_state_fd(client.frontend, VU_TRANSFER_SAVE, pipe_fds[1], &other), ==,
        -EREMOTEIO); /* a ring is running */
    g_assert_cmpint(vu_frontend_stop_ring(client.frontend, 1, NULL), ==, 0);
    g_assert_cmpint(
        vu_frontend_set_device_state_fd(client.frontend, VU_TRANSFER_SAVE, pipe_fds[1], &other), ==,
        0);
    g_assert_cmpint(other, ==, -1);
    close(pipe_fds[1]);
    g_assert_cmpint(read(pipe_fds[0], text, sizeof(text)), ==, 17);
    g_assert_cmpint(read(pipe_fds[0], text + 17, 1), ==, 0);
    g_assert_cmpstr(text, ==, "what it remembers");
    close(pipe_fds[0]);
    g_assert_cmpint(vu_frontend_check_device_state(client.frontend), ==, 0);

    g_assert_cmpint(pipe(pipe_fds), ==, 0);
    g_assert_cmpint(
        vu_frontend_set_device_state_fd(client.frontend, VU_TRANSFER_LOAD, pipe_fds[0], &other), ==,
        0);
    close(pipe_fds[0]);
    g_assert_cmpint(write(pipe_fds[1], "another ", 8), ==, 8);
    g_usleep(10000);
    g_assert_cmpint(write(pipe_fds[1], "life", 4), ==, 4);
    close(pipe_fds[1]);
    g_assert_cmpint(vu_frontend_check_device_state(client.frontend), ==, 0);
    g_assert_cmpstr(echo.state, ==, "another life");

    /* the device refuses; and the transfer that is not ended in time */
    echo.state_error = -EINVAL;
    g_assert_cmpint(pipe(pipe_fds), ==, 0);
    g_assert_cmpint(
        vu_frontend_set_device_state_fd(client.frontend, VU_TRANSFER_SAVE, pipe_fds[1], &other), ==,
        -EREMOTEIO);
    echo.state_error = 0;
    g_assert_cmpint(
        vu_frontend_set_device_state_fd(client.frontend, VU_TRANSFER_LOAD, pipe_fds[0], &other), ==,
        0);
    g_assert_cmpint(vu_frontend_check_device_state(client.frontend), ==, -EREMOTEIO);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    client_clear(&client);
    echo_join(&echo);
    echo_clear(&echo);
}

/* --- front-ends with habits of their own --- */

/* User Mode Linux: 72 bytes for one region, calls over stream sockets, and a driver that comes back
 * without having stopped its rings. */
static void test_like_uml(void)
{
    struct {
        struct vu_mem_table table;
    } mem = {0};
    struct vu_vring_state num = {1, DEPTH}, base = {1, 0}, enable = {1, 1};
    struct vu_vring_addr addr = {.index = 1};
    uint64_t index = 1, features = VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_PROTOCOL_FEATURES);
    int calls[2], fds[2];
    struct echo_session echo;
    struct client client;
    struct vu_channel channel;
    uint8_t call[8];

    echo_init(&echo, false);
    client_init(&client, &plain);
    vu_channel_init(&channel, echo_connect(&echo));
    echo_negotiate(&channel, 0);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, calls), ==, 0);
    for (unsigned round = 0; round < 3; round++) {
        g_assert_cmpuint(echo_ask(&channel, VU_SET_FEATURES, &features, 8, NULL, 0), ==, 0);
        mem.table.n_regions = 2;
        for (unsigned i = 0; i < 2; i++) {
            mem.table.regions[i] = vu_shmem_describe(&client.shmem.regions[i]);
            fds[i] = client.shmem.regions[i].fd;
        }
        g_assert_cmpuint(echo_ask(&channel, VU_SET_MEM_TABLE, &mem, 8 + 3 * 32, fds, 2), ==, 0);
        addr.desc_uva = (uintptr_t)client.driver->desc;
        addr.avail_uva = (uintptr_t)client.driver->avail;
        addr.used_uva = (uintptr_t)client.driver->used;
        g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_CALL, &index, 8, &calls[0], 1), ==, 0);
        g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_NUM, &num, 8, NULL, 0), ==, 0);
        vu_driver_reset(client.driver); /* its ring is stopped now */
        g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_BASE, &base, 8, NULL, 0), ==, 0);
        g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), ==,
                         0);
        g_assert_cmpuint(
            echo_ask(&channel, VU_SET_VRING_KICK, &index, 8, &client.driver->kick_fd, 1), ==, 0);
        g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_ENABLE, &enable, 8, NULL, 0), ==, 0);
        client_echo(&client, 3);
        g_usleep(1000);
        g_assert_cmpint(read(calls[1], call, 8), ==, 8);
        enable.num = 0;
        g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_ENABLE, &enable, 8, NULL, 0), ==, 0);
        enable.num = 1;
    }
    vu_channel_close(&channel);
    g_assert_cmpint(echo_join(&echo), ==, 0);
    close(calls[0]);
    close(calls[1]);
    client_clear(&client);
    echo_clear(&echo);
}

/* A front-end from before protocol features: rings are enabled from the start. The kick comes
 * before the rest, and is no descriptor at all. */
static void test_ancient(void)
{
    struct vu_vring_state num = {1, DEPTH};
    struct vu_vring_addr addr = {.index = 1};
    struct vu_mem_table table = {.n_regions = 2};
    uint64_t index = 1 | VU_VRING_NO_FD, features = VU_BIT(VU_F_VERSION_1);
    struct echo_session echo;
    struct client client;
    struct vu_channel channel;
    struct vu_message reply;
    int fds[2];

    echo_init(&echo, false);
    client_init(&client, &plain);
    vu_channel_init(&channel, echo_connect(&echo));
    g_assert_true(echo_get(&channel, VU_GET_FEATURES, NULL, 0, &reply));
    g_assert_true(vu_has(reply.payload.u64, VU_F_RING_PACKED));
    echo_send(&channel, VU_SET_FEATURES, VU_VERSION, &features, 8, NULL, 0);
    echo_send(&channel, VU_SET_VRING_KICK, VU_VERSION, &index, 8, NULL, 0);
    echo_send(&channel, VU_SET_VRING_NUM, VU_VERSION, &num, 8, NULL, 0);
    addr.desc_uva = (uintptr_t)client.driver->desc;
    addr.avail_uva = (uintptr_t)client.driver->avail;
    addr.used_uva = (uintptr_t)client.driver->used;
    echo_send(&channel, VU_SET_VRING_ADDR, VU_VERSION, &addr, sizeof(addr), NULL, 0);
    for (unsigned i = 0; i < 2; i++) {
        table.regions[i] = vu_shmem_describe(&client.shmem.regions[i]);
        fds[i] = client.shmem.regions[i].fd;
    }
    echo_send(&channel, VU_SET_MEM_TABLE, VU_VERSION, &table, 8 + 2 * 32, fds, 2);
    client_echo(&client, 3);
    g_assert_true(echo_get(&channel, VU_GET_VRING_BASE, &num, 8, &reply));
    g_assert_cmpuint(reply.payload.state.index, ==, 1);
    g_assert_cmpuint(reply.payload.state.num, ==, 12);
    vu_channel_close(&channel);
    g_assert_cmpint(echo_join(&echo), ==, 0);
    client_clear(&client);
    echo_clear(&echo);
}

#define SPLIT_ALL (VU_BIT(VU_F_RING_INDIRECT_DESC) | VU_BIT(VU_F_RING_EVENT_IDX))

static const struct variant split_all = {SPLIT_ALL, ALL_PROTOCOL, false};
static const struct variant packed_all = {SPLIT_ALL | VU_BIT(VU_F_RING_PACKED), ALL_PROTOCOL,
                                          false};
static const struct variant inband = {0, ALL_PROTOCOL, true};

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_ERROR);
    g_test_add_data_func("/backend/echo/split", &plain, test_echo);
    g_test_add_data_func("/backend/echo/split-all", &split_all, test_echo);
    g_test_add_data_func("/backend/echo/packed", &packed, test_echo);
    g_test_add_data_func("/backend/echo/packed-all", &packed_all, test_echo);
    g_test_add_data_func("/backend/echo/table-only", &table_only, test_echo);
    g_test_add_data_func("/backend/echo/inband", &inband, test_echo);
    g_test_add_data_func("/backend/drain/split", &plain, test_drain);
    g_test_add_data_func("/backend/drain/packed", &packed, test_drain);
    g_test_add_func("/backend/gone-while-in-flight", test_gone_while_in_flight);
    g_test_add_func("/backend/next-front-end", test_next_front_end);
    g_test_add_func("/backend/stop-fd", test_stop_fd);
    g_test_add_data_func("/backend/live-memory/slots", &plain, test_live_memory);
    g_test_add_data_func("/backend/live-memory/table", &table_only, test_live_memory);
    g_test_add_data_func("/backend/live-memory/packed", &packed, test_live_memory);
    g_test_add_func("/backend/ring-memory-removed", test_ring_memory_removed);
    g_test_add_func("/backend/truncated-memory", test_truncated_memory);
    g_test_add_func("/backend/config", test_config);
    g_test_add_func("/backend/status-and-reset", test_status_and_reset);
    g_test_add_data_func("/backend/log/split", &plain, test_log);
    g_test_add_data_func("/backend/log/packed", &packed_all, test_log);
    g_test_add_data_func("/backend/inflight/split", &split_all, test_inflight);
    g_test_add_data_func("/backend/inflight/packed", &packed, test_inflight);
    g_test_add_func("/backend/device-state", test_device_state);
    g_test_add_func("/backend/like-uml", test_like_uml);
    g_test_add_func("/backend/ancient", test_ancient);
    return g_test_run();
}
