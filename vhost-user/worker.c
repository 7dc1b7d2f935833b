/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread of one running ring.
 *
 *   pop and process until empty -> poll while poll-policy.h says so, or leave it alone for a while
 *   where the device wants that -> arm kicks -> sleep in epoll
 *
 * Kicks are disarmed from the moment the thread is awake until it is about to sleep. All
 * descriptors it sleeps on are watched edge-triggered, and an eventfd is never read: every write is
 * a new edge, which saves a system call a wake-up. That leaves the counter growing; at one a kick
 * it takes centuries to be full, and a front-end that fills it on purpose mutes only its own queue.
 *
 * The kick is watched through a copy of our own: when the session thread replaces the ring's
 * descriptor, an epoll entry of the old one would stay behind as long as the front-end keeps it
 * open.
 *
 * A thread may lose its queue to another one (worker-replace.c). From then on it knows its own
 * struct vu_worker_run only.
 */
#include "vhost-user/worker-thread.h"

#include <errno.h>
#include <glib.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"
#include "vhost-user/log.h"
#include "vhost-user/numa.h"
#include "vhost-user/thread.h"

#define WORKER_NO_KICK_MS 1 /* a ring without a kick is looked at this often */

static bool worker_is_stopping(const struct vu_worker *worker)
{
    return __atomic_load_n(&worker->stopping, __ATOMIC_ACQUIRE);
}

/* Sleeps until a kick, a completion or a wake-up, or for so long (-1: without end). Whether there
 * was a kick and nothing else. */
static bool worker_sleep(struct vu_worker *worker, int timeout_ms)
{
    struct epoll_event events[VU_WORKER_EVENTS];
    int n;

    if (worker->ops->spare_thread != NULL)
        vu_watch_asleep(&worker->watched);
    n = epoll_wait(worker->epoll_fd, events, G_N_ELEMENTS(events), timeout_ms);
    if (worker->ops->spare_thread != NULL)
        vu_watch_awake(&worker->watched);
    return vu_worker_take_events(worker, events, n) && n == 1;
}

/* Everything between running dry and being worth another pop. */
static void worker_wait(struct vu_worker *worker)
{
    struct vu_poll_policy *policy = vu_worker_choose_policy(worker);
    uint64_t dry_ns = policy->cap_ns > 0 ? vu_now_ns() : 0, polled_ns;

    if (worker->worked && worker->linger_ms > 0) {
        worker->worked = false;
        /* One kick may have come before they were disarmed. */
        if (worker_sleep(worker, (int)worker->linger_ms))
            worker_sleep(worker, (int)worker->linger_ms);
        return;
    }
    if (vu_worker_poll(worker, policy, dry_ns, &polled_ns))
        return;
    worker->armed = true;
    if (vu_vring_arm_kick(worker->vring))
        return;
    worker_sleep(worker, worker->kick_fd < 0 && worker->kick_is_needed ? WORKER_NO_KICK_MS : -1);
    if (policy->cap_ns > 0)
        vu_poll_policy_slept(policy, polled_ns, vu_now_ns() - dry_ns);
}

/* False where the thread lost its turn: the worker is another's then. */
static bool worker_process(struct vu_worker *worker, struct vu_worker_run *run,
                           struct vu_elem **elems, unsigned n)
{
    worker->ops->process(worker->device, worker->vring, elems, n);
    return !vu_turn_is_lost(&run->turn);
}

/* True where the worker stops, false where the thread lost its turn. */
static bool worker_loop(struct vu_worker *worker, struct vu_worker_run *run)
{
    struct vu_elem *elems[VU_WORKER_BATCH];
    unsigned n;

    while (!worker_is_stopping(worker)) {
        if (__atomic_load_n(&worker->woken, __ATOMIC_RELAXED))
            vu_worker_see_to_wake(worker);
        if (worker->armed)
            vu_vring_disarm_kick(worker->vring);
        worker->armed = false;
        while (!worker_is_stopping(worker) &&
               (n = vu_vring_pop(worker->vring, elems, VU_WORKER_BATCH)) > 0) {
            worker->worked = true;
            if (!worker_process(worker, run, elems, n))
                return false;
        }
        /* What is completed makes the driver think of more. */
        if (!vu_worker_complete(worker) && !worker_is_stopping(worker))
            worker_wait(worker);
    }
    return true;
}

/* The device's part of a new thread, and its completions. 0 or -errno. */
static int worker_start(struct vu_worker *worker)
{
    const struct vu_worker_ops *ops = worker->ops;
    unsigned queue = worker->vring->index;
    int err = 0;

    if (ops->thread_start != NULL)
        err = ops->thread_start(worker->device, queue);
    if (err != 0 || ops->completion_fd == NULL)
        return err;
    err = vu_worker_watch(worker, ops->completion_fd(worker->device, queue));
    if (err != 0 && ops->thread_stop != NULL)
        ops->thread_stop(worker->device, queue);
    return err;
}

