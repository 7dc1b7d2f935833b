/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker on a real ring, split and packed, and a driver beside it on a thread of its own: nothing
 * is lost, nothing waits for ever, whoever of them sleeps or polls. The device gives back eight
 * bytes, at once or, every third request, from a helper thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vhost-user/driver.h"
#include "vhost-user/iov.h"
#include "vhost-user/worker.h"

#define RING_NUM        64
#define RING_N_REQUESTS 4000

struct bench {
    struct vu_shmem shmem;
    struct vu_memory *memory;
    struct vu_driver *driver;
    struct vu_vring vring;
    struct vu_worker *worker;
    uint64_t *slots; /* RING_NUM pairs: out, in */
    uint64_t slots_gpa;

    /* the helper's */
    pthread_t helper;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    GPtrArray *handed_on; /* struct vu_elem * */
    bool done;

    const struct vu_memory *used; /* under lock: what the device was told to use */
};

static void echo(struct vu_elem *elem)
{
    struct vu_iov_cursor cursor;
    uint64_t value = 0;

    vu_iov_cursor_init(&cursor, elem->iov, elem->n_out, 0);
    g_assert_cmpuint(vu_iov_read(&cursor, &value, sizeof(value)), ==, sizeof(value));
    vu_iov_cursor_init(&cursor, elem->iov + elem->n_out, elem->n_in, 0);
    elem->written = (uint32_t)vu_iov_write(&cursor, &value, sizeof(value));
}

static void bench_process(void *device, struct vu_vring *vring, struct vu_elem **elems, unsigned n)
{
    struct bench *b = device;
    struct vu_elem *now[VU_WORKER_BATCH];
    unsigned n_now = 0;

    pthread_mutex_lock(&b->lock);
    g_assert_nonnull(b->used);
    pthread_mutex_unlock(&b->lock);
    for (unsigned i = 0; i < n; i++) {
        if (i % 3 == 2) {
            pthread_mutex_lock(&b->lock);
            g_ptr_array_add(b->handed_on, elems[i]);
            pthread_cond_signal(&b->changed);
            pthread_mutex_unlock(&b->lock);
        } else {
            echo(elems[i]);
            now[n_now++] = elems[i];
        }
    }
    vu_vring_push(vring, now, n_now);
}

