/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resizing. A larger disk may need a longer L1 table, which is written elsewhere before the header
 * names it; a smaller one gives up its clusters before the header says so.
 */
#include "vblkd/format/qcow2-l1.h"

#include <gio/gio.h>
#include <string.h>

#include "vblkd/format/qcow2-bitmap.h"
#include "vblkd/format/qcow2-discard.h"
#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-free.h"
#include "vblkd/format/qcow2-refcount.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

struct l1_alloc {
    uint64_t n, cluster;
};

static int l1_alloc_step(struct qcow2 *q, void *opaque, struct qcow2_need *need)
{
    struct l1_alloc *alloc = opaque;

    return qcow2_clusters_alloc_all(q, alloc->n, &alloc->cluster, need);
}

int qcow2_l1_alloc_clusters(struct qcow2 *q, uint64_t n, uint64_t *ret_cluster)
{
    struct l1_alloc alloc = {.n = n};
    int ret = qcow2_run(q, 0, l1_alloc_step, &alloc);

    if (ret == 0)
        *ret_cluster = alloc.cluster;
    return ret;
}

static void l1_give_back(struct qcow2 *q, uint64_t cluster, uint64_t n)
{
    pthread_mutex_lock(&q->lock);
    qcow2_clusters_give_back(q, cluster, n);
    pthread_mutex_unlock(&q->lock);
}

/* The table at its new place, counted, and durable. */
static int l1_write_new(struct qcow2 *q, const uint64_t *entries, uint32_t n, uint64_t offset)
{
    uint64_t len = qcow2_clusters_for(q, (uint64_t)n * 8) << q->cluster_bits;
    g_autofree be64_t *words = g_malloc0(len);
    int ret;

    for (uint32_t i = 0; i < n; i++)
        words[i] = be64_from(entries[i]);
    ret = vblk_storage_write(q->storage, words, len, offset);
    return ret == 0 ? qcow2_flush_all_held(q) : ret;
}

/*
 * The header names the new table, or, if it could not be written, the old one again. Where the disk
 * cannot be told either, it has one of them, and both stay as they are.
 */
static int l1_switch(struct qcow2 *q, const struct qcow2_header *old, uint64_t offset, uint32_t n,
                     uint64_t size)
{
    int ret;

    pthread_mutex_lock(&q->lock);
    q->header.l1_offset = offset;
    q->header.l1_size = n;
    q->header.size = size;
    pthread_mutex_unlock(&q->lock);
    ret = qcow2_write_header_held(q);
    if (ret == 0)
        return 0;
    pthread_mutex_lock(&q->lock);
    q->header = *old;
    pthread_mutex_unlock(&q->lock);
    if (qcow2_write_header_held(q) < 0)
        qcow2_mark_corrupt(q, "its header could not be written: %s", g_strerror(-ret));
    return ret;
}

int qcow2_l1_replace(struct qcow2 *q, const uint64_t *entries, uint32_t n, uint64_t size)
{
    struct qcow2_header old = q->header;
    uint64_t n_clusters = qcow2_clusters_for(q, (uint64_t)n * 8), cluster = 0;
    int ret = qcow2_l1_alloc_clusters(q, n_clusters, &cluster);

    if (ret < 0)
        return ret;
    ret = l1_write_new(q, entries, n, cluster << q->cluster_bits);
    old.reftable_offset = q->header.reftable_offset;
    old.reftable_clusters = q->header.reftable_clusters;
    if (ret == 0)
        ret = l1_switch(q, &old, cluster << q->cluster_bits, n, size);
    if (ret < 0) {
        l1_give_back(q, cluster, n_clusters);
        return ret;
    }
    pthread_mutex_lock(&q->lock);
    for (uint32_t i = 0; i < n; i++) {
        __atomic_store_n(&q->l1.entries[i], entries[i], __ATOMIC_RELEASE);
        if (entries[i] & QCOW2_OFFSET_MASK)
            g_hash_table_add(q->metadata,
                             GSIZE_TO_POINTER((entries[i] & QCOW2_OFFSET_MASK) >> q->cluster_bits));
    }
    q->l1.n_entries = n;
    qcow2_free_later(q, old.l1_offset >> q->cluster_bits,
                     qcow2_clusters_for(q, (uint64_t)old.l1_size * 8));
    pthread_mutex_unlock(&q->lock);
    return 0;
}

/* --- resizing --- */

/* There is a backing image, and it is not known how large. */
static bool resize_is_blind(const struct qcow2 *q)
{
    return q->header.backing_name && !q->image->backing;
}

