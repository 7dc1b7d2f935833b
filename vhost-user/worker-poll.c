/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker that does not sleep, for poll-policy.h expects work soon: it looks at its ring and at
 * what the device completes, over and over. Where that usually takes long, it sleeps the first part
 * of it. All of this file runs on the worker's thread.
 */
#include "vhost-user/worker-thread.h"

#include <glib.h>
#include <sys/epoll.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"

#define POLL_PAUSES 8 /* between two looks at a polled ring */
#define POLL_SECOND UINT64_C(1000000000)

/* Pollers of all queues: one CPU is always left to whoever the requests come from. */
static unsigned worker_n_polling; /* atomic */

bool vu_worker_complete(struct vu_worker *worker)
{
    return worker->ops->complete != NULL &&
           worker->ops->complete(worker->device, worker->vring) > 0;
}

static bool poll_has_work(struct vu_worker *worker)
{
    return vu_vring_has_work(worker->vring) || vu_worker_complete(worker);
}

static bool poll_is_called(const struct vu_worker *worker)
{
    return __atomic_load_n(&worker->stopping, __ATOMIC_ACQUIRE) ||
           __atomic_load_n(&worker->woken, __ATOMIC_RELAXED);
}

/* A driver that was answered asks again soon; one that was not waits as we do, for a disk. */
struct vu_poll_policy *vu_worker_choose_policy(struct vu_worker *worker)
{
    unsigned n_pushes = __atomic_load_n(&worker->vring->n_pushes, __ATOMIC_RELAXED);
    bool pushed = n_pushes != worker->n_pushes;

    worker->n_pushes = n_pushes;
    return pushed ? &worker->answered : &worker->unanswered;
}

/* For how long the policy wants to poll. What the device completes elsewhere it does not see. */
static uint64_t poll_window(struct vu_worker *worker, struct vu_poll_policy *policy)
{
    bool awaits = policy->cap_ns > 0 && worker->ops->complete != NULL;

    return vu_poll_policy_begin(policy, awaits ? vu_vring_n_working(worker->vring) : 0);
}

/*
 * Looks at the ring until there is work (true), or something to see to, or the window is over. The
 * look itself lets session threads that want the ring's lock in first.
 */
static bool poll_spin(struct vu_worker *worker, uint64_t until_ns, uint64_t *ret_now_ns)
{
    do {
        for (int i = 0; i < POLL_PAUSES; i++)
            vu_cpu_relax();
        *ret_now_ns = vu_now_ns();
        if (poll_has_work(worker))
            return true;
        if (poll_is_called(worker))
            return false;
    } while (*ret_now_ns < until_ns);
    return false;
}

/* Where a CPU is left to do so. */
static bool poll_try_spin(struct vu_worker *worker, uint64_t until_ns, uint64_t *ret_now_ns)
{
    bool won = false;

    if (__atomic_add_fetch(&worker_n_polling, 1, __ATOMIC_RELAXED) < worker->n_cpus)
        won = poll_spin(worker, until_ns, ret_now_ns);
    __atomic_sub_fetch(&worker_n_polling, 1, __ATOMIC_RELAXED);
    return won;
}

/*
 * Sleeps until then, or until there is work, with kicks wanted meanwhile. False: it is time to
 * spin; true: what woke the worker is seen to by its loop, and is gone from epoll.
 */
static bool poll_nap(struct vu_worker *worker, uint64_t until_ns, uint64_t *ret_now_ns)
{
    struct epoll_event events[VU_WORKER_EVENTS];
    int n = 0;

    worker->armed = true;
    if (vu_vring_arm_kick(worker->vring))
        return true;
    while ((*ret_now_ns = vu_now_ns()) < until_ns && n >= 0) {
        uint64_t left_ns = until_ns - *ret_now_ns;
        struct timespec timeout = {.tv_sec = (time_t)(left_ns / POLL_SECOND),
                                   .tv_nsec = (long)(left_ns % POLL_SECOND)};

        /* An older kernel has no such call: then all of it is spun. */
        n = epoll_pwait2(worker->epoll_fd, events, G_N_ELEMENTS(events), &timeout, NULL);
        vu_worker_take_events(worker, events, n);
        /* Edges that are left from before the nap say nothing. */
        if (n > 0 && (poll_has_work(worker) || poll_is_called(worker)))
            return true;
    }
    vu_vring_disarm_kick(worker->vring);
    worker->armed = false;
    return false;
}

bool vu_worker_poll(struct vu_worker *worker, struct vu_poll_policy *policy, uint64_t dry_ns,
                    uint64_t *ret_polled_ns)
{
    uint64_t window_ns = poll_window(worker, policy), now_ns = dry_ns;
    uint64_t nap_ns = vu_poll_policy_nap(policy);
    bool won;

    *ret_polled_ns = 0;
    if (window_ns == 0)
        return false;
    won = (nap_ns > 0 && nap_ns < window_ns && poll_nap(worker, dry_ns + nap_ns, &now_ns)) ||
          poll_try_spin(worker, dry_ns + window_ns, &now_ns);
    *ret_polled_ns = now_ns - dry_ns;
    if (won) {
        vu_poll_policy_won(policy, *ret_polled_ns);
        VU_LOCK_SCOPE(&worker->vring->lock);
        worker->vring->stats.n_polls_won++;
    }
    return won;
}
