/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From version 3 to 2, which knows no feature bits and no clusters that are zeros: what it cannot
 * say is refused, zeros are written out, and then one write of the header makes it so.
 */
#include "vblkd/format/qcow2-amend.h"
#include "vblkd/format/qcow2-discard.h"
#include "vblkd/format/qcow2-expand.h"
#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-snapshot.h"
#include "vhost-user/cleanup.h"

#define DOWNGRADE_CHUNK (UINT64_C(1) << QCOW2_MAX_CLUSTER_BITS) /* zeros written at a time */

/* --- what cannot be --- */

static bool downgrade_check_snapshots(struct vblk_image *image, GError **error)
{
    g_autoptr(GPtrArray) snapshots = qcow2_snapshot_list(image, error);

    for (guint i = 0; snapshots && i < snapshots->len; i++) {
        const struct qcow2_snapshot *snapshot = g_ptr_array_index(snapshots, i);

        if (snapshot->disk_size != image->size || snapshot->vm_state_size > UINT32_MAX)
            return qcow2_amend_refuse(error,
                                      "snapshot \"%s\" is of a disk of another size, which version "
                                      "2 cannot say; delete it first",
                                      snapshot->name);
    }
    return snapshots != NULL;
}

static bool downgrade_check(struct vblk_image *image, GError **error)
{
    const struct qcow2 *q = qcow2_of(image);
    const struct qcow2_header *header = &q->header;
    const char *what = NULL;

    if (header->refcount_order != 4)
        what = "refcount_bits other than 16";
    else if (q->has_data_file)
        what = "external data file";
    else if (q->has_extended_l2)
        what = "extended_l2";
    else if (header->compression_type != QCOW2_COMPRESSION_ZLIB)
        what = "compression_type other than zlib";
    else if (header->has_bitmaps && (header->autoclear & QCOW2_AUTOCLEAR_BITMAPS))
        what = "bitmaps; vblk-img bitmap --remove removes them";
    if (what)
        return qcow2_amend_refuse(error, "compat=0.10 has no %s", what);
    return downgrade_check_snapshots(image, error);
}

/* --- zeros --- */

/* The zeros of a range that the image says are zeros, in a way that version 2 knows. */
static int downgrade_range(struct vblk_image *image, uint64_t at, uint64_t len)
{
    g_autofree void *zeros = NULL;
    int ret = 0;

    if (!qcow2_of(image)->header.backing_name)
        return qcow2_forget_range(image, at, len);
    zeros = g_malloc0(DOWNGRADE_CHUNK);
    for (uint64_t done = 0, part; done < len && ret == 0; done += part) {
        part = MIN(len - done, DOWNGRADE_CHUNK);
        ret = vblk_image_write(image, zeros, part, at + done);
    }
    return ret;
}

/* A disk that became smaller has left entries behind its end. */
static int downgrade_beyond_end(struct vblk_image *image)
{
    struct qcow2 *q = qcow2_of(image);
    uint64_t from = qcow2_clusters_for(q, image->size) << q->cluster_bits;
    uint64_t to = (uint64_t)q->l1.n_entries << qcow2_l1_shift(q);

    return from < to ? qcow2_forget_range(image, from, to - from) : 0;
}

/* All of the disk. */
static int downgrade_disk(struct vblk_image *image)
{
    int ret = 0;

    for (uint64_t at = 0, len; at < image->size && ret == 0; at += len) {
        struct vblk_extent extent;

        len = MIN(image->size - at, VBLK_REQUEST_MAX);
        ret = image->format->map(image, at, len, 0, &extent);
        if (ret < 0)
            break;
        len = extent.len;
        if (extent.kind == VBLK_EXTENT_ZERO)
            ret = downgrade_range(image, at, len);
    }
    if (ret == 0)
        ret = downgrade_beyond_end(image);
    return ret == 0 ? qcow2_flush_all(qcow2_of(image)) : ret;
}

static bool downgrade_expand(struct vblk_image *image, GError **error)
{
    g_autoptr(GPtrArray) snapshots = NULL;
    int ret = downgrade_disk(image);

    if (ret < 0)
        return qcow2_amend_refuse(error, "zeros cannot be written out: %s", g_strerror(-ret));
    snapshots = qcow2_snapshot_list(image, error);
    if (!snapshots)
        return false;
    ret = qcow2_expand_snapshots(qcow2_of(image), snapshots);
    if (ret < 0)
        return qcow2_amend_refuse(error, "zeros of snapshots cannot be written out: %s",
                                  ret == -EBADMSG ? "a table of theirs makes no sense; \"vblk-img "
                                                    "check\" says more"
                                                  : g_strerror(-ret));
    return true;
}

bool qcow2_downgrade(struct vblk_image *image, GError **error)
{
    struct qcow2 *q = qcow2_of(image);
    struct qcow2_header old;

    if (q->header.version < 3)
        return true;
    if (!downgrade_check(image, error) || !downgrade_expand(image, error))
        return false;
    VU_LOCK_SCOPE(&q->flush_lock);
    if (!qcow2_amend_begin(q, error))
        return false;
    old = q->header;
    q->header.version = 2;
    q->header.incompatible = q->header.compatible = q->header.autoclear = 0;
    q->header.has_bitmaps = false;
    return qcow2_amend_write(q, &old, error);
}
