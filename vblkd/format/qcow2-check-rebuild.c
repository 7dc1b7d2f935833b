/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rebuilding refcounts. The old ones stay where they are until the header no longer names them; all
 * that is new lies in one row: the table, then its blocks.
 */
#include "vblkd/format/qcow2-check-rebuild.h"

#include <string.h>

#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-refcount.h"

struct rebuild {
    struct qcow2_check *check;
    uint64_t start, n;  /* clusters of the row */
    uint64_t n_table;   /* of them, of the table */
    uint64_t n_entries; /* of the table that are needed */
};

/* --- whether --- */

/* Something is in use in a range that no block counts. That each cluster there is not counted is
 * told where counts are compared. */
static bool rebuild_lacks_block(const struct qcow2_check *check)
{
    const struct qcow2_refcounts *refcounts = &check->q->refcounts;
    unsigned bits = qcow2_refblock_bits(check->q);

    for (uint64_t c = 0; c < check->n_counts; c++) {
        uint64_t index = c >> bits;

        if (check->counts[c] > 0 && (index >= refcounts->n_entries || refcounts->table[index] == 0))
            return true;
    }
    return false;
}

bool qcow2_check_must_rebuild(struct qcow2_check *check)
{
    const struct qcow2_refcounts *refcounts = &check->q->refcounts;
    bool must = rebuild_lacks_block(check) || refcounts->n_bad > 0;

    for (uint64_t i = 0; i < refcounts->n_entries + refcounts->n_clusters; i++) {
        bool is_block = i < refcounts->n_entries;
        uint64_t cluster =
            is_block ? refcounts->table[i] >> check->q->cluster_bits
                     : (refcounts->offset >> check->q->cluster_bits) + i - refcounts->n_entries;

        if ((is_block && cluster == 0) || cluster >= check->n_counts || check->counts[cluster] <= 1)
            continue;
        qcow2_check_report(check, &check->result->n_corruptions,
                           "ERROR: refcounts lie in cluster %" PRIu64 ", which is used %u times",
                           cluster, check->counts[cluster]);
        must = true;
    }
    return must;
}

/* --- the place --- */

/* The old table and blocks refer to nothing any more. */
static void rebuild_forget_old(struct qcow2_check *check)
{
    const struct qcow2_refcounts *refcounts = &check->q->refcounts;
    uint64_t first = refcounts->offset >> check->q->cluster_bits;

    for (uint64_t i = 0; i < refcounts->n_entries; i++) {
        uint64_t cluster = refcounts->table[i] >> check->q->cluster_bits;

        if (cluster > 0 && cluster < check->n_counts && check->counts[cluster] > 0)
            check->counts[cluster]--;
    }
    for (uint64_t c = first; c < first + refcounts->n_clusters && c < check->n_counts; c++)
        check->counts[c] -= check->counts[c] > 0;
}

/* The first n clusters in a row that nothing uses, the old refcounts among that. */
static int rebuild_find_row(struct rebuild *rebuild, uint64_t n)
{
    const struct qcow2_check *check = rebuild->check;
    uint64_t run = 0;

    for (uint64_t c = 0; c < check->n_counts; c++) {
        run = check->counts[c] == 0 ? run + 1 : 0;
        if (run == n) {
            rebuild->start = c + 1 - n;
            rebuild->n = n;
            return 0;
        }
    }
    return -ENOSPC;
}

static bool rebuild_has_block(const struct rebuild *rebuild, uint64_t index)
{
    const struct qcow2_check *check = rebuild->check;
    uint64_t per_block = UINT64_C(1) << qcow2_refblock_bits(check->q);
    uint64_t first = index * per_block, end = MIN(first + per_block, check->n_counts);

    if (rebuild->start < end && rebuild->start + rebuild->n > first)
        return true;
    for (uint64_t c = first; c < end; c++)
        if (check->counts[c] > 0)
            return true;
    return false;
}

/* How many clusters the row needs where it is. */
static uint64_t rebuild_measure(struct rebuild *rebuild)
{
    const struct qcow2_check *check = rebuild->check;
    unsigned bits = qcow2_refblock_bits(check->q);
    uint64_t n_blocks = 0, n_indexes = (check->n_counts >> bits) + 1;

    rebuild->n_entries = 0;
    for (uint64_t i = 0; i < n_indexes; i++) {
        if (rebuild_has_block(rebuild, i)) {
            n_blocks++;
            rebuild->n_entries = i + 1;
        }
    }
    rebuild->n_table = qcow2_clusters_for(check->q, rebuild->n_entries * sizeof(be64_t));
    return rebuild->n_table + n_blocks;
}

