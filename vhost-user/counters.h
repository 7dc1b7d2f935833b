/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a queue has done, counted by its requests' kinds, which are the device's. The worker counts
 * what it ends in a part that nobody else writes, without a locked instruction; other threads,
 * which have made a system call or more, share another one. Whoever reads adds both, and may be
 * some requests behind.
 *
 * Durations are the device's to measure: from the pop of a request to its answer, with as few looks
 * at the clock as will do.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/histogram.h"

/* Requests of one kind. */
struct vu_counter {
    uint64_t n, n_errors; /* n counts both */
    uint64_t n_helped;    /* in sums: of n, those that helpers ended */
    uint64_t n_bytes;
    uint64_t total_ns, max_ns;
    uint64_t latency[VU_HISTOGRAM_BUCKETS];
};

/* Of a queue: n_kinds in each part, atomic. */
struct vu_counters {
    unsigned n_kinds;
    struct vu_counter *worker;
    struct vu_counter *helpers; /* written by additions */
};

/* All are 0. Never fails. */
struct vu_counters *vu_counters_create(unsigned n_kinds);
void vu_counters_destroy(struct vu_counters *counters); /* NULL is allowed */

/* A request that is over. */
struct vu_counted {
    unsigned kind; /* < n_kinds */
    bool is_failed;
    uint64_t n_bytes;
    uint64_t ns; /* how long it took */
};
/* on_worker: by the thread that has the queue at this time; else any. */
void vu_counters_end(struct vu_counters *counters, const struct vu_counted *request,
                     bool on_worker);

/* Adds a queue's (NULL: one that never ran) to n_kinds sums. Any thread. */
void vu_counters_sum(struct vu_counter *sums, const struct vu_counters *counters);
