/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slices come into memory checked: an entry that makes no sense is replaced by one that reads as an
 * error, and the image is marked corrupt, so that nothing has to be checked again.
 */
#include "vblkd/format/qcow2-l2-table.h"

#include <stdlib.h>
#include <string.h>

#include "vblkd/format/qcow2-compressed.h"
#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-free.h"
#include "vblkd/format/qcow2-refcount.h"

#define L2_ENTRY_BAD UINT64_C(2) /* a reserved bit */

/* --- entries --- */

enum qcow2_kind qcow2_entry_kind(const struct qcow2 *q, struct qcow2_l2_entry entry,
                                 unsigned subcluster)
{
    if (entry.cluster & QCOW2_COMPRESSED)
        return QCOW2_PACKED;
    if (entry.cluster & QCOW2_L2_RESERVED)
        return QCOW2_BAD;
    if (q->has_extended_l2) {
        if (entry.bitmap >> (QCOW2_SUBCLUSTERS + subcluster) & 1)
            return QCOW2_ZERO_PLAIN;
        return entry.bitmap >> subcluster & 1 ? QCOW2_DATA : QCOW2_UNALLOCATED;
    }
    if (entry.cluster & QCOW2_ZERO)
        return QCOW2_ZERO_PLAIN;
    return qcow2_entry_has_cluster(q, entry) ? QCOW2_DATA : QCOW2_UNALLOCATED;
}

bool qcow2_entry_has_cluster(const struct qcow2 *q, struct qcow2_l2_entry entry)
{
    if (entry.cluster & QCOW2_COMPRESSED)
        return false;
    return qcow2_entry_offset(entry) != 0 || (q->has_data_file && (entry.cluster & QCOW2_COPIED));
}

static bool l2_entry_is_sane(const struct qcow2 *q, uint64_t guest_offset,
                             struct qcow2_l2_entry entry)
{
    uint64_t offset = qcow2_entry_offset(entry), packed_offset;
    uint32_t packed_len;

    if (entry.cluster & QCOW2_COMPRESSED) {
        qcow2_compressed_place(q, entry.cluster, &packed_offset, &packed_len);
        return !q->has_data_file && packed_offset < QCOW2_MAX_OFFSET;
    }
    if ((entry.cluster & QCOW2_L2_RESERVED) || (offset & (q->cluster_size - 1)) != 0)
        return false;
    if ((entry.cluster & QCOW2_ZERO) && (q->has_extended_l2 || q->header.version < 3))
        return false;
    if (q->has_extended_l2 && (((uint32_t)entry.bitmap & entry.bitmap >> 32) != 0 ||
                               ((uint32_t)entry.bitmap != 0 && !qcow2_entry_has_cluster(q, entry))))
        return false;
    if (!qcow2_entry_has_cluster(q, entry))
        return (entry.cluster & QCOW2_COPIED) == 0;
    if (q->has_data_file)
        return offset == guest_offset;
    return !qcow2_is_metadata(q, offset >> q->cluster_bits);
}

void qcow2_l2_entry_free(struct qcow2 *q, struct qcow2_l2_entry entry)
{
    uint64_t offset, first;
    uint32_t len;

    if (entry.cluster & QCOW2_COMPRESSED) {
        qcow2_compressed_place(q, entry.cluster, &offset, &len);
        first = offset >> q->cluster_bits;
        qcow2_free_later(q, first, ((offset + len - 1) >> q->cluster_bits) - first + 1);
    } else if (qcow2_entry_has_cluster(q, entry) && !q->has_data_file) {
        qcow2_free_later(q, qcow2_entry_offset(entry) >> q->cluster_bits, 1);
    }
}

/* --- slices --- */

/* Replaces what makes no sense. How many. */
static unsigned l2_slice_check(const struct qcow2 *q, uint64_t slice, be64_t *words)
{
    unsigned n_bad = 0, width = q->l2.entry_words;

    for (unsigned i = 0; i < q->l2.slice_words; i += width) {
        struct qcow2_l2_entry entry = {be64_value(words[i]),
                                       width > 1 ? be64_value(words[i + 1]) : 0};
        uint64_t guest =
            (slice << qcow2_slice_shift(q)) + ((uint64_t)(i / width) << q->cluster_bits);

        if (entry.cluster == 0 && entry.bitmap == 0)
            continue;
        if (!l2_entry_is_sane(q, guest, entry)) {
            words[i] = be64_from(L2_ENTRY_BAD);
            n_bad++;
        }
    }
    return n_bad;
}

/* Where a slice lies in the file; 0: its table does not exist. */
static uint64_t l2_slice_offset(const struct qcow2 *q, uint64_t slice)
{
    unsigned shift = q->l2_bits - q->slice_bits;
    uint64_t table = q->l1.entries[slice >> shift] & QCOW2_OFFSET_MASK;

    return table ? table + (slice & ((UINT64_C(1) << shift) - 1)) * q->l2.slice_words * 8 : 0;
}

/* No frame is free: dirty ones become so by a flush, others when somebody is done. */
static int l2_make_room(struct qcow2 *q)
{
    int ret;

    if (q->l2.n_dirty == 0) {
        pthread_cond_wait(&q->changed, &q->lock);
        return 0;
    }
    pthread_mutex_unlock(&q->lock);
    ret = qcow2_flush_all(q);
    pthread_mutex_lock(&q->lock);
    return ret;
}

