/* SPDX-License-Identifier: Apache-2.0 */
/* What there is to know of the image, beside what its queues count. */
#include "vblkd/metrics.h"

#include "vblkd/queue.h"
#include "vhost-user/daemon/metrics.h"

void blk_metrics_collect(void *opaque, struct vu_backend *backend, GString *text)
{
    const struct blk_device *device = opaque;
    const struct vblk_image *image = blk_device_image(device);

    vu_metrics_begin(text, "outboard_block_size_bytes", "gauge", "The disk's size.");
    vu_metrics_add(text, "outboard_block_size_bytes", NULL,
                   blk_device_capacity(device) * BLK_SECTOR);
    vu_metrics_begin(text, "outboard_block_table_loads_total", "counter",
                     "Parts of the image's tables that were not cached, and had to be read.");
    vu_metrics_add(text, "outboard_block_table_loads_total", NULL,
                   __atomic_load_n(&image->n_table_loads, __ATOMIC_RELAXED));
    vu_metrics_begin(text, "outboard_block_corrupt", "gauge",
                     "Whether the image was found to be corrupt.");
    vu_metrics_add(text, "outboard_block_corrupt", NULL,
                   __atomic_load_n(&image->is_corrupt, __ATOMIC_RELAXED));
}
