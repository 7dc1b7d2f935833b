/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding clusters for something new: the first free ones from a hint on, or, for what must be in a
 * row, the end of the file. The refcount table grows with the file.
 */
#include <string.h>

#include "vblkd/format/qcow2-free.h"
#include "vblkd/format/qcow2-refcount.h"

static uint64_t clusters_per_refblock(const struct qcow2 *q)
{
    return UINT64_C(1) << qcow2_refblock_bits(q);
}

/* --- the table --- */

/* The table in memory gets an entry `index`. */
static int clusters_extend_table(struct qcow2 *q, uint64_t index)
{
    struct qcow2_refcounts *refcounts = &q->refcounts;
    uint64_t max = MAX(QCOW2_MAX_REFTABLE_SIZE, q->cluster_size) / sizeof(uint64_t), n;

    if (index < refcounts->n_entries)
        return 0;
    if (index >= max)
        return -EFBIG;
    n = MIN(max, index + index / 2 + 1);
    n = qcow2_clusters_for(q, n * sizeof(uint64_t)) * (q->cluster_size / sizeof(uint64_t));
    refcounts->table = g_renew(uint64_t, refcounts->table, n);
    memset(refcounts->table + refcounts->n_entries, 0,
           (n - refcounts->n_entries) * sizeof(uint64_t));
    refcounts->n_entries = n;
    refcounts->needs_place = true;
    return 0;
}

/* Where the file may not grow, its size bounds us. */
static int clusters_check_room(const struct qcow2 *q, uint64_t end)
{
    uint64_t size = __atomic_load_n(&q->storage->size, __ATOMIC_RELAXED);

    if (end > QCOW2_MAX_OFFSET >> q->cluster_bits)
        return -EFBIG;
    if (q->storage->is_block_device && end > size >> q->cluster_bits)
        return -ENOSPC;
    return 0;
}

/* --- all in a row --- */

/*
 * Looks at [start, start + n) as it would be used. 0: free. 1: not, begin again at *ret_next.
 * *ret_n_blocks: of its refcount blocks that do not exist.
 */
static int clusters_look(struct qcow2 *q, uint64_t start, uint64_t n, uint64_t *ret_n_blocks,
                         uint64_t *ret_next, struct qcow2_need *need)
{
    uint64_t last = (start + n - 1) >> qcow2_refblock_bits(q), n_blocks = 0, count;
    int ret = clusters_extend_table(q, last);

    if (ret < 0)
        return ret;
    for (uint64_t i = start >> qcow2_refblock_bits(q); i <= last; i++)
        n_blocks += q->refcounts.table[i] == 0;
    for (uint64_t c = start; c < start + n; c++) {
        if (q->refcounts.table[c >> qcow2_refblock_bits(q)] == 0) {
            c |= clusters_per_refblock(q) - 1;
            continue;
        }
        ret = qcow2_refcount_get(q, c, &count, need);
        if (ret < 0)
            return ret;
        if (count > 0 || qcow2_is_metadata(q, c)) {
            *ret_next = c + 1;
            return 1;
        }
    }
    *ret_n_blocks = n_blocks;
    return 0;
}

/* A file has room behind all that was used; what ends there is looked through from its beginning,
 * and from where that was left when something had to be loaded. */
static int clusters_alloc_row(struct qcow2 *q, uint64_t n, uint64_t *ret_cluster,
                              struct qcow2_need *need)
{
    bool is_bounded = q->storage->is_block_device;
    uint64_t start = is_bounded ? q->refcounts.row : q->refcounts.end, n_blocks = 0, found, at;
    struct qcow2_refblock *block;
    int ret;

    /* The blocks that will count it lie in front of it; they may need a block more themselves. */
    for (;;) {
        ret = clusters_check_room(q, start + n_blocks + n);
        if (ret == 0)
            ret = clusters_look(q, start, n_blocks + n, &found, &start, need);
        if (ret < 0)
            return ret;
        if (ret == 1 && is_bounded)
            q->refcounts.row = start;
        if (ret == 0 && found <= n_blocks)
            break;
        if (ret == 0)
            n_blocks = found;
    }
    at = start;
    for (uint64_t i = start >> qcow2_refblock_bits(q);
         i <= (start + n_blocks + n - 1) >> qcow2_refblock_bits(q); i++) {
        if (q->refcounts.table[i] == 0)
            qcow2_refblock_create(q, i, at++);
    }
    for (uint64_t c = start; c < start + n_blocks + n; c++) {
        /* One that was foreseen for a block, and is not needed, stays free. */
        if (c >= at && c < start + n_blocks)
            continue;
        ret = qcow2_refblock_get(q, c >> qcow2_refblock_bits(q), &block, need);
        g_assert(ret == 0);
        qcow2_refblock_set(q, block, c, 1);
    }
    q->refcounts.end = MAX(q->refcounts.end, start + n_blocks + n);
    *ret_cluster = start + n_blocks;
    return 0;
}

