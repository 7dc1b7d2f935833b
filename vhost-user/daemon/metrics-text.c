/* SPDX-License-Identifier: Apache-2.0 */
/* The exposition format, and what all daemons tell in it. */
#include <inttypes.h>

#include "vhost-user/backend.h"
#include "vhost-user/daemon/metrics.h"
#include "vhost-user/histogram.h"

void vu_metrics_begin(GString *text, const char *name, const char *type, const char *help)
{
    g_string_append_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void vu_metrics_add(GString *text, const char *name, const char *labels, uint64_t value)
{
    g_string_append(text, name);
    if (labels && *labels)
        g_string_append_printf(text, "{%s}", labels);
    g_string_append_printf(text, " %" PRIu64 "\n", value);
}

/* Prometheus wants a point, whatever the locale says. */
static void metrics_append_seconds(GString *text, uint64_t ns)
{
    g_string_append_printf(text, "%" PRIu64 ".%09" PRIu64, ns / 1000000000, ns % 1000000000);
}

void vu_metrics_add_seconds(GString *text, const char *name, const char *labels, uint64_t ns)
{
    g_string_append(text, name);
    if (labels && *labels)
        g_string_append_printf(text, "{%s}", labels);
    g_string_append_c(text, ' ');
    metrics_append_seconds(text, ns);
    g_string_append_c(text, '\n');
}

void vu_metrics_add_histogram(GString *text, const char *name, const char *labels,
                              const uint64_t *counts, uint64_t total_ns)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < VU_HISTOGRAM_BUCKETS; i++) {
        n += counts[i];
        /* Bucket 4k is the last below 2^(10+k) ns. */
        if (i % 4 != 0 || i == VU_HISTOGRAM_BUCKETS - 1)
            continue;
        g_string_append_printf(text, "%s_bucket{%s,le=\"", name, labels);
        metrics_append_seconds(text, vu_histogram_end(i));
        g_string_append_printf(text, "\"} %" PRIu64 "\n", n);
    }
    g_string_append_printf(text, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, labels, n);
    g_string_append_printf(text, "%s_sum{%s} ", name, labels);
    metrics_append_seconds(text, total_ns);
    g_string_append_printf(text, "\n%s_count{%s} %" PRIu64 "\n", name, labels, n);
}

static const struct metrics_ring {
    const char *name, *help;
    size_t offset; /* in struct vu_vring_stats */
} metrics_rings[] = {
    {"outboard_ring_popped_total", "Requests taken from a ring.",
     offsetof(struct vu_vring_stats, n_popped)},
    {"outboard_ring_kicks_total", "Times that the guest woke a queue.",
     offsetof(struct vu_vring_stats, n_kicks)},
    {"outboard_ring_notifications_total", "Times that a queue notified the guest.",
     offsetof(struct vu_vring_stats, n_notifies)},
    {"outboard_ring_polls_won_total", "Times that polling found requests before a kick.",
     offsetof(struct vu_vring_stats, n_polls_won)},
};

const char *vu_metrics_device(char text[VU_METRICS_DEVICE_LEN], unsigned device, unsigned n_devices)
{
    text[0] = '\0';
    if (n_devices > 1)
        g_snprintf(text, VU_METRICS_DEVICE_LEN, "device=\"%u\"", device);
    return text;
}

static void metrics_add_ring(GString *text, const struct metrics_ring *ring,
                             struct vu_backend *backend, const char *device)
{
    unsigned n_queues = vu_backend_device(backend, NULL)->n_queues;
    struct vu_queue_status queue;
    char labels[64];

    for (unsigned i = 0; i < n_queues && vu_backend_get_queue(backend, i, &queue); i++) {
        if (queue.stats.n_popped == 0 && !queue.is_started)
            continue;
        g_snprintf(labels, sizeof(labels), "%s%squeue=\"%u\"", device, *device ? "," : "", i);
        vu_metrics_add(text, ring->name, labels,
                       *(const uint64_t *)((const char *)&queue.stats + ring->offset));
    }
}

void vu_metrics_add_sessions(GString *text, const char *program, struct vu_backend *const *backends,
                             unsigned n_backends)
{
    static const char connected[] = "outboard_front_end_connected";
    static const char total[] = "outboard_sessions_total";
    g_autofree char *labels =
        g_strdup_printf("program=\"%s\",version=\"%s\"", program, VU_PACKAGE_VERSION);
    g_autofree struct vu_backend_status *status = g_new(struct vu_backend_status, n_backends);
    char device[VU_METRICS_DEVICE_LEN];

    vu_metrics_begin(text, "outboard_build_info", "gauge", "The program and its version.");
    vu_metrics_add(text, "outboard_build_info", labels, 1);
    vu_metrics_begin(text, connected, "gauge", "Whether a front-end is connected.");
    for (unsigned i = 0; i < n_backends; i++) {
        vu_backend_get_status(backends[i], &status[i]);
        vu_metrics_add(text, connected, vu_metrics_device(device, i, n_backends),
                       status[i].is_connected);
    }
    vu_metrics_begin(text, total, "counter", "Front-ends that have connected so far.");
    for (unsigned i = 0; i < n_backends; i++)
        vu_metrics_add(text, total, vu_metrics_device(device, i, n_backends), status[i].n_sessions);
    for (size_t r = 0; r < G_N_ELEMENTS(metrics_rings); r++) {
        vu_metrics_begin(text, metrics_rings[r].name, "counter", metrics_rings[r].help);
        for (unsigned i = 0; i < n_backends; i++)
            metrics_add_ring(text, &metrics_rings[r], backends[i],
                             vu_metrics_device(device, i, n_backends));
    }
}
