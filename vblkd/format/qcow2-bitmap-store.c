/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bitmaps to the disk: bits, tables and a new directory go to new places, and the header names the
 * directory when all of that is durable. The old ones are given up afterwards, so whatever happens
 * before leaves a few clusters that nothing refers to, and the bitmaps in use.
 */
#include "vblkd/format/qcow2-bitmap-store.h"

#include <string.h>

#include "vblkd/format/qcow2-bitmap-directory.h"
#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-free.h"
#include "vblkd/format/qcow2-journal-bits.h"
#include "vblkd/format/qcow2-l1.h"
#include "vblkd/format/qcow2-refcount.h"

/* --- tables --- */

static uint64_t table_len_for(const struct qcow2 *q, const struct qcow2_bitmap *bitmap)
{
    uint64_t n_bits = qcow2_bitmap_n_bits(bitmap, q->header.size);

    return qcow2_clusters_for(q, n_bits / 8 + (n_bits % 8 != 0));
}

static int table_read(struct qcow2 *q, const struct qcow2_bitmap *bitmap, uint64_t **ret_entries)
{
    uint64_t len = (uint64_t)bitmap->table_len * sizeof(uint64_t);
    g_autofree uint64_t *entries = NULL;
    int ret;

    if (len > QCOW2_MAX_BITMAP_TABLE_SIZE || bitmap->table_offset == 0 ||
        bitmap->table_offset >= QCOW2_MAX_OFFSET ||
        (bitmap->table_offset & (q->cluster_size - 1)) != 0)
        return -EBADMSG;
    entries = g_malloc(len);
    ret = vblk_storage_read(q->storage, entries, len, bitmap->table_offset);
    for (uint32_t i = 0; ret == 0 && i < bitmap->table_len; i++) {
        entries[i] = be64toh(entries[i]);
        if ((entries[i] & QCOW2_BITMAP_TABLE_RESERVED) ||
            (entries[i] & QCOW2_OFFSET_MASK & (q->cluster_size - 1)) != 0 ||
            ((entries[i] & QCOW2_BITMAP_ALL_ONES) && (entries[i] & QCOW2_OFFSET_MASK)))
            ret = -EBADMSG;
    }
    if (ret == 0)
        *ret_entries = g_steal_pointer(&entries);
    return ret;
}

int qcow2_bitmap_table_read(struct qcow2 *q, const struct qcow2_bitmap *bitmap,
                            uint64_t **ret_entries)
{
    return bitmap->table_len == table_len_for(q, bitmap) ? table_read(q, bitmap, ret_entries)
                                                         : -EBADMSG;
}

/* --- places --- */

/* What one storing has taken, to be given back if it fails. */
struct store {
    struct qcow2 *q;
    GArray *taken; /* struct qcow2_free; the stamp means nothing */
};

static int store_one_step(struct qcow2 *q, void *opaque, struct qcow2_need *need)
{
    return qcow2_clusters_alloc(q, 1, opaque, need);
}

static int store_alloc(struct store *store, uint64_t n, uint64_t *ret_offset)
{
    struct qcow2_run run = {.n = n};
    struct qcow2_free taken = {.n = n};
    int ret;

    if (n == 1)
        ret = qcow2_run(store->q, 0, store_one_step, &run);
    else
        ret = qcow2_l1_alloc_clusters(store->q, n, &run.cluster);
    if (ret < 0)
        return ret;
    taken.cluster = run.cluster;
    g_array_append_val(store->taken, taken);
    *ret_offset = run.cluster << store->q->cluster_bits;
    return 0;
}

static void store_unwind(struct store *store)
{
    pthread_mutex_lock(&store->q->lock);
    for (guint i = 0; i < store->taken->len; i++) {
        const struct qcow2_free *taken = &g_array_index(store->taken, struct qcow2_free, i);

        qcow2_clusters_give_back(store->q, taken->cluster, taken->n);
    }
    pthread_mutex_unlock(&store->q->lock);
}

