/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pauses of a back-end: no ring gives anything out while one lasts, whatever the front-end does
 * meanwhile, and no kick is lost over it.
 */
#include "vhost-user/backend.h"

#include <signal.h>

#include "echo-client.h"
#include "vhost-user/log.h"

/* Time enough for a request to come through, if it could. */
#define PAUSE_US 20000
#define N_TRIES  200

static unsigned n_processed(struct echo_session *echo)
{
    unsigned n;

    pthread_mutex_lock(&echo->lock);
    n = echo->n_processed;
    pthread_mutex_unlock(&echo->lock);
    return n;
}

static void test_rings_wait(gconstpointer opaque)
{
    struct echo_session echo;
    struct echo_client client;

    echo_init(&echo, false);
    echo_client_init(&client, opaque);
    echo_client_start(&client, &echo);
    echo_client_run(&client, 2);
    for (unsigned i = 0; i < 20; i++) {
        unsigned before;

        vu_backend_pause(echo.backend);
        before = n_processed(&echo);
        echo_client_add(&client, i);
        echo_client_kick(&client);
        g_usleep(PAUSE_US / 10);
        g_assert_cmpuint(n_processed(&echo), ==, before);
        g_assert_cmpuint(vu_backend_n_working(echo.backend, ECHO_QUEUE), ==, 0);
        vu_backend_resume(echo.backend);
        echo_client_harvest(&client, 1);
    }
    echo_client_run(&client, 2);
    echo_client_clear(&client);
    g_assert_cmpint(echo_join(&echo), ==, 0);
    echo_clear(&echo);
}

/* What the device has goes on. */
static void test_in_flight(void)
{
    struct echo_session echo;
    struct echo_client client;

    echo_init(&echo, false);
    echo_client_init(&client, &echo_split);
    echo_client_start(&client, &echo);
    echo.hold = true;
    echo_client_add(&client, 0);
    echo_client_add(&client, 1);
    echo_client_kick(&client);
    echo_wait_held(&echo, 2);
    vu_backend_pause(echo.backend);
    g_assert_cmpuint(vu_backend_n_working(echo.backend, ECHO_QUEUE), ==, 2);
    echo_client_add(&client, 2);
    echo_client_kick(&client);
    echo_release(&echo);
    echo_client_harvest(&client, 2);
    g_assert_cmpuint(vu_backend_n_working(echo.backend, ECHO_QUEUE), ==, 0);
    vu_backend_resume(echo.backend);
    echo_client_harvest(&client, 1);
    echo_client_clear(&client);
    g_assert_cmpint(echo_join(&echo), ==, 0);
    echo_clear(&echo);
}

/* The front-end starts, stops and leaves as it likes. */
static void test_front_end_goes_on(void)
{
    struct echo_session echo;
    struct echo_client client;

    echo_init(&echo, false);
    vu_backend_pause(echo.backend);
    echo_client_init(&client, &echo_split);
    echo_client_start(&client, &echo);
    echo_client_add(&client, 0);
    echo_client_kick(&client);
    g_usleep(PAUSE_US);
    g_assert_cmpuint(n_processed(&echo), ==, 0);
    g_assert_cmpint(vu_frontend_stop_ring(client.frontend, ECHO_QUEUE, NULL), ==, 0);
    g_assert_cmpint(vu_frontend_start_driver(client.frontend, client.driver), ==, 0);
    g_usleep(PAUSE_US);
    g_assert_cmpuint(n_processed(&echo), ==, 0);
    vu_backend_resume(echo.backend);
    echo_client_harvest(&client, 1);
    vu_backend_pause(echo.backend);
    echo_client_add(&client, 1);
    echo_client_kick(&client);
    echo_client_clear(&client);
    g_assert_cmpint(echo_join(&echo), ==, 0);
    vu_backend_resume(echo.backend);
    echo_clear(&echo);
}

static void *pause_often(void *opaque)
{
    struct echo_session *echo = opaque;

    for (unsigned i = 0; i < N_TRIES; i++) {
        vu_backend_pause(echo->backend);
        g_usleep(i % 7 * 50);
        vu_backend_resume(echo->backend);
        g_usleep(i % 3 * 50);
    }
    return NULL;
}

/* Pauses begin and end in the middle of everything: rings that start, stop and run. */
static void test_beside(void)
{
    struct echo_session echo;
    struct echo_client client;
    pthread_t thread;

    echo_init(&echo, false);
    echo_client_init(&client, &echo_split_all);
    echo_client_start(&client, &echo);
    g_assert_cmpint(pthread_create(&thread, NULL, pause_often, &echo), ==, 0);
    for (unsigned i = 0; i < 50; i++) {
        echo_client_run(&client, 5);
        g_assert_cmpint(vu_frontend_stop_ring(client.frontend, ECHO_QUEUE, NULL), ==, 0);
        g_assert_cmpint(vu_frontend_start_driver(client.frontend, client.driver), ==, 0);
    }
    pthread_join(thread, NULL);
    echo_client_run(&client, 1);
    echo_client_clear(&client);
    g_assert_cmpint(echo_join(&echo), ==, 0);
    echo_clear(&echo);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_ERROR);
    g_test_add_data_func("/backend/pause/split", &echo_split, test_rings_wait);
    g_test_add_data_func("/backend/pause/packed", &echo_packed_all, test_rings_wait);
    g_test_add_func("/backend/pause/in-flight", test_in_flight);
    g_test_add_func("/backend/pause/front-end-goes-on", test_front_end_goes_on);
    g_test_add_func("/backend/pause/beside", test_beside);
    return g_test_run();
}