static void *bench_help(void *arg)
{
    struct bench *b = arg;
    struct vu_elem *elem;

    pthread_mutex_lock(&b->lock);
    for (;;) {
        while (b->handed_on->len == 0 && !b->done)
            pthread_cond_wait(&b->changed, &b->lock);
        if (b->handed_on->len == 0)
            break;
        elem = g_ptr_array_remove_index(b->handed_on, 0);
        pthread_mutex_unlock(&b->lock);
        echo(elem);
        vu_elem_complete(elem, elem->written);
        pthread_mutex_lock(&b->lock);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

static void bench_use_memory(void *device, unsigned queue, const struct vu_memory *memory)
{
    struct bench *b = device;

    pthread_mutex_lock(&b->lock);
    b->used = memory;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

static const struct vu_worker_ops bench_ops = {
    .process = bench_process,
    .use_memory = bench_use_memory,
};

static uint64_t bench_uva(const struct bench *b, uint64_t gpa)
{
    return (uintptr_t)vu_shmem_at(&b->shmem, gpa, 1);
}

static void bench_init(struct bench *b, uint64_t features, unsigned poll_us)
{
    const struct vu_driver_config config = {.num = RING_NUM, .features = features};
    struct vu_region_desc desc;

    memset(b, 0, sizeof(*b));
    vu_shmem_init(&b->shmem);
    g_assert_cmpint(vu_shmem_add(&b->shmem, 0x100000, 1 << 20), ==, 0);
    b->slots = vu_shmem_alloc(&b->shmem, RING_NUM * 16, 4096, &b->slots_gpa);
    g_assert_cmpint(vu_driver_create(&b->shmem, &config, &b->driver), ==, 0);
    desc = vu_shmem_describe(&b->shmem.regions[0]);
    g_assert_cmpint(vu_memory_create(&desc, &b->shmem.regions[0].fd, 1, &b->memory), ==, 0);

    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, NULL);
    b->handed_on = g_ptr_array_new();
    g_assert_cmpint(pthread_create(&b->helper, NULL, bench_help, b), ==, 0);

    vu_vring_init(&b->vring, 0, "test");
    b->vring.num = RING_NUM;
    b->vring.features = features;
    b->vring.desc_uva = bench_uva(b, b->driver->desc_gpa);
    b->vring.avail_uva = bench_uva(b, b->driver->avail_gpa);
    b->vring.used_uva = bench_uva(b, b->driver->used_gpa);
    b->vring.base = vu_driver_base(b->driver);
    vu_vring_set_enabled(&b->vring, true);
    vu_vring_set_kick(&b->vring, fcntl(b->driver->kick_fd, F_DUPFD_CLOEXEC, 0));
    vu_vring_set_call(&b->vring, fcntl(b->driver->call_fd, F_DUPFD_CLOEXEC, 0));
    g_assert_cmpint(vu_vring_start(&b->vring, b->memory, NULL), ==, 0);
    g_assert_cmpint(vu_worker_create(&b->vring, &bench_ops, b, poll_us, &b->worker), ==, 0);
}

static void bench_clear(struct bench *b)
{
    vu_worker_destroy(b->worker);
    g_assert_cmpint(vu_vring_stop(&b->vring, NULL, NULL), ==, 0);
    pthread_mutex_lock(&b->lock);
    b->done = true;
    pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->helper, NULL);
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->changed);
    g_ptr_array_unref(b->handed_on);
    vu_vring_destroy(&b->vring);
    vu_memory_unref(b->memory);
    vu_driver_destroy(b->driver);
    vu_shmem_clear(&b->shmem);
}

/* Takes what is done, sleeping until there is something; every value must be its request's. */
static unsigned bench_harvest(struct bench *b, GQueue *free_slots)
{
    struct pollfd fds = {.fd = b->driver->call_fd, .events = POLLIN};
    struct vu_driver_used used[16];
    int n;

    while ((n = vu_driver_harvest(b->driver, used, G_N_ELEMENTS(used))) == 0) {
        if (vu_driver_arm_call(b->driver))
            continue;
        g_assert_cmpint(poll(&fds, 1, 20000), ==, 1);
        vu_driver_clear_call(b->driver);
        vu_driver_disarm_call(b->driver);
    }
    g_assert_cmpint(n, >, 0);
    for (int i = 0; i < n; i++) {
        uint64_t *slot = used[i].token;

        g_assert_cmpuint(used[i].len, ==, 8);
        g_assert_cmpuint(slot[1], ==, slot[0]);
        g_queue_push_tail(free_slots, slot);
    }
    return (unsigned)n;
}

static void bench_run(struct bench *b, unsigned depth, unsigned n_requests)
{
    GQueue free_slots = G_QUEUE_INIT;
    unsigned n_sent = 0, n_done = 0;

    for (unsigned i = 0; i < depth; i++)
        g_queue_push_tail(&free_slots, b->slots + (size_t)2 * i);
    while (n_done < n_requests) {
        while (n_sent < n_requests && !g_queue_is_empty(&free_slots)) {
            uint64_t *slot = g_queue_pop_head(&free_slots);
            uint64_t gpa = b->slots_gpa + (uint64_t)(slot - b->slots) * 8;
            const struct vu_sg sg[] = {{gpa, 8}, {gpa + 8, 8}};

            slot[0] = UINT64_C(0x5eed000000000000) + n_sent++;
            g_assert_cmpint(vu_driver_add(b->driver, sg, 1, 1, slot), ==, 0);
        }
        vu_driver_kick(b->driver);
        n_done += bench_harvest(b, &free_slots);
        if (n_done % 500 == 1)
            g_usleep(300); /* long enough for the worker to go to sleep */
    }
    g_queue_clear(&free_slots);
}

