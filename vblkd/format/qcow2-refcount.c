/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The refcount table and its blocks in memory. Blocks are kept as they are on disk, with the range
 * that changed; qcow2-flush.c writes them.
 */
#include "vblkd/format/qcow2-refcount.h"

#include <gio/gio.h>
#include <string.h>

#include "vblkd/format/qcow2-flush.h"
#include "vhost-user/log.h"

#define REFCOUNT_SECTOR     512u
#define REFCOUNT_MIN_BLOCKS 4u
#define REFCOUNT_MAX_BLOCKS 1024u

/* --- counts of 1 to 64 bits --- */

uint64_t qcow2_refcount_max(unsigned order)
{
    return order == QCOW2_MAX_REFCOUNT_ORDER ? UINT64_MAX : (UINT64_C(1) << (1u << order)) - 1;
}

uint64_t qcow2_refcount_decode(const uint8_t *block, unsigned order, uint64_t index)
{
    unsigned bits = 1u << order;
    uint64_t count = 0;

    if (bits < 8)
        return ((unsigned)block[index * bits / 8] >> (index * bits % 8)) & ((1u << bits) - 1);
    for (unsigned i = 0; i < bits / 8; i++)
        count = count << 8 | block[index * (bits / 8) + i];
    return count;
}

void qcow2_refcount_encode(uint8_t *block, unsigned order, uint64_t index, uint64_t count)
{
    unsigned bits = 1u << order;

    if (bits < 8) {
        unsigned shift = (unsigned)(index * bits % 8), mask = ((1u << bits) - 1) << shift;
        uint8_t *byte = &block[index * bits / 8];

        *byte = (uint8_t)((*byte & ~mask) | ((unsigned)count << shift & mask));
        return;
    }
    for (unsigned i = bits / 8; i-- > 0; count >>= 8)
        block[index * (bits / 8) + i] = (uint8_t)count;
}

/* --- blocks --- */

static void refblock_free(gpointer opaque)
{
    struct qcow2_refblock *block = opaque;

    free(block->bytes);
    g_free(block);
}

static struct qcow2_refblock *refblock_lookup(struct qcow2 *q, uint64_t index)
{
    return g_hash_table_lookup(q->refcounts.blocks, GSIZE_TO_POINTER(index));
}

static void *refblock_alloc_bytes(const struct qcow2 *q)
{
    void *bytes = aligned_alloc(MAX(REFCOUNT_SECTOR, MIN(q->cluster_size, 4096)), q->cluster_size);

    g_assert(bytes);
    return bytes;
}

static struct qcow2_refblock *refblock_insert(struct qcow2 *q, uint64_t index, uint64_t offset)
{
    struct qcow2_refblock *block = g_new0(struct qcow2_refblock, 1);

    block->index = index;
    block->offset = offset;
    block->last_use = q->refcounts.clock++;
    g_hash_table_insert(q->refcounts.blocks, GSIZE_TO_POINTER(index), block);
    return block;
}

int qcow2_refblock_get(struct qcow2 *q, uint64_t index, struct qcow2_refblock **ret_block,
                       struct qcow2_need *need)
{
    struct qcow2_refcounts *refcounts = &q->refcounts;
    struct qcow2_refblock *block;

    if (index >= refcounts->n_entries || refcounts->table[index] == 0)
        return -ENOENT;
    block = refblock_lookup(q, index);
    if (!block || !block->bytes)
        return qcow2_lacks(need, QCOW2_NEED_REFBLOCK, index);
    block->last_use = refcounts->clock++;
    *ret_block = block;
    return 0;
}

static void refblock_mark_dirty(struct qcow2 *q, struct qcow2_refblock *block, uint32_t from,
                                uint32_t to)
{
    if (block->dirty_from == block->dirty_to) {
        block->dirty_from = from;
        block->dirty_to = to;
    } else {
        block->dirty_from = MIN(block->dirty_from, from);
        block->dirty_to = MAX(block->dirty_to, to);
    }
    qcow2_touch(q);
}