/* Ends a queue whose thread cannot work: the requests it has inherited go back unanswered. */
static void worker_break(struct vu_worker *worker, struct vu_worker_run *run, int err)
{
    vu_vring_break(worker->vring, "cannot start its thread: %s", g_strerror(-err));
    for (unsigned i = 0; i < run->n_todo; i++)
        run->todo[i]->written = 0;
    if (run->n_todo > 0)
        vu_vring_push(worker->vring, run->todo, run->n_todo);
}

/* To the node of its ring, so that what it makes from now on lies there too. */
static void worker_settle(const struct vu_worker *worker)
{
    const void *ring;

    pthread_mutex_lock(&worker->vring->lock);
    ring = worker->vring->avail;
    pthread_mutex_unlock(&worker->vring->lock);
    vu_numa_follow(ring);
}

/* All that a thread does. False where it lost its turn. */
static bool worker_work(struct vu_worker *worker, struct vu_worker_run *run)
{
    int err;

    vu_turn_use(&run->turn);
    worker_settle(run->worker);
    if (run->n_done > 0)
        vu_vring_push(worker->vring, run->done, run->n_done);
    err = worker_start(worker);
    if (err != 0) {
        worker_break(worker, run, err);
        return true;
    }
    vu_worker_follow_memory(worker);
    if (run->n_todo > 0 && !worker_process(worker, run, run->todo, run->n_todo))
        return false;
    if (!worker_loop(worker, run))
        return false;
    if (worker->ops->thread_stop != NULL)
        worker->ops->thread_stop(worker->device, worker->vring->index);
    return true;
}

static void *worker_run(void *arg)
{
    struct vu_worker_run *run = arg;

    if (!worker_work(run->worker, run))
        g_free(run);
    return NULL;
}

int vu_worker_make_thread(struct vu_worker_run *run)
{
    char name[16];

    g_snprintf(name, sizeof(name), "vq%u", run->worker->vring->index);
    return vu_thread_create(name, worker_run, run, &run->thread);
}

static void worker_free(struct vu_worker *worker)
{
    vu_clear_fd(&worker->kick_fd);
    vu_clear_fd(&worker->wake_fd);
    vu_clear_fd(&worker->epoll_fd);
    vu_memory_unref(worker->memory);
    g_free(worker->run);
    g_free(worker);
}

int vu_worker_create(struct vu_vring *vring, const struct vu_worker_ops *ops, void *device,
                     unsigned poll_us, struct vu_worker **ret_worker)
{
    struct vu_worker *worker = g_new0(struct vu_worker, 1);
    int err;

    worker->vring = vring;
    worker->ops = ops;
    worker->device = device;
    worker->run = g_new0(struct vu_worker_run, 1);
    worker->run->worker = worker;
    worker->watched.look = vu_worker_look;
    worker->kick_fd = -1;
    worker->armed = true; /* a ring's state as it starts */
    worker->n_cpus = vu_cpu_count();
    worker->linger_ms = ops->linger_ms != NULL ? ops->linger_ms(device, vring->index) : 0;
    if (worker->n_cpus <= 1 || worker->linger_ms > 0)
        poll_us = 0;
    vu_poll_policy_init(&worker->answered, poll_us * UINT64_C(1000));
    vu_poll_policy_init(&worker->unanswered, poll_us * UINT64_C(1000));
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->epoll_fd < 0 || worker->wake_fd < 0)
        err = -errno;
    else
        err = vu_worker_watch(worker, worker->wake_fd);
    if (err == 0) {
        VU_LOCK_SCOPE(&vring->lock);
        worker->kick_generation = vring->kick_generation - 1;
        vu_worker_follow_kick_locked(worker);
    }
    if (err == 0)
        err = vu_worker_make_thread(worker->run);
    if (err != 0) {
        worker_free(worker);
        return err;
    }
    if (ops->spare_thread != NULL)
        err = vu_watch_add(&worker->watched);
    if (err != 0)
        vu_warning("%s: without a watch: %s", vring->log_tag, g_strerror(-err));
    worker->is_watched = ops->spare_thread != NULL && err == 0;
    *ret_worker = worker;
    return 0;
}

void vu_worker_destroy(struct vu_worker *worker)
{
    __atomic_store_n(&worker->stopping, true, __ATOMIC_RELEASE);
    if (worker->is_watched)
        vu_watch_remove(&worker->watched);
    vu_worker_wake(worker);
    pthread_join(worker->run->thread, NULL);
    worker_free(worker);
}

void vu_worker_wake(struct vu_worker *worker)
{
    /* Full only if nobody reads 2^64 - 2 wake-ups; and then the edge is there already. */
    __atomic_store_n(&worker->woken, true, __ATOMIC_SEQ_CST);
    (void)eventfd_write(worker->wake_fd, 1);
}
