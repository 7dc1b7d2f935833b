/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole sessions of a back-end with front-ends that behave: ours with its drivers, split and
 * packed, and by hand what other front-ends do differently.
 */
#include "vhost-user/backend.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "echo-client.h"
#include "tests/unit/open-fds.h"
#include "vhost-user/log.h"

/* --- requests --- */

static void test_echo(gconstpointer data)
{
    const struct echo_variant *variant = data;
    unsigned n_fds = count_open_fds();
    struct echo_session echo;
    struct echo_client client;
    uint32_t base;

    echo_init(&echo, variant->inband);
    echo_client_init(&client, variant);
    echo_client_start(&client, &echo);
    echo_client_run(&client, 50);
    g_assert_cmpint(vu_frontend_stop_ring(client.frontend, 1, &base), ==, 0);
    g_assert_cmpuint(echo.n_processed, ==, 200);
    if (!vu_has(variant->features, VU_F_RING_PACKED))
        g_assert_cmpuint(base, ==, 200);
    echo_client_clear(&client);
    g_assert_cmpint(echo_join(&echo), ==, 0);
    g_assert_cmpuint(echo.n_resets, ==, 1);
    g_assert_cmpuint(echo.n_quiesced, ==, 1);
    echo_clear(&echo);
    g_assert_cmpuint(count_open_fds(), ==, n_fds);
}

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
    struct echo_client client;
    uint32_t base;
    GThread *helper;

    echo_init(&echo, false);
    echo_client_init(&client, data);
    echo_client_start(&client, &echo);
    echo.hold = true;
    for (unsigned i = 0; i < 3; i++)
        echo_client_add(&client, i);
    echo_client_kick(&client);
    echo_wait_held(&echo, 3);
    helper = g_thread_new("release", release_later, &echo);
    g_assert_cmpint(vu_frontend_stop_ring(client.frontend, 1, &base), ==, 0);
    g_assert_cmpuint(echo.held->len, ==, 0);
    echo_client_harvest(&client, 3);
    g_thread_join(helper);

    g_assert_cmpint(vu_frontend_start_driver(client.frontend, client.driver), ==, 0);
    echo_client_run(&client, 5);
    echo_client_clear(&client);
    echo_join(&echo);
    echo_clear(&echo);
}

/* The front-end goes while requests are in flight: they end before its memory does. */
static void test_gone_while_in_flight(void)
{
    struct echo_session echo;
    struct echo_client client;
    GThread *helper;

    echo_init(&echo, false);
    echo_client_init(&client, &echo_split);
    echo_client_start(&client, &echo);
    echo.hold = true;
    echo_client_add(&client, 0);
    echo_client_kick(&client);
    echo_wait_held(&echo, 1);
    helper = g_thread_new("release", release_later, &echo);
    vu_frontend_disconnect(client.frontend);
    g_assert_cmpint(echo_join(&echo), ==, 0);
    g_assert_cmpuint(echo.held->len, ==, 0);
    g_assert_cmpuint(echo.n_resets, ==, 1);
    g_thread_join(helper);
    echo_client_clear(&client);
    echo_clear(&echo);
}

static void test_next_front_end(void)
{
    struct echo_session echo;

    echo_init(&echo, false);
    for (unsigned i = 0; i < 5; i++) {
        struct echo_client client;

        echo_client_init(&client, i % 2 == 0 ? &echo_split : &echo_packed);
        echo_client_start(&client, &echo);
        echo_client_run(&client, 3);
        echo_client_clear(&client); /* without stopping the ring */
        g_assert_cmpint(echo_join(&echo), ==, 0);
    }
    g_assert_cmpuint(echo.n_resets, ==, 5);
    echo_clear(&echo);
}

static void test_stop_fd(void)
{
    struct echo_session echo;
    struct echo_client client;

    echo_init(&echo, false);
    echo_client_init(&client, &echo_split);
    echo_client_start(&client, &echo);
    echo_client_run(&client, 3);
    echo_clear(&echo); /* -ECANCELED */
    echo_client_clear(&client);
}

/* --- other messages --- */

static void test_config(void)
{
    struct echo_session echo;
    struct echo_client client;
    uint8_t data[64] = {0};

    echo_init(&echo, false);
    for (unsigned i = 0; i < ECHO_CONFIG_LEN; i++)
        echo.config[i] = (uint8_t)(i + 1);
    echo_client_init(&client, &echo_split);
    echo_client_start(&client, &echo);
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
    echo_client_clear(&client);
    echo_join(&echo);
    g_assert_cmpint(vu_backend_config_changed(echo.backend), ==, -ENOTCONN);
    echo_clear(&echo);
}

