/* SPDX-License-Identifier: Apache-2.0 */
/*
 * write_begin and write_end: the life of a fresh cluster, from its allocation to the L2 entry that
 * makes it part of the disk.
 *
 * Whatever is mapped has sensible bytes in all of its subclusters at any time: a write that covers
 * a part of one finds the rest of it filled before it begins, so it does not matter which of
 * several writes into a cluster ends first, or that some fail.
 */
#include "vblkd/format/qcow2-write.h"
#include "vblkd/format/qcow2-room.h"

#include <string.h>

#include "vblkd/format/qcow2-bitmap.h"
#include "vblkd/format/qcow2-cow.h"
#include "vblkd/format/qcow2-journal.h"
#include "vblkd/format/qcow2-l2-table.h"
#include "vblkd/format/qcow2-refcount.h"

/* The token of a struct vblk_write; none for one that overwrites in place. */
struct write_token {
    struct qcow2_l2_frame *frame; /* pinned: its end must find it in memory */
};

/* One call of write_begin. */
struct write_begin {
    uint64_t offset, len;
    unsigned flags;
    struct vblk_write write; /* the result */
    bool must_fill;          /* some of its clusters are to be filled, without the lock */
};

/* --- ranges of a cluster --- */

/* Bits [from, to). */
static uint32_t write_mask(unsigned from, unsigned to)
{
    return from >= to ? 0 : (uint32_t)((UINT64_C(1) << to) - (UINT64_C(1) << from));
}

/* Subclusters that [at, at + len) of a cluster touches. */
static uint32_t write_touched(const struct qcow2 *q, uint64_t at, uint64_t len)
{
    return write_mask((unsigned)(at >> q->subcluster_bits),
                      (unsigned)((at + len - 1) >> q->subcluster_bits) + 1);
}

uint32_t qcow2_subclusters_covered(const struct qcow2 *q, uint64_t at, uint64_t len)
{
    uint64_t mask = (UINT64_C(1) << q->subcluster_bits) - 1;

    return write_mask((unsigned)((at + mask) >> q->subcluster_bits),
                      (unsigned)((at + len) >> q->subcluster_bits));
}

/* The part of [offset, offset + len) that lies in a cluster of the disk. */
static void write_part(const struct qcow2 *q, uint64_t offset, uint64_t len, uint64_t guest_cluster,
                       uint64_t *ret_at, uint64_t *ret_len)
{
    uint64_t base = guest_cluster << q->cluster_bits, from = MAX(offset, base);

    *ret_at = from - base;
    *ret_len = MIN(offset + len, base + q->cluster_size) - from;
}

/* --- fresh clusters --- */

struct qcow2_fresh *qcow2_fresh_find(struct qcow2 *q, uint64_t guest_cluster)
{
    return g_hash_table_lookup(q->fresh, GSIZE_TO_POINTER(guest_cluster));
}

/* Subclusters of the old entry that are data of another cluster than the new one. */
static uint32_t fresh_old_data(const struct qcow2 *q, struct qcow2_l2_entry old)
{
    uint32_t mask = 0;

    for (unsigned sub = 0; sub < q->n_subclusters; sub++) {
        enum qcow2_kind kind = qcow2_entry_kind(q, old, sub);

        if (kind == QCOW2_DATA || kind == QCOW2_PACKED)
            mask |= 1u << sub;
    }
    return mask;
}

static struct qcow2_fresh *fresh_create(struct qcow2 *q, uint64_t guest_cluster, uint64_t offset,
                                        struct qcow2_l2_entry old, bool is_new)
{
    struct qcow2_fresh *fresh = g_new0(struct qcow2_fresh, 1);

    fresh->guest = guest_cluster;
    fresh->offset = offset;
    fresh->old = old;
    fresh->is_new = is_new;
    if (is_new)
        fresh->must = fresh_old_data(q, old);
    else
        fresh->defined = fresh_old_data(q, old);
    g_hash_table_insert(q->fresh, GSIZE_TO_POINTER(guest_cluster), fresh);
    return fresh;
}