/* A longer row may need more blocks to count it. */
static int rebuild_place(struct rebuild *rebuild)
{
    uint64_t n = 1;
    int ret = rebuild_find_row(rebuild, n);

    while (ret == 0 && (n = rebuild_measure(rebuild)) > rebuild->n)
        ret = rebuild_find_row(rebuild, n);
    if (rebuild->n_table << rebuild->check->q->cluster_bits >
        MAX(QCOW2_MAX_REFTABLE_SIZE, rebuild->check->q->cluster_size))
        return -EFBIG;
    return ret;
}

/* --- writing --- */

static int rebuild_write_block(struct rebuild *rebuild, uint64_t index, uint64_t cluster,
                               uint8_t *bytes)
{
    const struct qcow2_check *check = rebuild->check;
    struct qcow2 *q = check->q;
    unsigned order = q->header.refcount_order;
    uint64_t per_block = UINT64_C(1) << qcow2_refblock_bits(q), first = index * per_block;

    memset(bytes, 0, q->cluster_size);
    for (uint64_t i = 0; i < per_block && first + i < check->n_counts; i++) {
        /* More than can be counted is found to be wrong afterwards. */
        qcow2_refcount_encode(bytes, order, i,
                              MIN(check->counts[first + i], qcow2_refcount_max(order)));
    }
    return vblk_storage_write(q->storage, bytes, q->cluster_size, cluster << q->cluster_bits);
}

static int rebuild_write(struct rebuild *rebuild, uint64_t *table)
{
    struct qcow2 *q = rebuild->check->q;
    g_autofree uint8_t *bytes = g_malloc(q->cluster_size);
    g_autofree be64_t *words = g_malloc0(rebuild->n_table << q->cluster_bits);
    uint64_t cluster = rebuild->start + rebuild->n_table;
    int ret = 0;

    for (uint64_t i = 0; i < rebuild->n_entries && ret == 0; i++) {
        if (!rebuild_has_block(rebuild, i))
            continue;
        ret = rebuild_write_block(rebuild, i, cluster, bytes);
        table[i] = cluster++ << q->cluster_bits;
        words[i] = be64_from(table[i]);
    }
    if (ret == 0)
        ret = vblk_storage_write(q->storage, words, rebuild->n_table << q->cluster_bits,
                                 rebuild->start << q->cluster_bits);
    return ret == 0 ? vblk_storage_flush(q->storage) : ret;
}

/* The header names it; then it is what we have in memory, too. Takes the table over. */
static int rebuild_switch(struct rebuild *rebuild, uint64_t *table)
{
    struct qcow2 *q = rebuild->check->q;
    struct qcow2_refcounts *refcounts = &q->refcounts;
    int ret;

    q->header.reftable_offset = rebuild->start << q->cluster_bits;
    q->header.reftable_clusters = (uint32_t)rebuild->n_table;
    ret = qcow2_write_header_held(q);
    pthread_mutex_lock(&q->lock);
    g_hash_table_remove_all(refcounts->blocks);
    g_free(refcounts->table);
    refcounts->table = table;
    refcounts->n_entries = rebuild->n_table << (q->cluster_bits - 3);
    refcounts->offset = q->header.reftable_offset;
    refcounts->n_clusters = rebuild->n_table;
    refcounts->dirty_from = refcounts->dirty_to = 0;
    refcounts->needs_place = refcounts->is_moved = false;
    refcounts->hint = refcounts->n_bad = 0;
    refcounts->end = MAX(refcounts->end, rebuild->start + rebuild->n);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

int qcow2_check_rebuild(struct qcow2_check *check)
{
    struct rebuild rebuild = {.check = check};
    g_autofree uint64_t *table = NULL;
    uint64_t needed;
    int ret = rebuild_place(&rebuild);

    if (ret < 0)
        return ret;
    rebuild_forget_old(check);
    needed = rebuild_measure(&rebuild);
    for (uint64_t i = 0; i < needed; i++)
        check->counts[rebuild.start + i] = 1;
    table = g_new0(uint64_t, rebuild.n_table << (check->q->cluster_bits - 3));
    ret = rebuild_write(&rebuild, table);
    return ret == 0 ? rebuild_switch(&rebuild, g_steal_pointer(&table)) : ret;
}
