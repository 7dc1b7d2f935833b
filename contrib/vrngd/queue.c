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
    struct rng_device *device;
    struct vu_elem *elem;
};

static void queue_count(struct rng_device *device, const struct vu_elem *elem, bool waited)
{
    struct rng_counters *counters = &device->counters;

    __atomic_add_fetch(&counters->n_requests, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&counters->n_bytes, elem->written, __ATOMIC_RELAXED);
    if (elem->written < elem->in_len)
        __atomic_add_fetch(&counters->n_short, 1, __ATOMIC_RELAXED);
    if (waited)
        __atomic_add_fetch(&counters->n_waited, 1, __ATOMIC_RELAXED);
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

/* False where nothing was to be had: its memory is gone, say. */
static bool queue_fill(struct rng_device *device, struct vu_elem *elem, size_t size)
{
    struct vu_iov_cursor cursor;
    size_t done = 0;
    ssize_t n = 0;

    vu_iov_cursor_init(&cursor, elem->iov + elem->n_out, elem->n_in, 0);
    while (done < size && (n = queue_fill_some(device->instant, &cursor, size - done)) > 0)
        done += (size_t)n;
    elem->written = (uint32_t)done;
    if (done == 0)
        vu_vring_break(elem->vring, "a buffer of %" PRIu64 " bytes cannot be filled: %s",
                       elem->in_len, g_strerror((int)-n));
    return done > 0;
}

/* --- by the feeder --- */

static void queue_on_data(struct rng_request *request, const uint8_t *data, size_t size)
{
    struct queue_wait *wait = (struct queue_wait *)request;
    struct vu_elem *elem = wait->elem;
    struct vu_iov_cursor cursor;

    vu_iov_cursor_init(&cursor, elem->iov + elem->n_out, elem->n_in, 0);
    elem->written = (uint32_t)vu_iov_write(&cursor, data, size);
    queue_count(wait->device, elem, true);
    g_free(wait);
    vu_vring_push(elem->vring, &elem, 1);
}

static void queue_wait(struct rng_device *device, struct vu_elem *elem, size_t size)
{
    struct queue_wait *wait = g_new(struct queue_wait, 1);

    *wait = (struct queue_wait){
        .request = {.size = size,
                    .done = queue_on_data,
                    .owner = &device->queues[elem->vring->index]},
        .device = device,
        .elem = elem,
    };
    rng_client_request(device->client, &wait->request);
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

/* Whether it is over, and to be pushed; else it waits. */
static bool queue_begin(struct rng_device *device, struct vu_elem *elem, uint64_t now_ns)
{
    size_t size = (size_t)MIN(elem->in_len, RNG_MAX_REQUEST), granted = 0;

    elem->written = 0;
    if (elem->n_out > 0) {
        vu_vring_break(elem->vring,
                       "a request with %" PRIu64 " bytes to be read: there are none "
                       "in requests to this device",
                       elem->out_len);
        return true;
    }
    if (device->instant && size > 0)
        granted = rng_client_take(device->client, size, now_ns);
    if (granted == 0) {
        queue_wait(device, elem, size);
        return false;
    }
    if (queue_fill(device, elem, granted))
        queue_count(device, elem, false);
    return true;
}

static void queue_process(void *opaque, struct vu_vring *vring, struct vu_elem **elems, unsigned n)
{
    uint64_t now_ns = vu_now_ns();
    uint64_t n_bytes = 0;
    unsigned n_done = 0;

    for (unsigned i = 0; i < n; i++) {
        if (!queue_begin(opaque, elems[i], now_ns))
            continue;
        n_bytes += elems[i]->written;
        elems[n_done++] = elems[i];
        if (n_bytes < QUEUE_BATCH_BYTES)
            continue;
        vu_vring_push(vring, elems, n_done);
        n_bytes = n_done = 0;
    }
    if (n_done > 0)
        vu_vring_push(vring, elems, n_done);
}

const struct vu_worker_ops rng_queue_worker_ops = {
    .process = queue_process,
};
