/* SPDX-License-Identifier: Apache-2.0 */
/* See counters.h. */
#include "vblkd/counters.h"

#include <glib.h>
#include <inttypes.h>
#include <stdlib.h>

#include "vblkd/queue.h"
#include "vhost-user/cpu.h"
#include "vhost-user/log.h"

const char *const blk_kinds[BLK_N_KINDS] = {
    [BLK_KIND_READ] = "read",   [BLK_KIND_WRITE] = "write",
    [BLK_KIND_FLUSH] = "flush", [BLK_KIND_DISCARD] = "discard",
    [BLK_KIND_OTHER] = "other", [BLK_KIND_WRITE_ZEROES] = "write_zeroes",
};

struct blk_queue_counters *blk_counters_create(void)
{
    struct blk_queue_counters *counters =
        aligned_alloc(__alignof__(struct blk_queue_counters), sizeof(*counters));

    g_assert(counters);
    *counters = (struct blk_queue_counters){0};
    return counters;
}

void blk_counters_destroy(struct blk_queue_counters *counters)
{
    free(counters);
}

enum blk_kind blk_counters_kind(uint32_t type)
{
    switch (type) {
    case BLK_T_IN:
        return BLK_KIND_READ;
    case BLK_T_OUT:
        return BLK_KIND_WRITE;
    case BLK_T_FLUSH:
        return BLK_KIND_FLUSH;
    case BLK_T_DISCARD:
        return BLK_KIND_DISCARD;
    case BLK_T_WRITE_ZEROES:
        return BLK_KIND_WRITE_ZEROES;
    default:
        return BLK_KIND_OTHER;
    }
}

/* --- writing --- */