void qcow2_refblock_set(struct qcow2 *q, struct qcow2_refblock *block, uint64_t cluster,
                        uint64_t count)
{
    uint64_t index = cluster & ((UINT64_C(1) << qcow2_refblock_bits(q)) - 1);
    uint32_t from = (uint32_t)((index << q->header.refcount_order) / 8) & ~(REFCOUNT_SECTOR - 1);

    qcow2_refcount_encode(block->bytes, q->header.refcount_order, index, count);
    refblock_mark_dirty(q, block, from, from + REFCOUNT_SECTOR);
}

struct qcow2_refblock *qcow2_refblock_create(struct qcow2 *q, uint64_t index, uint64_t cluster)
{
    struct qcow2_refcounts *refcounts = &q->refcounts;
    struct qcow2_refblock *block = refblock_insert(q, index, cluster << q->cluster_bits);

    block->bytes = refblock_alloc_bytes(q);
    memset(block->bytes, 0, q->cluster_size);
    refblock_mark_dirty(q, block, 0, (uint32_t)q->cluster_size);
    refcounts->table[index] = block->offset;
    if (refcounts->dirty_from == refcounts->dirty_to) {
        refcounts->dirty_from = index;
        refcounts->dirty_to = index + 1;
    } else {
        refcounts->dirty_from = MIN(refcounts->dirty_from, index);
        refcounts->dirty_to = MAX(refcounts->dirty_to, index + 1);
    }
    g_hash_table_add(q->metadata, GSIZE_TO_POINTER(cluster));
    if (cluster >> qcow2_refblock_bits(q) == index)
        qcow2_refblock_set(q, block, cluster, 1);
    return block;
}

/* Makes room for one more block; blocks that differ from the disk stay. */
static void refblock_evict(struct qcow2 *q)
{
    struct qcow2_refblock *oldest = NULL, *block;
    GHashTableIter iter;
    gpointer value;

    if (g_hash_table_size(q->refcounts.blocks) < q->refcounts.max_blocks)
        return;
    g_hash_table_iter_init(&iter, q->refcounts.blocks);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        block = value;
        if (block->bytes && block->dirty_from == block->dirty_to && !block->is_writing &&
            (!oldest || block->last_use < oldest->last_use))
            oldest = block;
    }
    if (oldest)
        g_hash_table_remove(q->refcounts.blocks, GSIZE_TO_POINTER(oldest->index));
}

int qcow2_refblock_load(struct qcow2 *q, uint64_t index)
{
    uint64_t offset = q->refcounts.table[index];
    struct qcow2_refblock *block = refblock_lookup(q, index);
    void *bytes;
    int ret;

    if (block && block->bytes)
        return 0;
    if (block) {
        pthread_cond_wait(&q->changed, &q->lock);
        return 0;
    }
    /* All of them dirty: written, they can make room. */
    if (g_hash_table_size(q->refcounts.blocks) >= 2 * q->refcounts.max_blocks) {
        pthread_mutex_unlock(&q->lock);
        ret = qcow2_flush_all(q);
        pthread_mutex_lock(&q->lock);
        if (ret < 0)
            return ret;
    }
    refblock_evict(q);
    if (refblock_lookup(q, index))
        return 0;
    block = refblock_insert(q, index, offset);
    bytes = refblock_alloc_bytes(q);
    pthread_mutex_unlock(&q->lock);
    ret = vblk_storage_read(q->storage, bytes, q->cluster_size, offset);
    pthread_mutex_lock(&q->lock);
    if (ret < 0) {
        free(bytes);
        g_hash_table_remove(q->refcounts.blocks, GSIZE_TO_POINTER(index));
    } else {
        block->bytes = bytes;
    }
    pthread_cond_broadcast(&q->changed);
    return ret;
}

/* --- counts --- */

int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *ret_count,
                       struct qcow2_need *need)
{
    unsigned bits = qcow2_refblock_bits(q);
    struct qcow2_refblock *block;
    int ret = qcow2_refblock_get(q, cluster >> bits, &block, need);

    if (ret == -ENOENT) {
        *ret_count = 0;
        return 0;
    }
    if (ret < 0)
        return ret;
    *ret_count = qcow2_refcount_decode(block->bytes, q->header.refcount_order,
                                       cluster & ((UINT64_C(1) << bits) - 1));
    return 0;
}

