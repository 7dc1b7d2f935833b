/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon is killed at any moment, again and again, with requests in flight, and its successor
 * takes over by vu_frontend_reconnect: memory, rings, inflight region. Every request is completed
 * exactly once, with the right reply. Drives echo-daemon ($ECHO_DAEMON).
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vhost-user/frontend.h"
#include "vhost-user/log.h"

#define N_QUEUES 2
#define DEPTH    32
#define N_KILLS  12
#define BUF_LEN  256
#define WAIT_MS  10000

struct request {
    uint8_t *out, *in;
    uint64_t out_gpa, in_gpa;
    uint64_t sequence;
    bool in_flight;
};

struct queue {
    struct vu_driver *driver;
    struct request requests[DEPTH];
};

struct rig {
    char *dir, *path;
    pid_t pid;
    GRand *rand;
    struct vu_shmem shmem;
    struct vu_frontend *frontend;
    struct queue queues[N_QUEUES];
    uint64_t sequence, n_done;
};

static void start_daemon(struct rig *rig)
{
    g_autofree char *option = g_strdup_printf("--socket-path=%s", rig->path);

    rig->pid = fork();
    g_assert_cmpint(rig->pid, >=, 0);
    if (rig->pid > 0)
        return;
    alarm(100);
    execl(g_getenv("ECHO_DAEMON"), "echo-daemon", option, "--log-level=error", NULL);
    _exit(127);
}

static void kill_daemon(struct rig *rig)
{
    g_assert_cmpint(kill(rig->pid, SIGKILL), ==, 0);
    g_assert_cmpint(waitpid(rig->pid, NULL, 0), ==, rig->pid);
}

static void make_queue(struct rig *rig, unsigned index, uint64_t features)
{
    struct queue *queue = &rig->queues[index];
    struct vu_driver_config config = {
        .index = index, .num = 2 * DEPTH, .features = features, .indirect_max = 2};

    g_assert_cmpint(vu_driver_create(&rig->shmem, &config, &queue->driver), ==, 0);
    for (unsigned i = 0; i < DEPTH; i++) {
        struct request *request = &queue->requests[i];

        request->out = vu_shmem_alloc(&rig->shmem, BUF_LEN, 64, &request->out_gpa);
        request->in = vu_shmem_alloc(&rig->shmem, BUF_LEN, 64, &request->in_gpa);
    }
}

static void rig_open(struct rig *rig, uint64_t features)
{
    struct vu_frontend_config config = {
        .name = "test",
        .features = VU_BIT(VU_F_VERSION_1) | features,
        .required_features = VU_BIT(VU_F_VERSION_1) | features,
        .protocol_features =
            VU_BIT(VU_PF_REPLY_ACK) | VU_BIT(VU_PF_MQ) | VU_BIT(VU_PF_INFLIGHT_SHMFD),
        .reply_timeout_ms = WAIT_MS,
    };

    memset(rig, 0, sizeof(*rig));
    rig->rand = g_rand_new_with_seed(11);
    rig->dir = g_dir_make_tmp("test-successor-XXXXXX", NULL);
    rig->path = g_build_filename(rig->dir, "socket", NULL);
    vu_shmem_init(&rig->shmem);
    g_assert_cmpint(vu_shmem_add(&rig->shmem, 0x100000, 1 << 20), ==, 0);
    rig->frontend = vu_frontend_create(&config);
    start_daemon(rig);
    g_assert_cmpint(vu_frontend_connect(rig->frontend, rig->path, WAIT_MS), ==, 0);
    g_assert_cmpint(vu_frontend_set_features(rig->frontend, vu_frontend_features(rig->frontend)),
                    ==, 0);
    g_assert_cmpint(vu_frontend_set_memory(rig->frontend, &rig->shmem), ==, 0);
    g_assert_cmpint(vu_frontend_setup_inflight(rig->frontend, N_QUEUES, 2 * DEPTH), ==, 0);
    for (unsigned i = 0; i < N_QUEUES; i++) {
        make_queue(rig, i, vu_frontend_features(rig->frontend));
        g_assert_cmpint(vu_frontend_start_driver(rig->frontend, rig->queues[i].driver), ==, 0);
    }
}

static void rig_close(struct rig *rig)
{
    kill_daemon(rig);
    vu_frontend_destroy(rig->frontend);
    for (unsigned i = 0; i < N_QUEUES; i++)
        vu_driver_destroy(rig->queues[i].driver);
    vu_shmem_clear(&rig->shmem);
    g_unlink(rig->path);
    g_rmdir(rig->dir);
    g_free(rig->path);
    g_free(rig->dir);
    g_rand_free(rig->rand);
}

