/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests beyond the device's limits. They wait in their queue, in order, and a helper sleeps for
 * the first of them and wakes the worker by its engine's descriptor. The helper sleeps for moments
 * only, so that a queue that stops need not wait for it long.
 *
 * None is begun while the device is paused: whether it is, and how many are held, changes under one
 * lock.
 */
#include <sys/eventfd.h>

#include "vblkd/queue.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"

#define HOLD_NAP_US UINT64_C(10000)

static bool hold_is_limited(const struct blk_request *request)
{
    return blk_throttle_is_on(&request->queue->device->throttle) && request->type != BLK_T_FLUSH &&
           request->type != BLK_T_GET_ID;
}

static uint64_t hold_ask(struct blk_request *request, uint64_t now_ns)
{
    bool moves = request->type == BLK_T_IN || request->type == BLK_T_OUT;

    return blk_throttle_ask(&request->queue->device->throttle, moves ? request->len : 0, now_ns);
}

/* On a helper. */
static void hold_nap(struct vu_job *job)
{
    struct blk_queue *queue = (struct blk_queue *)((char *)job - offsetof(struct blk_queue, timer));
    uint64_t until_ns = __atomic_load_n(&queue->held_until_ns, __ATOMIC_RELAXED);
    uint64_t now_ns = vu_now_ns();

    if (until_ns > now_ns)
        g_usleep(MIN((until_ns - now_ns) / 1000 + 1, HOLD_NAP_US));
    /* In this order: the worker that is woken must be able to ask for another. */
    __atomic_store_n(&queue->is_timed, false, __ATOMIC_SEQ_CST);
    (void)eventfd_write(vblk_aio_fd(queue->aio), 1);
    /* The engine may be gone after this. */
    __atomic_sub_fetch(&queue->n_timers, 1, __ATOMIC_RELEASE);
}

/* Whether the limits are others than those that said until when to wait. */
static bool hold_is_outdated(struct blk_queue *queue)
{
    unsigned n = __atomic_load_n(&queue->device->throttle.n_changes, __ATOMIC_ACQUIRE);
    bool is_outdated = n != queue->n_changes_seen;

    queue->n_changes_seen = n;
    return is_outdated;
}

static void hold_until(struct blk_queue *queue, uint64_t until_ns)
{
    __atomic_store_n(&queue->held_until_ns, until_ns, __ATOMIC_RELAXED);
    if (__atomic_exchange_n(&queue->is_timed, true, __ATOMIC_SEQ_CST))
        return;
    __atomic_add_fetch(&queue->n_timers, 1, __ATOMIC_RELAXED);
    queue->timer.run = hold_nap;
    vu_helpers_run(queue->device->helpers, &queue->timer);
}

bool blk_queue_hold(struct blk_request *request)
{
    struct blk_queue *queue = request->queue;
    uint64_t now_ns = 0, wait_ns = 0;

    if (!hold_is_limited(request))
        return false;
    if (!queue->held) {
        now_ns = vu_now_ns();
        wait_ns = hold_ask(request, now_ns);
        if (wait_ns == 0)
            return false;
    }
    request->next = NULL;
    *queue->last_held = request;
    queue->last_held = &request->next;
    pthread_mutex_lock(&queue->device->pause.lock);
    queue->n_held++;
    pthread_mutex_unlock(&queue->device->pause.lock);
    if (wait_ns > 0)
        hold_until(queue, now_ns + wait_ns);
    return true;
}

/* The next that may begin; else NULL, with what to wait for, which is 0 in a pause. */
static struct blk_request *hold_take(struct blk_queue *queue, uint64_t now_ns,
                                     uint64_t *ret_wait_ns)
{
    struct blk_request *request = queue->held;

    VU_LOCK_SCOPE(&queue->device->pause.lock);
    *ret_wait_ns = 0;
    if (!request || queue->device->pause.is_on)
        return NULL;
    *ret_wait_ns = hold_ask(request, now_ns);
    if (*ret_wait_ns > 0)
        return NULL;
    queue->held = request->next;
    if (!queue->held)
        queue->last_held = &queue->held;
    queue->n_held--;
    return request;
}

/* The disk may have become smaller. */
static void hold_begin(struct blk_request *request)
{
    bool moves = request->type == BLK_T_IN || request->type == BLK_T_OUT;
    int err = moves ? blk_request_check_range(request->queue->device, request->offset / BLK_SECTOR,
                                              request->len)
                    : 0;

    if (err == 0) {
        blk_queue_begin_parsed(request);
        return;
    }
    request->ticket = vblk_image_enter(request->queue->device->image, request->queue->index);
    blk_request_end_piece(request, err, true);
}

/* What a queue that ends still has is begun whatever the limits say. */
static unsigned hold_release_all(struct blk_queue *queue)
{
    struct blk_pause *pause = &queue->device->pause;
    struct blk_request *request, *next;
    unsigned n = 0;

    pthread_mutex_lock(&pause->lock);
    while (pause->is_on)
        pthread_cond_wait(&pause->ended, &pause->lock);
    queue->n_held = 0;
    pthread_mutex_unlock(&pause->lock);
    request = queue->held;
    queue->held = NULL;
    queue->last_held = &queue->held;
    for (; request; request = next, n++) {
        next = request->next;
        hold_begin(request);
    }
    return n;
}

unsigned blk_queue_release_held(struct blk_queue *queue, bool all)
{
    uint64_t now_ns = vu_now_ns(), wait_ns;
    struct blk_request *request;
    unsigned n = 0;

    if (all)
        return hold_release_all(queue);
    if (!hold_is_outdated(queue) && now_ns < queue->held_until_ns) {
        hold_until(queue, queue->held_until_ns);
        return 0;
    }
    while ((request = hold_take(queue, now_ns, &wait_ns)) != NULL) {
        hold_begin(request);
        n++;
    }
    if (wait_ns > 0)
        hold_until(queue, now_ns + wait_ns);
    return n;
}

void blk_queue_stop_timer(struct blk_queue *queue)
{
    while (__atomic_load_n(&queue->n_timers, __ATOMIC_ACQUIRE) > 0)
        g_usleep(HOLD_NAP_US / 10);
}
