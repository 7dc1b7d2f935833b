/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zero and discard: whole clusters (or subclusters) by their L2 entries, what is left at both ends
 * of a zeroed range by writing zeros. A discarded range reads as zeros where the version has a way
 * to say so: what a backing image has there must not come back.
 */
#include "vblkd/format/qcow2-discard.h"

#include "vblkd/format/qcow2-bitmap.h"
#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-journal.h"
#include "vblkd/format/qcow2-l2-table.h"
#include "vblkd/format/qcow2-write.h"
#include "vhost-user/cleanup.h"

#define DISCARD_MAX_UNMAPPED 65536 /* entries: then a flush, so that they become free */

/* Clusters [first, first + n) of the disk in one slice, or subclusters `mask` of one. */
struct discard_range {
    uint64_t first, n;
    uint32_t mask;
    bool unmaps;   /* clusters are given up, else they stay set aside */
    bool to_zeros; /* must read as zeros; else it may be as if never written */
    bool forgets;  /* as if never written: what a backing image has shows again */
};

static uint32_t discard_all_subclusters(const struct qcow2 *q)
{
    return q->n_subclusters == QCOW2_SUBCLUSTERS ? UINT32_MAX : 1;
}

/* Whether what is not said to be zeros may read as something else, now or soon. */
static bool discard_is_backed(const struct qcow2 *q)
{
    return q->header.backing_name || q->will_be_backed;
}

/* What an entry becomes. */
static struct qcow2_l2_entry discard_entry(const struct qcow2 *q, const struct discard_range *range,
                                           struct qcow2_l2_entry old)
{
    bool is_whole = range->mask == discard_all_subclusters(q);
    bool keeps = qcow2_entry_has_cluster(q, old) && !(range->unmaps && is_whole);
    bool can_unmap = !range->to_zeros && !discard_is_backed(q);
    struct qcow2_l2_entry entry = {0, 0};

    if (range->forgets)
        return entry;
    if (keeps)
        entry.cluster = old.cluster & ~QCOW2_ZERO;
    if (q->has_extended_l2) {
        entry.bitmap = is_whole || (old.cluster & QCOW2_COMPRESSED) ? 0 : old.bitmap;
        entry.bitmap &= ~((uint64_t)range->mask | (uint64_t)range->mask << QCOW2_SUBCLUSTERS);
        if (!can_unmap)
            entry.bitmap |= (uint64_t)range->mask << QCOW2_SUBCLUSTERS;
        /* The last data of it is gone. */
        if ((uint32_t)entry.bitmap == 0 && range->unmaps)
            entry.cluster = 0;
    } else if (keeps || !can_unmap) {
        entry.cluster |= q->header.version >= 3 ? QCOW2_ZERO : 0;
    }
    return entry;
}

static int discard_step(struct qcow2 *q, void *opaque, struct qcow2_need *need)
{
    const struct discard_range *range = opaque;
    struct qcow2_l2_frame *frame;
    int ret;

    if (qcow2_is_corrupt(q))
        return -EIO;
    if (!__atomic_load_n(&q->is_prepared, __ATOMIC_ACQUIRE))
        return qcow2_lacks(need, QCOW2_NEED_PREPARE, 0);
    /* Without a table there is nothing to give up, and nothing but zeros without a backing image.
     */
    if ((qcow2_l1_load(q, range->first << q->cluster_bits) & QCOW2_OFFSET_MASK) == 0 &&
        (!discard_is_backed(q) || range->forgets))
        return 0;
    ret = qcow2_l2_frame_for_write(q, range->first << q->cluster_bits, &frame, need);
    if (ret < 0)
        return ret;
    for (uint64_t c = range->first; c < range->first + range->n; c++) {
        if (qcow2_fresh_find(q, c))
            return qcow2_lacks(need, QCOW2_NEED_CHANGE, 0);
    }
    ret = qcow2_journal_reserve(q, range->n, need);
    if (ret < 0)
        return ret;
    qcow2_journal_unreserve(q, range->n);
    for (uint64_t c = range->first; c < range->first + range->n; c++) {
        unsigned index = qcow2_slice_index(q, c << q->cluster_bits);
        struct qcow2_l2_entry old = qcow2_l2_cache_peek(&q->l2, frame, index), entry;

        if (qcow2_entry_kind(q, old, 0) == QCOW2_BAD)
            return -EIO;
        entry = discard_entry(q, range, old);
        if (entry.cluster == old.cluster && entry.bitmap == old.bitmap)
            continue;
        qcow2_l2_cache_set(&q->l2, frame, index, entry);
        qcow2_journal_note(q, c, entry);
        qcow2_touch(q);
        if (!qcow2_entry_has_cluster(q, entry))
            qcow2_l2_entry_free(q, old);
    }
    return 0;
}

