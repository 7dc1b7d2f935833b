/* SPDX-License-Identifier: Apache-2.0 */
/* The queues' counters by kind and queue, and over all queues the histograms of durations. */
#include "vblkd/metrics.h"

#include "vblkd/queue.h"
#include "vhost-user/daemon/metrics.h"

#define METRICS_DURATION "outboard_block_request_duration_seconds"

static const struct metrics_counter {
    const char *name, *help;
    size_t offset; /* in struct blk_counter */
} metrics_counters[] = {
    {"outboard_block_requests_total", "Requests that are over.", offsetof(struct blk_counter, n)},
    {"outboard_block_failed_requests_total", "Requests that were answered with an error.",
     offsetof(struct blk_counter, n_errors)},
    {"outboard_block_bytes_total", "Bytes read, written, discarded or zeroed.",
     offsetof(struct blk_counter, n_bytes)},
};

static void metrics_add_counter(GString *text, const struct metrics_counter *metric,
                                const struct blk_counters *queues, const bool *ran)
{
    vu_metrics_begin(text, metric->name, "counter", metric->help);
    for (unsigned i = 0; i < VBLK_MAX_QUEUES; i++)
        for (unsigned k = 0; ran[i] && k < BLK_N_KINDS; k++) {
            const char *counter = (const char *)&queues[i].kinds[k];
            char labels[64];

            g_snprintf(labels, sizeof(labels), "queue=\"%u\",operation=\"%s\"", i, blk_kinds[k]);
            vu_metrics_add(text, metric->name, labels,
                           *(const uint64_t *)(counter + metric->offset));
        }
}

static void metrics_add_depths(GString *text, const struct blk_counters *queues, const bool *ran)
{
    static const char depth[] = "outboard_block_queue_depth";
    static const char max_depth[] = "outboard_block_queue_depth_max";
    char labels[32];

    vu_metrics_begin(text, depth, "gauge", "Requests that are being worked on, or held.");
    for (unsigned i = 0; i < VBLK_MAX_QUEUES; i++) {
        g_snprintf(labels, sizeof(labels), "queue=\"%u\"", i);
        if (ran[i])
            vu_metrics_add(text, depth, labels, queues[i].n_begun - queues[i].n_done);
    }
    vu_metrics_begin(text, max_depth, "gauge", "The most there were at a time.");
    for (unsigned i = 0; i < VBLK_MAX_QUEUES; i++) {
        g_snprintf(labels, sizeof(labels), "queue=\"%u\"", i);
        if (ran[i])
            vu_metrics_add(text, max_depth, labels, queues[i].max_depth);
    }
}

static void metrics_add_durations(GString *text, const struct blk_counters *queues, const bool *ran)
{
    g_autofree struct blk_counters *total = g_new0(struct blk_counters, 1);
    char labels[32];

    for (unsigned i = 0; i < VBLK_MAX_QUEUES; i++)
        if (ran[i])
            blk_counters_sum(total, &queues[i]);
    vu_metrics_begin(text, METRICS_DURATION, "histogram",
                     "From a request's arrival to its answer.");
    for (unsigned k = 0; k < BLK_N_KINDS; k++) {
        g_snprintf(labels, sizeof(labels), "operation=\"%s\"", blk_kinds[k]);
        vu_metrics_add_histogram(text, METRICS_DURATION, labels, total->kinds[k].latency,
                                 total->kinds[k].total_ns);
    }
}

static void metrics_add_image(GString *text, const struct blk_device *device)
{
    const struct vblk_image *image = blk_device_image(device);

    vu_metrics_begin(text, "outboard_block_size_bytes", "gauge", "The disk's size.");
    vu_metrics_add(text, "outboard_block_size_bytes", NULL,
                   blk_device_capacity(device) * BLK_SECTOR);
    vu_metrics_begin(text, "outboard_block_corrupt", "gauge",
                     "Whether the image was found to be corrupt.");
    vu_metrics_add(text, "outboard_block_corrupt", NULL,
                   __atomic_load_n(&image->is_corrupt, __ATOMIC_RELAXED));
}

void blk_metrics_collect(void *opaque, struct vu_backend *backend, GString *text)
{
    const struct blk_device *device = opaque;
    g_autofree struct blk_counters *queues = g_new(struct blk_counters, VBLK_MAX_QUEUES);
    bool ran[VBLK_MAX_QUEUES];

    for (unsigned i = 0; i < VBLK_MAX_QUEUES; i++)
        ran[i] = blk_counters_read(&device->queues[i], &queues[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(metrics_counters); i++)
        metrics_add_counter(text, &metrics_counters[i], queues, ran);
    metrics_add_depths(text, queues, ran);
    metrics_add_durations(text, queues, ran);
    metrics_add_image(text, device);
}
