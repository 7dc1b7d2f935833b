/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots are L1 tables of their own. Each step leaves clusters that are counted too often, never
 * too seldom: references are counted before a table has them, and given up after it has lost them.
 */
#include "vblkd/format/qcow2-snapshot.h"

#include <gio/gio.h>
#include <stdlib.h>
#include <string.h>

#include "vblkd/format/qcow2-check-walk.h"
#include "vblkd/format/qcow2-compressed.h"
#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-free.h"
#include "vblkd/format/qcow2-l1.h"
#include "vblkd/format/qcow2-l2-table.h"
#include "vblkd/format/qcow2-refcount.h"
#include "vblkd/format/qcow2-snapshot-table.h"
#include "vhost-user/cleanup.h"

/* --- references of an L1 table --- */

static int snapshot_add_step(struct qcow2 *q, void *opaque, struct qcow2_need *need)
{
    return qcow2_refcount_add(q, *(const uint64_t *)opaque, 1, need);
}

/* n clusters get one reference more, or (give_up) lose one. */
static int snapshot_refer(struct qcow2 *q, uint64_t cluster, uint64_t n, bool give_up)
{
    int ret = 0;

    if (give_up) {
        pthread_mutex_lock(&q->lock);
        qcow2_free_later(q, cluster, n);
        pthread_mutex_unlock(&q->lock);
        return 0;
    }
    for (uint64_t c = cluster; c < cluster + n && ret == 0; c++)
        ret = qcow2_run(q, 0, snapshot_add_step, &c);
    return ret;
}

static int snapshot_refer_entry(struct qcow2 *q, uint64_t entry, bool give_up)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK;
    uint32_t len = (uint32_t)q->cluster_size;

    if (entry & QCOW2_COMPRESSED)
        qcow2_compressed_place(q, entry, &offset, &len);
    else if (offset == 0)
        return 0;
    else if ((entry & QCOW2_L2_RESERVED) || (offset & (q->cluster_size - 1)) != 0)
        return qcow2_mark_corrupt(q, "L2 entry %#" PRIx64 " makes no sense", entry);
    return snapshot_refer(q, offset >> q->cluster_bits,
                          ((offset + len - 1) >> q->cluster_bits) - (offset >> q->cluster_bits) + 1,
                          give_up);
}

static int snapshot_refer_table(struct qcow2 *q, uint64_t offset, bool give_up)
{
    g_autofree be64_t *words = g_malloc(q->cluster_size);
    unsigned width = q->has_extended_l2 ? 2 : 1;
    int ret = vblk_storage_read(q->storage, words, q->cluster_size, offset);

    for (uint64_t i = 0; ret == 0 && i < q->cluster_size / 8; i += width)
        ret = snapshot_refer_entry(q, be64_value(words[i]), give_up);
    return ret == 0 ? snapshot_refer(q, offset >> q->cluster_bits, 1, give_up) : ret;
}

/* Everything that an L1 table refers to. */
static int snapshot_refer_all(struct qcow2 *q, const uint64_t *entries, uint32_t n, bool give_up)
{
    int ret = 0;

    for (uint32_t i = 0; i < n && ret == 0; i++) {
        uint64_t offset = entries[i] & QCOW2_OFFSET_MASK;

        if ((entries[i] & QCOW2_L1_RESERVED) || (offset & (q->cluster_size - 1)) != 0)
            ret = qcow2_mark_corrupt(q, "L1 entry %#" PRIx64 " makes no sense", entries[i]);
        else if (offset)
            ret = snapshot_refer_table(q, offset, give_up);
    }
    return ret;
}

static int snapshot_read_l1(struct qcow2 *q, const struct qcow2_snapshot *snapshot,
                            uint64_t **ret_entries)
{
    uint64_t len = (uint64_t)snapshot->l1_size * 8;
    g_autofree uint64_t *entries = g_malloc(len);
    int ret = vblk_storage_read(q->storage, entries, len, snapshot->l1_offset);

    if (ret < 0)
        return ret;
    for (uint32_t i = 0; i < snapshot->l1_size; i++)
        entries[i] = be64toh(entries[i]) & ~QCOW2_COPIED;
    *ret_entries = g_steal_pointer(&entries);
    return 0;
}

/* --- flags of the active tables --- */

