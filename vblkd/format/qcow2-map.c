/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map and map_write. They read entries out of the L2 cache as they stand; a change that is made at
 * the same time is seen or not, as with any two requests that run beside each other.
 */
#include "vblkd/format/qcow2-map.h"

#include "vblkd/format/qcow2-bitmap.h"
#include "vblkd/format/qcow2-compressed.h"
#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-l2-table.h"

/* One subcluster's worth of what the guest sees. */
struct map_piece {
    enum qcow2_kind kind;
    bool has_cluster, is_ours; /* the file's cluster, and nobody else's: it may be overwritten */
    uint64_t place;            /* in the file, of the piece's first byte; else the descriptor */
    uint64_t len;
};

static int map_load_step(struct qcow2 *q, void *opaque, struct qcow2_need *need)
{
    struct qcow2_l2_entry entry;

    return qcow2_l2_entry_at(q, *(const uint64_t *)opaque, &entry, need);
}

/* 0 with the entry; 1: no L2 table; -EAGAIN: not in memory. */
static int map_entry(struct qcow2 *q, uint64_t offset, struct qcow2_l2_entry *ret_entry)
{
    uint64_t l1_entry;

    if (qcow2_l2_cache_get(&q->l2, offset >> qcow2_slice_shift(q), qcow2_slice_index(q, offset),
                           ret_entry))
        return 0;
    l1_entry = qcow2_l1_load(q, offset);
    if (l1_entry & QCOW2_L1_RESERVED)
        return -EIO;
    return (l1_entry & QCOW2_OFFSET_MASK) == 0 ? 1 : -EAGAIN;
}

/* What lies at offset, as far as its subcluster reaches. */
static int map_piece(struct qcow2 *q, uint64_t offset, struct map_piece *ret_piece)
{
    uint64_t at = qcow2_offset_in_cluster(q, offset), table_len;
    unsigned sub = (unsigned)(at >> q->subcluster_bits);
    struct map_piece piece = {.kind = QCOW2_UNALLOCATED};
    struct qcow2_l2_entry entry;
    int ret = map_entry(q, offset, &entry);

    if (ret < 0)
        return ret;
    if (ret == 1) {
        table_len = UINT64_C(1) << qcow2_l1_shift(q);
        piece.len = table_len - (offset & (table_len - 1));
        *ret_piece = piece;
        return 0;
    }
    piece.kind = qcow2_entry_kind(q, entry, sub);
    if (piece.kind == QCOW2_BAD)
        return -EIO;
    piece.has_cluster = qcow2_entry_has_cluster(q, entry);
    piece.is_ours = piece.has_cluster && (entry.cluster & QCOW2_COPIED) != 0;
    if (piece.kind == QCOW2_PACKED) {
        piece.place = entry.cluster;
        piece.len = q->cluster_size - at;
    } else {
        piece.place = qcow2_entry_offset(entry) + at;
        piece.len = ((uint64_t)(sub + 1) << q->subcluster_bits) - at;
    }
    *ret_piece = piece;
    return 0;
}

/* Whether `next` goes on where [place, place + len) of `first` ends. */
static bool map_continues(const struct map_piece *first, uint64_t len, const struct map_piece *next)
{
    if (first->kind != next->kind || first->kind == QCOW2_PACKED ||
        first->has_cluster != next->has_cluster)
        return false;
    return !first->has_cluster || (first->kind != QCOW2_DATA && first->kind != QCOW2_ZERO_PLAIN) ||
           next->place == first->place + len;
}

/* The first extent of [offset, offset + len); `ours`: as far as it may be overwritten, too. */
static int map_extent(struct qcow2 *q, uint64_t offset, uint64_t len, bool ours,
                      struct map_piece *ret_extent)
{
    struct map_piece next;
    uint64_t total;
    int ret = map_piece(q, offset, ret_extent);

    if (ret < 0)
        return ret;
    for (total = ret_extent->len; total < len; total += next.len) {
        /* What is not in memory is for the next call. */
        if (map_piece(q, offset + total, &next) < 0 || !map_continues(ret_extent, total, &next) ||
            (ours && !next.is_ours))
            break;
    }
    ret_extent->len = MIN(total, len);
    return 0;
}

/* The same; reads what is not in memory, if it may wait. */
static int map_find(struct qcow2 *q, uint64_t offset, uint64_t len, unsigned flags, bool ours,
                    struct map_piece *ret_extent)
{
    int ret;

    if (offset >= __atomic_load_n(&q->image->size, __ATOMIC_RELAXED) || len == 0)
        return -EINVAL;
    while ((ret = map_extent(q, offset, len, ours, ret_extent)) == -EAGAIN) {
        if (flags & VBLK_NOWAIT)
            return ret;
        ret = qcow2_run(q, flags, map_load_step, &offset);
        if (ret < 0)
            return ret;
    }
    return ret;
}

int qcow2_map(struct vblk_image *image, uint64_t offset, uint64_t len, unsigned flags,
              struct vblk_extent *ret_extent)
{
    struct qcow2 *q = qcow2_of(image);
    struct map_piece piece;
    uint32_t packed_len;
    int ret = map_find(q, offset, len, flags, false, &piece);

    if (ret < 0)
        return ret;
    *ret_extent = (struct vblk_extent){.len = piece.len};
    switch (piece.kind) {
    case QCOW2_DATA:
        ret_extent->kind = VBLK_EXTENT_DATA;
        ret_extent->storage = q->data_storage;
        ret_extent->offset = piece.place;
        break;
    case QCOW2_ZERO_PLAIN:
        ret_extent->kind = VBLK_EXTENT_ZERO;
        ret_extent->storage = piece.has_cluster ? q->data_storage : NULL;
        ret_extent->offset = piece.has_cluster ? piece.place : 0;
        break;
    case QCOW2_PACKED:
        ret_extent->kind = VBLK_EXTENT_COMPRESSED;
        ret_extent->storage = q->storage;
        qcow2_compressed_place(q, piece.place, &ret_extent->offset, &packed_len);
        break;
    case QCOW2_UNALLOCATED:
    case QCOW2_BAD:
        ret_extent->kind = VBLK_EXTENT_BACKING;
        break;
    }
    return 0;
}

int qcow2_map_write(struct vblk_image *image, uint64_t offset, uint64_t len, unsigned flags,
                    struct vblk_extent *ret_extent)
{
    struct qcow2 *q = qcow2_of(image);
    struct map_piece piece;
    int ret;

    if (image->read_only)
        return -EROFS;
    if (!__atomic_load_n(&q->is_prepared, __ATOMIC_ACQUIRE)) {
        if (flags & VBLK_NOWAIT)
            return -EAGAIN;
        ret = qcow2_prepare(q);
        if (ret < 0)
            return ret;
    }
    ret = map_find(q, offset, len, flags, true, &piece);
    if (ret < 0)
        return ret;
    /* Looking may be what found it. */
    if (qcow2_is_corrupt(q))
        return -EIO;
    if (piece.kind != QCOW2_DATA || !piece.is_ours)
        return -EAGAIN;
    *ret_extent = (struct vblk_extent){
        .kind = VBLK_EXTENT_DATA,
        .len = piece.len,
        .storage = q->data_storage,
        .offset = piece.place,
    };
    qcow2_bitmaps_touch(q, offset, piece.len);
    return 0;
}
