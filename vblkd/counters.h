/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a queue has done, counted by its requests' kinds. The worker counts what it ends in a part
 * that nobody else writes, without a locked instruction; helpers, which have made a system call or
 * more, share another one. Whoever reads adds both, and may be some requests behind.
 *
 * Durations begin when the request is popped, and the clock is read once for all that is popped, or
 * reaped, in one go.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/histogram.h"

enum blk_kind {
    BLK_KIND_READ,
    BLK_KIND_WRITE,
    BLK_KIND_FLUSH,
    BLK_KIND_DISCARD,
    BLK_KIND_WRITE_ZEROES,
    BLK_KIND_OTHER, /* GET_ID, and what is no request that we know */
    BLK_N_KINDS,
};
/* "read", "write", ... */
extern const char *const blk_kinds[BLK_N_KINDS];

/* Requests of one kind. */
struct blk_counter {
    uint64_t n, n_errors; /* n counts both */
    uint64_t n_bytes;     /* of those without an error */
    uint64_t total_ns, max_ns;
    uint64_t latency[VU_HISTOGRAM_BUCKETS];
} __attribute__((aligned(64)));

struct blk_counters {
    uint64_t n_begun, max_depth; /* the worker's part alone has these */
    uint64_t n_done;
    struct blk_counter kinds[BLK_N_KINDS];
} __attribute__((aligned(64)));

struct blk_queue_counters {
    struct blk_counters worker;
    struct blk_counters helpers; /* atomic additions */
};

struct blk_device;
struct blk_queue;
struct blk_request;

struct blk_queue_counters *blk_counters_create(void);
void blk_counters_destroy(struct blk_queue_counters *counters); /* NULL is allowed */

/* Of a request's type, as the guest has it. */
enum blk_kind blk_counters_kind(uint32_t type);
/* n requests were popped. Worker. */
void blk_counters_begin(struct blk_queue_counters *counters, unsigned n);
/* One is over: request->result and what it moved. Its worker, or a helper. */
void blk_counters_end(const struct blk_request *request, bool on_worker);

/* Adds up both parts. False where the queue never ran. Any thread. */
bool blk_counters_read(const struct blk_queue *queue, struct blk_counters *ret_sum);
/* A line about each kind of request that there was, over all queues. Any thread. */
void blk_counters_log(const struct blk_device *device);
/* Adds one queue to others, which are summed in `sum`; max_depth is the largest. */
void blk_counters_sum(struct blk_counters *sum, const struct blk_counters *counters);