/* Subclusters that must be filled before a write of [at, at + len) may begin. */
static uint32_t fresh_to_fill(const struct qcow2 *q, const struct qcow2_fresh *fresh, uint64_t at,
                              uint64_t len)
{
    return (fresh->must | write_touched(q, at, len)) &
           ~(qcow2_subclusters_covered(q, at, len) | fresh->defined);
}

/* Another write may use the cluster: nothing that it needs is undefined or being filled. */
static bool fresh_is_busy(const struct qcow2 *q, const struct qcow2_fresh *fresh, uint64_t at,
                          uint64_t len)
{
    return (fresh->busy & (fresh->must | write_touched(q, at, len))) != 0;
}

/* A writer joins. What it fills and what it covers is not for others until that is done. */
static void fresh_enter(struct qcow2 *q, struct qcow2_fresh *fresh, uint64_t at, uint64_t len)
{
    fresh->n_writers++;
    fresh->busy |= fresh_to_fill(q, fresh, at, len) |
                   (qcow2_subclusters_covered(q, at, len) & ~fresh->defined);
}

/* The cluster of the file is no longer needed, if it ever was. */
static void fresh_destroy(struct qcow2 *q, struct qcow2_fresh *fresh)
{
    if (fresh->is_new && !fresh->is_mapped && !q->has_data_file)
        qcow2_clusters_give_back(q, fresh->offset >> q->cluster_bits, 1);
    g_hash_table_remove(q->fresh, GSIZE_TO_POINTER(fresh->guest));
}

/* What the writer made of its part is on the disk: readers find it from now on. */
static void fresh_map(struct qcow2 *q, struct qcow2_fresh *fresh, struct qcow2_l2_frame *frame,
                      uint32_t mask)
{
    unsigned index = qcow2_slice_index(q, fresh->guest << q->cluster_bits);
    struct qcow2_l2_entry entry = qcow2_l2_cache_peek(&q->l2, frame, index), old = entry;

    if (fresh->is_new && !fresh->is_mapped && (entry.cluster & QCOW2_COMPRESSED))
        entry.bitmap = 0;
    entry.cluster = fresh->offset | QCOW2_COPIED;
    if (q->has_extended_l2) {
        mask |= fresh->must;
        entry.bitmap = (entry.bitmap | mask) & ~((uint64_t)mask << QCOW2_SUBCLUSTERS);
    }
    if (entry.cluster == old.cluster && entry.bitmap == old.bitmap)
        return;
    qcow2_l2_cache_set(&q->l2, frame, index, entry);
    qcow2_journal_note(q, fresh->guest, entry);
    qcow2_touch(q);
    if (fresh->is_new && !fresh->is_mapped)
        qcow2_l2_entry_free(q, old);
    fresh->is_mapped = true;
}

/* A writer of [at, at + len) is done, well or not. */
static void fresh_leave(struct qcow2 *q, struct qcow2_fresh *fresh, struct qcow2_l2_frame *frame,
                        uint64_t at, uint64_t len, bool succeeded)
{
    uint32_t covered = qcow2_subclusters_covered(q, at, len);

    fresh->busy &= ~covered;
    if (succeeded) {
        fresh->defined |= covered;
        fresh_map(q, fresh, frame, write_touched(q, at, len));
    }
    if (--fresh->n_writers == 0)
        fresh_destroy(q, fresh);
}

/* --- beginning, under the lock --- */

/* What a cluster of the disk needs for a write of [at, at + len) of it. */
enum write_way {
    WRITE_IN_PLACE,
    WRITE_INTO_OLD, /* a cluster of ours is there, but some of what is written is not mapped */
    WRITE_INTO_NEW,
    WRITE_BAD,
};

