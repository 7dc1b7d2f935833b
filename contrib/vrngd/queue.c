/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a buffer: filled at once by the worker, or by the feeder when its turn has come.
 * Requests of one queue are answered in their order either way, so that those which wait are always
 * the last that were popped, and can be given back when the queue stops.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "contrib/vrngd/device.h"
#include "vhost-user/cpu.h"
#include "vhost-user/iov.h"
#include "vhost-user/log.h"

#define QUEUE_BATCH_BYTES 65536 /* pushed in one go, or a little more */
#define QUEUE_SMALL       256   /* shorter ranges are filled by way of a buffer, many at a time */

/* A request in the pool. */
struct queue_wait {
    struct rng_request request; /* first */
    struct rng_queue *queue;
    struct vu_elem *elem;
    uint64_t begin_ns;
};

/* --- counters --- */

static const char *queue_kind_name(unsigned kind)
{
    return "read";
}

static const struct vu_counters *queue_get_counters(const void *opaque, unsigned queue)
{
    const struct rng_device *device = opaque;

    return __atomic_load_n(&device->queues[queue].counters, __ATOMIC_ACQUIRE);
}

const struct vu_stats rng_stats = {
    .metrics = "outboard_rng",
    .n_kinds = 1,
    .kind_name = queue_kind_name,
    .counters = queue_get_counters,
};

static void queue_count(struct rng_queue *queue, const struct vu_elem *elem, uint64_t ns,
                        bool on_worker)
{
    vu_counters_end(
        queue->counters,
        &(struct vu_counted){.is_failed = elem->written == 0, .n_bytes = elem->written, .ns = ns},
        on_worker);
    if (elem->written < elem->in_len)
        __atomic_add_fetch(&queue->n_short, 1, __ATOMIC_RELAXED);
}

/* --- at once --- */

/* Fills the cursor's next range, or as many short ones as a buffer holds. -errno. */
static ssize_t queue_fill_some(struct rng_source *source, struct vu_iov_cursor *cursor, size_t size)
{
    uint8_t buffer[QUEUE_SMALL];
    struct iovec range;
    uint64_t len;
    ssize_t n;

    vu_iov_peek(cursor, size, &range, 1, &len);
    if (len >= QUEUE_SMALL) {
        n = source->ops->read(source, range.iov_base, len);
        if (n > 0)
            vu_iov_skip(cursor, (size_t)n);
        return n;
    }
    n = source->ops->read(source, buffer, MIN(size, sizeof(buffer)));
    if (n > 0)
        vu_iov_write(cursor, buffer, (size_t)n);
    explicit_bzero(buffer, sizeof(buffer));
    return n;
}

/* Nothing is to be had where the memory of the request is gone, say. */
static void queue_fill(struct rng_queue *queue, struct vu_elem *elem, size_t size)
{
    struct vu_iov_cursor cursor;
    size_t done = 0;
    ssize_t n = 0;

    vu_iov_cursor_init(&cursor, elem->iov + elem->n_out, elem->n_in, 0);
    while (done < size && (n = queue_fill_some(queue->device->instant, &cursor, size - done)) > 0)
        done += (size_t)n;
    elem->written = (uint32_t)done;
    if (done == 0)
        vu_vring_break(elem->vring, "a buffer of %" PRIu64 " bytes cannot be filled: %s",
                       elem->in_len, g_strerror((int)-n));
    else if (vu_memory_faulted(elem->memory))
        vu_vring_break(elem->vring, "its memory is gone");
}

/* --- by the feeder --- */

