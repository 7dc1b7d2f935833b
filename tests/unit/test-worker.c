/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.h against a make-believe ring: a count of requests with the rules of arming and kicking.
 * The functions of vring.h that a worker calls are defined here, in place of the real ones.
 */
#include "vhost-user/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"

struct fake_ring {
    struct vu_vring vring; /* first: the functions below cast back */
    unsigned n_pending;    /* under vring.lock, as all the rest */
    unsigned n_done;
    bool armed, broken;
    unsigned n_kicks_sent;
    int kick_write_fd;
    bool started, stopped;
    pthread_cond_t changed;
    /* a device that finishes requests later */
    int later_fd;
    unsigned n_later, n_finished;
};

static struct vu_elem fake_elems[VU_WORKER_BATCH];

static struct fake_ring *fake(struct vu_vring *vring)
{
    return (struct fake_ring *)vring;
}

unsigned vu_vring_pop(struct vu_vring *vring, struct vu_elem **ret_elems, unsigned max)
{
    struct fake_ring *ring = fake(vring);
    VU_LOCK_SCOPE(&vring->lock);
    unsigned n = MIN(ring->n_pending, max);

    for (unsigned i = 0; i < n; i++)
        ret_elems[i] = &fake_elems[i];
    ring->n_pending -= n;
    return n;
}

bool vu_vring_has_work(struct vu_vring *vring)
{
    VU_LOCK_SCOPE(&vring->lock);
    return fake(vring)->n_pending > 0;
}

unsigned vu_vring_n_working(struct vu_vring *vring)
{
    VU_LOCK_SCOPE(&vring->lock);
    return fake(vring)->n_later;
}

bool vu_vring_arm_kick(struct vu_vring *vring)
{
    VU_LOCK_SCOPE(&vring->lock);
    fake(vring)->armed = true;
    return fake(vring)->n_pending > 0;
}

void vu_vring_disarm_kick(struct vu_vring *vring)
{
    VU_LOCK_SCOPE(&vring->lock);
    fake(vring)->armed = false;
}

void vu_vring_break(struct vu_vring *vring, const char *format, ...)
{
    VU_LOCK_SCOPE(&vring->lock);
    fake(vring)->broken = true;
    pthread_cond_broadcast(&fake(vring)->changed);
}

/* Nothing here is ever inherited. */
void vu_vring_push(struct vu_vring *vring, struct vu_elem *const *elems, unsigned n)
{
    g_assert_not_reached();
}

static int device_thread_start(void *device, unsigned queue)
{
    struct fake_ring *ring = device;
    VU_LOCK_SCOPE(&ring->vring.lock);

    g_assert_cmpuint(queue, ==, 5);
    ring->started = true;
    return 0;
}

static void device_thread_stop(void *device, unsigned queue)
{
    struct fake_ring *ring = device;
    VU_LOCK_SCOPE(&ring->vring.lock);

    ring->stopped = true;
}

static void device_process(void *device, struct vu_vring *vring, struct vu_elem **elems, unsigned n)
{
    struct fake_ring *ring = device;
    sigset_t mask;
    char name[16];

    g_assert_true(&ring->vring == vring);
    g_assert_cmpuint(n, >, 0);
    g_assert_cmpuint(n, <=, VU_WORKER_BATCH);
    g_assert_true(elems[n - 1] == &fake_elems[n - 1]);
    pthread_getname_np(pthread_self(), name, sizeof(name));
    g_assert_cmpstr(name, ==, "vq5");
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    g_assert_true(sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGINT) == 1);
    g_assert_true(sigismember(&mask, SIGBUS) == 0);
    VU_LOCK_SCOPE(&vring->lock);
    ring->n_done += n;
    pthread_cond_broadcast(&ring->changed);
}

static const struct vu_worker_ops device_ops = {
    .thread_start = device_thread_start,
    .thread_stop = device_thread_stop,
    .process = device_process,
};

static void ring_init(struct fake_ring *ring, int kick_read_fd, int kick_write_fd)
{
    memset(ring, 0, sizeof(*ring));
    pthread_mutex_init(&ring->vring.lock, NULL);
    pthread_cond_init(&ring->changed, NULL);
    ring->vring.index = 5;
    ring->vring.log_tag = g_strdup("test: queue 5");
    ring->vring.kick_fd = kick_read_fd;
    ring->kick_write_fd = kick_write_fd;
    ring->armed = true;
}

static void ring_finish(struct fake_ring *ring)
{
    pthread_mutex_destroy(&ring->vring.lock);
    pthread_cond_destroy(&ring->changed);
    g_free(ring->vring.log_tag);
    if (ring->kick_write_fd != ring->vring.kick_fd)
        vu_clear_fd(&ring->kick_write_fd);
    vu_clear_fd(&ring->vring.kick_fd);
}

