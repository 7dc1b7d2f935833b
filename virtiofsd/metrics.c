/* SPDX-License-Identifier: Apache-2.0 */
/* Requests by kind, and what the guest holds. */
#include "virtiofsd/metrics.h"

#include "vhost-user/daemon/metrics.h"
#include "virtiofsd/counters.h"
#include "virtiofsd/handle.h"
#include "virtiofsd/share.h"

static void metrics_add_requests(GString *text, const char *name, const char *help,
                                 const uint64_t *n, const uint64_t *counts)
{
    char labels[64];

    vu_metrics_begin(text, name, "counter", help);
    for (uint32_t i = 0; i < FS_N_COUNTERS; i++) {
        if (__atomic_load_n(&n[i], __ATOMIC_RELAXED) == 0)
            continue;
        g_snprintf(labels, sizeof(labels), "request=\"%s\",opcode=\"%u\"", fs_counters_name(i), i);
        vu_metrics_add(text, name, labels, __atomic_load_n(&counts[i], __ATOMIC_RELAXED));
    }
}

static void metrics_add_gauge(GString *text, const char *name, const char *help, uint64_t value)
{
    vu_metrics_begin(text, name, "gauge", help);
    vu_metrics_add(text, name, NULL, value);
}

void fs_metrics_collect(void *device, struct vu_backend *backend, GString *text)
{
    const struct fs_share *share = device;
    const struct fs_counters *counters = &share->counters;
    struct fs_inodes_usage usage;

    metrics_add_requests(text, "outboard_fs_requests_total", "Requests of the guest.", counters->n,
                         counters->n);
    metrics_add_requests(text, "outboard_fs_failed_requests_total",
                         "Requests that were answered with an error.", counters->n,
                         counters->n_failed);
    fs_inodes_get_usage(share->inodes, &usage);
    metrics_add_gauge(text, "outboard_fs_inodes", "Inodes that the guest knows.", usage.n_inodes);
    metrics_add_gauge(text, "outboard_fs_inode_descriptors", "Descriptors open for them.",
                      usage.n_fds);
    metrics_add_gauge(text, "outboard_fs_inode_bytes", "Memory that they take.", usage.bytes);
    metrics_add_gauge(text, "outboard_fs_open_files", "Files and directories that are open.",
                      fs_handles_count(share->handles));
}