/* Part of a cluster that reads as zeros stays as it is; otherwise zeros are written. */
static int discard_write_zeros(struct qcow2 *q, uint64_t offset, uint64_t len)
{
    g_autofree void *zeros = NULL;
    struct vblk_extent extent;
    int ret = vblk_image_map(q->image, offset, len, 0, &extent, NULL);

    if (ret < 0 || (extent.kind == VBLK_EXTENT_ZERO && extent.len >= len && !q->will_be_backed))
        return ret;
    zeros = g_malloc0(len);
    return vblk_image_write(q->image, zeros, len, offset);
}

/* Whether the subclusters of one cluster can be zeroed by its entry alone. */
struct discard_look {
    uint64_t offset;
    struct qcow2_l2_entry entry;
};

static int discard_look_step(struct qcow2 *q, void *opaque, struct qcow2_need *need)
{
    struct discard_look *look = opaque;

    return qcow2_l2_entry_at(q, look->offset, &look->entry, need);
}

/* Whole subclusters of a cluster that is not covered as a whole. */
static int discard_subclusters(struct qcow2 *q, uint64_t offset, uint64_t len, bool to_zeros,
                               bool unmaps)
{
    uint64_t at = qcow2_offset_in_cluster(q, offset);
    struct discard_range range = {
        .first = offset >> q->cluster_bits,
        .n = 1,
        .mask = qcow2_subclusters_covered(q, at, len),
        .unmaps = unmaps,
        .to_zeros = to_zeros,
    };
    struct discard_look look = {.offset = offset};
    int ret = qcow2_run(q, 0, discard_look_step, &look);

    if (ret < 0)
        return ret;
    /* Others see a shared or a compressed cluster too: then it must be copied. */
    if (!(look.entry.cluster & QCOW2_COPIED) && look.entry.cluster != 0)
        return to_zeros ? discard_write_zeros(q, offset, len) : 0;
    return qcow2_run(q, 0, discard_step, &range);
}

/* Less than a cluster. */
static int discard_part(struct qcow2 *q, uint64_t offset, uint64_t len, bool to_zeros, bool unmaps)
{
    uint64_t mask = (UINT64_C(1) << q->subcluster_bits) - 1;
    uint64_t first = (offset + mask) & ~mask, end = (offset + len) & ~mask;
    int ret = 0;

    if (!q->has_extended_l2 || end <= first)
        return to_zeros ? discard_write_zeros(q, offset, len) : 0;
    if (to_zeros && first > offset)
        ret = discard_write_zeros(q, offset, first - offset);
    if (ret == 0)
        ret = discard_subclusters(q, first, end - first, to_zeros, unmaps);
    if (ret == 0 && to_zeros && offset + len > end)
        ret = discard_write_zeros(q, end, offset + len - end);
    return ret;
}

/* Where the file's own bytes matter: an external data file, which others may read as it is. */
static int discard_data_file(struct qcow2 *q, uint64_t offset, uint64_t len, bool to_zeros,
                             bool unmaps)
{
    if (q->header.autoclear & QCOW2_AUTOCLEAR_RAW_DATA)
        return vblk_storage_zero(q->data_storage, offset, len, unmaps);
    return unmaps && q->discards ? vblk_storage_discard(q->data_storage, offset, len) : 0;
}

