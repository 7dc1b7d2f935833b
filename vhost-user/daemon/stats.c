/* SPDX-License-Identifier: Apache-2.0 */
/* See stats.h. */
#include "vhost-user/daemon/stats.h"

#include <inttypes.h>

#include "vhost-user/daemon/control-status.h"
#include "vhost-user/daemon/json-build.h"
#include "vhost-user/daemon/metrics.h"
#include "vhost-user/log.h"

#define STATS_MAX_LABELS 96

struct stats_part {
    unsigned device, queue;
    struct vu_counter *kinds; /* NULL: a queue that never ran */
    struct vu_queue_status ring;
};

/* The counters of all queues at one moment, more or less. */
struct stats {
    const struct vu_stats *what;
    unsigned n_devices;
    unsigned n_queues; /* of all devices */
    struct stats_part *queues;
    struct stats_part total;
    char **names; /* of the kinds; NULL: nothing to tell of it */
};

static char *stats_name(const struct vu_stats *what, const struct vu_counter *counter,
                        unsigned kind)
{
    const char *name = what->kind_name(kind);

    if (!name || (what->is_sparse && counter->n == 0))
        return NULL;
    return g_ascii_strdown(name, -1);
}

static void stats_read_queue(struct stats *stats, struct stats_part *queue,
                             const struct vu_counters *counters, bool has_ring)
{
    struct vu_queue_status *total = &stats->total.ring;

    if (!counters || !has_ring)
        return;
    queue->kinds = g_new0(struct vu_counter, stats->what->n_kinds);
    vu_counters_sum(queue->kinds, counters);
    vu_counters_sum(stats->total.kinds, counters);
    total->n_working += queue->ring.n_working;
    total->stats.max_working = MAX(total->stats.max_working, queue->ring.stats.max_working);
}

static void stats_read_device(struct stats *stats, struct vu_backend *backend, unsigned index)
{
    void *opaque;
    const struct vu_device *device = vu_backend_device(backend, &opaque);

    stats->queues = g_renew(struct stats_part, stats->queues, stats->n_queues + device->n_queues);
    for (unsigned i = 0; i < device->n_queues; i++) {
        struct stats_part *queue = &stats->queues[stats->n_queues++];

        *queue = (struct stats_part){.device = index, .queue = i};
        stats_read_queue(stats, queue, stats->what->counters(opaque, i),
                         vu_backend_get_queue(backend, i, &queue->ring));
    }
}

/* False where the devices count nothing, and there is nothing to be cleared. */
static bool stats_read(struct stats *stats, struct vu_backend *const *backends, unsigned n_backends)
{
    const struct vu_device *first = n_backends > 0 ? vu_backend_device(backends[0], NULL) : NULL;
    const struct vu_stats *what = first ? first->stats : NULL;

    if (!what)
        return false;
    *stats = (struct stats){
        .what = what,
        .n_devices = n_backends,
        .total.kinds = g_new0(struct vu_counter, what->n_kinds),
        .names = g_new0(char *, what->n_kinds),
    };
    for (unsigned i = 0; i < n_backends; i++)
        stats_read_device(stats, backends[i], i);
    for (unsigned k = 0; k < what->n_kinds; k++)
        stats->names[k] = stats_name(what, &stats->total.kinds[k], k);
    return true;
}

static void stats_clear(struct stats *stats)
{
    for (unsigned i = 0; i < stats->n_queues; i++)
        g_free(stats->queues[i].kinds);
    for (unsigned k = 0; k < stats->what->n_kinds; k++)
        g_free(stats->names[k]);
    g_free(stats->queues);
    g_free(stats->total.kinds);
    g_free(stats->names);
}

static bool stats_shows(const struct stats *stats, const struct stats_part *part, unsigned kind)
{
    return stats->names[kind] && !(stats->what->is_sparse && part->kinds[kind].n == 0);
}

/* --- JSON --- */

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