static enum write_way write_way_of(const struct qcow2 *q, struct qcow2_l2_entry entry, uint64_t at,
                                   uint64_t len)
{
    uint32_t touched = write_touched(q, at, len);

    if (qcow2_entry_kind(q, entry, 0) == QCOW2_BAD)
        return WRITE_BAD;
    if (!qcow2_entry_has_cluster(q, entry) || !(entry.cluster & QCOW2_COPIED))
        return WRITE_INTO_NEW;
    return (touched & ~fresh_old_data(q, entry)) == 0 ? WRITE_IN_PLACE : WRITE_INTO_OLD;
}

static void write_set_place(struct qcow2 *q, struct write_begin *begin, uint64_t len,
                            uint64_t cluster_offset, struct qcow2_l2_frame *frame)
{
    begin->write = (struct vblk_write){
        .guest_offset = begin->offset,
        .len = len,
        .storage = q->data_storage,
        .offset = cluster_offset + qcow2_offset_in_cluster(q, begin->offset),
    };
    if (frame) {
        struct write_token *token = g_new(struct write_token, 1);

        token->frame = frame;
        frame->n_pins++;
        begin->write.token = token;
    }
}

/* Into one cluster of the file that is there: fresh already, or ours and not all mapped. */
static int write_join(struct qcow2 *q, struct write_begin *begin, struct qcow2_l2_frame *frame,
                      struct qcow2_fresh *fresh, struct qcow2_l2_entry entry,
                      struct qcow2_need *need)
{
    uint64_t guest = begin->offset >> q->cluster_bits, at, len;
    uint32_t fill;
    int ret;

    write_part(q, begin->offset, begin->len, guest, &at, &len);
    if (fresh && fresh_is_busy(q, fresh, at, len))
        return qcow2_lacks(need, QCOW2_NEED_CHANGE, 0);
    ret = qcow2_journal_reserve(q, 1, need);
    if (ret < 0)
        return ret;
    if (!fresh)
        fresh = fresh_create(q, guest, qcow2_entry_offset(entry), entry, false);
    fill = fresh_to_fill(q, fresh, at, len);
    if (fill && (begin->flags & VBLK_NOWAIT)) {
        if (fresh->n_writers == 0)
            fresh_destroy(q, fresh);
        qcow2_journal_unreserve(q, 1);
        return -EAGAIN;
    }
    fresh_enter(q, fresh, at, len);
    begin->must_fill = fill != 0;
    write_set_place(q, begin, len, fresh->offset, frame);
    return 0;
}

/* How many clusters from the first on need a new one each, within the slice. */
static uint64_t write_count_new(struct qcow2 *q, const struct write_begin *begin,
                                const struct qcow2_l2_frame *frame)
{
    uint64_t first = begin->offset >> q->cluster_bits;
    uint64_t last = (begin->offset + begin->len - 1) >> q->cluster_bits, n = 1;

    while (first + n <= last && qcow2_slice_index(q, (first + n) << q->cluster_bits) != 0) {
        struct qcow2_l2_entry entry = qcow2_l2_cache_peek(
            &q->l2, frame, qcow2_slice_index(q, (first + n) << q->cluster_bits));

        if (qcow2_fresh_find(q, first + n) ||
            write_way_of(q, entry, 0, q->cluster_size) != WRITE_INTO_NEW)
            break;
        n++;
    }
    return n;
}

/* Whether nothing was ever written from `offset` of the data file on. */
static bool write_is_behind_end(struct vblk_storage *storage, uint64_t offset)
{
    /* What was written meanwhile has made it longer. */
    return !storage->is_block_device &&
           offset >= __atomic_load_n(&storage->size, __ATOMIC_RELAXED) &&
           vblk_storage_refresh_size(storage) == 0 &&
           offset >= __atomic_load_n(&storage->size, __ATOMIC_RELAXED);
}

/* The clusters for it. In an external data file each has its place. */
static int write_alloc(struct qcow2 *q, uint64_t guest_cluster, uint64_t n_max,
                       struct qcow2_run *ret_run, struct qcow2_need *need)
{
    if (!q->has_data_file)
        return qcow2_clusters_alloc(q, n_max, ret_run, need);
    *ret_run = (struct qcow2_run){
        .cluster = guest_cluster,
        .n = n_max,
        .is_hole = write_is_behind_end(q->data_storage, guest_cluster << q->cluster_bits),
    };
    return 0;
}