/* A place for a table that has grown; the old one is given up when the header names the new. */
static int clusters_place_table(struct qcow2 *q, struct qcow2_need *need)
{
    struct qcow2_refcounts *refcounts = &q->refcounts;
    uint64_t n = 0, cluster = 0;

    while (refcounts->needs_place) {
        int ret;

        n = qcow2_clusters_for(q, refcounts->n_entries * sizeof(uint64_t));
        ret = clusters_alloc_row(q, n, &cluster, need);
        if (ret < 0)
            return ret;
        if (n == qcow2_clusters_for(q, refcounts->n_entries * sizeof(uint64_t)))
            refcounts->needs_place = false;
        else
            qcow2_clusters_give_back(q, cluster, n);
    }
    if (n == 0)
        return 0;
    qcow2_free_later(q, refcounts->offset >> q->cluster_bits, refcounts->n_clusters);
    refcounts->offset = cluster << q->cluster_bits;
    refcounts->n_clusters = n;
    refcounts->is_moved = true;
    refcounts->dirty_from = 0;
    refcounts->dirty_to = refcounts->n_entries;
    qcow2_touch(q);
    return 0;
}

int qcow2_clusters_alloc_all(struct qcow2 *q, uint64_t n, uint64_t *ret_cluster,
                             struct qcow2_need *need)
{
    int ret = clusters_place_table(q, need);
    uint64_t cluster;

    if (ret == 0)
        ret = clusters_alloc_row(q, n, &cluster, need);
    if (ret < 0)
        return ret;
    /* What counts them may be in a part of the table that has no place yet. */
    ret = clusters_place_table(q, need);
    if (ret == 0)
        *ret_cluster = cluster;
    else
        qcow2_clusters_give_back(q, cluster, n);
    return ret;
}

/* --- any that are free --- */

/* From `cluster` on, in its block: the first that is free, and how many follow. False: none. */
static bool clusters_find(const struct qcow2 *q, const struct qcow2_refblock *block,
                          uint64_t cluster, uint64_t n_max, struct qcow2_run *ret_run)
{
    uint64_t base = block->index << qcow2_refblock_bits(q), at = cluster - base, from;
    unsigned order = q->header.refcount_order;

    while (at < clusters_per_refblock(q) && qcow2_refcount_decode(block->bytes, order, at) > 0)
        at++;
    if (at == clusters_per_refblock(q))
        return false;
    from = at++;
    while (at < clusters_per_refblock(q) && at - from < n_max &&
           qcow2_refcount_decode(block->bytes, order, at) == 0)
        at++;
    *ret_run = (struct qcow2_run){.cluster = base + from, .n = at - from};
    /* All of a run is what its first cluster is. */
    if (ret_run->cluster < q->refcounts.end)
        ret_run->n = MIN(ret_run->n, q->refcounts.end - ret_run->cluster);
    else
        ret_run->is_hole = !q->storage->is_block_device;
    return true;
}

static int clusters_take(struct qcow2 *q, struct qcow2_refblock *block, const struct qcow2_run *run)
{
    int ret = clusters_check_room(q, run->cluster + run->n);

    if (ret < 0)
        return ret;
    for (uint64_t c = run->cluster; c < run->cluster + run->n; c++) {
        if (qcow2_is_metadata(q, c))
            return qcow2_mark_corrupt(q, "cluster %" G_GUINT64_FORMAT " of metadata is not counted",
                                      c);
    }
    for (uint64_t c = run->cluster; c < run->cluster + run->n; c++)
        qcow2_refblock_set(q, block, c, 1);
    q->refcounts.hint = run->cluster + run->n;
    q->refcounts.end = MAX(q->refcounts.end, q->refcounts.hint);
    return 0;
}

/* A block for a range of the file that has none, in its first cluster from the hint on. */
static int clusters_begin_range(struct qcow2 *q, uint64_t index)
{
    int ret = clusters_extend_table(q, index);

    if (ret == 0)
        ret = clusters_check_room(q, q->refcounts.hint + 1);
    if (ret == 0 && qcow2_is_metadata(q, q->refcounts.hint))
        ret = qcow2_mark_corrupt(q, "cluster %" G_GUINT64_FORMAT " of metadata is not counted",
                                 q->refcounts.hint);
    if (ret < 0)
        return ret;
    qcow2_refblock_create(q, index, q->refcounts.hint++);
    q->refcounts.end = MAX(q->refcounts.end, q->refcounts.hint);
    return 0;
}

int qcow2_clusters_alloc(struct qcow2 *q, uint64_t n_max, struct qcow2_run *ret_run,
                         struct qcow2_need *need)
{
    struct qcow2_refcounts *refcounts = &q->refcounts;
    int ret = clusters_place_table(q, need);

    while (ret == 0) {
        uint64_t index = refcounts->hint >> qcow2_refblock_bits(q);
        struct qcow2_refblock *block;
        struct qcow2_run run;

        ret = qcow2_refblock_get(q, index, &block, need);
        if (ret == -ENOENT) {
            ret = clusters_begin_range(q, index);
            if (ret == 0)
                ret = clusters_place_table(q, need);
            continue;
        }
        if (ret < 0)
            break;
        if (!clusters_find(q, block, refcounts->hint, n_max, &run)) {
            refcounts->hint = (index + 1) << qcow2_refblock_bits(q);
            continue;
        }
        ret = clusters_take(q, block, &run);
        if (ret == 0)
            *ret_run = run;
        break;
    }
    return ret;
}

void qcow2_clusters_give_back(struct qcow2 *q, uint64_t cluster, uint64_t n)
{
    struct qcow2_need need;

    for (uint64_t c = cluster; c < cluster + n; c++) {
        if (qcow2_refcount_add(q, c, -1, &need) < 0)
            qcow2_free_unused(q, c, 1);
    }
}