static void stats_add_kind(JsonBuilder *json, const char *name, const struct vu_counter *counter,
                           bool with_histogram)
{
    static const struct {
        const char *name;
        double percent;
    } percentiles[] = {{"p50_ns", 50}, {"p99_ns", 99}};

    vu_json_begin_object(json, name);
    vu_json_add_number(json, "operations", counter->n);
    vu_json_add_number(json, "failed", counter->n_errors);
    vu_json_add_number(json, "helped", counter->n_helped);
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

static void stats_add_part(JsonBuilder *json, const struct stats *stats,
                           const struct stats_part *part, bool with_histograms)
{
    vu_json_add_number(json, "depth", part->ring.n_working);
    vu_json_add_number(json, "max_depth", part->ring.stats.max_working);
    for (unsigned k = 0; k < stats->what->n_kinds; k++)
        if (stats_shows(stats, part, k))
            stats_add_kind(json, stats->names[k], &part->kinds[k], with_histograms);
}

JsonNode *vu_stats_to_json(struct vu_backend *const *backends, unsigned n_backends,
                           bool with_histograms)
{
    JsonBuilder *json = vu_json_begin();
    struct stats stats;

    if (!stats_read(&stats, backends, n_backends))
        return vu_json_finish(json);
    vu_json_begin_array(json, "queues");
    for (unsigned i = 0; i < stats.n_queues; i++) {
        if (!stats.queues[i].kinds)
            continue;
        json_builder_begin_object(json);
        if (stats.n_devices > 1)
            vu_json_add_number(json, "device", stats.queues[i].device);
        vu_json_add_number(json, "queue", stats.queues[i].queue);
        vu_control_add_ring(json, &stats.queues[i].ring);
        stats_add_part(json, &stats, &stats.queues[i], with_histograms);
        json_builder_end_object(json);
    }
    json_builder_end_array(json);
    vu_json_begin_object(json, "total");
    stats_add_part(json, &stats, &stats.total, with_histograms);
    json_builder_end_object(json);
    stats_clear(&stats);
    return vu_json_finish(json);
}

/* --- Prometheus --- */

static const struct stats_metric {
    const char *name, *help;
    size_t offset; /* in struct vu_counter */
} stats_metrics[] = {
    {"requests_total", "Requests that are over.", offsetof(struct vu_counter, n)},
    {"failed_requests_total", "Requests that were answered with an error.",
     offsetof(struct vu_counter, n_errors)},
    {"helped_requests_total",
     "Requests that another thread than the queue's ended, since they had to wait for something.",
     offsetof(struct vu_counter, n_helped)},
    {"bytes_total", "Bytes of data, of requests without an error.",
     offsetof(struct vu_counter, n_bytes)},
};

/* The labels that tell a queue from the others. */
static void stats_label_queue(const struct stats *stats, const struct stats_part *queue,
                              char labels[STATS_MAX_LABELS])
{
    char device[VU_METRICS_DEVICE_LEN];

    vu_metrics_device(device, queue->device, stats->n_devices);
    g_snprintf(labels, STATS_MAX_LABELS, "%s%squeue=\"%u\"", device, *device ? "," : "",
               queue->queue);
}

/* Begins a metric; its full name, g_free. */
static char *stats_begin_metric(const struct stats *stats, GString *text, const char *name,
                                const char *type, const char *help)
{
    char *full = g_strdup_printf("%s_%s", stats->what->metrics, name);

    vu_metrics_begin(text, full, type, help);
    return full;
}

static void stats_add_metric(const struct stats *stats, GString *text,
                             const struct stats_metric *metric)
{
    g_autofree char *name = stats_begin_metric(stats, text, metric->name, "counter", metric->help);

    for (unsigned i = 0; i < stats->n_queues; i++)
        for (unsigned k = 0; stats->queues[i].kinds && k < stats->what->n_kinds; k++) {
            const char *counter = (const char *)&stats->queues[i].kinds[k];
            char queue[STATS_MAX_LABELS], labels[2 * STATS_MAX_LABELS];

            if (!stats_shows(stats, &stats->queues[i], k))
                continue;
            stats_label_queue(stats, &stats->queues[i], queue);
            g_snprintf(labels, sizeof(labels), "%s,operation=\"%s\"", queue, stats->names[k]);
            vu_metrics_add(text, name, labels, *(const uint64_t *)(counter + metric->offset));
        }
}

static void stats_add_depths(const struct stats *stats, GString *text, const char *suffix,
                             const char *help, bool is_max)
{
    g_autofree char *name = stats_begin_metric(stats, text, suffix, "gauge", help);

    for (unsigned i = 0; i < stats->n_queues; i++) {
        const struct stats_part *queue = &stats->queues[i];
        char labels[STATS_MAX_LABELS];

        if (!queue->kinds)
            continue;
        stats_label_queue(stats, queue, labels);
        vu_metrics_add(text, name, labels,
                       is_max ? queue->ring.stats.max_working : queue->ring.n_working);
    }
}

static void stats_add_durations(const struct stats *stats, GString *text)
{
    g_autofree char *name = stats_begin_metric(stats, text, "request_duration_seconds", "histogram",
                                               "From a request's arrival to its answer.");

    for (unsigned k = 0; k < stats->what->n_kinds; k++) {
        char labels[STATS_MAX_LABELS];

        if (!stats_shows(stats, &stats->total, k))
            continue;
        g_snprintf(labels, sizeof(labels), "operation=\"%s\"", stats->names[k]);
        vu_metrics_add_histogram(text, name, labels, stats->total.kinds[k].latency,
                                 stats->total.kinds[k].total_ns);
    }
}

void vu_stats_add_metrics(struct vu_backend *const *backends, unsigned n_backends, GString *text)
{
    struct stats stats;

    if (!stats_read(&stats, backends, n_backends))
        return;
    for (size_t i = 0; i < G_N_ELEMENTS(stats_metrics); i++)
        stats_add_metric(&stats, text, &stats_metrics[i]);
    stats_add_depths(&stats, text, "queue_depth", "Requests that are being worked on, or held.",
                     false);
    stats_add_depths(&stats, text, "queue_depth_max", "The most there were at a time.", true);
    stats_add_durations(&stats, text);
    stats_clear(&stats);
}

/* --- the log --- */

void vu_stats_log(const char *name, struct vu_backend *const *backends, unsigned n_backends)
{
    struct stats stats;
    bool any = false;

    if (!stats_read(&stats, backends, n_backends))
        return;
    for (unsigned k = 0; k < stats.what->n_kinds; k++) {
        const struct vu_counter *counter = &stats.total.kinds[k];

        if (counter->n == 0 || !stats.names[k])
            continue;
        any = true;
        vu_info("%s: %s: %" PRIu64 " requests, %" PRIu64 " failed, %" PRIu64
                " MiB; half within %" PRIu64 " us, 99 of 100 within %" PRIu64 " us",
                name, stats.what->kind_name(k), counter->n, counter->n_errors,
                counter->n_bytes >> 20,
                vu_histogram_percentile(counter->latency, 50, counter->max_ns) / 1000,
                vu_histogram_percentile(counter->latency, 99, counter->max_ns) / 1000);
    }
    if (!any)
        vu_info("%s: no requests so far", name);
    stats_clear(&stats);
}
