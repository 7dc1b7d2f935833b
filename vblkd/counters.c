/* SPDX-License-Identifier: Apache-2.0 */
/* See counters.h. */
#include "vblkd/counters.h"

#include "vblkd/queue.h"
#include "vhost-user/cpu.h"
#include "vhost-user/daemon/stats.h"

const char *blk_counters_kind_name(unsigned kind)
{
    static const char *const names[BLK_N_KINDS] = {
        [BLK_KIND_READ] = "read",   [BLK_KIND_WRITE] = "write",
        [BLK_KIND_FLUSH] = "flush", [BLK_KIND_DISCARD] = "discard",
        [BLK_KIND_OTHER] = "other", [BLK_KIND_WRITE_ZEROES] = "write_zeroes",
    };

    return names[kind];
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

void blk_counters_end(const struct blk_request *request, bool on_worker)
{
    struct blk_queue *queue = request->queue;
    uint64_t now_ns;

    if (!on_worker)
        now_ns = vu_now_ns();
    else if (queue->pass_ns != 0)
        now_ns = queue->pass_ns;
    else
        now_ns = queue->pass_ns = vu_now_ns();
    vu_counters_end(queue->counters,
                    &(struct vu_counted){.kind = request->kind,
                                         .is_failed = request->result < 0,
                                         .n_bytes = counters_bytes(request),
                                         .ns = now_ns - request->begin_ns},
                    on_worker);
}

static const struct vu_counters *counters_of_queue(const void *opaque, unsigned queue)
{
    const struct blk_device *device = opaque;

    return __atomic_load_n(&device->queues[queue].counters, __ATOMIC_ACQUIRE);
}

const struct vu_stats blk_stats = {
    .metrics = "outboard_block",
    .n_kinds = BLK_N_KINDS,
    .kind_name = blk_counters_kind_name,
    .counters = counters_of_queue,
};
