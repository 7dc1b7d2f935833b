/* SPDX-License-Identifier: Apache-2.0 */
/* See sample.h. */
#include "contrib/top/sample.h"

static JsonNode *sample_get(JsonObject *object, const char *name, GType type)
{
    JsonNode *node = json_object_get_member(object, name);

    return node && json_node_get_value_type(node) == type ? node : NULL;
}

static uint64_t sample_number(JsonObject *object, const char *name)
{
    JsonNode *node = sample_get(object, name, G_TYPE_INT64);
    gint64 value = node ? json_node_get_int(node) : 0;

    return value > 0 ? (uint64_t)value : 0;
}

static JsonObject *sample_object(JsonObject *object, const char *name)
{
    JsonNode *node = json_object_get_member(object, name);

    return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

void top_sample_add_status(struct top_sample *sample, JsonObject *status)
{
    /* By the first that a daemon has: how people tell its instances apart. */
    static const char *const names[] = {"tag", "file", "shared-dir"};
    JsonObject *front_end = sample_object(status, "front-end");
    JsonObject *source = sample_object(status, "source");
    JsonNode *node = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(names) && !node; i++)
        node = sample_get(status, names[i], G_TYPE_STRING);
    if (!node && source)
        node = sample_get(source, "name", G_TYPE_STRING);
    if (node)
        g_strlcpy(sample->serves, json_node_get_string(node), sizeof(sample->serves));
    if (!front_end)
        return;
    node = sample_get(front_end, "connected", G_TYPE_BOOLEAN);
    sample->is_connected = node && json_node_get_boolean(node);
    sample->peer_pid = sample_number(front_end, "pid");
    sample->n_sessions = sample_number(front_end, "sessions");
}

/* [nanoseconds that the bucket ends before (0: it has no end), requests] */
static void sample_add_bucket(struct top_sample *sample, JsonNode *node)
{
    JsonArray *pair = JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
    gint64 values[2];

    if (!pair || json_array_get_length(pair) != G_N_ELEMENTS(values))
        return;
    for (guint i = 0; i < G_N_ELEMENTS(values); i++) {
        JsonNode *value = json_array_get_element(pair, i);

        if (json_node_get_value_type(value) != G_TYPE_INT64)
            return;
        values[i] = json_node_get_int(value);
    }
    if (values[0] >= 0 && values[1] > 0)
        sample
            ->latency[vu_histogram_bucket(values[0] > 0 ? (uint64_t)values[0] - 1 : UINT64_MAX)] +=
            (uint64_t)values[1];
}

static void sample_add_kind(struct top_sample *sample, JsonObject *kind)
{
    JsonNode *node = json_object_get_member(kind, "histogram");
    JsonArray *buckets = node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;

    sample->n += sample_number(kind, "operations");
    sample->n_failed += sample_number(kind, "failed");
    sample->n_bytes += sample_number(kind, "bytes");
    sample->max_ns = MAX(sample->max_ns, sample_number(kind, "max_ns"));
    for (guint i = 0; buckets && i < json_array_get_length(buckets); i++)
        sample_add_bucket(sample, json_array_get_element(buckets, i));
}

void top_sample_add_stats(struct top_sample *sample, JsonObject *stats)
{
    JsonObject *total = sample_object(stats, "total");
    JsonObjectIter iter;
    JsonNode *value;

    if (!total)
        return;
    sample->depth = sample_number(total, "depth");
    json_object_iter_init(&iter, total);
    while (json_object_iter_next(&iter, NULL, &value))
        if (JSON_NODE_HOLDS_OBJECT(value))
            sample_add_kind(sample, json_node_get_object(value));
}

void top_sample_add_process(struct top_sample *sample, JsonObject *process)
{
    sample->pid = sample_number(process, "pid");
    sample->resident_bytes = sample_number(process, "resident-bytes");
    sample->n_threads = sample_number(process, "threads");
    sample->n_fds = sample_number(process, "descriptors");
    sample->cpu_ns = sample_number(process, "cpu_ns");
    sample->start_s = sample_number(process, "started");
}

bool top_sample_compare(const struct top_sample *before, const struct top_sample *now,
                        struct top_rates *ret_rates)
{
    uint64_t latency[VU_HISTOGRAM_BUCKETS];
    double seconds = (double)(now->at_ns - before->at_ns) / 1e9;

    if (seconds <= 0 || now->pid != before->pid || now->start_s != before->start_s ||
        now->n < before->n || now->n_failed < before->n_failed || now->n_bytes < before->n_bytes ||
        now->cpu_ns < before->cpu_ns)
        return false;
    for (unsigned i = 0; i < VU_HISTOGRAM_BUCKETS; i++)
        latency[i] =
            now->latency[i] > before->latency[i] ? now->latency[i] - before->latency[i] : 0;
    *ret_rates = (struct top_rates){
        .requests = (double)(now->n - before->n) / seconds,
        .bytes = (double)(now->n_bytes - before->n_bytes) / seconds,
        .failed = (double)(now->n_failed - before->n_failed) / seconds,
        .cpu_percent = (double)(now->cpu_ns - before->cpu_ns) / 1e7 / seconds,
        .p50_ns = vu_histogram_percentile(latency, 50, now->max_ns),
        .p99_ns = vu_histogram_percentile(latency, 99, now->max_ns),
    };
    return true;
}
