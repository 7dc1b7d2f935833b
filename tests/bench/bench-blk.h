/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vu-bench blk`: a virtio-blk driver, and the workloads it measures. Writes destroy what the disk
 * holds.
 */
#pragma once

#include "bench-engine.h"
#include "vhost-user/frontend.h"

#define BENCH_BLK_F_FLUSH   9
#define BENCH_BLK_F_MQ      12
#define BENCH_BLK_F_DISCARD 13
#define BENCH_BLK_FEATURES \
    (VU_BIT(BENCH_BLK_F_FLUSH) | VU_BIT(BENCH_BLK_F_MQ) | VU_BIT(BENCH_BLK_F_DISCARD))

struct bench_blk {
    uint64_t n_bytes; /* of the disk that are read and written */
    uint32_t block;
    uint64_t position; /* atomic: next block of a sequential run */
};

/* Reads the configuration space; at most n_bytes of the disk are used (0: all). 0, -ENOTSUP (no
 * configuration space), -EINVAL (too small). */
int bench_blk_open(struct bench_blk *blk, struct vu_frontend *frontend, uint64_t n_bytes);

extern const struct bench_named_workload bench_blk_workloads[];
extern const unsigned bench_blk_n_workloads;