static double seconds_of(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static const struct ring_case {
    const char *name;
    uint64_t features;
} ring_cases[] = {
    {"split", VU_BIT(VU_F_VERSION_1)},
    {"split-event-idx", VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_RING_EVENT_IDX)},
    {"packed", VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_RING_PACKED)},
    {"packed-event-idx",
     VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_RING_PACKED) | VU_BIT(VU_F_RING_EVENT_IDX)},
};

static void test_ring(gconstpointer data)
{
    static const unsigned depths[] = {1, 4, RING_NUM / 2}, polls_us[] = {0, 32, 1000};
    const struct ring_case *c = data;

    for (size_t p = 0; p < G_N_ELEMENTS(polls_us); p++)
        for (size_t d = 0; d < G_N_ELEMENTS(depths); d++) {
            struct bench *b = g_new0(struct bench, 1);
            double wall = seconds_of(CLOCK_MONOTONIC), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
            struct vu_vring_stats stats;

            bench_init(b, c->features, polls_us[p]);
            bench_run(b, depths[d], RING_N_REQUESTS);
            vu_vring_get_stats(&b->vring, &stats);
            g_test_message("poll %4u us, depth %2u: %6.2f us wall, %6.2f us CPU a request; %5.1f%% "
                           "kicks, %5.1f%% calls, %5.1f%% polls won",
                           polls_us[p], depths[d],
                           (seconds_of(CLOCK_MONOTONIC) - wall) * 1e6 / RING_N_REQUESTS,
                           (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1e6 / RING_N_REQUESTS,
                           (double)stats.n_kicks * 100 / RING_N_REQUESTS,
                           (double)stats.n_notifies * 100 / RING_N_REQUESTS,
                           (double)stats.n_polls_won * 100 / RING_N_REQUESTS);
            g_assert_cmpuint(stats.n_popped, ==, RING_N_REQUESTS);
            g_assert_cmpuint(stats.n_pushed, ==, RING_N_REQUESTS);
            bench_clear(b);
            g_free(b);
        }
}

/* A ring that is asleep follows its memory to another map when woken, and lets go of the old one.
 */
static void test_memory(void)
{
    struct bench *b = g_new0(struct bench, 1);
    struct vu_region_desc desc;
    struct vu_memory *old;

    bench_init(b, VU_BIT(VU_F_VERSION_1), 0);
    bench_run(b, 4, 100);
    old = b->memory;
    desc = vu_shmem_describe(&b->shmem.regions[0]);
    g_assert_cmpint(vu_memory_create(&desc, &b->shmem.regions[0].fd, 1, &b->memory), ==, 0);
    g_assert_cmpint(vu_vring_set_memory(&b->vring, b->memory), ==, 0);
    vu_worker_wake(b->worker);
    pthread_mutex_lock(&b->lock);
    while (b->used != b->memory)
        pthread_cond_wait(&b->changed, &b->lock);
    pthread_mutex_unlock(&b->lock);
    for (unsigned i = 0; i < 60000 && __atomic_load_n(&old->refs, __ATOMIC_ACQUIRE) > 1; i++)
        g_usleep(1000);
    g_assert_cmpuint(__atomic_load_n(&old->refs, __ATOMIC_ACQUIRE), ==, 1);
    vu_memory_unref(old);
    bench_run(b, 4, 100);
    bench_clear(b);
    g_free(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(ring_cases); i++) {
        g_autofree char *path = g_strdup_printf("/worker-ring/%s", ring_cases[i].name);

        g_test_add_data_func(path, &ring_cases[i], test_ring);
    }
    g_test_add_func("/worker-ring/memory", test_memory);
    return g_test_run();
}