int qcow2_refcount_add(struct qcow2 *q, uint64_t cluster, int delta, struct qcow2_need *need)
{
    struct qcow2_refblock *block;
    uint64_t count;
    int ret = qcow2_refcount_get(q, cluster, &count, need);

    if (ret < 0)
        return ret;
    if (delta > 0 && count == qcow2_refcount_max(q->header.refcount_order))
        return -EFBIG;
    if (count == 0)
        return qcow2_mark_corrupt(q, "cluster %" G_GUINT64_FORMAT " is in use but not counted",
                                  cluster);
    ret = qcow2_refblock_get(q, cluster >> qcow2_refblock_bits(q), &block, need);
    g_assert(ret == 0);
    count = delta > 0 ? count + 1 : count - 1;
    qcow2_refblock_set(q, block, cluster, count);
    if (count > 0)
        return 0;
    q->refcounts.hint = MIN(q->refcounts.hint, cluster);
    q->refcounts.row = MIN(q->refcounts.row, cluster);
    /* It may have come to lie within the file since that was measured. */
    q->refcounts.end = MAX(q->refcounts.end, cluster + 1);
    return 0;
}

/* --- opening --- */

static bool refcounts_check_table(struct qcow2 *q, GError **error)
{
    for (uint64_t i = 0; i < q->refcounts.n_entries; i++) {
        uint64_t offset = q->refcounts.table[i];
        const char *what = NULL;

        if (offset == 0)
            continue;
        /* A block is written before the table names it, so it lies inside the file. */
        if ((offset & (q->cluster_size - 1)) != 0 || offset >> q->cluster_bits >= q->refcounts.end)
            what = "has a bad offset";
        else if (!g_hash_table_add(q->metadata, GSIZE_TO_POINTER(offset >> q->cluster_bits)))
            what = "lies in other metadata";
        /* Who only reads needs none of them, and may be here to save what there is. */
        if (what && (q->is_repairing || q->image->read_only)) {
            q->refcounts.table[i] = 0;
            q->refcounts.n_bad++;
        } else if (what) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                        "refcount block %" G_GUINT64_FORMAT
                        " %s: repair the image with \"vblk-img check -r all\"",
                        i, what);
            return false;
        }
    }
    if (q->refcounts.n_bad > 0 && !q->is_repairing)
        vu_warning("%s: entries of its refcount table make no sense", q->name);
    return true;
}

bool qcow2_refcounts_open(struct qcow2 *q, uint64_t cache_len, GError **error)
{
    struct qcow2_refcounts *refcounts = &q->refcounts;
    uint64_t len = (uint64_t)q->header.reftable_clusters << q->cluster_bits;
    int ret;

    refcounts->blocks = g_hash_table_new_full(NULL, NULL, NULL, refblock_free);
    refcounts->max_blocks =
        (unsigned)CLAMP(cache_len >> q->cluster_bits, REFCOUNT_MIN_BLOCKS, REFCOUNT_MAX_BLOCKS);
    refcounts->end = qcow2_clusters_for(q, __atomic_load_n(&q->storage->size, __ATOMIC_RELAXED));
    refcounts->offset = q->header.reftable_offset;
    refcounts->n_clusters = q->header.reftable_clusters;
    refcounts->n_entries = len / sizeof(uint64_t);
    refcounts->table = g_malloc(len);
    ret = vblk_storage_read(q->storage, refcounts->table, len, q->header.reftable_offset);
    if (ret < 0) {
        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(-ret),
                    "cannot read the refcount table: %s", g_strerror(-ret));
        return false;
    }
    for (uint64_t i = 0; i < refcounts->n_entries; i++) {
        uint64_t entry = be64toh(refcounts->table[i]);

        if (q->is_repairing && (entry & QCOW2_REFTABLE_RESERVED))
            refcounts->n_bad++;
        refcounts->table[i] = entry & ~QCOW2_REFTABLE_RESERVED;
    }
    return refcounts_check_table(q, error);
}

void qcow2_refcounts_clear(struct qcow2 *q)
{
    g_clear_pointer(&q->refcounts.blocks, g_hash_table_destroy);
    g_clear_pointer(&q->refcounts.table, g_free);
}
