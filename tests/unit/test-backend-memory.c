/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions of a back-end whose guest memory changes while rings run: regions that come and go, the
 * ring's own among them, a file that is truncated, and a dirty log.
 */
#include "vhost-user/backend.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "echo-client.h"
#include "vhost-user/log.h"

/* Regions come and go while requests run. */
static void test_live_memory(gconstpointer data)
{
    struct echo_session echo;
    struct echo_client client;

    echo_init(&echo, false);
    echo_client_init(&client, data);
    echo_client_start(&client, &echo);
    for (unsigned i = 0; i < 20; i++) {
        for (unsigned k = 0; k < 4; k++)
            echo_client_add(&client, k);
        echo_client_kick(&client);
        g_assert_cmpint(vu_shmem_add(&client.shmem, ECHO_GPA + 16 * ECHO_LEN, ECHO_LEN), ==, 0);
        g_assert_cmpint(vu_frontend_set_memory(client.frontend, &client.shmem), ==, 0);
        g_assert_cmpint(vu_shmem_remove(&client.shmem, ECHO_GPA + 16 * ECHO_LEN), ==, 0);
        g_assert_cmpint(vu_frontend_set_memory(client.frontend, &client.shmem), ==, 0);
        echo_client_harvest(&client, 4);
    }
    echo_client_clear(&client);
    echo_join(&echo);
    echo_clear(&echo);
}

/* The ring's own region is taken away and given back: it waits in between. */
static void test_ring_memory_removed(void)
{
    struct echo_session echo;
    struct echo_client client;
    struct vu_channel channel;
    struct vu_mem_reg reg = {0};
    struct vu_vring_state enable = {1, 1};
    struct vu_vring_state num = {1, ECHO_DEPTH};
    struct vu_vring_addr addr;
    uint64_t index = 1;
    int kick;

    echo_init(&echo, false);
    echo_client_init(&client, &echo_split);
    vu_channel_init(&channel, echo_connect(&echo));
    echo_negotiate(&channel, 0);
    for (unsigned i = 0; i < 2; i++) {
        reg.region = vu_shmem_describe(&client.shmem.regions[i]);
        g_assert_cmpuint(
            echo_ask(&channel, VU_ADD_MEM_REG, &reg, sizeof(reg), &client.shmem.regions[i].fd, 1),
            ==, 0);
    }
    addr = echo_client_addr(&client);
    kick = client.driver->kick_fd;
    g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_NUM, &num, 8, NULL, 0), ==, 0);
    g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), ==, 0);
    g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_KICK, &index, 8, &kick, 1), ==, 0);
    g_assert_cmpuint(echo_ask(&channel, VU_SET_VRING_ENABLE, &enable, 8, NULL, 0), ==, 0);
    echo_client_run(&client, 3);

    reg.region = vu_shmem_describe(&client.shmem.regions[0]);
    g_assert_cmpuint(echo_ask(&channel, VU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0), ==, 0);
    echo_client_add(&client, 0);
    vu_driver_kick(client.driver);
    g_usleep(20000);
    g_assert_false(vu_driver_has_used(client.driver));
    g_assert_cmpuint(
        echo_ask(&channel, VU_ADD_MEM_REG, &reg, sizeof(reg), &client.shmem.regions[0].fd, 1), ==,
        0);
    echo_client_harvest(&client, 1);
    echo_client_run(&client, 3);
    vu_channel_close(&channel);
    g_assert_cmpint(echo_join(&echo), ==, 0);
    echo_client_clear(&client);
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
        struct echo_client client;

        echo_client_init(&client, &echo_split);
        echo_client_start(&client, &echo);
        echo_client_run(&client, 3);
        echo_client_clear(&client);
        echo_join(&echo);
    }
    echo_clear(&echo);
    close(memory_fd);
    close(kick);
    close(err);
}

/* Logging is switched on and off under a running ring. */
static void test_log(gconstpointer data)
{
    int log_fd = memfd_create("log", MFD_CLOEXEC);
    const uint64_t page = (ECHO_ANSWER_GPA) / 4096;
    const uint8_t bit = (uint8_t)(1u << (page % 8));
    struct echo_session echo;
    struct echo_client client;
    uint64_t features;
    uint8_t byte = 0;

    g_assert_cmpint(ftruncate(log_fd, 4096), ==, 0);
    echo_init(&echo, false);
    echo_client_init(&client, data);
    echo_client_start(&client, &echo);
    features = vu_frontend_features(client.frontend) & ~VU_BIT(VU_F_LOG_ALL);
    echo_client_run(&client, 3);
    g_assert_cmpint(vu_frontend_set_log(client.frontend, log_fd, 4096, 0), ==, 0);
    echo_client_run(&client, 3);
    g_assert_cmpint(pread(log_fd, &byte, 1, (off_t)page / 8), ==, 1);
    g_assert_cmpuint(byte, ==, 0);
    g_assert_cmpint(vu_frontend_set_features(client.frontend, features | VU_BIT(VU_F_LOG_ALL)), ==,
                    0);
    echo_client_run(&client, 3);
    g_assert_cmpint(pread(log_fd, &byte, 1, (off_t)page / 8), ==, 1);
    g_assert_cmphex(byte, ==, bit);
    g_assert_cmpint(vu_frontend_set_features(client.frontend, features), ==, 0);
    g_assert_cmpint(ftruncate(log_fd, 0), ==, 0);
    g_assert_cmpint(ftruncate(log_fd, 4096), ==, 0);
    echo_client_run(&client, 3);
    g_assert_cmpint(pread(log_fd, &byte, 1, (off_t)page / 8), ==, 1);
    g_assert_cmpuint(byte, ==, 0);
    echo_client_clear(&client);
    echo_join(&echo);
    echo_clear(&echo);
    close(log_fd);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_ERROR);
    g_test_add_data_func("/backend/live-memory/slots", &echo_split, test_live_memory);
    g_test_add_data_func("/backend/live-memory/table", &echo_table_only, test_live_memory);
    g_test_add_data_func("/backend/live-memory/packed", &echo_packed, test_live_memory);
    g_test_add_func("/backend/ring-memory-removed", test_ring_memory_removed);
    g_test_add_func("/backend/truncated-memory", test_truncated_memory);
    g_test_add_data_func("/backend/log/split", &echo_split, test_log);
    g_test_add_data_func("/backend/log/packed", &echo_packed_all, test_log);
    return g_test_run();
}