/* Until refcounts say otherwise, nothing is ours alone: every write copies. */
static int snapshot_clear_copied_l2(struct qcow2 *q, uint64_t offset)
{
    g_autofree be64_t *words = g_malloc(q->cluster_size);
    unsigned width = q->has_extended_l2 ? 2 : 1;
    int ret = vblk_storage_read(q->storage, words, q->cluster_size, offset);

    for (uint64_t i = 0; ret == 0 && i < q->cluster_size / 8; i += width) {
        uint64_t word = be64_value(words[i]);

        if (!(word & QCOW2_COMPRESSED))
            words[i] = be64_from(word & ~QCOW2_COPIED);
    }
    return ret == 0 ? vblk_storage_write(q->storage, words, q->cluster_size, offset) : ret;
}

static int snapshot_clear_copied(struct qcow2 *q)
{
    g_autofree be64_t *words = g_new(be64_t, q->l1.n_entries);
    int ret = 0;

    for (uint32_t i = 0; i < q->l1.n_entries && ret == 0; i++) {
        uint64_t entry = q->l1.entries[i];

        /* A table that is shared already has no such flags. */
        if (entry & QCOW2_COPIED)
            ret = snapshot_clear_copied_l2(q, entry & QCOW2_OFFSET_MASK);
        words[i] = be64_from(entry & ~QCOW2_COPIED);
    }
    if (ret == 0)
        ret = vblk_storage_write(q->storage, words, (uint64_t)q->l1.n_entries * 8,
                                 q->header.l1_offset);
    if (ret < 0)
        return ret;
    for (uint32_t i = 0; i < q->l1.n_entries; i++)
        __atomic_store_n(&q->l1.entries[i], be64_value(words[i]), __ATOMIC_RELEASE);
    return vblk_storage_flush(q->storage);
}

/* Once to free what was given up, and once more to write that. */
static int snapshot_flush(struct qcow2 *q)
{
    int ret = qcow2_flush_all_held(q);

    return ret == 0 ? qcow2_flush_all_held(q) : ret;
}

/* Frees what was given up, and sets the flags of what is ours alone by now. */
static int snapshot_settle(struct qcow2 *q)
{
    struct qcow2_check_result result = {0};
    struct qcow2_check check = {.q = q, .fix = QCOW2_FIX_FLAGS, .result = &result};
    int ret = snapshot_flush(q);

    qcow2_l2_cache_empty(&q->l2);
    check.n_counts = UINT64_MAX;
    if (ret == 0)
        ret = qcow2_check_flags(&check);
    return ret == 0 ? qcow2_flush_all_held(q) : ret;
}

/* --- the operations, by who holds flush_lock --- */

static char *snapshot_new_id(const GPtrArray *snapshots)
{
    unsigned long max = 0;

    for (guint i = 0; i < snapshots->len; i++) {
        const struct qcow2_snapshot *snapshot = g_ptr_array_index(snapshots, i);

        max = MAX(max, strtoul(snapshot->id, NULL, 10));
    }
    return g_strdup_printf("%lu", max + 1);
}

static int snapshot_create(struct qcow2 *q, GPtrArray *snapshots, struct qcow2_snapshot *snapshot)
{
    uint64_t n = qcow2_clusters_for(q, (uint64_t)q->l1.n_entries * 8), cluster = 0;
    g_autofree be64_t *words = g_malloc0(n << q->cluster_bits);
    int ret = snapshot_clear_copied(q);

    qcow2_l2_cache_empty(&q->l2);
    if (ret == 0)
        ret = snapshot_refer_all(q, q->l1.entries, q->l1.n_entries, false);
    if (ret == 0)
        ret = qcow2_l1_alloc_clusters(q, n, &cluster);
    for (uint32_t i = 0; i < q->l1.n_entries; i++)
        words[i] = be64_from(q->l1.entries[i]);
    if (ret == 0)
        ret =
            vblk_storage_write(q->storage, words, n << q->cluster_bits, cluster << q->cluster_bits);
    snapshot->l1_offset = cluster << q->cluster_bits;
    snapshot->l1_size = q->l1.n_entries;
    g_ptr_array_add(snapshots, snapshot);
    return ret == 0 ? qcow2_snapshot_table_write(q, snapshots) : ret;
}

