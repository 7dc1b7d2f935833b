/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A back-end that is killed at any moment, and its successors: with an inflight log every request
 * is completed, once, and no used entry comes twice. The back-ends are child processes on one
 * listening socket; the driver keeps them busy and never stops.
 */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "echo-client.h"
#include "vhost-user/log.h"

#define CRASHES   12
#define PER_CRASH 200

struct crash {
    struct echo_client client;
    char *folder, *path;
    int listen_fd;
    pid_t child;
    bool outstanding[ECHO_DEPTH]; /* by token */
    unsigned n_outstanding, n_done;
};

static void crash_listen(struct crash *crash)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    crash->folder = g_dir_make_tmp("crash-XXXXXX", NULL);
    crash->path = g_build_filename(crash->folder, "socket", NULL);
    g_strlcpy(addr.sun_path, crash->path, sizeof(addr.sun_path));
    crash->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(crash->listen_fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(crash->listen_fd, 4), ==, 0);
}

/* A back-end in a process of its own, which serves one front-end. */
static void crash_spawn(struct crash *crash)
{
    struct echo_session echo;

    crash->child = fork();
    g_assert_cmpint(crash->child, >=, 0);
    if (crash->child > 0)
        return;
    echo_init(&echo, false);
    vu_backend_serve(echo.backend, accept(crash->listen_fd, NULL, NULL), echo.stop_fd);
    _exit(0);
}

static void crash_kill(struct crash *crash)
{
    kill(crash->child, SIGKILL);
    g_assert_cmpint(waitpid(crash->child, NULL, 0), ==, crash->child);
}

/* Takes what is done; each must be one that was asked for and not answered yet. */
static void crash_harvest(struct crash *crash)
{
    struct vu_driver_used used[ECHO_DEPTH];
    int n = vu_driver_harvest(crash->client.driver, used, ECHO_DEPTH);

    g_assert_cmpint(n, >=, 0);
    for (int i = 0; i < n; i++) {
        unsigned token = GPOINTER_TO_UINT(used[i].token) - 1;

        g_assert_cmpuint(used[i].len, ==, 16);
        g_assert_true(crash->outstanding[token]);
        crash->outstanding[token] = false;
    }
    crash->n_outstanding -= (unsigned)n;
    crash->n_done += (unsigned)n;
}

/* Fills the ring; there is room for five requests of three descriptors in a ring of 16. */
static void crash_add(struct crash *crash)
{
    for (unsigned token = 0; token < 5; token++) {
        if (crash->outstanding[token])
            continue;
        echo_client_add(&crash->client, token);
        crash->outstanding[token] = true;
        crash->n_outstanding++;
    }
    vu_driver_kick(crash->client.driver);
}

static void crash_run(struct crash *crash, unsigned n, bool to_the_end)
{
    gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    unsigned until = crash->n_done + n;

    while (crash->n_done < until) {
        crash_add(crash);
        crash_harvest(crash);
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    }
    while (to_the_end && crash->n_outstanding > 0) {
        crash_harvest(crash);
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    }
}

static void crash_first_session(struct crash *crash)
{
    struct vu_frontend *frontend = crash->client.frontend;
    uint64_t features;

    g_assert_cmpint(vu_frontend_connect(frontend, crash->path, 10000), ==, 0);
    features = vu_frontend_features(frontend) & ~VU_BIT(VU_F_LOG_ALL);
    g_assert_cmpint(vu_frontend_set_features(frontend, features), ==, 0);
    g_assert_cmpint(vu_frontend_set_memory(frontend, &crash->client.shmem), ==, 0);
    g_assert_cmpint(vu_frontend_setup_inflight(frontend, ECHO_QUEUES, ECHO_DEPTH), ==, 0);
    g_assert_cmpint(vu_frontend_start_driver(frontend, crash->client.driver), ==, 0);
}

static void test_killed(gconstpointer variant)
{
    struct crash crash = {0};

    crash_listen(&crash);
    echo_client_init(&crash.client, variant);
    crash_spawn(&crash);
    crash_first_session(&crash);
    for (unsigned i = 0; i < CRASHES; i++) {
        crash_run(&crash, (unsigned)g_test_rand_int_range(1, PER_CRASH), false);
        crash_add(&crash);
        g_usleep((gulong)g_test_rand_int_range(0, 100));
        crash_kill(&crash);
        crash_spawn(&crash);
        crash_harvest(&crash);
        g_assert_cmpint(vu_frontend_reconnect(crash.client.frontend, crash.path, 10000), ==, 0);
        vu_driver_force_kick(crash.client.driver);
    }
    crash_run(&crash, PER_CRASH, true);
    echo_client_clear(&crash.client);
    g_assert_cmpint(waitpid(crash.child, NULL, 0), ==, crash.child);
    close(crash.listen_fd);
    unlink(crash.path);
    rmdir(crash.folder);
    g_free(crash.path);
    g_free(crash.folder);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_ERROR);
    g_test_add_data_func("/backend-crash/split", &echo_split, test_killed);
    g_test_add_data_func("/backend-crash/split-all", &echo_split_all, test_killed);
    g_test_add_data_func("/backend-crash/packed", &echo_packed, test_killed);
    g_test_add_data_func("/backend-crash/packed-all", &echo_packed_all, test_killed);
    return g_test_run();
}