static void test_status_and_reset(void)
{
    struct echo_session echo;
    struct echo_client client;
    uint8_t status = 99;

    echo_init(&echo, false);
    echo_client_init(&client, &echo_split);
    echo_client_start(&client, &echo);
    g_assert_cmpint(vu_frontend_set_status(client.frontend, 0xf), ==, 0);
    g_assert_cmpint(vu_frontend_get_status(client.frontend, &status), ==, 0);
    g_assert_cmpuint(status, ==, 0xf);
    echo_client_run(&client, 2);
    g_assert_cmpint(vu_frontend_set_status(client.frontend, 0), ==, 0);
    g_assert_cmpuint(echo.n_resets, ==, 0); /* it may be a pause only */
    g_assert_cmpint(vu_frontend_reset_device(client.frontend), ==, 0);
    g_assert_cmpuint(echo.n_resets, ==, 1);
    vu_driver_reset(client.driver);
    g_assert_cmpint(vu_frontend_start_driver(client.frontend, client.driver), ==, 0);
    echo_client_run(&client, 2);
    echo_client_clear(&client);
    echo_join(&echo);
    echo_clear(&echo);
}

static void test_inflight(gconstpointer data)
{
    struct echo_session echo;
    struct echo_client client;
    uint64_t features;

    echo_init(&echo, false);
    echo_client_init(&client, data);
    g_assert_cmpint(vu_frontend_attach(client.frontend, echo_connect(&echo)), ==, 0);
    features = vu_frontend_features(client.frontend) & ~VU_BIT(VU_F_LOG_ALL);
    g_assert_cmpint(vu_frontend_set_features(client.frontend, features), ==, 0);
    g_assert_cmpint(vu_frontend_set_memory(client.frontend, &client.shmem), ==, 0);
    g_assert_cmpint(vu_frontend_setup_inflight(client.frontend, ECHO_QUEUES, ECHO_DEPTH), ==, 0);
    g_assert_cmpint(vu_frontend_start_driver(client.frontend, client.driver), ==, 0);
    echo_client_run(&client, 5);
    g_assert_cmpint(vu_frontend_stop_ring(client.frontend, 1, NULL), ==, 0);
    g_assert_cmpint(vu_frontend_start_driver(client.frontend, client.driver), ==, 0);
    echo_client_run(&client, 5);
    echo_client_clear(&client);
    echo_join(&echo);
    echo_clear(&echo);
}

static void test_device_state(void)
{
    struct echo_session echo;
    struct echo_client client;
    int pipe_fds[2], other;
    char text[64] = "";

    echo_init(&echo, false);
    strcpy(echo.state, "what it remembers");
    echo_client_init(&client, &echo_split);
    echo_client_start(&client, &echo);
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
    echo_client_clear(&client);
    echo_join(&echo);
    echo_clear(&echo);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_ERROR);
    g_test_add_data_func("/backend/echo/split", &echo_split, test_echo);
    g_test_add_data_func("/backend/echo/split-all", &echo_split_all, test_echo);
    g_test_add_data_func("/backend/echo/packed", &echo_packed, test_echo);
    g_test_add_data_func("/backend/echo/packed-all", &echo_packed_all, test_echo);
    g_test_add_data_func("/backend/echo/table-only", &echo_table_only, test_echo);
    g_test_add_data_func("/backend/echo/inband", &echo_inband, test_echo);
    g_test_add_data_func("/backend/drain/split", &echo_split, test_drain);
    g_test_add_data_func("/backend/drain/packed", &echo_packed, test_drain);
    g_test_add_func("/backend/gone-while-in-flight", test_gone_while_in_flight);
    g_test_add_func("/backend/next-front-end", test_next_front_end);
    g_test_add_func("/backend/stop-fd", test_stop_fd);
    g_test_add_func("/backend/config", test_config);
    g_test_add_func("/backend/status-and-reset", test_status_and_reset);
    g_test_add_data_func("/backend/inflight/split", &echo_split_all, test_inflight);
    g_test_add_data_func("/backend/inflight/packed", &echo_packed, test_inflight);
    g_test_add_func("/backend/device-state", test_device_state);
    return g_test_run();
}