/* --- one bitmap --- */

static bool store_is_ones(const uint8_t *bytes, uint64_t len)
{
    return bytes[0] == 0xff && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* One cluster of bits; what its entry becomes. */
static int store_write_bits(struct store *store, struct qcow2_bits *bits, uint64_t at,
                            uint8_t *bytes, be64_t *ret_entry)
{
    struct qcow2 *q = store->q;
    uint64_t offset = 0;
    int ret;

    *ret_entry = be64_from(0);
    if (!qcow2_bits_encode(bits, at, q->cluster_size, bytes))
        return 0;
    if (store_is_ones(bytes, q->cluster_size)) {
        *ret_entry = be64_from(QCOW2_BITMAP_ALL_ONES);
        return 0;
    }
    ret = store_alloc(store, 1, &offset);
    if (ret == 0)
        ret = vblk_storage_write(q->storage, bytes, q->cluster_size, offset);
    *ret_entry = be64_from(offset);
    return ret;
}

/* Bits and table at new places, of which `next` says where. */
static int store_write_bitmap(struct store *store, struct qcow2_bitmap *next)
{
    struct qcow2 *q = store->q;
    uint64_t n = table_len_for(q, next);
    uint64_t n_clusters = MAX(1, qcow2_clusters_for(q, n * sizeof(be64_t)));
    g_autofree uint8_t *bytes = g_malloc(q->cluster_size);
    g_autofree be64_t *entries = g_malloc0(n_clusters << q->cluster_bits);
    int ret = 0;

    for (uint64_t i = 0; i < n && ret == 0; i++)
        ret = store_write_bits(store, next->bits, i << q->cluster_bits, bytes, &entries[i]);
    if (ret == 0)
        ret = store_alloc(store, n_clusters, &next->table_offset);
    if (ret == 0)
        ret = vblk_storage_write(q->storage, entries, n_clusters << q->cluster_bits,
                                 next->table_offset);
    next->table_len = (uint32_t)n;
    return ret;
}

static bool store_must_write(const struct qcow2_bitmap *bitmap)
{
    return !bitmap->is_removed && bitmap->bits &&
           __atomic_load_n(&bitmap->is_changed, __ATOMIC_RELAXED);
}

/* A table that is no longer named, and what it names. One that makes no sense leaks. */
static void store_give_up(struct qcow2 *q, const struct qcow2_bitmap *old)
{
    g_autofree uint64_t *entries = NULL;

    if (old->table_offset == 0 || table_read(q, old, &entries) < 0)
        return;
    pthread_mutex_lock(&q->lock);
    for (uint32_t i = 0; i < old->table_len; i++) {
        if (entries[i] & QCOW2_OFFSET_MASK)
            qcow2_free_later(q, (entries[i] & QCOW2_OFFSET_MASK) >> q->cluster_bits, 1);
    }
    qcow2_free_later(q, old->table_offset >> q->cluster_bits,
                     qcow2_clusters_for(q, (uint64_t)old->table_len * sizeof(uint64_t)));
    pthread_mutex_unlock(&q->lock);
}

/* --- the directory --- */

/* At a new place, durable with all that it names; then the header says so. */
static int store_write_directory(struct store *store, const GPtrArray *bitmaps)
{
    struct qcow2 *q = store->q;
    struct qcow2_header old = q->header;
    uint32_t n;
    g_autoptr(GByteArray) bytes = qcow2_bitmap_directory_encode(bitmaps, false, &n);
    uint64_t offset = 0;
    int ret = 0;

    if (bytes->len > QCOW2_MAX_BITMAPS_SIZE || n > QCOW2_MAX_BITMAPS)
        return -EFBIG;
    if (n > 0)
        ret = store_alloc(store, qcow2_clusters_for(q, bytes->len), &offset);
    if (ret == 0 && n > 0)
        ret = vblk_storage_write(q->storage, bytes->data, bytes->len, offset);
    if (ret == 0)
        ret = qcow2_flush_all_held(q);
    if (ret < 0)
        return ret;
    q->header.has_bitmaps = n > 0;
    q->header.n_bitmaps = n;
    q->header.bitmaps_size = bytes->len;
    q->header.bitmaps_offset = offset;
    q->header.autoclear &= ~QCOW2_AUTOCLEAR_BITMAPS;
    q->header.autoclear |= n > 0 ? QCOW2_AUTOCLEAR_BITMAPS : 0;
    /* If it fails, either may be on the disk: the new places stay taken. */
    g_array_set_size(store->taken, 0);
    ret = qcow2_write_header_held(q);
    if (ret < 0) {
        q->header.has_bitmaps = old.has_bitmaps;
        q->header.n_bitmaps = old.n_bitmaps;
        q->header.bitmaps_size = old.bitmaps_size;
        q->header.bitmaps_offset = old.bitmaps_offset;
        q->header.autoclear = old.autoclear;
    }
    return ret;
}

/* Copies that say where things will be; strings and bits stay the originals'. */
static GPtrArray *store_plan(const GPtrArray *bitmaps)
{
    GPtrArray *next = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < bitmaps->len; i++)
        g_ptr_array_add(next,
                        g_memdup2(g_ptr_array_index(bitmaps, i), sizeof(struct qcow2_bitmap)));
    return next;
}

