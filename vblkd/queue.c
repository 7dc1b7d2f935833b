/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a queue's worker does with a batch: begin every request, submit once, see what is done
 * already, push that with one notification. Whoever ends a request elsewhere, a helper, pushes it
 * alone.
 */
#include "vblkd/queue.h"

#include <errno.h>
#include <sys/prctl.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"
#include "vhost-user/log.h"

/* Of a batch that the page cache has: as long as the guest takes these, the others are read. */
#define QUEUE_PART (VU_WORKER_BATCH / 2)

static void queue_push_done(struct blk_queue *queue)
{
    if (queue->n_done > 0)
        vu_vring_push(queue->vring, queue->done, queue->n_done);
    queue->n_done = 0;
}

/* --- requests, kept for reuse --- */

static struct blk_request *queue_take_request(struct blk_queue *queue)
{
    struct blk_request *request = queue->free;

    if (!request)
        request = __atomic_exchange_n(&queue->returned, NULL, __ATOMIC_ACQUIRE);
    if (!request)
        return g_new0(struct blk_request, 1);
    queue->free = request->next;
    return request;
}

/* Any thread gives, the worker takes all at once. */
static void queue_return_request(struct blk_queue *queue, struct blk_request *request)
{
    request->next = __atomic_load_n(&queue->returned, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&queue->returned, &request->next, request, true,
                                        __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ;
}

void blk_queue_finish(struct blk_request *request, bool on_worker)
{
    struct blk_queue *queue = request->queue;
    struct vu_elem *elem = request->elem;

    if (!on_worker) {
        /* The push comes last: nothing in flight, the device may be gone. */
        queue_return_request(queue, request);
        vu_elem_complete(elem, elem->written);
        return;
    }
    blk_settle_learn(&queue->settle,
                     request->type == BLK_T_OUT ? queue->pass_ns - request->begin_ns : 0);
    request->next = queue->free;
    queue->free = request;
    queue->done[queue->n_done++] = elem;
    if (queue->n_done == G_N_ELEMENTS(queue->done))
        queue_push_done(queue);
}

/* --- the worker --- */

static bool queue_wants_durable(const struct blk_device *device)
{
    enum vblk_cache cache = device->image->storage->cache;

    if (cache == VBLK_CACHE_UNSAFE)
        return false;
    return vblk_cache_is_writethrough(cache) ||
           __atomic_load_n(&device->wants_durable, __ATOMIC_RELAXED);
}

void blk_queue_begin_parsed(struct blk_request *request)
{
    request->ticket = vblk_image_enter(request->queue->device->image, request->queue->index);
    switch (request->type) {
    case BLK_T_IN:
    case BLK_T_OUT:
        blk_transfer_begin(request);
        break;
    case BLK_T_DISCARD:
    case BLK_T_WRITE_ZEROES:
        blk_range_begin(request);
        break;
    case BLK_T_FLUSH:
        blk_flush_begin(request);
        break;
    default:
        blk_request_give_id(request);
        break;
    }
    blk_request_end_piece(request, 0, true);
}

/* Chains that are no requests cannot be answered: the queue ends, as its driver is broken. */
static void queue_refuse(struct blk_queue *queue, struct blk_request *request)
{
    struct vu_elem *elem = request->elem;

    vu_vring_break(queue->vring,
                   "a request of %" G_GUINT64_FORMAT " readable and %" G_GUINT64_FORMAT
                   " writable bytes has no header, or no room for a status",
                   elem->out_len, elem->in_len);
    request->kind = BLK_KIND_OTHER;
    request->result = -EINVAL;
    blk_counters_end(request, true);
    request->next = queue->free;
    queue->free = request;
    vu_elem_complete(elem, 0);
}

static void queue_begin(struct blk_queue *queue, struct vu_elem *elem)
{
    struct blk_request *request = queue_take_request(queue);
    enum blk_parsed parsed;

    request->queue = queue;
    request->elem = elem;
    request->result = 0;
    request->begin_ns = queue->begin_ns;
    parsed = blk_request_parse(request);
    request->kind = blk_counters_kind(request->type);
    if (parsed == BLK_PARSED_HOPELESS) {
        queue_refuse(queue, request);
        return;
    }
    request->is_durable = (request->type == BLK_T_OUT || request->type == BLK_T_WRITE_ZEROES) &&
                          queue_wants_durable(queue->device);
    request->must_flush = false;
    request->n_pending = 1; /* until all pieces have begun */
    if (parsed == BLK_PARSED_BAD) {
        request->ticket = vblk_image_enter(queue->device->image, queue->index);
        blk_request_end_piece(request, 0, true);
    } else if (!blk_queue_hold(request)) {
        blk_queue_begin_parsed(request);
    }
}

/* What is over, and, where that has been paying, what the kernel gets done in a moment. */
static unsigned queue_reap(struct blk_queue *queue)
{
    unsigned n = vblk_aio_reap(queue->aio), n_left = vblk_aio_n_pending(queue->aio), n_more;

    if (n == 0 || !vblk_cache_is_direct(blk_device_image(queue->device)->storage->cache) ||
        !blk_settle_is_due(&queue->settle, n, n_left))
        return n;
    g_usleep(BLK_SETTLE_NS / 1000);
    queue->pass_ns = 0;
    n_more = vblk_aio_reap(queue->aio);
    blk_settle_end(&queue->settle, n_more, n_left);
    return n + n_more;
}

static unsigned queue_complete(void *opaque, struct vu_vring *vring)
{
    struct blk_queue *queue = &((struct blk_device *)opaque)->queues[vring->index];
    unsigned n, n_all;

    queue->vring = vring;
    queue->pass_ns = 0;
    if (queue->held && blk_queue_release_held(queue, false) > 0)
        vblk_aio_submit(queue->aio);
    n_all = n = queue_reap(queue);
    /* There is room for what had to wait, or the rest of something short to be queued. */
    while (n > 0 && vblk_aio_submit(queue->aio)) {
        queue->pass_ns = 0;
        n = vblk_aio_reap(queue->aio);
        n_all += n;
    }
    queue_push_done(queue);
    return n_all;
}

/* The engine gets to know the image's file, and another one after a pause. */
static void queue_register_file(struct blk_queue *queue, const struct vblk_image *image)
{
    queue->fd = image->storage->fd;
    vblk_aio_register_file(queue->aio, queue->fd);
}

static void queue_process(void *opaque, struct vu_vring *vring, struct vu_elem **elems, unsigned n)
{
    struct blk_device *device = opaque;
    struct blk_queue *queue = &device->queues[vring->index];
    const struct vblk_image *image = blk_device_image(device);
    bool is_direct = vblk_cache_is_direct(image->storage->cache);
    unsigned n_early = is_direct ? 1 : QUEUE_PART;

    if (queue->fd != image->storage->fd && vblk_aio_n_pending(queue->aio) == 0)
        queue_register_file(queue, image);
    queue->vring = vring;
    queue->begin_ns = vu_now_ns();
    queue->pass_ns = 0;
    for (unsigned i = 0; i < n; i++) {
        queue_begin(queue, elems[i]);
        if (i + 1 < n_early)
            continue;
        /* A disk that has the first of them works while the others are made: 1, 2, 4, ... */
        vblk_aio_submit(queue->aio);
        if (!is_direct)
            queue_complete(opaque, vring);
        n_early = is_direct ? 2 * n_early + 1 : n_early + QUEUE_PART;
    }
    vblk_aio_submit(queue->aio);
    /* Most of what the page cache has is done by now. */
    queue_complete(opaque, vring);
}

/* An io_uring of its own may be too much for the user's limits. */
static int queue_create_engine(struct blk_queue *queue, enum vblk_aio_kind kind)
{
    int err = vblk_aio_create(kind, BLK_AIO_DEPTH, &queue->aio);

    if (err == 0 || kind != VBLK_AIO_URING)
        return err;
    vu_warning("vblkd: queue %u: no io_uring (%s), threads read and write", queue->index,
               g_strerror(-err));
    return vblk_aio_create(VBLK_AIO_THREADS, BLK_AIO_DEPTH, &queue->aio);
}

static int queue_start(void *opaque, unsigned index)
{
    struct blk_device *device = opaque;
    struct blk_queue *queue = &device->queues[index];
    int err = queue_create_engine(queue, device->options.aio);

    /* The thread's naps are shorter than what timers are allowed to be late by default. */
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    if (!queue->counters)
        __atomic_store_n(&queue->counters, vu_counters_create(BLK_N_KINDS), __ATOMIC_RELEASE);
    if (err == 0)
        queue_register_file(queue, blk_device_image(device));
    return err;
}

static void queue_use_memory(void *opaque, unsigned index, const struct vu_memory *memory)
{
    blk_pin_follow(&((struct blk_device *)opaque)->queues[index], memory);
}

/* Everything that the engine has. */
static void queue_drain(struct blk_queue *queue)
{
    do {
        queue_push_done(queue);
        queue->pass_ns = 0;
    } while (vblk_aio_wait(queue->aio) > 0);
    queue_push_done(queue);
}

static void queue_stop(void *opaque, unsigned index)
{
    struct blk_queue *queue = &((struct blk_device *)opaque)->queues[index];

    /* First of all what has begun: a pause that keeps the others back may be waiting for it. */
    queue_drain(queue);
    if (queue->held && blk_queue_release_held(queue, true) > 0)
        queue_drain(queue);
    blk_queue_stop_timer(queue);
    g_clear_pointer(&queue->aio, vblk_aio_destroy);
    blk_pin_release(queue);
}

static int queue_completion_fd(void *opaque, unsigned index)
{
    return vblk_aio_fd(((struct blk_device *)opaque)->queues[index].aio);
}

const struct vu_worker_ops blk_queue_worker_ops = {
    .thread_start = queue_start,
    .thread_stop = queue_stop,
    .process = queue_process,
    .use_memory = queue_use_memory,
    .completion_fd = queue_completion_fd,
    .complete = queue_complete,
};

/* --- all queues --- */

struct blk_queue *blk_queues_create(struct blk_device *device)
{
    struct blk_queue *queues = g_new0(struct blk_queue, VBLK_MAX_QUEUES);

    for (unsigned i = 0; i < VBLK_MAX_QUEUES; i++) {
        queues[i].device = device;
        queues[i].index = i;
        queues[i].last_held = &queues[i].held;
    }
    return queues;
}

static void queue_free_requests(struct blk_request *request)
{
    struct blk_request *next;

    for (; request; request = next) {
        next = request->next;
        g_free(request);
    }
}

void blk_queues_destroy(struct blk_queue *queues)
{
    for (unsigned i = 0; i < VBLK_MAX_QUEUES; i++) {
        queue_free_requests(queues[i].free);
        queue_free_requests(queues[i].returned);
        vu_counters_destroy(queues[i].counters);
    }
    g_free(queues);
}
