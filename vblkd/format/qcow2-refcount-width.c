/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refcounts of another width: a table and blocks that count everything, themselves and the old ones
 * too, are written behind the end of the file. Then the header names them, and the old ones are
 * given up. An end before that leaves the image as it was; one after it, leaks at worst.
 */
#include <string.h>

#include "vblkd/format/qcow2-amend.h"
#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-free.h"
#include "vblkd/format/qcow2-refcount.h"
#include "vhost-user/cleanup.h"

#define WIDTH_CACHE_LEN (UINT64_C(8) << 20)

/* The new ones: blocks [start, start + n_blocks), then the table. Clusters. */
struct width {
    struct qcow2 *q;
    unsigned order;
    uint64_t per_block, start, n_blocks, n_table;
    uint64_t cluster; /* the one that counts too many, after -ERANGE */
};

static uint64_t width_end(const struct width *width)
{
    return width->start + width->n_blocks + width->n_table;
}

struct width_count {
    uint64_t cluster, count;
};

static int width_count_step(struct qcow2 *q, void *opaque, struct qcow2_need *need)
{
    struct width_count *look = opaque;

    return qcow2_refcount_get(q, look->cluster, &look->count, need);
}

/* Behind all that is used; a block device ends further on. */
static int width_find_start(struct width *width)
{
    struct qcow2 *q = width->q;
    struct width_count look = {.count = 0};
    int ret = 0;

    width->start = q->refcounts.end;
    for (; q->storage->is_block_device && width->start > 0 && ret == 0; width->start--) {
        look.cluster = width->start - 1;
        ret = qcow2_run(q, 0, width_count_step, &look);
        if (look.count > 0)
            break;
    }
    return ret;
}

static int width_lay_out(struct width *width)
{
    struct qcow2 *q = width->q;
    uint64_t n_blocks;
    int ret = width_find_start(width);

    if (ret < 0)
        return ret;
    width->per_block = q->cluster_size * 8 >> width->order;
    for (;;) {
        n_blocks = (width_end(width) + width->per_block - 1) / width->per_block;
        if (n_blocks == width->n_blocks)
            break;
        width->n_blocks = n_blocks;
        width->n_table = qcow2_clusters_for(q, n_blocks * sizeof(be64_t));
    }
    if (width->n_table << q->cluster_bits > MAX(QCOW2_MAX_REFTABLE_SIZE, q->cluster_size))
        return -EFBIG;
    if (q->storage->is_block_device && width_end(width) << q->cluster_bits > q->storage->size)
        return -ENOSPC;
    return 0;
}

static int width_write_block(struct width *width, uint64_t index, uint8_t *block)
{
    struct qcow2 *q = width->q;
    uint64_t first = index * width->per_block;
    uint64_t end = MIN(first + width->per_block, width_end(width));

    memset(block, 0, q->cluster_size);
    for (uint64_t c = first; c < end; c++) {
        struct width_count look = {.cluster = c, .count = 1};
        int ret = c < width->start ? qcow2_run(q, 0, width_count_step, &look) : 0;

        width->cluster = c;
        if (ret < 0)
            return ret;
        if (look.count > qcow2_refcount_max(width->order))
            return -ERANGE;
        qcow2_refcount_encode(block, width->order, c - first, look.count);
    }
    return vblk_storage_write(q->storage, block, q->cluster_size,
                              (width->start + index) << q->cluster_bits);
}

static int width_write(struct width *width)
{
    struct qcow2 *q = width->q;
    g_autofree uint8_t *block = g_malloc(q->cluster_size);
    g_autofree be64_t *table = g_malloc0(width->n_table << q->cluster_bits);
    int ret = 0;

    for (uint64_t i = 0; i < width->n_blocks && ret == 0; i++) {
        ret = width_write_block(width, i, block);
        table[i] = be64_from((width->start + i) << q->cluster_bits);
    }
    if (ret == 0)
        ret = vblk_storage_write(q->storage, table, width->n_table << q->cluster_bits,
                                 (width->start + width->n_blocks) << q->cluster_bits);
    if (ret == 0)
        ret = vblk_storage_refresh_size(q->storage);
    return ret == 0 ? vblk_storage_flush(q->storage) : ret;
}

/* The header has named the new ones: in memory too, and the old ones are given up. */
static bool width_switch(struct qcow2 *q, GError **error)
{
    struct qcow2_refcounts old = q->refcounts;
    int ret;

    for (uint64_t i = 0; i < old.n_entries; i++)
        g_hash_table_remove(q->metadata, GSIZE_TO_POINTER(old.table[i] >> q->cluster_bits));
    memset(&q->refcounts, 0, sizeof(q->refcounts));
    if (!qcow2_refcounts_open(q, WIDTH_CACHE_LEN, error)) {
        qcow2_mark_corrupt(q, "the new refcounts cannot be read back");
        g_hash_table_destroy(old.blocks);
        g_free(old.table);
        return false;
    }
    pthread_mutex_lock(&q->lock);
    for (uint64_t i = 0; i < old.n_entries; i++)
        if (old.table[i])
            qcow2_free_later(q, old.table[i] >> q->cluster_bits, 1);
    qcow2_free_later(q, old.offset >> q->cluster_bits, old.n_clusters);
    pthread_mutex_unlock(&q->lock);
    g_hash_table_destroy(old.blocks);
    g_free(old.table);
    /* Once to free what was given up, and once more to write that. */
    ret = qcow2_flush_all_held(q);
    if (ret == 0)
        ret = qcow2_flush_all_held(q);
    return ret == 0 || qcow2_amend_refuse(error, "%s", g_strerror(-ret));
}

static bool width_fail(const struct width *width, int err, GError **error)
{
    if (err == -ERANGE)
        return qcow2_amend_refuse(error,
                                  "cluster %" PRIu64 " is referred to more often than %u bits can "
                                  "count",
                                  width->cluster, 1u << width->order);
    return qcow2_amend_refuse(error, "refcounts cannot be written anew: %s", g_strerror(-err));
}

bool qcow2_amend_refcount_bits(struct vblk_image *image, unsigned n_bits, GError **error)
{
    struct qcow2 *q = qcow2_of(image);
    struct width width = {.q = q};
    struct qcow2_header old;
    int ret;

    if (n_bits == 0 || n_bits > 64 || (n_bits & (n_bits - 1)) != 0)
        return qcow2_amend_refuse(error, "refcount_bits is a power of two from 1 to 64");
    width.order = (unsigned)__builtin_ctz(n_bits);
    VU_LOCK_SCOPE(&q->flush_lock);
    if (width.order == q->header.refcount_order)
        return true;
    if (q->header.version < 3)
        return qcow2_amend_refuse(error, "refcount_bits other than 16 need compat=1.1 or later");
    if (!qcow2_amend_begin(q, error))
        return false;
    ret = width_lay_out(&width);
    if (ret == 0)
        ret = width_write(&width);
    if (ret < 0)
        return width_fail(&width, ret, error);
    old = q->header;
    q->header.refcount_order = width.order;
    q->header.reftable_offset = (width.start + width.n_blocks) << q->cluster_bits;
    q->header.reftable_clusters = (uint32_t)width.n_table;
    return qcow2_amend_write(q, &old, error) && width_switch(q, error);
}