static int snapshot_apply(struct qcow2 *q, GPtrArray *snapshots, guint index)
{
    const struct qcow2_snapshot *snapshot = g_ptr_array_index(snapshots, index);
    uint32_t n_old = q->l1.n_entries, n_needed, n;
    g_autofree uint64_t *old = g_memdup2(q->l1.entries, (size_t)n_old * 8);
    g_autofree uint64_t *entries = NULL, *all = NULL;
    int ret = snapshot_read_l1(q, snapshot, &entries);

    if (ret < 0)
        return ret;
    if (qcow2_header_l1_entries(&q->header, snapshot->disk_size) * 8 > QCOW2_MAX_L1_SIZE)
        return -EBADMSG;
    n_needed = (uint32_t)qcow2_header_l1_entries(&q->header, snapshot->disk_size);
    n = MAX(MAX(n_needed, snapshot->l1_size), 1);
    all = g_new0(uint64_t, n);
    if (snapshot->l1_size > 0)
        memcpy(all, entries, (size_t)snapshot->l1_size * 8);
    ret = snapshot_refer_all(q, all, n, false);
    if (ret == 0)
        ret = qcow2_flush_all_held(q);
    if (ret == 0)
        ret = qcow2_l1_replace(q, all, n, snapshot->disk_size);
    if (ret < 0)
        return ret;
    qcow2_l2_cache_empty(&q->l2);
    __atomic_store_n(&q->image->size, snapshot->disk_size, __ATOMIC_RELEASE);
    return snapshot_refer_all(q, old, n_old, true);
}

static int snapshot_delete(struct qcow2 *q, GPtrArray *snapshots, guint index)
{
    const struct qcow2_snapshot *snapshot = g_ptr_array_index(snapshots, index);
    uint64_t l1_offset = snapshot->l1_offset;
    uint32_t l1_size = snapshot->l1_size;
    g_autofree uint64_t *entries = NULL;
    int ret = snapshot_read_l1(q, snapshot, &entries);

    if (ret < 0)
        return ret;
    g_ptr_array_remove_index(snapshots, index);
    ret = qcow2_snapshot_table_write(q, snapshots);
    if (ret == 0)
        ret = snapshot_refer_all(q, entries, l1_size, true);
    return ret == 0 ? snapshot_refer(q, l1_offset >> q->cluster_bits,
                                     qcow2_clusters_for(q, (uint64_t)l1_size * 8), true)
                    : ret;
}

/* --- what others call --- */

static bool snapshot_fail(struct qcow2 *q, int err, const char *what, GError **error)
{
    const char *why = g_strerror(-err);

    /* QEMU has none there either. */
    if (err == -ENOTSUP && q->has_data_file)
        why = "an image whose data is in an external file has no snapshots inside";
    else if (err == -ENOTSUP && qcow2_refcount_max(q->header.refcount_order) < 2)
        why = "its refcounts have one bit only, so that nothing can be shared";
    g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(-err), "%s: %s: %s", q->name, what,
                why);
    return false;
}

GPtrArray *qcow2_snapshot_list(struct vblk_image *image, GError **error)
{
    struct qcow2 *q = qcow2_of(image);
    GPtrArray *snapshots;
    uint64_t len;
    int ret = qcow2_snapshot_table_read(q, &snapshots, &len);

    if (ret == 0)
        return snapshots;
    snapshot_fail(q, ret, "the snapshot table cannot be read", error);
    return NULL;
}

int qcow2_snapshot_find(const GPtrArray *snapshots, const char *id_or_name)
{
    for (int by_name = 0; by_name < 2; by_name++) {
        for (guint i = 0; i < snapshots->len; i++) {
            const struct qcow2_snapshot *snapshot = g_ptr_array_index(snapshots, i);

            if (strcmp(by_name ? snapshot->name : snapshot->id, id_or_name) == 0)
                return (int)i;
        }
    }
    return -1;
}

/* While refcounts and flags change, each in its turn, the header says that they may not agree: then
 * whoever opens the image after a power cut sets them right. */
static int snapshot_mark(struct qcow2 *q, bool may_disagree)
{
    if (q->header.version < 3)
        return 0;
    pthread_mutex_lock(&q->lock);
    q->header.incompatible &= ~QCOW2_INCOMPAT_DIRTY;
    q->header.incompatible |= may_disagree ? QCOW2_INCOMPAT_DIRTY : 0;
    pthread_mutex_unlock(&q->lock);
    return qcow2_write_header_held(q);
}

