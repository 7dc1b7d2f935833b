/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device's queues have counted (counters.h), told in the three ways that every daemon has:
 * on the control socket (query-stats), to Prometheus, and in the log. A device says where its
 * counters are by a struct vu_stats in its struct vu_device; without one there is nothing to tell.
 * Several devices of a process are of one kind; their queues are told one after another, each with
 * its "device".
 */
#pragma once

#include <json-glib/json-glib.h>
#include <stdbool.h>

#include "vhost-user/backend.h"
#include "vhost-user/counters.h"

struct vu_stats {
    const char *metrics; /* what their names begin with: "outboard_block" */
    unsigned n_kinds;
    bool is_sparse; /* many kinds, most of them never asked for: those are left out */
    /* NULL: no requests are counted there. In lower case where it is told but in the log. */
    const char *(*kind_name)(unsigned kind);
    /* Of a queue; NULL: it never ran. Any thread. */
    const struct vu_counters *(*counters)(const void *device, unsigned queue);
};

/*
 * {"queues": [{"queue": 0, "kicks", "notifications", "polls_won", "depth", "max_depth",
 *              KIND: {"operations", "failed", "helped", "bytes",
 *                     "total_ns", "p50_ns", "p99_ns", "max_ns"}}],
 *  "total": the same of all queues}
 *
 * with_histograms: each KIND has "histogram" as well: [[nanoseconds that a bucket ends before,
 * requests], ...] of the buckets that are not empty; the last has no end and is told with 0.
 */
JsonNode *vu_stats_to_json(struct vu_backend *const *backends, unsigned n_backends,
                           bool with_histograms);
void vu_stats_add_metrics(struct vu_backend *const *backends, unsigned n_backends, GString *text);
/* A line about each kind of request that there was, over all queues; name: the program's. */
void vu_stats_log(const char *name, struct vu_backend *const *backends, unsigned n_backends);