/* The driver: adds n requests, and kicks where it was asked to. */
static void ring_submit(struct fake_ring *ring, unsigned n)
{
    uint64_t one = 1;
    bool kick;

    pthread_mutex_lock(&ring->vring.lock);
    ring->n_pending += n;
    kick = ring->armed && ring->kick_write_fd >= 0;
    ring->n_kicks_sent += kick;
    pthread_mutex_unlock(&ring->vring.lock);
    if (kick)
        g_assert_cmpint(write(ring->kick_write_fd, &one, sizeof(one)), ==, sizeof(one));
}

static void ring_wait_done(struct fake_ring *ring, unsigned n)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&ring->vring.lock);
    while (ring->n_done < n)
        g_assert_cmpint(pthread_cond_timedwait(&ring->changed, &ring->vring.lock, &until), ==, 0);
    g_assert_cmpuint(ring->n_done, ==, n);
    pthread_mutex_unlock(&ring->vring.lock);
}

static struct vu_worker *ring_start(struct fake_ring *ring, unsigned poll_us)
{
    struct vu_worker *worker = NULL;

    g_assert_cmpint(vu_worker_create(&ring->vring, &device_ops, ring, poll_us, &worker), ==, 0);
    return worker;
}

static void ring_init_eventfd(struct fake_ring *ring)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    ring_init(ring, fd, fd);
}

static void test_eventfd(void)
{
    struct fake_ring ring;
    struct vu_worker *worker;
    uint64_t count = 0;

    ring_init_eventfd(&ring);
    ring_submit(&ring, 3); /* before the thread is there */
    worker = ring_start(&ring, 0);
    ring_wait_done(&ring, 3);
    for (unsigned i = 1; i <= 500; i++) {
        ring_submit(&ring, i % 5 == 0 ? 3 * VU_WORKER_BATCH : 1);
        if (i % 3 == 0)
            g_usleep(20);
    }
    ring_wait_done(&ring, 3 + 400 + 100 * 3 * VU_WORKER_BATCH);
    vu_worker_destroy(worker);
    g_assert_true(ring.started && ring.stopped);
    g_assert_cmpuint(ring.n_kicks_sent, >, 0);
    /* Nobody read it. */
    g_assert_cmpint(read(ring.vring.kick_fd, &count, sizeof(count)), ==, sizeof(count));
    g_assert_cmpuint(count, ==, ring.n_kicks_sent);
    g_assert_cmpuint(ring.vring.stats.n_polls_won, ==, 0);
    ring_finish(&ring);
}

static void run_stream(int read_fd, int write_fd)
{
    struct fake_ring ring;
    struct vu_worker *worker;
    int n_left = 0;

    ring_init(&ring, read_fd, write_fd);
    worker = ring_start(&ring, 0);
    /* More than any buffer holds at eight bytes a kick, so it must be drained meanwhile. */
    for (unsigned i = 1; i <= 40000; i++) {
        ring_submit(&ring, 1);
        if (i % 100 == 0)
            ring_wait_done(&ring, i);
    }
    ring_wait_done(&ring, 40000);
    vu_worker_destroy(worker);
    g_assert_cmpint(ioctl(read_fd, FIONREAD, &n_left), ==, 0);
    g_assert_cmpint(n_left, <=, 100 * 8);
    ring_finish(&ring);
}

static void test_socket(void)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), ==, 0);
    run_stream(fds[0], fds[1]);
}

static void test_pipe(void)
{
    int fds[2];

    g_assert_cmpint(pipe2(fds, O_NONBLOCK), ==, 0);
    run_stream(fds[0], fds[1]);
}

/* The peer of a socket kick goes: nothing spins, and the thread still ends. */
static void test_hangup(void)
{
    struct fake_ring ring;
    struct vu_worker *worker;
    clock_t before;
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    ring_init(&ring, fds[0], fds[1]);
    worker = ring_start(&ring, 0);
    vu_clear_fd(&ring.kick_write_fd);
    g_usleep(20000);
    before = clock();
    g_usleep(200000);
    g_assert_cmpint(clock() - before, <, CLOCKS_PER_SEC / 20);
    vu_worker_destroy(worker);
    ring_finish(&ring);
}

/* The kick is replaced while the worker sleeps; the old one stays open elsewhere and means nothing.
 */
