/* SPDX-License-Identifier: Apache-2.0 */
/* What a daemon has told of itself at one moment, and what follows from two of them. */
#pragma once

#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/histogram.h"

#define TOP_MAX_SERVES 256

struct top_sample {
    uint64_t at_ns; /* when it came, by our clock */

    /* query-status */
    char serves[TOP_MAX_SERVES]; /* the share's tag, the disk's file, the source; "" */
    bool is_connected;
    uint64_t peer_pid, n_sessions;

    /* query-stats, in total */
    uint64_t n, n_failed, n_bytes, depth;
    uint64_t max_ns; /* of all requests so far */
    uint64_t latency[VU_HISTOGRAM_BUCKETS];

    /* query-process */
    uint64_t pid, resident_bytes, n_threads, n_fds, cpu_ns, start_s;
};

/* From one sample to the next: a second's worth. */
struct top_rates {
    double requests, bytes, failed;
    double cpu_percent;
    uint64_t p50_ns, p99_ns; /* 0: no requests */
};

/* Each takes what the command of that name returned; what is missing or of another type is taken
 * for 0. */
void top_sample_add_status(struct top_sample *sample, JsonObject *status);
void top_sample_add_stats(struct top_sample *sample, JsonObject *stats);
void top_sample_add_process(struct top_sample *sample, JsonObject *process);

/* False where there are none: the daemon was started anew in between. */
bool top_sample_compare(const struct top_sample *before, const struct top_sample *now,
                        struct top_rates *ret_rates);
