/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of a virtio-rng driver (virtio 1.3 section 5.4): buffers to be filled, and no more. */
#include "bench-rng.h"

#include <errno.h>

static void bench_rng_fill(void *context, struct bench_slot *slot)
{
    const struct bench_rng *rng = context;

    slot->out_len = 0;
    slot->in_len = rng->block;
}

static int bench_rng_done(void *context, struct bench_slot *slot, uint32_t len)
{
    struct bench_rng *rng = context;

    __atomic_add_fetch(&rng->n_bytes, len, __ATOMIC_RELAXED);
    return len > 0 && len <= slot->in_len ? 1 : -EPROTO;
}

const struct bench_named_workload bench_rng_workloads[] = {
    {"read", "one buffer filled", true, {bench_rng_fill, bench_rng_done}, 0},
};
const unsigned bench_rng_n_workloads = sizeof(bench_rng_workloads) / sizeof(bench_rng_workloads[0]);