static void test_replaced(void)
{
    struct fake_ring ring;
    struct vu_worker *worker;
    unsigned n = 0;

    ring_init_eventfd(&ring);
    worker = ring_start(&ring, 0);
    for (unsigned i = 0; i < 100; i++) {
        int old = ring.kick_write_fd, fresh = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

        pthread_mutex_lock(&ring.vring.lock);
        ring.vring.kick_fd = ring.kick_write_fd = fresh;
        ring.vring.kick_generation++;
        pthread_mutex_unlock(&ring.vring.lock);
        close(old);
        vu_worker_wake(worker);
        ring_submit(&ring, 1);
        ring_wait_done(&ring, ++n);
    }
    vu_worker_destroy(worker);
    ring_finish(&ring);
}

/* In-band kicks come through vu_worker_wake; a ring with no kick at all is looked at by the clock.
 */
static void inband_call(void *opaque, unsigned index)
{
}

static void test_no_descriptor(void)
{
    struct fake_ring ring;
    struct vu_worker *worker;

    for (unsigned blind = 0; blind < 2; blind++) {
        ring_init(&ring, -1, -1);
        ring.vring.inband_call = blind ? NULL : inband_call;
        worker = ring_start(&ring, 0);
        for (unsigned i = 1; i <= 50; i++) {
            ring_submit(&ring, 1);
            if (!blind)
                vu_worker_wake(worker);
            ring_wait_done(&ring, i);
        }
        vu_worker_destroy(worker);
        ring_finish(&ring);
    }
}

static int failing_thread_start(void *device, unsigned queue)
{
    return -EMFILE;
}

static void test_failing_start(void)
{
    static const struct vu_worker_ops ops = {.thread_start = failing_thread_start,
                                             .process = device_process};
    struct fake_ring ring;
    struct vu_worker *worker = NULL;

    ring_init_eventfd(&ring);
    ring_submit(&ring, 1);
    g_assert_cmpint(vu_worker_create(&ring.vring, &ops, &ring, 0, &worker), ==, 0);
    vu_worker_destroy(worker);
    g_assert_true(ring.broken);
    g_assert_cmpuint(ring.n_done, ==, 0);
    ring_finish(&ring);
}

static int later_fd(void *device, unsigned queue)
{
    return ((struct fake_ring *)device)->later_fd;
}

static void later_process(void *device, struct vu_vring *vring, struct vu_elem **elems, unsigned n)
{
    struct fake_ring *ring = device;
    VU_LOCK_SCOPE(&vring->lock);

    ring->n_later += n;
    pthread_cond_broadcast(&ring->changed);
}

static unsigned later_complete(void *device, struct vu_vring *vring)
{
    struct fake_ring *ring = device;
    VU_LOCK_SCOPE(&vring->lock);
    unsigned n = ring->n_finished;

    ring->n_finished = 0;
    ring->n_done += n;
    pthread_cond_broadcast(&ring->changed);
    return n;
}

/* Finishes n requests, once the device has them. */
static void later_finish(struct fake_ring *ring, unsigned n)
{
    VU_LOCK_SCOPE(&ring->vring.lock);

    while (ring->n_later < n)
        pthread_cond_wait(&ring->changed, &ring->vring.lock);
    ring->n_later -= n;
    ring->n_finished += n;
    (void)eventfd_write(ring->later_fd, 1);
}

/* What a device finishes wakes the thread, or is seen while it polls. */
static void test_completions(gconstpointer poll_us)
{
    static const struct vu_worker_ops ops = {
        .process = later_process, .completion_fd = later_fd, .complete = later_complete};
    struct fake_ring ring;
    struct vu_worker *worker = NULL;

    ring_init_eventfd(&ring);
    ring.later_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g_assert_cmpint(vu_worker_create(&ring.vring, &ops, &ring, GPOINTER_TO_UINT(poll_us), &worker),
                    ==, 0);
    for (unsigned i = 0; i < 300; i++) {
        ring_submit(&ring, 2);
        if (i % 3 == 0)
            g_usleep(50);
        later_finish(&ring, 2);
        ring_wait_done(&ring, 2 * (i + 1));
    }
    vu_worker_destroy(worker);
    g_assert_cmpuint(ring.vring.stats.n_kicks, <=, ring.n_kicks_sent);
    close(ring.later_fd);
    ring_finish(&ring);
}

static uint64_t ring_polls_won(struct fake_ring *ring)
{
    VU_LOCK_SCOPE(&ring->vring.lock);
    return ring->vring.stats.n_polls_won;
}