/* Bytes that are zeros in the file already need not be filled where the guest has zeros. */
static void write_skip_zeros(struct qcow2 *q, struct qcow2_fresh *fresh, uint64_t at, uint64_t len)
{
    uint32_t mask = fresh_to_fill(q, fresh, at, len) | write_touched(q, at, len);

    if (qcow2_cow_is_zero(q, fresh->guest, fresh->old, mask))
        fresh->defined |= mask;
}

static int write_into_new(struct qcow2 *q, struct write_begin *begin, struct qcow2_l2_frame *frame,
                          struct qcow2_need *need)
{
    uint64_t first = begin->offset >> q->cluster_bits, at, len;
    uint64_t n_max = write_count_new(q, begin, frame);
    struct qcow2_run run;
    int ret = q->has_data_file ? 0 : qcow2_room_want(q, begin->flags, need);
    uint64_t end;

    if (ret == 0)
        ret = qcow2_journal_reserve(q, n_max, need);
    if (ret < 0)
        return ret;
    ret = write_alloc(q, first, n_max, &run, need);
    qcow2_journal_unreserve(q, n_max - (ret == 0 ? run.n : 0));
    if (ret < 0)
        return ret;
    end = MIN(begin->offset + begin->len, (first + run.n) << q->cluster_bits);
    begin->len = end - begin->offset;
    for (uint64_t i = 0; i < run.n; i++) {
        struct qcow2_l2_entry old = qcow2_l2_cache_peek(
            &q->l2, frame, qcow2_slice_index(q, (first + i) << q->cluster_bits));
        struct qcow2_fresh *fresh =
            fresh_create(q, first + i, (run.cluster + i) << q->cluster_bits, old, true);

        write_part(q, begin->offset, begin->len, first + i, &at, &len);
        if (run.is_hole)
            write_skip_zeros(q, fresh, at, len);
        begin->must_fill |= fresh_to_fill(q, fresh, at, len) != 0;
        fresh_enter(q, fresh, at, len);
    }
    if (begin->must_fill && (begin->flags & VBLK_NOWAIT)) {
        for (uint64_t i = 0; i < run.n; i++)
            fresh_destroy(q, qcow2_fresh_find(q, first + i));
        qcow2_journal_unreserve(q, run.n);
        /* Nothing was written there: who comes next may know that it is zeros. */
        if (run.is_hole && !q->has_data_file && q->refcounts.end == run.cluster + run.n)
            q->refcounts.end = run.cluster;
        return -EAGAIN;
    }
    write_set_place(q, begin, begin->len, run.cluster << q->cluster_bits, frame);
    return 0;
}

static int write_begin_step(struct qcow2 *q, void *opaque, struct qcow2_need *need)
{
    struct write_begin *begin = opaque;
    uint64_t guest = begin->offset >> q->cluster_bits, at, len;
    struct qcow2_l2_frame *frame;
    struct qcow2_l2_entry entry;
    struct qcow2_fresh *fresh;
    int ret;

    if (qcow2_is_corrupt(q))
        return -EIO;
    if (!__atomic_load_n(&q->is_prepared, __ATOMIC_ACQUIRE))
        return qcow2_lacks(need, QCOW2_NEED_PREPARE, 0);
    ret = qcow2_l2_frame_for_write(q, begin->offset, &frame, need);
    if (ret < 0)
        return ret;
    entry = qcow2_l2_cache_peek(&q->l2, frame, qcow2_slice_index(q, begin->offset));
    write_part(q, begin->offset, begin->len, guest, &at, &len);
    fresh = qcow2_fresh_find(q, guest);
    if (fresh && !(fresh->is_mapped && write_way_of(q, entry, at, len) == WRITE_IN_PLACE))
        return write_join(q, begin, frame, fresh, entry, need);
    switch (write_way_of(q, entry, at, len)) {
    case WRITE_IN_PLACE:
        write_set_place(q, begin, len, qcow2_entry_offset(entry), NULL);
        return 0;
    case WRITE_INTO_OLD:
        return write_join(q, begin, frame, NULL, entry, need);
    case WRITE_INTO_NEW:
        return write_into_new(q, begin, frame, need);
    case WRITE_BAD:
        break;
    }
    return -EIO;
}

