/* SPDX-License-Identifier: Apache-2.0 */
/* What the queues have counted: query-blockstats. */
#include "vblkd/control.h"
#include "vblkd/queue.h"
#include "vhost-user/daemon/control-status.h"
#include "vhost-user/daemon/json-build.h"

/* [[nanoseconds that the bucket ends before, count], ...] of those that are not empty; the last
 * bucket has no end and is told with 0. */
static void stats_add_histogram(JsonBuilder *json, const uint64_t *counts)
{
    vu_json_begin_array(json, "histogram");
    for (unsigned i = 0; i < VU_HISTOGRAM_BUCKETS; i++) {
        uint64_t end = vu_histogram_end(i);

        if (counts[i] == 0)
            continue;
        json_builder_begin_array(json);
        json_builder_add_int_value(json, end == UINT64_MAX ? 0 : (gint64)end);
        json_builder_add_int_value(json, (gint64)counts[i]);
        json_builder_end_array(json);
    }
    json_builder_end_array(json);
}

static void stats_add_kind(JsonBuilder *json, const char *name, const struct blk_counter *counter,
                           bool with_histogram)
{
    static const struct {
        const char *name;
        double percent;
    } percentiles[] = {{"p50_ns", 50}, {"p99_ns", 99}};

    vu_json_begin_object(json, name);
    vu_json_add_number(json, "operations", counter->n);
    vu_json_add_number(json, "failed", counter->n_errors);
    vu_json_add_number(json, "bytes", counter->n_bytes);
    vu_json_add_number(json, "total_ns", counter->total_ns);
    for (size_t i = 0; i < G_N_ELEMENTS(percentiles); i++)
        vu_json_add_number(
            json, percentiles[i].name,
            vu_histogram_percentile(counter->latency, percentiles[i].percent, counter->max_ns));
    vu_json_add_number(json, "max_ns", counter->max_ns);
    if (with_histogram)
        stats_add_histogram(json, counter->latency);
    json_builder_end_object(json);
}

static void stats_add(JsonBuilder *json, const struct blk_counters *counters, bool with_histograms)
{
    vu_json_add_number(json, "depth", counters->n_begun - counters->n_done);
    vu_json_add_number(json, "max_depth", counters->max_depth);
    for (unsigned k = 0; k < BLK_N_KINDS; k++)
        stats_add_kind(json, blk_kinds[k], &counters->kinds[k], with_histograms);
}

JsonNode *blk_control_query_stats(struct vu_control_call *call, GError **error)
{
    const struct blk_device *device = call->opaque;
    g_autofree struct blk_counters *counters = g_new(struct blk_counters, 1);
    g_autofree struct blk_counters *total = g_new0(struct blk_counters, 1);
    bool with_histograms = vu_control_bool(call, "histograms", false);
    JsonBuilder *json = vu_json_begin();
    struct vu_queue_status ring;

    vu_json_begin_array(json, "queues");
    for (unsigned i = 0; i < VBLK_MAX_QUEUES; i++) {
        if (!blk_counters_read(&device->queues[i], counters))
            continue;
        blk_counters_sum(total, counters);
        json_builder_begin_object(json);
        vu_json_add_number(json, "queue", i);
        if (vu_backend_get_queue(call->backend, i, &ring))
            vu_control_add_ring(json, &ring);
        stats_add(json, counters, with_histograms);
        json_builder_end_object(json);
    }
    json_builder_end_array(json);
    vu_json_begin_object(json, "total");
    stats_add(json, total, with_histograms);
    json_builder_end_object(json);
    return vu_json_finish(json);
}