/* A busy queue is polled and its kicks spared; afterwards it costs nothing. */
static void test_polling(void)
{
    gint64 deadline = g_get_monotonic_time() + 2 * G_USEC_PER_SEC;
    struct fake_ring ring;
    struct vu_worker *worker;
    unsigned n = 0;
    clock_t before;

    ring_init_eventfd(&ring);
    worker = ring_start(&ring, 1000);
    while (ring_polls_won(&ring) < 100 && g_get_monotonic_time() < deadline) {
        gint64 until = g_get_monotonic_time() + 5;

        ring_submit(&ring, 1);
        ring_wait_done(&ring, ++n);
        while (g_get_monotonic_time() < until)
            ;
    }
    g_usleep(100000);
    before = clock();
    g_usleep(300000);
    g_assert_cmpint(clock() - before, <, CLOCKS_PER_SEC / 20);
    vu_worker_destroy(worker);
    g_test_message("%u requests, %u kicks, %" G_GUINT64_FORMAT " polls won", n, ring.n_kicks_sent,
                   ring.vring.stats.n_polls_won);
    if (ring.vring.stats.n_polls_won > 0)
        g_assert_cmpuint(ring.n_kicks_sent, <, n);
    else
        g_test_skip("no CPU to spare for polling here");
    ring_finish(&ring);
}

/* Waits that are usually long are slept at first: nothing that comes meanwhile is missed. */
static void test_napping(void)
{
    static const struct vu_worker_ops ops = {
        .process = later_process, .completion_fd = later_fd, .complete = later_complete};
    gint64 deadline = g_get_monotonic_time() + 2 * G_USEC_PER_SEC;
    struct fake_ring ring;
    struct vu_worker *worker = NULL;
    unsigned n = 0;

    ring_init_eventfd(&ring);
    ring.later_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g_assert_cmpint(vu_worker_create(&ring.vring, &ops, &ring, 20000, &worker), ==, 0);
    while (ring_polls_won(&ring) < 200 && g_get_monotonic_time() < deadline) {
        ring_submit(&ring, 1);
        g_usleep(500);
        if (n % 3 == 0)
            vu_worker_wake(worker);
        ring_submit(&ring, 1);
        g_usleep(500);
        later_finish(&ring, 2);
        ring_wait_done(&ring, n += 2);
    }
    ring_submit(&ring, 1);
    later_finish(&ring, 1);
    vu_worker_destroy(worker);
    g_test_message("%u requests, %u kicks, %" G_GUINT64_FORMAT " polls won", n, ring.n_kicks_sent,
                   ring.vring.stats.n_polls_won);
    close(ring.later_fd);
    ring_finish(&ring);
}

static unsigned patient_linger_ms(void *device, unsigned queue)
{
    g_assert_cmpuint(queue, ==, 5);
    return 1000;
}

/* A burst after the first request is met without a kick, in the end. */
static void test_linger(void)
{
    struct vu_worker_ops ops = device_ops;
    struct fake_ring ring;
    struct vu_worker *worker;
    gint64 begin;

    ops.linger_ms = patient_linger_ms;
    ring_init_eventfd(&ring);
    g_assert_cmpint(vu_worker_create(&ring.vring, &ops, &ring, 1000, &worker), ==, 0);
    begin = g_get_monotonic_time();
    ring_submit(&ring, 1);
    ring_wait_done(&ring, 1);
    for (unsigned i = 0; i < 50; i++)
        ring_submit(&ring, 1);
    if (g_get_monotonic_time() - begin < G_USEC_PER_SEC)
        g_assert_cmpuint(ring.n_kicks_sent, ==, 1);
    ring_wait_done(&ring, 51);
    /* Nor is the end of the thread put off. */
    ring_submit(&ring, 1);
    vu_worker_destroy(worker);
    ring_finish(&ring);
}

/* Ends at any moment: idle, at work, while polling, straight after the start. */
static void test_destroy(void)
{
    for (unsigned i = 0; i < 200; i++) {
        struct fake_ring ring;
        struct vu_worker *worker;

        ring_init_eventfd(&ring);
        worker = ring_start(&ring, i % 2 == 0 ? 0 : 1000);
        for (unsigned k = 0; k < i % 7; k++)
            ring_submit(&ring, 1 + i);
        if (i % 3 == 0)
            g_usleep(i * 3);
        vu_worker_destroy(worker);
        ring_finish(&ring);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/worker/eventfd", test_eventfd);
    g_test_add_func("/worker/socket", test_socket);
    g_test_add_func("/worker/pipe", test_pipe);
    g_test_add_func("/worker/hangup", test_hangup);
    g_test_add_func("/worker/replaced", test_replaced);
    g_test_add_func("/worker/no-descriptor", test_no_descriptor);
    g_test_add_func("/worker/failing-start", test_failing_start);
    g_test_add_data_func("/worker/completions/asleep", GUINT_TO_POINTER(0), test_completions);
    g_test_add_data_func("/worker/completions/polling", GUINT_TO_POINTER(1000), test_completions);
    g_test_add_func("/worker/polling", test_polling);
    g_test_add_func("/worker/napping", test_napping);
    g_test_add_func("/worker/linger", test_linger);
    g_test_add_func("/worker/destroy", test_destroy);
    return g_test_run();
}