static bool discard_has_many(struct qcow2 *q)
{
    VU_LOCK_SCOPE(&q->lock);
    return q->unmapped->len > DISCARD_MAX_UNMAPPED;
}

static int discard_run(struct qcow2 *q, uint64_t offset, uint64_t len, bool to_zeros, bool unmaps)
{
    uint64_t size = __atomic_load_n(&q->image->size, __ATOMIC_RELAXED), end = offset + len;
    int ret = q->has_data_file ? discard_data_file(q, offset, len, to_zeros, unmaps) : 0;

    while (ret == 0 && offset < end) {
        uint64_t at = qcow2_offset_in_cluster(q, offset),
                 part = MIN(end - offset, q->cluster_size - at);
        uint64_t slice_len = UINT64_C(1) << qcow2_slice_shift(q);
        struct discard_range range = {
            .first = offset >> q->cluster_bits,
            .mask = discard_all_subclusters(q),
            .unmaps = unmaps,
            .to_zeros = to_zeros,
        };

        /* Version 2 cannot say that a cluster is zeros in front of a backing image. */
        if (at != 0 || (part < q->cluster_size && offset + part < size) ||
            (q->header.version < 3 && (discard_is_backed(q) || !unmaps))) {
            ret = discard_part(q, offset, part, to_zeros, unmaps);
        } else {
            part = MIN(end - offset, slice_len - (offset & (slice_len - 1)));
            if (end < size || offset + part < end)
                part &= ~(q->cluster_size - 1);
            range.n = qcow2_clusters_for(q, part);
            ret = qcow2_run(q, 0, discard_step, &range);
        }
        offset += part;
    }
    if (ret == 0 && discard_has_many(q))
        ret = qcow2_flush(q->image);
    return ret;
}

/* What follows is a change: the header says so, and bitmaps do. */
static int discard_begin(struct qcow2 *q, uint64_t offset, uint64_t len)
{
    int ret = qcow2_is_corrupt(q) ? -EIO : 0;

    if (ret == 0 && !__atomic_load_n(&q->is_prepared, __ATOMIC_ACQUIRE))
        ret = qcow2_prepare(q);
    if (ret == 0)
        qcow2_bitmaps_touch(q, offset, len);
    return ret;
}

int qcow2_zero(struct vblk_image *image, uint64_t offset, uint64_t len, bool may_unmap)
{
    int ret = discard_begin(qcow2_of(image), offset, len);

    return ret == 0 ? discard_run(qcow2_of(image), offset, len, true, may_unmap) : ret;
}

int qcow2_discard(struct vblk_image *image, uint64_t offset, uint64_t len)
{
    int ret = discard_begin(qcow2_of(image), offset, len);

    return ret == 0 ? discard_run(qcow2_of(image), offset, len, false, true) : ret;
}

int qcow2_forget_range(struct vblk_image *image, uint64_t offset, uint64_t len)
{
    struct qcow2 *q = qcow2_of(image);
    uint64_t slice_len = UINT64_C(1) << qcow2_slice_shift(q), end = offset + len, part;
    int ret = 0;

    for (uint64_t at = offset; at < end && ret == 0; at += part) {
        struct discard_range range = {
            .first = at >> q->cluster_bits,
            .mask = discard_all_subclusters(q),
            .unmaps = true,
            .forgets = true,
        };

        part = MIN(end - at, slice_len - (at & (slice_len - 1)));
        range.n = qcow2_clusters_for(q, part);
        ret = qcow2_run(q, 0, discard_step, &range);
        if (ret == 0 && discard_has_many(q))
            ret = qcow2_flush(image);
    }
    return ret;
}

int qcow2_forget(struct vblk_image *image)
{
    struct qcow2 *q = qcow2_of(image);
    int ret = qcow2_forget_range(image, 0, image->size);

    if (ret == 0)
        ret = qcow2_flush(image);
    /* No entry on the disk refers to it any more. */
    if (ret == 0 && q->has_data_file && q->discards)
        ret = vblk_storage_discard(q->data_storage, 0, image->size);
    return ret;
}