static void fill(const struct request *request, uint8_t *buf)
{
    for (unsigned i = 0; i < BUF_LEN; i++)
        buf[i] = (uint8_t)(request->sequence * 31 + i);
}

static void add_requests(struct rig *rig, struct queue *queue)
{
    for (unsigned i = 0; i < DEPTH; i++) {
        struct request *request = &queue->requests[i];
        struct vu_sg sg[2] = {{request->out_gpa, BUF_LEN}, {request->in_gpa, BUF_LEN}};

        if (request->in_flight || g_rand_int_range(rig->rand, 0, 3) == 0)
            continue;
        request->sequence = ++rig->sequence;
        fill(request, request->out);
        memset(request->in, 0, BUF_LEN);
        request->in_flight = true;
        g_assert_cmpint(vu_driver_add(queue->driver, sg, 1, 1, request), ==, 0);
    }
    vu_driver_kick(queue->driver);
}

static unsigned harvest(struct rig *rig, struct queue *queue)
{
    struct vu_driver_used used[DEPTH];
    int n = vu_driver_harvest(queue->driver, used, DEPTH);

    g_assert_cmpint(n, >=, 0);
    for (int i = 0; i < n; i++) {
        struct request *request = used[i].token;
        uint8_t expected[BUF_LEN];

        g_assert_true(request->in_flight);
        request->in_flight = false;
        g_assert_cmpuint(used[i].len, ==, BUF_LEN);
        fill(request, expected);
        g_assert_true(memcmp(expected, request->in, BUF_LEN) == 0);
        rig->n_done++;
    }
    return (unsigned)n;
}

/* Waits until everything in flight is completed. */
static void drain(struct rig *rig)
{
    for (unsigned i = 0; i < N_QUEUES; i++) {
        struct queue *queue = &rig->queues[i];

        while (queue->driver->n_in_flight > 0) {
            struct pollfd pfd = {.fd = queue->driver->call_fd, .events = POLLIN};

            if (harvest(rig, queue) > 0 || vu_driver_arm_call(queue->driver))
                continue;
            g_assert_cmpint(poll(&pfd, 1, WAIT_MS), ==, 1);
            vu_driver_clear_call(queue->driver);
        }
    }
}

static void replace_daemon(struct rig *rig)
{
    kill_daemon(rig);
    for (unsigned i = 0; i < N_QUEUES; i++)
        while (harvest(rig, &rig->queues[i]) > 0)
            ;
    start_daemon(rig);
    g_assert_cmpint(vu_frontend_reconnect(rig->frontend, rig->path, WAIT_MS), ==, 0);
    for (unsigned i = 0; i < N_QUEUES; i++)
        vu_driver_force_kick(rig->queues[i].driver);
}

static void test_successors(gconstpointer data)
{
    struct rig rig;

    rig_open(&rig, *(const uint64_t *)data);
    for (unsigned kills = 0; kills < N_KILLS; kills++) {
        gint64 until = g_get_monotonic_time() + g_rand_int_range(rig.rand, 0, 20000);

        do {
            for (unsigned i = 0; i < N_QUEUES; i++) {
                harvest(&rig, &rig.queues[i]);
                add_requests(&rig, &rig.queues[i]);
            }
        } while (g_get_monotonic_time() < until);
        replace_daemon(&rig);
        if (kills % 3 == 0)
            drain(&rig);
    }
    drain(&rig);
    g_assert_cmpuint(rig.n_done, ==, rig.sequence);
    g_test_message("%u daemons, %" G_GUINT64_FORMAT " requests", N_KILLS + 1, rig.n_done);
    rig_close(&rig);
}

int main(int argc, char **argv)
{
    static const uint64_t extras = VU_BIT(VU_F_RING_EVENT_IDX) | VU_BIT(VU_F_RING_INDIRECT_DESC);
    static const uint64_t split, split_extras = extras, packed = VU_BIT(VU_F_RING_PACKED),
                                 packed_extras = VU_BIT(VU_F_RING_PACKED) | extras;

    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_ERROR);
    g_test_add_data_func("/successor/split", &split, test_successors);
    g_test_add_data_func("/successor/split-event_idx-indirect", &split_extras, test_successors);
    g_test_add_data_func("/successor/packed", &packed, test_successors);
    g_test_add_data_func("/successor/packed-event_idx-indirect", &packed_extras, test_successors);
    return g_test_run();
}