/* Of a counter that only this thread writes. */
static inline void counters_add(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

static inline void counters_raise(uint64_t *max, uint64_t value)
{
    if (value > __atomic_load_n(max, __ATOMIC_RELAXED))
        __atomic_store_n(max, value, __ATOMIC_RELAXED);
}

static inline void counters_add_shared(uint64_t *counter, uint64_t n)
{
    __atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static void counters_raise_shared(uint64_t *max, uint64_t value)
{
    uint64_t old = __atomic_load_n(max, __ATOMIC_RELAXED);

    while (value > old &&
           !__atomic_compare_exchange_n(max, &old, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

void blk_counters_begin(struct blk_queue_counters *counters, unsigned n)
{
    struct blk_counters *worker = &counters->worker;
    uint64_t n_done = worker->n_done + __atomic_load_n(&counters->helpers.n_done, __ATOMIC_RELAXED);

    counters_add(&worker->n_begun, n);
    counters_raise(&worker->max_depth, worker->n_begun - n_done);
}

static uint64_t counters_bytes(const struct blk_request *request)
{
    uint64_t n_bytes = 0;

    if (request->result < 0)
        return 0;
    if (!request->ranges)
        return request->kind <= BLK_KIND_WRITE ? request->len : 0;
    for (unsigned i = 0; i < request->n_ranges; i++)
        n_bytes += (uint64_t)le32_value(request->ranges[i].num_sectors) * BLK_SECTOR;
    return n_bytes;
}

static void counters_end_on_helper(const struct blk_request *request)
{
    struct blk_counters *counters = &request->queue->counters->helpers;
    struct blk_counter *counter = &counters->kinds[request->kind];
    uint64_t ns = vu_now_ns() - request->begin_ns;

    counters_add_shared(&counter->n, 1);
    counters_add_shared(&counter->n_errors, request->result < 0);
    counters_add_shared(&counter->n_bytes, counters_bytes(request));
    counters_add_shared(&counter->total_ns, ns);
    counters_raise_shared(&counter->max_ns, ns);
    counters_add_shared(&counter->latency[vu_histogram_bucket(ns)], 1);
    counters_add_shared(&counters->n_done, 1);
}

void blk_counters_end(const struct blk_request *request, bool on_worker)
{
    struct blk_queue *queue = request->queue;
    struct blk_counters *counters = &queue->counters->worker;
    struct blk_counter *counter = &counters->kinds[request->kind];
    uint64_t ns;

    if (!on_worker) {
        counters_end_on_helper(request);
        return;
    }
    if (queue->pass_ns == 0)
        queue->pass_ns = vu_now_ns();
    ns = queue->pass_ns - request->begin_ns;
    counters_add(&counter->n, 1);
    counters_add(&counter->n_errors, request->result < 0);
    counters_add(&counter->n_bytes, counters_bytes(request));
    counters_add(&counter->total_ns, ns);
    counters_raise(&counter->max_ns, ns);
    counters_add(&counter->latency[vu_histogram_bucket(ns)], 1);
    counters_add(&counters->n_done, 1);
}

/* --- reading --- */

static void counters_add_kind(struct blk_counter *sum, const struct blk_counter *counter)
{
    sum->n += __atomic_load_n(&counter->n, __ATOMIC_RELAXED);
    sum->n_errors += __atomic_load_n(&counter->n_errors, __ATOMIC_RELAXED);
    sum->n_bytes += __atomic_load_n(&counter->n_bytes, __ATOMIC_RELAXED);
    sum->total_ns += __atomic_load_n(&counter->total_ns, __ATOMIC_RELAXED);
    sum->max_ns = MAX(sum->max_ns, __atomic_load_n(&counter->max_ns, __ATOMIC_RELAXED));
    for (unsigned i = 0; i < VU_HISTOGRAM_BUCKETS; i++)
        sum->latency[i] += __atomic_load_n(&counter->latency[i], __ATOMIC_RELAXED);
}

static void counters_add_part(struct blk_counters *sum, const struct blk_counters *part)
{
    sum->n_begun += __atomic_load_n(&part->n_begun, __ATOMIC_RELAXED);
    sum->max_depth = MAX(sum->max_depth, __atomic_load_n(&part->max_depth, __ATOMIC_RELAXED));
    for (unsigned k = 0; k < BLK_N_KINDS; k++)
        counters_add_kind(&sum->kinds[k], &part->kinds[k]);
}

bool blk_counters_read(const struct blk_queue *queue, struct blk_counters *ret_sum)
{
    const struct blk_queue_counters *counters = __atomic_load_n(&queue->counters, __ATOMIC_ACQUIRE);

    *ret_sum = (struct blk_counters){0};
    if (!counters)
        return false;
    /* What is done comes first: then it is never more than what was begun. */
    ret_sum->n_done = __atomic_load_n(&counters->worker.n_done, __ATOMIC_ACQUIRE) +
                      __atomic_load_n(&counters->helpers.n_done, __ATOMIC_ACQUIRE);
    counters_add_part(ret_sum, &counters->worker);
    counters_add_part(ret_sum, &counters->helpers);
    return true;
}

void blk_counters_sum(struct blk_counters *sum, const struct blk_counters *counters)
{
    sum->n_done += counters->n_done;
    counters_add_part(sum, counters);
}

void blk_counters_log(const struct blk_device *device)
{
    g_autofree struct blk_counters *counters = g_new(struct blk_counters, 1);
    g_autofree struct blk_counters *total = g_new0(struct blk_counters, 1);
    bool any = false;

    for (unsigned i = 0; i < VBLK_MAX_QUEUES; i++)
        if (blk_counters_read(&device->queues[i], counters))
            blk_counters_sum(total, counters);
    for (unsigned k = 0; k < BLK_N_KINDS; k++) {
        const struct blk_counter *counter = &total->kinds[k];

        if (counter->n == 0)
            continue;
        any = true;
        vu_info("vblkd: %s: %" PRIu64 " requests, %" PRIu64 " failed, %" PRIu64
                " MiB; half within %" PRIu64 " us, 99 of 100 within %" PRIu64 " us",
                blk_kinds[k], counter->n, counter->n_errors, counter->n_bytes >> 20,
                vu_histogram_percentile(counter->latency, 50, counter->max_ns) / 1000,
                vu_histogram_percentile(counter->latency, 99, counter->max_ns) / 1000);
    }
    if (!any)
        vu_info("vblkd: no requests so far");
}
