/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring with all its threads at once: a driver, the worker, helpers that push in batches and out
 * of order, and a session that changes memory, log, call and state all the while. Nothing is lost,
 * and a worker that polls does not keep the session out. For the thread sanitizer above all.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "ring-pair.h"
#include "vhost-user/worker.h"

#define N_HELPERS  3
#define N_REQUESTS 6000
#define QUEUE_LEN  512
#define HANG_MS    20000

struct device {
    struct ring_pair pair;
    struct vu_worker *worker;
    pthread_t helpers[N_HELPERS], driver;

    /* handed on by the worker to the helpers; guarded by lock */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct vu_elem *queue[QUEUE_LEN];
    unsigned head, n;
    bool ended;

    bool driver_done; /* atomic */
    unsigned n_looks; /* atomic; of the polling worker */
};

static void device_process(void *opaque, struct vu_vring *vring, struct vu_elem **elems, unsigned n)
{
    struct device *device = opaque;
    unsigned i;

    for (i = 0; i < n / 3; i++)
        ring_pair_serve(elems[i]);
    vu_vring_push(vring, elems, i);
    pthread_mutex_lock(&device->lock);
    for (; i < n; i++) {
        g_assert_cmpuint(device->n, <, QUEUE_LEN);
        device->queue[(device->head + device->n++) % QUEUE_LEN] = elems[i];
    }
    pthread_cond_broadcast(&device->changed);
    pthread_mutex_unlock(&device->lock);
}

/* Takes up to max, every other one from the far end. */
static unsigned device_take(struct device *device, struct vu_elem **ret_elems, unsigned max)
{
    unsigned n = 0;

    pthread_mutex_lock(&device->lock);
    while (device->n == 0 && !device->ended)
        pthread_cond_wait(&device->changed, &device->lock);
    while (n < max && device->n > 0) {
        if (n % 2 == 0) {
            ret_elems[n++] = device->queue[device->head];
            device->head = (device->head + 1) % QUEUE_LEN;
        } else {
            ret_elems[n++] = device->queue[(device->head + device->n - 1) % QUEUE_LEN];
        }
        device->n--;
    }
    pthread_mutex_unlock(&device->lock);
    return n;
}

static void *helper_run(void *opaque)
{
    struct device *device = opaque;
    struct ring_pair_rand rand = {.state = (uintptr_t)&rand};
    struct vu_elem *elems[5];
    unsigned n;

    while ((n = device_take(device, elems, 1 + ring_pair_rand(&rand, 5))) > 0) {
        for (unsigned i = 0; i < n; i++)
            ring_pair_serve(elems[i]);
        if (n % 2 == 0)
            vu_vring_push(&device->pair.vring, elems, n);
        for (unsigned i = 0; n % 2 == 1 && i < n; i++)
            vu_elem_complete(elems[i], elems[i]->written);
    }
    return NULL;
}

/* Keeps the ring full, and sleeps where nothing comes back. */
static void *driver_run(void *opaque)
{
    struct device *device = opaque;
    struct ring_pair *pair = &device->pair;
    struct pollfd poll_fd = {.fd = pair->driver->call_fd, .events = POLLIN};

    while (pair->n_harvested < N_REQUESTS) {
        while (pair->n_added < N_REQUESTS && ring_pair_add(pair))
            if (ring_pair_rand(&pair->rand, 4) == 0)
                vu_driver_kick(pair->driver);
        vu_driver_kick(pair->driver);
        vu_driver_disarm_call(pair->driver);
        if (ring_pair_harvest(pair) > 0)
            continue;
        if (!vu_driver_arm_call(pair->driver)) {
            g_assert_cmpint(poll(&poll_fd, 1, HANG_MS), ==, 1);
            vu_driver_clear_call(pair->driver);
        }
    }
    __atomic_store_n(&device->driver_done, true, __ATOMIC_RELEASE);
    return NULL;
}

static const struct vu_worker_ops device_ops = {.process = device_process};

static void device_start(struct device *device, uint64_t features, unsigned poll_us)
{
    ring_pair_init(&device->pair, 64, features, 1);
    pthread_mutex_init(&device->lock, NULL);
    pthread_cond_init(&device->changed, NULL);
    g_assert_cmpint(
        vu_worker_create(&device->pair.vring, &device_ops, device, poll_us, &device->worker), ==,
        0);
    for (unsigned i = 0; i < N_HELPERS; i++)
        g_assert_cmpint(pthread_create(&device->helpers[i], NULL, helper_run, device), ==, 0);
    g_assert_cmpint(pthread_create(&device->driver, NULL, driver_run, device), ==, 0);
}

static void device_end(struct device *device)
{
    pthread_join(device->driver, NULL);
    pthread_mutex_lock(&device->lock);
    device->ended = true;
    pthread_cond_broadcast(&device->changed);
    pthread_mutex_unlock(&device->lock);
    for (unsigned i = 0; i < N_HELPERS; i++)
        pthread_join(device->helpers[i], NULL);
    vu_worker_destroy(device->worker);
    g_assert_cmpuint(device->pair.n_harvested, ==, N_REQUESTS);
    g_assert_cmpuint(device->pair.vring.stats.n_popped, ==, N_REQUESTS);
    ring_pair_clear(&device->pair);
    pthread_cond_destroy(&device->changed);
    pthread_mutex_destroy(&device->lock);
}

/* --- the session's part --- */

