/* SPDX-License-Identifier: Apache-2.0 */
/* What the process takes, on the control socket and for Prometheus. */
#include "vhost-user/daemon/json-build.h"
#include "vhost-user/daemon/metrics.h"
#include "vhost-user/daemon/process.h"

JsonNode *vu_process_to_json(void)
{
    JsonBuilder *json = vu_json_begin();
    struct vu_process_usage usage;

    vu_process_read(&usage);
    if (usage.pid > 0) {
        vu_json_add_number(json, "pid", (uint64_t)usage.pid);
        vu_json_add_number(json, "resident-bytes", usage.resident_bytes);
        vu_json_add_number(json, "virtual-bytes", usage.virtual_bytes);
        vu_json_add_number(json, "threads", usage.n_threads);
    }
    if (usage.n_fds > 0)
        vu_json_add_number(json, "descriptors", usage.n_fds);
    vu_json_add_number(json, "cpu_ns", usage.cpu_ns);
    if (usage.start_s > 0)
        vu_json_add_number(json, "started", usage.start_s);
    return vu_json_finish(json);
}

static void process_add_gauge(GString *text, const char *name, const char *help, uint64_t value)
{
    if (value == 0)
        return;
    vu_metrics_begin(text, name, "gauge", help);
    vu_metrics_add(text, name, NULL, value);
}

void vu_process_add_metrics(GString *text)
{
    static const char cpu[] = "process_cpu_seconds_total";
    struct vu_process_usage usage;

    vu_process_read(&usage);
    vu_metrics_begin(text, cpu, "counter", "CPU time, of the user's and the system's kind.");
    vu_metrics_add_seconds(text, cpu, NULL, usage.cpu_ns);
    process_add_gauge(text, "process_resident_memory_bytes", "Memory that it takes.",
                      usage.resident_bytes);
    process_add_gauge(text, "process_virtual_memory_bytes",
                      "Addresses that it takes, those of the guest's memory among them.",
                      usage.virtual_bytes);
    process_add_gauge(text, "process_open_fds", "Descriptors that are open.", usage.n_fds);
    process_add_gauge(text, "process_threads", "Threads.", usage.n_threads);
    process_add_gauge(text, "process_start_time_seconds", "When it began, since the epoch.",
                      usage.start_s);
}