/* --- the operations --- */

/* All clusters of a write, one after the other, under the lock. */
static void write_leave(struct qcow2 *q, const struct vblk_write *write, bool succeeded)
{
    struct write_token *token = write->token;
    uint64_t last = (write->guest_offset + write->len - 1) >> q->cluster_bits, at, len;

    for (uint64_t c = write->guest_offset >> q->cluster_bits; c <= last; c++) {
        write_part(q, write->guest_offset, write->len, c, &at, &len);
        fresh_leave(q, qcow2_fresh_find(q, c), token->frame, at, len, succeeded);
        qcow2_journal_unreserve(q, 1);
    }
    token->frame->n_pins--;
    g_free(token);
    pthread_cond_broadcast(&q->changed);
}

/* Fills what lies around a write in its clusters. Without the lock. */
static int write_fill(struct qcow2 *q, const struct vblk_write *write)
{
    uint64_t last = (write->guest_offset + write->len - 1) >> q->cluster_bits, at, len;
    int ret = 0;

    for (uint64_t c = write->guest_offset >> q->cluster_bits; c <= last; c++) {
        struct qcow2_fresh *fresh;
        uint32_t fill;

        write_part(q, write->guest_offset, write->len, c, &at, &len);
        pthread_mutex_lock(&q->lock);
        fresh = qcow2_fresh_find(q, c);
        fill = fresh_to_fill(q, fresh, at, len);
        if (fill && ret == 0) {
            struct qcow2_l2_entry old = fresh->old;
            uint64_t offset = fresh->offset;

            pthread_mutex_unlock(&q->lock);
            ret = qcow2_cow_fill(q, c, old, offset, fill);
            pthread_mutex_lock(&q->lock);
            fresh->defined |= ret == 0 ? fill : 0;
        }
        fresh->busy &= ~fill;
        pthread_cond_broadcast(&q->changed);
        pthread_mutex_unlock(&q->lock);
    }
    return ret;
}

int qcow2_write_begin(struct vblk_image *image, uint64_t offset, uint64_t len, unsigned flags,
                      struct vblk_write *ret_write)
{
    struct qcow2 *q = qcow2_of(image);
    struct write_begin begin = {.offset = offset, .len = len, .flags = flags};
    int ret;

    if (image->read_only)
        return -EROFS;
    if (offset >= __atomic_load_n(&image->size, __ATOMIC_RELAXED) || len == 0)
        return -EINVAL;
    ret = qcow2_run(q, flags, write_begin_step, &begin);
    if (ret < 0)
        return ret;
    if (begin.must_fill) {
        ret = write_fill(q, &begin.write);
        if (ret < 0) {
            pthread_mutex_lock(&q->lock);
            write_leave(q, &begin.write, false);
            pthread_mutex_unlock(&q->lock);
            return ret;
        }
    }
    *ret_write = begin.write;
    qcow2_bitmaps_touch(q, begin.write.guest_offset, begin.write.len);
    return 0;
}

int qcow2_write_end(struct vblk_image *image, struct vblk_write *write, int result)
{
    struct qcow2 *q = qcow2_of(image);

    if (!write->token)
        return result;
    if (result == 0 && qcow2_is_corrupt(q))
        result = -EIO;
    pthread_mutex_lock(&q->lock);
    write_leave(q, write, result == 0);
    pthread_mutex_unlock(&q->lock);
    write->token = NULL;
    return result;
}
