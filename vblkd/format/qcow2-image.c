/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How operations of an open image run: again and again until they lack nothing. And what an image
 * turns into when its metadata makes no sense.
 */
#include "vblkd/format/qcow2-image.h"

#include <stdarg.h>
#include <stddef.h>

#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-l2-table.h"
#include "vblkd/format/qcow2-refcount.h"
#include "vblkd/format/qcow2-room.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

/*
 * The bit alone, beside whatever the header on the disk says. Whoever finds the image corrupt may
 * hold any of our locks, so this waits for none but that of the header; it happens once.
 */
static int image_write_corrupt(struct qcow2 *q)
{
    uint64_t offset = offsetof(struct qcow2_disk_header, incompatible_features);
    be64_t features;
    int ret;

    if (q->image->read_only || q->header.version < 3)
        return 0;
    VU_LOCK_SCOPE(&q->header_lock);
    ret = vblk_storage_read(q->storage, &features, sizeof(features), offset);
    if (ret < 0)
        return ret;
    features = be64_from(be64_value(features) | QCOW2_INCOMPAT_CORRUPT);
    ret = vblk_storage_write(q->storage, &features, sizeof(features), offset);
    return ret == 0 ? vblk_storage_flush(q->storage) : ret;
}

int qcow2_mark_corrupt(struct qcow2 *q, const char *format, ...)
{
    g_autofree char *what = NULL;
    va_list args;
    int ret;

    if (__atomic_load_n(&q->is_repairing, __ATOMIC_RELAXED) ||
        __atomic_exchange_n(&q->image->is_corrupt, true, __ATOMIC_SEQ_CST))
        return -EIO;
    va_start(args, format);
    what = g_strdup_vprintf(format, args);
    va_end(args);
    vu_error("%s: the image is corrupt, nothing more is written to it: %s", q->name, what);
    ret = image_write_corrupt(q);
    if (ret < 0)
        vu_error("%s: it could not be marked corrupt: %s", q->name, g_strerror(-ret));
    return -EIO;
}

static bool qcow2_range_has(const struct qcow2 *q, uint64_t offset, uint64_t len, uint64_t cluster)
{
    uint64_t first = offset >> q->cluster_bits;

    return len > 0 && cluster >= first && cluster < first + qcow2_clusters_for(q, len);
}

bool qcow2_is_metadata(const struct qcow2 *q, uint64_t cluster)
{
    return cluster == 0 ||
           qcow2_range_has(q, q->header.l1_offset, (uint64_t)q->header.l1_size * 8, cluster) ||
           qcow2_range_has(q, q->header.reftable_offset,
                           (uint64_t)q->header.reftable_clusters << q->cluster_bits, cluster) ||
           qcow2_range_has(q, q->refcounts.offset, q->refcounts.n_clusters << q->cluster_bits,
                           cluster) ||
           qcow2_range_has(q, q->header.snapshots_offset, q->snapshots_len, cluster) ||
           g_hash_table_contains(q->metadata, GSIZE_TO_POINTER(cluster));
}

int qcow2_fulfil(struct qcow2 *q, const struct qcow2_need *need)
{
    int ret = 0;

    switch (need->kind) {
    case QCOW2_NEED_L2_SLICE:
        return qcow2_l2_slice_load(q, need->what);
    case QCOW2_NEED_L2_TABLE:
        return qcow2_l2_table_make(q, need->what);
    case QCOW2_NEED_REFBLOCK:
        return qcow2_refblock_load(q, need->what);
    case QCOW2_NEED_CHANGE:
        pthread_cond_wait(&q->changed, &q->lock);
        break;
    case QCOW2_NEED_FLUSH:
        pthread_mutex_unlock(&q->lock);
        ret = qcow2_flush(q->image);
        pthread_mutex_lock(&q->lock);
        break;
    case QCOW2_NEED_PREPARE:
        pthread_mutex_unlock(&q->lock);
        ret = qcow2_prepare(q);
        pthread_mutex_lock(&q->lock);
        break;
    case QCOW2_NEED_ROOM:
        qcow2_room_make(q, need->what);
        break;
    }
    return ret;
}

int qcow2_run(struct qcow2 *q, unsigned flags,
              int (*step)(struct qcow2 *q, void *arg, struct qcow2_need *need), void *arg)
{
    struct qcow2_need need;
    int ret;

    pthread_mutex_lock(&q->lock);
    while ((ret = step(q, arg, &need)) == -EAGAIN && !(flags & VBLK_NOWAIT)) {
        ret = qcow2_fulfil(q, &need);
        if (ret < 0)
            break;
    }
    pthread_mutex_unlock(&q->lock);
    return ret;
}