static bool resize_check(const struct qcow2 *q, uint64_t size, GError **error)
{
    const char *why = NULL;

    if (q->image->read_only || qcow2_is_corrupt(q))
        why = "the image is read-only";
    else if (size % 512 != 0)
        why = "the new size must be a multiple of 512";
    else if (size > INT64_MAX / 2 ||
             qcow2_header_l1_entries(&q->header, size) * 8 > QCOW2_MAX_L1_SIZE)
        why = "the new size is too large for the image's cluster size";
    else if (q->header.n_snapshots > 0 && q->header.version < 3)
        why = "an image of version 2 with snapshots cannot be resized";
    else if (q->has_data_file && q->data_storage == q->storage)
        why = "its data file is not open";
    else if (size > q->header.size && resize_is_blind(q) && q->header.version < 3)
        why = "its backing file is not open, and might show in what is new";
    if (why)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "%s: %s", q->name, why);
    return why == NULL;
}

/* A backing image that is larger must not show in what is new. */
static int resize_hide_backing(struct qcow2 *q, uint64_t from, uint64_t to)
{
    uint64_t end = q->image->backing ? MIN(to, q->image->backing->size) : 0;
    int ret = 0;

    if (resize_is_blind(q))
        end = to;
    for (uint64_t part; ret == 0 && from < end; from += part) {
        part = MIN(end - from, VBLK_REQUEST_MAX);
        ret = qcow2_zero(q->image, from, part, true);
    }
    return ret == 0 ? qcow2_flush_all_held(q) : ret;
}

static int resize_grow(struct qcow2 *q, uint64_t size)
{
    uint64_t old_size = q->header.size, n = qcow2_header_l1_entries(&q->header, size);
    g_autofree uint64_t *entries = NULL;
    int ret = 0;

    if (q->has_data_file)
        ret = vblk_storage_truncate(q->data_storage, size);
    if (ret == 0 && n > q->l1.n_entries) {
        entries = g_new0(uint64_t, n);
        memcpy(entries, q->l1.entries, (size_t)q->l1.n_entries * 8);
        ret = qcow2_l1_replace(q, entries, (uint32_t)n, old_size);
    }
    if (ret < 0)
        return ret;
    __atomic_store_n(&q->image->size, size, __ATOMIC_RELEASE);
    ret = resize_hide_backing(q, old_size, size);
    if (ret == 0) {
        q->header.size = size;
        ret = qcow2_write_header_held(q);
    }
    if (ret < 0) {
        q->header.size = old_size;
        __atomic_store_n(&q->image->size, old_size, __ATOMIC_RELEASE);
    }
    return ret;
}

/*
 * What is to go reads as zeros before the size says that it has gone: after a power cut in between
 * nothing of a backing image shows there, and should the disk grow again, it is zeros. Version 2
 * could say that by allocating alone, so there it is forgotten at once. Flushed when this returns.
 */
static int resize_clear(struct qcow2 *q, uint64_t from, uint64_t rest, uint64_t to)
{
    bool can_say_zero = q->header.version >= 3;
    int ret = 0;

    if (can_say_zero || rest > 0)
        ret = qcow2_zero(q->image, from, can_say_zero ? to - from : rest, true);
    if (ret == 0 && !can_say_zero)
        ret = qcow2_forget_range(q->image, from + rest, to - from - rest);
    return ret == 0 ? qcow2_flush_all_held(q) : ret;
}

static int resize_shrink(struct qcow2 *q, uint64_t size)
{
    uint64_t old_size = q->header.size;
    uint64_t rest = MIN(old_size - size, -size & (q->cluster_size - 1));
    int ret = resize_clear(q, size, rest, old_size);

    if (ret < 0)
        return ret;
    q->header.size = size;
    ret = qcow2_write_header_held(q);
    if (ret < 0) {
        q->header.size = old_size;
        return ret;
    }
    __atomic_store_n(&q->image->size, size, __ATOMIC_RELEASE);
    qcow2_bitmaps_shrink(q, size);
    /* Entries that say zeros are no use there any more: version 2, which the image may become, has
     * none. */
    ret = qcow2_forget_range(q->image, size + rest, old_size - size - rest);
    if (ret == 0)
        ret = qcow2_flush_all_held(q);
    if (ret < 0)
        vu_warning("%s: entries are left behind its end: %s", q->name, g_strerror(-ret));
    return q->has_data_file ? vblk_storage_truncate(q->data_storage, size) : 0;
}

bool qcow2_resize(struct vblk_image *image, uint64_t size, GError **error)
{
    struct qcow2 *q = qcow2_of(image);
    int ret;

    if (!resize_check(q, size, error))
        return false;
    ret = qcow2_prepare(q);
    if (ret == 0) {
        VU_LOCK_SCOPE(&q->flush_lock);
        ret = qcow2_flush_all_held(q);
        if (ret == 0)
            ret = qcow2_bitmaps_grow(q, size);
        if (ret == 0)
            ret = size > q->header.size ? resize_grow(q, size) : resize_shrink(q, size);
    }
    if (ret < 0)
        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(-ret),
                    "%s: cannot be resized: %s", q->name,
                    ret == -EBUSY ? "a bitmap is inconsistent; remove it first" : g_strerror(-ret));
    return ret == 0;
}
