/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device as the vhost-user back-end sees it. get_config and reset on the session thread, the
 * rest on workers.
 */
#include "virtiofsd/device.h"

#include <string.h>

#include "vhost-user/log.h"
#include "virtiofsd/control.h"
#include "virtiofsd/locks.h"
#include "virtiofsd/metrics.h"
#include "virtiofsd/pace.h"
#include "virtiofsd/thread.h"

#define DEVICE_LINGER_MS 2 /* of the queue that FORGETs come on */

static void device_get_config(void *device, uint8_t *ret_config)
{
    const struct fs_options *options = ((const struct fs_share *)device)->options;
    struct fs_device_config config = {
        .num_request_queues = le32_from((uint32_t)options->n_request_queues),
    };

    memcpy(config.tag, options->tag, strlen(options->tag));
    memcpy(ret_config, &config, sizeof(config));
}

static void device_reset(void *device)
{
    struct fs_share *share = device;

    /* Who came and did nothing was not the guest that is awaited. */
    if (__atomic_load_n(&share->awaits_guest, __ATOMIC_RELAXED))
        return;
    fs_share_reset(device);
    fs_counters_log(&((struct fs_share *)device)->counters, 0);
}

static void device_leave(void *device)
{
    fs_share_leave(device);
    fs_counters_log(&((struct fs_share *)device)->counters, 0);
}

static void device_log_summary(void *device)
{
    struct fs_share *share = device;
    struct fs_inodes_usage usage;

    fs_inodes_get_usage(share->inodes, &usage);
    vu_info("virtiofsd: %u inodes, %u of them with a descriptor, %u open files", usage.n_inodes,
            usage.n_fds, fs_handles_count(share->handles));
}

static void device_quiesce(void *device, unsigned queue)
{
    fs_locks_quiesce(((struct fs_share *)device)->locks, queue);
}

/* A working directory and a umask of its own, for what can only be done by changing them. */
static int device_thread_start(void *device, unsigned queue)
{
    int ret = fs_thread_init();

    __atomic_store_n(&((struct fs_share *)device)->awaits_guest, false, __ATOMIC_RELAXED);
    if (ret < 0)
        vu_error("virtiofsd: queue %u: unshare(CLONE_FS): %s", queue, g_strerror(-ret));
    fs_locks_resume(((struct fs_share *)device)->locks, queue);
    return ret;
}

/* A request sleeps on the queue's own thread, which was taken for quick. */
static bool device_spare_thread(void *device, unsigned queue)
{
    struct fs_share *share = device;

    if (!vu_helpers_lend(share->helpers))
        return false;
    fs_pace_slow_down(share);
    return true;
}

static void device_keep_thread(void *device, unsigned queue)
{
    vu_helpers_take_back(((struct fs_share *)device)->helpers);
}

/* What the guest forgets is no hurry, and it forgets a tree file by file. */
static unsigned device_linger_ms(void *device, unsigned queue)
{
    return queue == 0 ? DEVICE_LINGER_MS : 0;
}

static const struct vu_worker_ops device_worker = {
    .thread_start = device_thread_start,
    .process = fs_request_process,
    .spare_thread = device_spare_thread,
    .keep_thread = device_keep_thread,
    .linger_ms = device_linger_ms,
};

/* Without helpers each request waits on its queue's thread, as --thread-pool-size=0 says. */
static const struct vu_worker_ops device_worker_alone = {
    .thread_start = device_thread_start,
    .process = fs_request_process,
    .linger_ms = device_linger_ms,
};

void fs_device_describe(const struct fs_options *options, struct vu_device *ret_device)
{
    *ret_device = (struct vu_device){
        .name = "virtiofsd",
        .n_queues = 1 + FS_MAX_REQUEST_QUEUES,
        .config_len = options->tag ? sizeof(struct fs_device_config) : 0,
        .worker = options->max_helpers > 0 ? device_worker : device_worker_alone,
        .get_config = options->tag ? device_get_config : NULL,
        .quiesce = device_quiesce,
        .reset = device_reset,
        .leave = device_leave,
        .commands = &fs_control_table,
        .stats = &fs_stats,
        .collect_metrics = fs_metrics_collect,
        .log_summary = device_log_summary,
    };
}