static void queue_on_data(struct rng_request *request, const uint8_t *data, size_t size)
{
    struct queue_wait *wait = (struct queue_wait *)request;
    struct vu_elem *elem = wait->elem;
    struct vu_iov_cursor cursor;

    vu_iov_cursor_init(&cursor, elem->iov + elem->n_out, elem->n_in, 0);
    elem->written = (uint32_t)vu_iov_write(&cursor, data, size);
    if (vu_memory_faulted(elem->memory))
        vu_vring_break(elem->vring, "its memory is gone");
    queue_count(wait->queue, elem, vu_now_ns() - wait->begin_ns, false);
    g_free(wait);
    vu_vring_push(elem->vring, &elem, 1);
}

static size_t queue_size(const struct vu_elem *elem)
{
    return (size_t)MIN(elem->in_len, RNG_MAX_REQUEST);
}

static void queue_wait(struct rng_queue *queue, struct vu_elem *elem, uint64_t now_ns)
{
    struct queue_wait *wait = g_new(struct queue_wait, 1);

    *wait = (struct queue_wait){
        .request = {.size = queue_size(elem), .done = queue_on_data, .owner = queue},
        .queue = queue,
        .elem = elem,
        .begin_ns = now_ns,
    };
    rng_client_request(queue->device->client, &wait->request);
}

void rng_queue_quiesce(struct rng_device *device, unsigned queue)
{
    struct rng_request *request = rng_client_cancel_all(device->client, &device->queues[queue]);

    while (request) {
        struct queue_wait *wait = (struct queue_wait *)request;

        request = request->next;
        /* Only a driver that meddles with its ring gets it empty. */
        if (!vu_vring_give_back(wait->elem))
            vu_elem_complete(wait->elem, 0);
        g_free(wait);
    }
}

/* --- the worker --- */

/* Whether it is over, and to be pushed; else it is to wait. */
static bool queue_begin(struct rng_queue *queue, struct vu_elem *elem, uint64_t now_ns)
{
    size_t size = queue_size(elem), granted = 0;

    elem->written = 0;
    if (elem->n_out > 0) {
        vu_vring_break(elem->vring,
                       "a request with %" PRIu64 " bytes to be read, where all are to be written",
                       elem->out_len);
        return true;
    }
    if (queue->device->instant && size > 0)
        granted = rng_client_take(queue->device->client, size, now_ns);
    if (granted > 0)
        queue_fill(queue, elem, granted);
    return granted > 0;
}

static void queue_push(struct rng_queue *queue, struct vu_elem **elems, unsigned n, uint64_t ns)
{
    if (n == 0)
        return;
    for (unsigned i = 0; i < n; i++)
        queue_count(queue, elems[i], ns, true);
    vu_vring_push(elems[0]->vring, elems, n);
}

static void queue_process(void *opaque, struct vu_vring *vring, struct vu_elem **elems, unsigned n)
{
    struct rng_queue *queue = &((struct rng_device *)opaque)->queues[vring->index];
    uint64_t begin_ns = vu_now_ns(), n_bytes = 0;
    unsigned n_done = 0;

    for (unsigned i = 0; i < n; i++) {
        struct vu_elem *elem = elems[i];
        bool is_over = queue_begin(queue, elem, begin_ns);

        if (is_over) {
            n_bytes += elem->written;
            elems[n_done++] = elem;
        }
        if (is_over && n_bytes < QUEUE_BATCH_BYTES)
            continue;
        queue_push(queue, elems, n_done, vu_now_ns() - begin_ns);
        n_bytes = n_done = 0;
        /* Behind those: the feeder's answer does not overtake them. */
        if (!is_over)
            queue_wait(queue, elem, begin_ns);
    }
    queue_push(queue, elems, n_done, vu_now_ns() - begin_ns);
}

static int queue_start(void *opaque, unsigned index)
{
    struct rng_queue *queue = &((struct rng_device *)opaque)->queues[index];

    if (!queue->counters)
        __atomic_store_n(&queue->counters, vu_counters_create(rng_stats.n_kinds), __ATOMIC_RELEASE);
    return 0;
}

const struct vu_worker_ops rng_queue_worker_ops = {
    .thread_start = queue_start,
    .process = queue_process,
};
