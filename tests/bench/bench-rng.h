/* SPDX-License-Identifier: Apache-2.0 */
/* `vu-bench rng`: a virtio-rng driver, which counts the bytes that it really gets. */
#pragma once

#include "bench-engine.h"

struct bench_rng {
    uint32_t block;   /* bytes asked for */
    uint64_t n_bytes; /* atomic: got, in this row */
};

extern const struct bench_named_workload bench_rng_workloads[];
extern const unsigned bench_rng_n_workloads;
