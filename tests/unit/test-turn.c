/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn.h and watch.h under a worker and a real ring: a request that keeps its thread keeps nobody
 * else, however many of them there are, and every request is answered once.
 */
#include "vhost-user/turn.h"

#include <glib.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "tests/unit/ring-pair.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/watch.h"
#include "vhost-user/worker.h"

#define HANG_MS 60000

/* A device whose requests may stick at a gate. */
struct device {
    struct ring_pair pair;
    struct vu_worker *worker;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    unsigned n_good_before; /* requests until one sticks, */
    unsigned n_to_stick;    /* as long as there are some of these */
    bool gate_open;
    unsigned n_stuck; /* at the gate */
    unsigned n_lent, max_lent, most_lent, n_refused;
    bool slow; /* some requests take longer than a tick, and none sticks */
};

static bool device_must_stick_locked(struct device *device)
{
    if (device->n_to_stick == 0)
        return false;
    if (device->n_good_before > 0) {
        device->n_good_before--;
        return false;
    }
    device->n_to_stick--;
    return true;
}

static void device_serve(struct device *device, struct vu_elem *elem)
{
    if (device->slow && elem->out_len % 64 == 1)
        g_usleep(VU_WATCH_TICK_MS * 3000);
    pthread_mutex_lock(&device->lock);
    if (device_must_stick_locked(device)) {
        device->n_stuck++;
        pthread_cond_broadcast(&device->changed);
        while (!device->gate_open)
            pthread_cond_wait(&device->changed, &device->lock);
        device->n_stuck--;
    }
    pthread_mutex_unlock(&device->lock);
    ring_pair_serve(elem);
}

static void device_process(void *opaque, struct vu_vring *vring, struct vu_elem **elems, unsigned n)
{
    struct device *device = opaque;
    struct vu_elem *done[VU_WORKER_BATCH];
    unsigned n_done = 0;

    for (unsigned i = 0; i < n; i++) {
        const struct vu_turn_rest rest = {elems + i + 1, done, n - i - 1, n_done};

        vu_turn_enter(&rest);
        device_serve(device, elems[i]);
        if (!vu_turn_leave()) {
            pthread_mutex_lock(&device->lock);
            device->n_lent--;
            pthread_mutex_unlock(&device->lock);
            vu_elem_complete(elems[i], elems[i]->written);
            return;
        }
        done[n_done++] = elems[i];
    }
    vu_vring_push(vring, done, n_done);
}

static bool device_spare_thread(void *opaque, unsigned queue)
{
    struct device *device = opaque;
    VU_LOCK_SCOPE(&device->lock);

    if (device->n_lent >= device->max_lent) {
        device->n_refused++;
        pthread_cond_broadcast(&device->changed);
        return false;
    }
    device->n_lent++;
    device->most_lent = MAX(device->most_lent, device->n_lent);
    return true;
}

static void device_keep_thread(void *opaque, unsigned queue)
{
    struct device *device = opaque;
    VU_LOCK_SCOPE(&device->lock);

    device->n_lent--;
}

static const struct vu_worker_ops device_ops = {
    .process = device_process,
    .spare_thread = device_spare_thread,
    .keep_thread = device_keep_thread,
};

static struct device *device_new(unsigned max_lent, bool slow)
{
    struct device *device = g_new0(struct device, 1);

    ring_pair_init(&device->pair, 256, VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_RING_EVENT_IDX), 1);
    pthread_mutex_init(&device->lock, NULL);
    pthread_cond_init(&device->changed, NULL);
    device->max_lent = max_lent;
    device->slow = slow;
    g_assert_cmpint(vu_worker_create(&device->pair.vring, &device_ops, device, 32, &device->worker),
                    ==, 0);
    return device;
}

static void device_stick(struct device *device, unsigned n, unsigned n_good_before)
{
    VU_LOCK_SCOPE(&device->lock);

    device->gate_open = false;
    device->n_to_stick = n;
    device->n_good_before = n_good_before;
}

static void device_open_gate(struct device *device)
{
    VU_LOCK_SCOPE(&device->lock);

    device->gate_open = true;
    pthread_cond_broadcast(&device->changed);
}

static void device_wait_stuck(struct device *device, unsigned n)
{
    VU_LOCK_SCOPE(&device->lock);

    while (device->n_stuck < n)
        pthread_cond_wait(&device->changed, &device->lock);
}