/*
 * What failed half-way leaves references counted that there are not: they are counted anew, once
 * the header on the disk, which may be one that could not be written, surely is ours.
 */
static int snapshot_end(struct qcow2 *q, int ret)
{
    struct qcow2_check_result result;

    if (ret == 0)
        return snapshot_mark(q, false);
    if (!qcow2_is_corrupt(q) && qcow2_write_header_held(q) == 0)
        qcow2_check(q->image, QCOW2_FIX_LEAKS | QCOW2_FIX_ERRORS, NULL, NULL, &result);
    return ret;
}

/* Everything on the disk, and nobody else about. */
static int snapshot_begin(struct qcow2 *q)
{
    int ret;

    if (q->image->read_only)
        return -EROFS;
    if (q->has_data_file)
        return -ENOTSUP;
    ret = qcow2_prepare(q);
    if (ret == 0)
        ret = qcow2_flush_all_held(q);
    if (ret == 0 && qcow2_is_corrupt(q))
        ret = -EIO;
    return ret == 0 ? snapshot_mark(q, true) : ret;
}

bool qcow2_snapshot_create(struct vblk_image *image, const char *name, GError **error)
{
    struct qcow2 *q = qcow2_of(image);
    g_autoptr(GPtrArray) snapshots = NULL;
    struct qcow2_snapshot *snapshot;
    gint64 now = g_get_real_time();
    int ret;

    VU_LOCK_SCOPE(&q->flush_lock);
    snapshots = qcow2_snapshot_list(image, error);
    if (!snapshots)
        return false;
    ret = strlen(name) > UINT16_MAX || qcow2_refcount_max(q->header.refcount_order) < 2
              ? -ENOTSUP
              : snapshot_begin(q);
    if (ret == 0) {
        snapshot = g_new0(struct qcow2_snapshot, 1);
        snapshot->id = snapshot_new_id(snapshots);
        snapshot->name = g_strdup(name);
        snapshot->date_sec = (uint32_t)(now / G_USEC_PER_SEC);
        snapshot->date_nsec = (uint32_t)(now % G_USEC_PER_SEC) * 1000;
        snapshot->disk_size = q->header.size;
        snapshot->icount = UINT64_MAX;
        ret = snapshot_create(q, snapshots, snapshot);
        if (ret == 0)
            ret = snapshot_flush(q);
        ret = snapshot_end(q, ret);
    }
    return ret == 0 || snapshot_fail(q, ret, "no snapshot can be made", error);
}

/* Makes `change` on the snapshot of that name. */
static bool snapshot_change(struct vblk_image *image, const char *id_or_name,
                            int (*change)(struct qcow2 *q, GPtrArray *snapshots, guint index),
                            const char *what_failed, GError **error)
{
    struct qcow2 *q = qcow2_of(image);
    g_autoptr(GPtrArray) snapshots = qcow2_snapshot_list(image, error);
    int index, ret;

    if (!snapshots)
        return false;
    index = qcow2_snapshot_find(snapshots, id_or_name);
    ret = index < 0 ? -ENOENT : snapshot_begin(q);
    if (ret == 0) {
        ret = change(q, snapshots, (guint)index);
        if (ret == 0)
            ret = snapshot_settle(q);
        ret = snapshot_end(q, ret);
    }
    return ret == 0 || snapshot_fail(q, ret, what_failed, error);
}

bool qcow2_snapshot_apply(struct vblk_image *image, const char *id_or_name, GError **error)
{
    struct qcow2 *q = qcow2_of(image);

    VU_LOCK_SCOPE(&q->flush_lock);
    /* They would not tell what becomes different. */
    if (q->bitmaps && q->bitmaps->len > 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                    "%s: the snapshot cannot be applied: the image has bitmaps", q->name);
        return false;
    }
    return snapshot_change(image, id_or_name, snapshot_apply, "the snapshot cannot be applied",
                           error);
}

bool qcow2_snapshot_delete(struct vblk_image *image, const char *id_or_name, GError **error)
{
    struct qcow2 *q = qcow2_of(image);

    VU_LOCK_SCOPE(&q->flush_lock);
    return snapshot_change(image, id_or_name, snapshot_delete, "the snapshot cannot be deleted",
                           error);
}
