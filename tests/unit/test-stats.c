/* SPDX-License-Identifier: Apache-2.0 */
/* counters.h and daemon/stats.h: what is counted by whom adds up, and is told in all ways alike. */
#include "vhost-user/daemon/stats.h"

#include <glib.h>
#include <string.h>
#include <unistd.h>

#include "vhost-user/daemon/process.h"

enum { KIND_GET, KIND_PUT, KIND_SECRET, KIND_NEVER, N_KINDS };
#define N_QUEUES 3 /* the last never ran */

static struct vu_counters *queues[N_QUEUES];

static const char *kind_name(unsigned kind)
{
    static const char *const names[N_KINDS] = {
        [KIND_GET] = "GET", [KIND_PUT] = "PUT", [KIND_NEVER] = "NEVER"};

    return names[kind];
}

static const struct vu_counters *get_counters(const void *device, unsigned queue)
{
    g_assert_true(device == queues);
    return queues[queue];
}

static struct vu_stats stats = {
    .metrics = "test", .n_kinds = N_KINDS, .kind_name = kind_name, .counters = get_counters};

static const struct vu_device device = {.name = "tested", .n_queues = N_QUEUES, .stats = &stats};

static void count(unsigned queue, unsigned kind, bool is_failed, uint64_t ns, bool on_worker)
{
    vu_counters_end(
        queues[queue],
        &(struct vu_counted){
            .kind = kind, .is_failed = is_failed, .n_bytes = is_failed ? 0 : 10, .ns = ns},
        on_worker);
}

static struct vu_backend *set_up(bool is_sparse)
{
    const struct vu_backend_options options = {0};

    stats.is_sparse = is_sparse;
    for (unsigned i = 0; i < N_QUEUES - 1; i++)
        queues[i] = vu_counters_create(N_KINDS);
    count(0, KIND_GET, false, 500, true);
    count(0, KIND_GET, true, 3000, false);
    count(1, KIND_GET, false, 3000, false);
    count(1, KIND_PUT, false, 7000000, true);
    count(1, KIND_SECRET, false, 1, true);
    return vu_backend_create(&device, queues, &options);
}

static void tear_down(struct vu_backend *backend)
{
    vu_backend_destroy(backend);
    for (unsigned i = 0; i < N_QUEUES; i++)
        g_clear_pointer(&queues[i], vu_counters_destroy);
}

static void test_sums(void)
{
    struct vu_backend *backend = set_up(false);
    struct vu_counter sums[N_KINDS] = {0};

    for (unsigned i = 0; i < N_QUEUES; i++)
        vu_counters_sum(sums, queues[i]);
    g_assert_cmpuint(sums[KIND_GET].n, ==, 3);
    g_assert_cmpuint(sums[KIND_GET].n_errors, ==, 1);
    g_assert_cmpuint(sums[KIND_GET].n_helped, ==, 2);
    g_assert_cmpuint(sums[KIND_GET].n_bytes, ==, 20);
    g_assert_cmpuint(sums[KIND_GET].total_ns, ==, 6500);
    g_assert_cmpuint(sums[KIND_GET].max_ns, ==, 3000);
    g_assert_cmpuint(sums[KIND_GET].latency[0], ==, 1);
    g_assert_cmpuint(sums[KIND_GET].latency[vu_histogram_bucket(3000)], ==, 2);
    g_assert_cmpuint(sums[KIND_NEVER].n, ==, 0);
    tear_down(backend);
}

static void test_json(void)
{
    static const char expected[] =
        "{\"queues\":[{\"queue\":0,\"kicks\":0,\"notifications\":0,\"polls_won\":0,\"depth\":0,"
        "\"max_depth\":0,\"get\":{\"operations\":2,\"failed\":1,\"helped\":1,\"bytes\":10,"
        "\"total_ns\":3500,\"p50_ns\":1024,\"p99_ns\":3000,\"max_ns\":3000,"
        "\"histogram\":[[1024,1],[3072,1]]}},{\"queue\":1,*}],\"total\":{\"depth\":0,"
        "\"max_depth\":0,\"get\":{\"operations\":3,*},\"put\":{\"operations\":1,*}}}";
    struct vu_backend *backend = set_up(true);
    JsonNode *node = vu_stats_to_json(&backend, 1, true);
    g_autofree char *text = json_to_string(node, FALSE);

    if (!g_pattern_match_simple(expected, text))
        g_error("expected %s, got %s", expected, text);
    g_assert_null(strstr(text, "secret"));
    g_assert_null(strstr(text, "never"));
    json_node_unref(node);
    tear_down(backend);
}

/* A program without a device, as vmm is. */
static void test_no_device(void)
{
    JsonNode *node = vu_stats_to_json(NULL, 0, true);

    g_assert_cmpuint(json_object_get_size(json_node_get_object(node)), ==, 0);
    json_node_unref(node);
}

static void test_metrics(void)
{
    static const char *const samples[] = {
        "test_requests_total{queue=\"0\",operation=\"get\"} 2\n",
        "test_failed_requests_total{queue=\"0\",operation=\"get\"} 1\n",
        "test_helped_requests_total{queue=\"1\",operation=\"get\"} 1\n",
        "test_bytes_total{queue=\"1\",operation=\"put\"} 10\n",
        "test_requests_total{queue=\"1\",operation=\"never\"} 0\n",
        "test_queue_depth{queue=\"1\"} 0\n",
        "test_request_duration_seconds_count{operation=\"get\"} 3\n",
        "test_request_duration_seconds_sum{operation=\"put\"} 0.007000000\n",
        "test_request_duration_seconds_bucket{operation=\"get\",le=\"0.000001024\"} 1\n",
    };
    struct vu_backend *backend = set_up(false);
    g_autoptr(GString) text = g_string_new(NULL);

    vu_stats_add_metrics(&backend, 1, text);
    for (size_t i = 0; i < G_N_ELEMENTS(samples); i++)
        if (!strstr(text->str, samples[i]))
            g_error("%s not in %s", samples[i], text->str);
    g_assert_null(strstr(text->str, "queue=\"2\""));
    tear_down(backend);
}

static void test_process(void)
{
    struct vu_process_usage usage;

    vu_process_prepare();
    vu_process_read(&usage);
    g_assert_cmpint(usage.pid, ==, getpid());
    g_assert_cmpuint(usage.n_threads, ==, 1);
    g_assert_cmpuint(usage.resident_bytes, >, 100000);
    g_assert_cmpuint(usage.virtual_bytes, >, usage.resident_bytes);
    g_assert_cmpuint(usage.cpu_ns, >, 0);
    g_assert_cmpuint(usage.start_s, >, 1600000000);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/stats/sums", test_sums);
    g_test_add_func("/stats/json", test_json);
    g_test_add_func("/stats/no-device", test_no_device);
    g_test_add_func("/stats/metrics", test_metrics);
    g_test_add_func("/stats/process", test_process);
    return g_test_run();
}