static void session_move(struct device *device)
{
    const struct vu_shmem *shmem = &device->pair.shmem;
    struct vu_region_desc descs[2] = {vu_shmem_describe(&shmem->regions[0]),
                                      vu_shmem_describe(&shmem->regions[1])};
    const int fds[2] = {shmem->regions[0].fd, shmem->regions[1].fd};
    struct vu_memory *memory;

    g_assert_cmpint(vu_memory_create(descs, fds, 2, &memory), ==, 0);
    g_assert_cmpint(vu_vring_set_memory(&device->pair.vring, memory), ==, 0);
    vu_memory_unref(device->pair.memory);
    device->pair.memory = memory;
}

static void session_toggle(struct device *device)
{
    vu_vring_set_enabled(&device->pair.vring, false);
    g_usleep(200);
    vu_vring_set_enabled(&device->pair.vring, true);
    vu_worker_wake(device->worker);
}

static void session_set_call(struct device *device)
{
    vu_vring_set_call(&device->pair.vring, fcntl(device->pair.driver->call_fd, F_DUPFD_CLOEXEC, 0));
}

static void session_log(struct device *device)
{
    uint64_t size = UINT64_C(1) << 17, features = device->pair.vring.features;
    struct vu_dirty_log *log;
    int fd = memfd_create("log", MFD_CLOEXEC);

    g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
    g_assert_cmpint(vu_dirty_log_create(fd, size, 0, &log), ==, 0);
    close(fd);
    vu_vring_set_log(&device->pair.vring, log, features | VU_BIT(VU_F_LOG_ALL));
    vu_dirty_log_unref(log);
    g_usleep(200);
    vu_vring_set_log(&device->pair.vring, NULL, features);
}

/* Stops with requests in flight, which helpers push while the stop waits; then goes on. */
static void session_stop(struct device *device)
{
    struct vu_vring *vring = &device->pair.vring;
    uint32_t base;

    vu_worker_destroy(device->worker);
    g_assert_cmpint(vu_vring_stop(vring, NULL, &base), ==, 0);
    g_assert_cmpuint(vring->n_in_flight, ==, 0);
    vring->base = base;
    ring_pair_start(&device->pair);
    g_assert_cmpint(vu_worker_create(vring, &device_ops, device, 50, &device->worker), ==, 0);
}

static void session_look(struct device *device)
{
    struct vu_vring_stats stats;

    vu_vring_get_stats(&device->pair.vring, &stats);
    g_assert_cmpuint(stats.n_pushed, <=, stats.n_popped);
}

static void test_all_at_once(gconstpointer features)
{
    static void (*const actions[])(struct device *) = {
        session_move, session_toggle, session_set_call, session_log, session_stop, session_look};
    g_autofree struct device *device = g_new0(struct device, 1);
    struct ring_pair_rand rand = {.state = 1};

    device_start(device, GPOINTER_TO_SIZE(features), 50);
    while (!__atomic_load_n(&device->driver_done, __ATOMIC_ACQUIRE)) {
        actions[ring_pair_rand(&rand, G_N_ELEMENTS(actions))](device);
        g_usleep(300);
    }
    device_end(device);
}

/* A worker that does nothing but look at its ring, as fast as it can. */
static void *poll_run(void *opaque)
{
    struct device *device = opaque;

    while (!__atomic_load_n(&device->driver_done, __ATOMIC_ACQUIRE)) {
        struct vu_elem *elem;

        __atomic_add_fetch(&device->n_looks, 1, __ATOMIC_RELAXED);
        if (vu_vring_has_work(&device->pair.vring))
            g_assert_cmpuint(vu_vring_pop(&device->pair.vring, &elem, 1), ==, 0);
    }
    return NULL;
}

static void test_session_gets_in(void)
{
    g_autofree struct device *device = g_new0(struct device, 1);
    struct timespec begin, end;
    pthread_t worker;
    double took;

    ring_pair_init(&device->pair, 64, 0, 1);
    g_assert_cmpint(pthread_create(&worker, NULL, poll_run, device), ==, 0);
    while (__atomic_load_n(&device->n_looks, __ATOMIC_RELAXED) < 1000)
        g_usleep(100);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (unsigned i = 0; i < 500; i++)
        session_look(device);
    clock_gettime(CLOCK_MONOTONIC, &end);
    __atomic_store_n(&device->driver_done, true, __ATOMIC_RELEASE);
    pthread_join(worker, NULL);
    took = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    g_test_message("%.1f us a look of the session", took / 500 * 1e6);
    g_assert_cmpfloat(took, <, 10);
    ring_pair_clear(&device->pair);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        uint64_t features;
    } rows[] = {
        {"/vring-threads/split", 0},
        {"/vring-threads/split/event-idx",
         VU_BIT(VU_F_RING_EVENT_IDX) | VU_BIT(VU_F_RING_INDIRECT_DESC)},
        {"/vring-threads/split/in-order", VU_BIT(VU_F_IN_ORDER) | VU_BIT(VU_F_RING_EVENT_IDX)},
        {"/vring-threads/packed", VU_BIT(VU_F_RING_PACKED)},
        {"/vring-threads/packed/event-idx",
         VU_BIT(VU_F_RING_PACKED) | VU_BIT(VU_F_RING_EVENT_IDX) | VU_BIT(VU_F_RING_INDIRECT_DESC)},
        {"/vring-threads/packed/in-order",
         VU_BIT(VU_F_RING_PACKED) | VU_BIT(VU_F_IN_ORDER) | VU_BIT(VU_F_RING_EVENT_IDX)},
    };

    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
        g_test_add_data_func(rows[i].path, GSIZE_TO_POINTER(rows[i].features), test_all_at_once);
    g_test_add_func("/vring-threads/session-gets-in", test_session_gets_in);
    return g_test_run();
}
