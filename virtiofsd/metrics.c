/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest holds, beside what its queues count. */
#include "virtiofsd/metrics.h"

#include "vhost-user/daemon/metrics.h"
#include "virtiofsd/handle.h"
#include "virtiofsd/share.h"

static void metrics_add(GString *text, const char *name, const char *type, const char *help,
                        uint64_t value)
{
    vu_metrics_begin(text, name, type, help);
    vu_metrics_add(text, name, NULL, value);
}

static void metrics_add_gauge(GString *text, const char *name, const char *help, uint64_t value)
{
    metrics_add(text, name, "gauge", help, value);
}

void fs_metrics_collect(void *device, struct vu_backend *backend, GString *text)
{
    const struct fs_share *share = device;
    struct fs_inodes_usage usage;

    fs_inodes_get_usage(share->inodes, &usage);
    metrics_add_gauge(text, "outboard_fs_inodes", "Inodes that the guest knows.", usage.n_inodes);
    metrics_add_gauge(text, "outboard_fs_inode_descriptors", "Descriptors open for them.",
                      usage.n_fds);
    metrics_add_gauge(text, "outboard_fs_inode_bytes", "Memory that they take.", usage.bytes);
    metrics_add(text, "outboard_fs_inode_descriptors_reopened_total", "counter",
                "Descriptors of inodes that were wanted again after they had been closed.",
                usage.n_reopens);
    metrics_add(
        text, "outboard_fs_opens_kept_total", "counter",
        "Files that were opened anew while what the guest has cached of them was still good.",
        __atomic_load_n(&share->n_opens_kept, __ATOMIC_RELAXED));
    metrics_add_gauge(text, "outboard_fs_open_files", "Files and directories that are open.",
                      fs_handles_count(share->handles));
}
