/* SPDX-License-Identifier: Apache-2.0 */
/* A predecessor's records made into what they were noted for. */
#include "vblkd/format/qcow2-journal-replay.h"

#include <string.h>

#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-journal-bits.h"
#include "vblkd/format/qcow2-l2-table.h"
#include "vblkd/format/qcow2-refcount.h"

/* --- one record --- */

/* A cluster that a record names is counted, before anything new is put anywhere. */
static int replay_count_step(struct qcow2 *q, void *opaque, struct qcow2_need *need)
{
    uint64_t cluster = *(const uint64_t *)opaque, index = cluster >> qcow2_refblock_bits(q);
    uint64_t count, place;
    struct qcow2_refblock *block;
    int ret = qcow2_refcount_get(q, cluster, &count, need);

    if (ret < 0 || count > 0)
        return ret;
    ret = qcow2_refblock_get(q, index, &block, need);
    if (ret == -ENOENT) {
        ret = qcow2_clusters_alloc_all(q, 1, &place, need);
        if (ret < 0)
            return ret;
        ret = qcow2_refblock_get(q, index, &block, need);
        if (ret == -ENOENT) {
            block = qcow2_refblock_create(q, index, place);
            ret = 0;
        } else if (ret == 0) {
            qcow2_clusters_give_back(q, place, 1); /* it has made the block that it lies in */
        }
    }
    if (ret == 0)
        qcow2_refblock_set(q, block, cluster, 1);
    return ret;
}

static int replay_map_step(struct qcow2 *q, void *opaque, struct qcow2_need *need)
{
    const struct qcow2_journal_record *record = opaque;
    struct qcow2_l2_entry entry = {record->cluster, record->bitmap}, old;
    uint64_t offset = record->guest_cluster << q->cluster_bits;
    struct qcow2_l2_frame *frame;
    int ret = qcow2_l2_frame_for_write(q, offset, &frame, need);

    if (ret < 0)
        return ret;
    old = qcow2_l2_cache_peek(&q->l2, frame, qcow2_slice_index(q, offset));
    if (old.cluster == entry.cluster && old.bitmap == entry.bitmap)
        return 0;
    qcow2_l2_cache_set(&q->l2, frame, qcow2_slice_index(q, offset), entry);
    qcow2_touch(q);
    if ((old.cluster & QCOW2_COMPRESSED) || qcow2_entry_offset(old) != qcow2_entry_offset(entry))
        qcow2_l2_entry_free(q, old);
    return 0;
}

/* --- all that count --- */

static const struct qcow2_journal_record *replay_record(const struct qcow2 *q, uint64_t number)
{
    return &q->journal->records[number % QCOW2_JOURNAL_RECORDS];
}

/* The cluster of the file that a record names; 0: none. */
static uint64_t replay_cluster(const struct qcow2 *q, uint64_t number)
{
    const struct qcow2_journal_record *record = replay_record(q, number);

    if (q->has_data_file || (record->cluster & QCOW2_COMPRESSED))
        return 0;
    return (record->cluster & QCOW2_OFFSET_MASK) >> q->cluster_bits;
}

/*
 * Numbers of the records that count: the last of each guest cluster. A flush that was cut short may
 * have brought any of them to the disk, so that one that is older must not be made again: it would
 * give up the cluster of a later one.
 */
static GArray *replay_last_records(const struct qcow2 *q)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    GArray *numbers = g_array_new(FALSE, FALSE, sizeof(uint64_t));

    for (uint64_t i = q->journal->head; i-- > q->journal->tail;) {
        uint64_t guest_cluster = replay_record(q, i)->guest_cluster;

        if (guest_cluster < qcow2_clusters_for(q, q->header.size) &&
            g_hash_table_add(seen, GSIZE_TO_POINTER(guest_cluster)))
            g_array_append_val(numbers, i);
    }
    return numbers;
}

int qcow2_journal_replay(struct qcow2 *q)
{
    g_autoptr(GArray) numbers = replay_last_records(q);
    uint64_t end = 0;
    int ret = 0;

    for (uint64_t i = q->journal->tail; i < q->journal->head; i++)
        end = MAX(end, replay_cluster(q, i) + 1);
    q->refcounts.end = MAX(q->refcounts.end, end);
    /* Not counted yet, they look free: what is put somewhere meanwhile lies behind them all. */
    q->refcounts.row = end;
    for (guint i = 0; i < numbers->len && ret == 0; i++) {
        uint64_t cluster = replay_cluster(q, g_array_index(numbers, uint64_t, i));

        if (cluster)
            ret = qcow2_run(q, 0, replay_count_step, &cluster);
    }
    q->refcounts.row = 0;
    for (guint i = 0; i < numbers->len && ret == 0; i++) {
        struct qcow2_journal_record record = *replay_record(q, g_array_index(numbers, uint64_t, i));

        ret = qcow2_run(q, 0, replay_map_step, &record);
    }
    return ret == 0 ? qcow2_flush_all(q) : ret;
}

void qcow2_journal_count_clusters(const struct qcow2 *q, uint32_t *counts, uint64_t n_counts)
{
    g_autoptr(GArray) numbers = NULL;

    if (!q->journal || q->is_noting || !qcow2_journal_is_of(q->journal, q))
        return;
    numbers = replay_last_records(q);
    for (guint i = 0; i < numbers->len; i++) {
        uint64_t cluster = replay_cluster(q, g_array_index(numbers, uint64_t, i));

        if (cluster > 0 && cluster < n_counts && counts[cluster] == 0)
            counts[cluster] = 1;
    }
}
