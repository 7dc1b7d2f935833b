/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions of a back-end with front-ends that have habits of their own, by hand.
 */
#include "vhost-user/backend.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "echo-client.h"
#include "vhost-user/log.h"

/* User Mode Linux: 72 bytes for one region, calls over stream sockets, and a driver that comes back
 * without having stopped its rings. */
static void test_like_uml(void)
{
    struct vu_mem_table table = {.n_regions = 2};
    struct vu_vring_state num = {1, ECHO_DEPTH}, base = {1, 0}, enable = {1, 1};
    struct vu_vring_addr addr;
    uint64_t index = 1, features = VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_PROTOCOL_FEATURES);
    int calls[2], fds[2];
    struct echo_session echo;
    struct echo_client client;
    struct vu_channel channel;
    uint8_t call[8];

    echo_init(&echo, false);
    echo_client_init(&client, &echo_split);
    vu_channel_init(&channel, echo_connect(&echo));
    echo_negotiate(&channel, 0);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, calls), ==, 0);
    for (unsigned round = 0; round < 3; round++) {
        g_assert_cmpuint(echo_ask(&channel, VU_SET_FEATURES, &features, 8, NULL, 0), ==, 0);
        for (unsigned i = 0; i < 2; i++) {
            table.regions[i] = vu_shmem_describe(&client.shmem.regions[i]);
            fds[i] = client.shmem.regions[i].fd;
        }
        g_assert_cmpuint(echo_ask(&channel, VU_SET_MEM_TABLE, &table, 8 + 3 * 32, fds, 2), ==, 0);
        addr = echo_client_addr(&client);
        g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_CALL, &index, 8, &calls[0], 1), ==, 0);
        g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_NUM, &num, 8, NULL, 0), ==, 0);
        vu_driver_reset(client.driver); /* its ring is stopped now */
        g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_BASE, &base, 8, NULL, 0), ==, 0);
        g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), ==,
                         0);
        g_assert_cmpuint(
            echo_ask(&channel, VU_SET_VRING_KICK, &index, 8, &client.driver->kick_fd, 1), ==, 0);
        g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_ENABLE, &enable, 8, NULL, 0), ==, 0);
        echo_client_run(&client, 3);
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
    echo_client_clear(&client);
    echo_clear(&echo);
}

/* A front-end from before protocol features: rings are enabled from the start. The kick comes
 * before the rest, and is no descriptor at all. */
static void test_ancient(void)
{
    struct vu_vring_state num = {1, ECHO_DEPTH};
    struct vu_vring_addr addr;
    struct vu_mem_table table = {.n_regions = 2};
    uint64_t index = 1 | VU_VRING_NO_FD, features = VU_BIT(VU_F_VERSION_1);
    struct echo_session echo;
    struct echo_client client;
    struct vu_channel channel;
    struct vu_message reply;
    int fds[2];

    echo_init(&echo, false);
    echo_client_init(&client, &echo_split);
    vu_channel_init(&channel, echo_connect(&echo));
    g_assert_true(echo_get(&channel, VU_GET_FEATURES, NULL, 0, &reply));
    g_assert_true(vu_has(reply.payload.u64, VU_F_RING_PACKED));
    echo_send(&channel, VU_SET_FEATURES, VU_VERSION, &features, 8, NULL, 0);
    echo_send(&channel, VU_SET_VRING_KICK, VU_VERSION, &index, 8, NULL, 0);
    echo_send(&channel, VU_SET_VRING_NUM, VU_VERSION, &num, 8, NULL, 0);
    addr = echo_client_addr(&client);
    echo_send(&channel, VU_SET_VRING_ADDR, VU_VERSION, &addr, sizeof(addr), NULL, 0);
    for (unsigned i = 0; i < 2; i++) {
        table.regions[i] = vu_shmem_describe(&client.shmem.regions[i]);
        fds[i] = client.shmem.regions[i].fd;
    }
    echo_send(&channel, VU_SET_MEM_TABLE, VU_VERSION, &table, 8 + 2 * 32, fds, 2);
    echo_client_run(&client, 3);
    g_assert_true(echo_get(&channel, VU_GET_VRING_BASE, &num, 8, &reply));
    g_assert_cmpuint(reply.payload.state.index, ==, 1);
    g_assert_cmpuint(reply.payload.state.num, ==, 12);
    vu_channel_close(&channel);
    g_assert_cmpint(echo_join(&echo), ==, 0);
    echo_client_clear(&client);
    echo_clear(&echo);
}

/* QEMU's vhost-user-rng that connects again: a call first, then features that it was never offered
 * here, and what needs protocol features. Where such is not served, or features were asked for, it
 * is as with any other. */
static void test_resumed(void)
{
    const uint64_t features = VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_PROTOCOL_FEATURES);
    static const struct {
        bool is_served, asks, is_good;
    } rows[] = {{true, false, true}, {true, true, false}, {false, false, false}};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        uint64_t index = 1 | VU_VRING_NO_FD;
        struct echo_session echo;
        struct vu_channel channel;
        struct vu_message reply;

        if (rows[i].is_served)
            echo_init_resumed(&echo);
        else
            echo_init(&echo, false);
        vu_log_set_level(VU_LOG_OFF);
        vu_channel_init(&channel, echo_connect(&echo));
        if (rows[i].asks)
            g_assert_true(echo_get(&channel, VU_GET_FEATURES, NULL, 0, &reply));
        echo_send(&channel, VU_SET_VRING_CALL, VU_VERSION, &index, 8, NULL, 0);
        echo_send(&channel, VU_SET_FEATURES, VU_VERSION, &features, 8, NULL, 0);
        g_assert_cmpint(echo_get(&channel, VU_GET_STATUS, NULL, 0, &reply), ==, rows[i].is_good);
        if (rows[i].is_good)
            g_assert_cmpuint(echo_ask(&channel, VU_SET_FEATURES, &features, 8, NULL, 0), ==, 0);
        vu_channel_close(&channel);
        g_assert_cmpint(echo_join(&echo), ==, rows[i].is_good ? 0 : -EPROTO);
        echo_clear(&echo);
        vu_log_set_level(VU_LOG_ERROR);
    }
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_ERROR);
    g_test_add_func("/backend/like-uml", test_like_uml);
    g_test_add_func("/backend/ancient", test_ancient);
    g_test_add_func("/backend/resumed", test_resumed);
    return g_test_run();
}
