/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of vblkd's commands: name, help, arguments, function. */
#include "vblkd/control.h"

#define CONTROL_TIMEOUT                                                      \
    {                                                                        \
        .name = "timeout", .type = VU_CONTROL_INT, .min = 1, .max = 3600000, \
        .help = "Milliseconds to wait for requests that have begun; 10000."  \
    }
#define CONTROL_ARGUMENTS(rows) .arguments = (rows), .n_arguments = G_N_ELEMENTS(rows)

static const struct vu_control_argument control_stats[] = {
    {.name = "histograms",
     .type = VU_CONTROL_BOOL,
     .help = "Add the histograms of durations: [nanoseconds that a bucket ends before, requests]."},
};

#define CONTROL_LIMIT(n, text)                                                          \
    {                                                                                   \
        .name = (n), .type = VU_CONTROL_INT, .min = 0, .max = INT64_MAX, .help = (text) \
    }
static const struct vu_control_argument control_throttle[] = {
    CONTROL_LIMIT("iops", "Most requests a second; 0: no limit."),
    CONTROL_LIMIT("iops_max", "Requests that may come at once after a pause; 0: of a tenth of a "
                              "second."),
    CONTROL_LIMIT("bps", "Most bytes read and written a second; 0: no limit."),
    CONTROL_LIMIT("bps_max", "The same burst of them."),
};

static const struct vu_control_argument control_resize[] = {
    {.name = "size",
     .type = VU_CONTROL_INT,
     .min = 0,
     .max = INT64_MAX,
     .help = "Bytes. Without it, what a raw image's file or device has become."},
    {.name = "shrink",
     .type = VU_CONTROL_BOOL,
     .help = "The disk may become smaller; what lies behind its new end is lost."},
    CONTROL_TIMEOUT,
};

static const struct vu_control_argument control_snapshot_create[] = {
    {.name = "name",
     .type = VU_CONTROL_STRING,
     .is_required = true,
     .max = 1023,
     .help = "How to call it."},
    CONTROL_TIMEOUT,
};

static const struct vu_control_argument control_snapshot_delete[] = {
    {.name = "id", .type = VU_CONTROL_STRING, .help = "Its ID."},
    {.name = "name", .type = VU_CONTROL_STRING, .help = "Its name."},
    CONTROL_TIMEOUT,
};

static const struct vu_control_argument control_snapshot_apply[] = {
    {.name = "id", .type = VU_CONTROL_STRING, .help = "Its ID."},
    {.name = "name", .type = VU_CONTROL_STRING, .help = "Its name."},
    {.name = "force",
     .type = VU_CONTROL_BOOL,
     .help = "Even while a guest's driver runs, whose file system is lost by it."},
    CONTROL_TIMEOUT,
};

static const struct vu_control_argument control_blockdev_snapshot[] = {
    {.name = "overlay",
     .type = VU_CONTROL_FILE,
     .is_required = true,
     .open = VU_CONTROL_OPEN_WRITE,
     .help = "An empty qcow2 image as large as the disk, with the image in use as backing file."},
    CONTROL_TIMEOUT,
};

static const struct vu_control_command control_commands[] = {
    {.name = "query-status",
     .help = "The image, how it is served, and the front-end.",
     .run = blk_control_query_status},
    {.name = "query-blockstats",
     .help = "The same as query-stats.",
     CONTROL_ARGUMENTS(control_stats),
     .run = blk_control_query_stats},
    {.name = "query-named-block-nodes",
     .help = "The image and those behind it.",
     .run = blk_control_query_nodes},
    {.name = "query-throttle",
     .help = "The limits of requests and bytes a second.",
     .run = blk_control_query_throttle},
    {.name = "set-throttle",
     .help = "Other limits from now on; what is not given stays as it is.",
     CONTROL_ARGUMENTS(control_throttle),
     .run = blk_control_set_throttle},
    {.name = "flush",
     .help = "Make durable all that the guest was told is written.",
     .is_slow = true,
     .run = blk_control_flush},
    {.name = "block_resize",
     .help = "Make the disk another size. The guest is told, if its driver can be.",
     CONTROL_ARGUMENTS(control_resize),
     .is_slow = true,
     .run = blk_control_resize},
    {.name = "query-snapshots",
     .help = "The snapshots inside the image.",
     .is_slow = true,
     .run = blk_control_query_snapshots},
    {.name = "blockdev-snapshot-internal-sync",
     .help = "Keep the disk as it is now in a snapshot inside the image.",
     CONTROL_ARGUMENTS(control_snapshot_create),
     .is_slow = true,
     .run = blk_control_snapshot_create},
    {.name = "blockdev-snapshot-delete-internal-sync",
     .help = "Delete a snapshot inside the image, and tell what it was.",
     CONTROL_ARGUMENTS(control_snapshot_delete),
     .is_slow = true,
     .run = blk_control_snapshot_delete},
    {.name = "snapshot-apply",
     .help = "Make the disk what it was in a snapshot; what it is now is lost.",
     CONTROL_ARGUMENTS(control_snapshot_apply),
     .is_slow = true,
     .run = blk_control_snapshot_apply},
    {.name = "blockdev-snapshot",
     .help = "Write to an overlay from now on, and leave the image in use as it is, behind it.",
     CONTROL_ARGUMENTS(control_blockdev_snapshot),
     .is_slow = true,
     .run = blk_control_snapshot_external},
};

const struct vu_control_table blk_control_table = {control_commands,
                                                   G_N_ELEMENTS(control_commands)};