/* Requests that fit are added, up to n (8 always do); how many. */
static unsigned driver_add(struct device *device, unsigned n)
{
    unsigned n_added = 0;

    while (n_added < n && ring_pair_add(&device->pair))
        n_added++;
    vu_driver_kick(device->pair.driver);
    return n_added;
}

/* Until n more have come back. */
static void driver_wait(struct device *device, unsigned n)
{
    struct vu_driver *driver = device->pair.driver;
    struct pollfd poll_fd = {.fd = driver->call_fd, .events = POLLIN};
    uint64_t until = device->pair.n_harvested + n;

    while (device->pair.n_harvested < until) {
        if (ring_pair_harvest(&device->pair) > 0 || vu_driver_arm_call(driver))
            continue;
        g_assert_cmpint(poll(&poll_fd, 1, HANG_MS), ==, 1);
        vu_driver_clear_call(driver);
    }
    g_assert_cmpuint(device->pair.n_harvested, ==, until);
}

static void device_free(struct device *device)
{
    vu_worker_destroy(device->worker);
    g_assert_cmpint(vu_vring_stop(&device->pair.vring, NULL, NULL), ==, 0);
    g_assert_cmpuint(device->n_lent, ==, 0);
    ring_pair_clear(&device->pair);
    pthread_cond_destroy(&device->changed);
    pthread_mutex_destroy(&device->lock);
    g_free(device);
}

/* What is before it in the batch, what is behind it, and what comes later. */
static void test_others_go_on(void)
{
    struct device *device = device_new(4, false);
    unsigned n;

    for (unsigned good_before = 0; good_before < 6; good_before++) {
        device_stick(device, 1, good_before);
        n = driver_add(device, 8);
        driver_wait(device, n - 1);
        n = driver_add(device, 8);
        driver_wait(device, n);
        device_wait_stuck(device, 1);
        device_open_gate(device);
        driver_wait(device, 1);
    }
    device_free(device);
}

/* Every thread that takes the queue loses it again, up to the bound; then the queue waits. */
static void test_bound(void)
{
    struct device *device = device_new(3, false);
    unsigned n;

    device_stick(device, 4, 2);
    n = driver_add(device, 12);
    device_wait_stuck(device, 4);
    pthread_mutex_lock(&device->lock);
    while (device->n_refused == 0)
        pthread_cond_wait(&device->changed, &device->lock);
    g_assert_cmpuint(device->most_lent, ==, 3);
    pthread_mutex_unlock(&device->lock);
    device_open_gate(device);
    driver_wait(device, n);
    device_free(device);
}

static void *gate_run(void *opaque)
{
    g_usleep(50000); /* mostly longer than the session needs to get to waiting */
    device_open_gate(opaque);
    return NULL;
}

/* The worker ends while a thread that lost its turn is at its request: the ring waits for that. */
static void test_stop(void)
{
    struct device *device = device_new(4, false);
    pthread_t gate;
    unsigned n;

    device_stick(device, 1, 1);
    n = driver_add(device, 6);
    driver_wait(device, n - 1);
    g_assert_cmpint(pthread_create(&gate, NULL, gate_run, device), ==, 0);
    vu_worker_destroy(device->worker);
    g_assert_cmpint(vu_vring_stop(&device->pair.vring, NULL, &device->pair.vring.base), ==, 0);
    pthread_join(gate, NULL);
    driver_wait(device, 1);
    ring_pair_start(&device->pair);
    g_assert_cmpint(vu_worker_create(&device->pair.vring, &device_ops, device, 0, &device->worker),
                    ==, 0);
    device_free(device);
}

/* A watch that has gone to sleep is woken with the worker. */
static void test_watch_sleeps(void)
{
    struct device *device = device_new(4, false);
    unsigned n;

    g_usleep(VU_WATCH_TICK_MS * 50000);
    device_stick(device, 1, 0);
    n = driver_add(device, 4);
    driver_wait(device, n - 1);
    device_open_gate(device);
    driver_wait(device, 1);
    device_free(device);
}

/* Turns that are lost, and just not lost, at any moment of a request. */
static void test_slow(void)
{
    struct device *device = device_new(2, true);

    for (unsigned n_done = 0; n_done < 1500;) {
        unsigned n = driver_add(device, 40);

        driver_wait(device, n);
        n_done += n;
    }
    device_free(device);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/turn/others-go-on", test_others_go_on);
    g_test_add_func("/turn/bound", test_bound);
    g_test_add_func("/turn/stop", test_stop);
    g_test_add_func("/turn/watch-sleeps", test_watch_sleeps);
    g_test_add_func("/turn/slow", test_slow);
    return g_test_run();
}
