/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot's L1 table in place of the active one: to read takes no more than that. */
#include "vblkd/format/qcow2-snapshot-view.h"

#include <string.h>

#include "vblkd/format/qcow2-image.h"
#include "vblkd/format/qcow2-l2-cache.h"
#include "vblkd/format/qcow2-open.h"

int qcow2_snapshot_view(struct vblk_image *image, const struct qcow2_snapshot *snapshot)
{
    struct qcow2 *q = qcow2_of(image);

    if (!image->read_only)
        return -EINVAL;
    if (snapshot->l1_size > QCOW2_MAX_L1_SIZE / 8 ||
        (snapshot->l1_offset & (q->cluster_size - 1)) != 0 ||
        qcow2_header_l1_entries(&q->header, snapshot->disk_size) > snapshot->l1_size)
        return -EBADMSG;
    memset(q->l1.entries, 0, (size_t)q->l1.n_entries * sizeof(uint64_t));
    q->header.l1_offset = snapshot->l1_offset;
    q->header.l1_size = snapshot->l1_size;
    q->header.size = snapshot->disk_size;
    /* Tables may be those of the active disk, too. */
    g_hash_table_remove_all(q->metadata);
    qcow2_l2_cache_empty(&q->l2);
    if (!qcow2_l1_open(q, NULL))
        return -EIO;
    __atomic_store_n(&image->size, snapshot->disk_size, __ATOMIC_RELEASE);
    return 0;
}