/* The disk has it: what was there before is given up, the list says what is there now. */
static void store_settle(struct qcow2 *q, const GPtrArray *next)
{
    for (guint i = q->bitmaps->len; i-- > 0;) {
        struct qcow2_bitmap *bitmap = g_ptr_array_index(q->bitmaps, i);
        const struct qcow2_bitmap *now = g_ptr_array_index(next, i);

        if (bitmap->is_removed || bitmap->table_offset != now->table_offset)
            store_give_up(q, bitmap);
        bitmap->table_offset = now->table_offset;
        bitmap->table_len = now->table_len;
        bitmap->is_held = bitmap->is_changed = false;
        g_clear_pointer(&bitmap->bits, qcow2_bits_destroy);
        if (bitmap->is_removed)
            g_ptr_array_remove_index(q->bitmaps, i);
    }
    qcow2_journal_forget_bits(q);
    __atomic_store_n(&q->n_tracked, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&q->is_prepared, false, __ATOMIC_RELEASE);
}

static bool store_is_needed(const GPtrArray *bitmaps)
{
    for (guint i = 0; i < bitmaps->len; i++) {
        const struct qcow2_bitmap *bitmap = g_ptr_array_index(bitmaps, i);

        if (bitmap->is_held || bitmap->is_changed || bitmap->is_removed)
            return true;
    }
    return false;
}

int qcow2_bitmaps_store(struct qcow2 *q)
{
    struct store store = {.q = q};
    bool has_old = q->header.has_bitmaps && (q->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS);
    uint64_t old_offset = q->header.bitmaps_offset, old_len = has_old ? q->header.bitmaps_size : 0;
    g_autoptr(GPtrArray) next = NULL;
    int ret = 0;

    if (!q->bitmaps || !store_is_needed(q->bitmaps))
        return 0;
    next = store_plan(q->bitmaps);
    store.taken = g_array_new(FALSE, FALSE, sizeof(struct qcow2_free));
    for (guint i = 0; i < next->len && ret == 0; i++) {
        if (store_must_write(g_ptr_array_index(next, i)))
            ret = store_write_bitmap(&store, g_ptr_array_index(next, i));
    }
    if (ret == 0)
        ret = store_write_directory(&store, next);
    if (ret < 0) {
        store_unwind(&store);
    } else {
        store_settle(q, next);
        pthread_mutex_lock(&q->lock);
        qcow2_free_later(q, old_offset >> q->cluster_bits, qcow2_clusters_for(q, old_len));
        pthread_mutex_unlock(&q->lock);
    }
    g_array_free(store.taken, TRUE);
    return ret;
}