int qcow2_l2_slice_load(struct qcow2 *q, uint64_t slice)
{
    uint32_t len = q->l2.slice_words * 8;
    uint64_t offset = l2_slice_offset(q, slice);
    struct qcow2_l2_frame *frame;
    g_autofree be64_t *words = NULL;
    unsigned n_bad = 0;
    int ret;

    if (qcow2_l2_cache_find(&q->l2, slice))
        return 0;
    if (qcow2_l2_cache_is_loading(&q->l2, slice)) {
        pthread_cond_wait(&q->changed, &q->lock);
        return 0;
    }
    frame = qcow2_l2_cache_claim(&q->l2, slice);
    if (!frame)
        return l2_make_room(q);
    words = g_malloc(len);
    __atomic_fetch_add(&q->image->n_table_loads, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&q->lock);
    ret = vblk_storage_read(q->storage, words, len, offset);
    pthread_mutex_lock(&q->lock);
    if (ret == 0) {
        n_bad = l2_slice_check(q, slice, words);
        qcow2_l2_cache_fill(&q->l2, frame, words);
    } else {
        qcow2_l2_cache_abandon(&q->l2, frame);
    }
    if (n_bad > 0)
        qcow2_mark_corrupt(q, "%u L2 entries at %#" PRIx64 " make no sense", n_bad, offset);
    pthread_cond_broadcast(&q->changed);
    return ret;
}

int qcow2_l2_frame_for_write(struct qcow2 *q, uint64_t offset, struct qcow2_l2_frame **ret_frame,
                             struct qcow2_need *need)
{
    uint64_t slice = offset >> qcow2_slice_shift(q), l1_entry = qcow2_l1_load(q, offset);

    if (l1_entry & QCOW2_L1_RESERVED)
        return -EIO;
    if (!(l1_entry & QCOW2_COPIED))
        return qcow2_lacks(need, QCOW2_NEED_L2_TABLE, offset >> qcow2_l1_shift(q));
    *ret_frame = qcow2_l2_cache_find(&q->l2, slice);
    return *ret_frame ? 0 : qcow2_lacks(need, QCOW2_NEED_L2_SLICE, slice);
}

int qcow2_l2_entry_at(struct qcow2 *q, uint64_t offset, struct qcow2_l2_entry *ret_entry,
                      struct qcow2_need *need)
{
    uint64_t slice = offset >> qcow2_slice_shift(q), l1_entry = qcow2_l1_load(q, offset);
    struct qcow2_l2_frame *frame;

    *ret_entry = (struct qcow2_l2_entry){0, 0};
    if (l1_entry & QCOW2_L1_RESERVED)
        return -EIO;
    if ((l1_entry & QCOW2_OFFSET_MASK) == 0)
        return 0;
    frame = qcow2_l2_cache_find(&q->l2, slice);
    if (!frame)
        return qcow2_lacks(need, QCOW2_NEED_L2_SLICE, slice);
    *ret_entry = qcow2_l2_cache_peek(&q->l2, frame, qcow2_slice_index(q, offset));
    return 0;
}

/* --- tables --- */

/* What the table will begin as, on disk: a copy of a shared one, or zeros. Without the lock. */
static int l2_table_write(struct qcow2 *q, uint64_t old_offset, uint64_t offset)
{
    void *bytes = aligned_alloc(MIN(q->cluster_size, QCOW2_L2_SLICE_MAX), q->cluster_size);
    int ret = 0;

    if (!bytes)
        return -ENOMEM;
    if (old_offset)
        ret = vblk_storage_read(q->storage, bytes, q->cluster_size, old_offset);
    else
        memset(bytes, 0, q->cluster_size);
    if (ret == 0)
        ret = vblk_storage_write(q->storage, bytes, q->cluster_size, offset);
    free(bytes);
    return ret;
}

static int l2_table_alloc(struct qcow2 *q, uint64_t *ret_cluster)
{
    struct qcow2_need need;
    struct qcow2_run run;
    int ret;

    while ((ret = qcow2_clusters_alloc(q, 1, &run, &need)) == -EAGAIN) {
        ret = qcow2_fulfil(q, &need);
        if (ret < 0)
            return ret;
    }
    if (ret == 0)
        *ret_cluster = run.cluster;
    return ret;
}

static void l2_table_set(struct qcow2 *q, uint64_t l1_index, uint64_t offset)
{
    __atomic_store_n(&q->l1.entries[l1_index], offset | QCOW2_COPIED, __ATOMIC_RELEASE);
    if (q->l1.dirty_from == q->l1.dirty_to) {
        q->l1.dirty_from = (uint32_t)l1_index;
        q->l1.dirty_to = (uint32_t)l1_index + 1;
    } else {
        q->l1.dirty_from = MIN(q->l1.dirty_from, (uint32_t)l1_index);
        q->l1.dirty_to = MAX(q->l1.dirty_to, (uint32_t)l1_index + 1);
    }
    g_hash_table_add(q->metadata, GSIZE_TO_POINTER(offset >> q->cluster_bits));
    qcow2_touch(q);
}

int qcow2_l2_table_make(struct qcow2 *q, uint64_t l1_index)
{
    uint64_t old = q->l1.entries[l1_index], old_offset = old & QCOW2_OFFSET_MASK, cluster;
    int ret;

    if (old & QCOW2_COPIED)
        return 0;
    if (q->is_making_table) {
        pthread_cond_wait(&q->changed, &q->lock);
        return 0;
    }
    q->is_making_table = true;
    ret = l2_table_alloc(q, &cluster);
    if (ret == 0) {
        pthread_mutex_unlock(&q->lock);
        ret = l2_table_write(q, old_offset, cluster << q->cluster_bits);
        pthread_mutex_lock(&q->lock);
        if (ret < 0)
            qcow2_clusters_give_back(q, cluster, 1);
    }
    if (ret == 0) {
        l2_table_set(q, l1_index, cluster << q->cluster_bits);
        if (old_offset)
            qcow2_free_later(q, old_offset >> q->cluster_bits, 1);
    }
    q->is_making_table = false;
    pthread_cond_broadcast(&q->changed);
    return ret;
}
