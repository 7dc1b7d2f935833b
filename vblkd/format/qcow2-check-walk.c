/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over everything that refers to clusters: header, L1 tables of the disk and of snapshots,
 * their L2 tables and entries, refcount table and blocks, bitmaps. It reads the file, not caches.
 */
#include "vblkd/format/qcow2-check-walk.h"

#include <stdarg.h>
#include <string.h>

#include "vblkd/format/qcow2-check-bitmaps.h"
#include "vblkd/format/qcow2-check-mend.h"
#include "vblkd/format/qcow2-compressed.h"
#include "vblkd/format/qcow2-l2-table.h"
#include "vblkd/format/qcow2-snapshot-table.h"

/* Clusters behind the end of the file that may be a hole in it. */
#define CHECK_BEYOND_END (UINT64_C(1) << 16)

void qcow2_check_report(struct qcow2_check *check, uint64_t *counter, const char *format, ...)
{
    g_autofree char *line = NULL;
    va_list args;

    (*counter)++;
    if (!check->report)
        return;
    va_start(args, format);
    line = g_strdup_vprintf(format, args);
    va_end(args);
    check->report(check->opaque, line);
}

/* A cluster that the file ends in was not filled; one that lies behind its end is lost. */
static bool check_is_beyond_end(const struct qcow2 *q, uint64_t offset, uint64_t len)
{
    uint64_t size = __atomic_load_n(&q->storage->size, __ATOMIC_RELAXED), end = offset + len;

    return !q->storage->is_block_device && end > size && end - size >= q->cluster_size;
}

void qcow2_check_count(struct qcow2_check *check, uint64_t offset, uint64_t len)
{
    struct qcow2 *q = check->q;
    uint64_t last;

    if (len == 0)
        return;
    last = (offset + len - 1) >> q->cluster_bits;
    for (uint64_t c = offset >> q->cluster_bits; c <= last; c++) {
        if (c >= check->n_counts) {
            qcow2_check_report(check, &check->result->n_corruptions,
                               "ERROR: cluster %" PRIu64 " lies behind the end of the file", c);
            return;
        }
        check->counts[c] += check->counts[c] < UINT32_MAX;
    }
    if (check_is_beyond_end(q, offset, len))
        qcow2_check_report(
            check, &check->result->n_beyond_end,
            "ERROR: %" PRIu64 " bytes at %#" PRIx64 " lie behind the end of the file", len, offset);
    else
        check->result->image_end = MAX(check->result->image_end, (last + 1) << q->cluster_bits);
}

/* --- L2 --- */

static void check_count_entry(struct qcow2_check *check, struct qcow2_l2_entry entry,
                              uint64_t guest_offset, bool active, uint64_t *next)
{
    struct qcow2 *q = check->q;
    struct qcow2_l2_entry better = qcow2_check_mended(q, entry, guest_offset, UINT64_MAX);
    uint64_t offset;
    uint32_t len;

    if (!qcow2_entry_same(entry, better))
        qcow2_check_report(check, &check->result->n_corruptions,
                           "ERROR: L2 entry %#" PRIx64 " makes no sense", entry.cluster);
    entry = better;
    offset = qcow2_entry_offset(entry);
    if (entry.cluster & QCOW2_COMPRESSED) {
        qcow2_compressed_place(q, entry.cluster, &offset, &len);
        qcow2_check_count(check, offset, len);
        check->result->n_compressed += active;
        check->result->n_allocated += active;
        check->result->n_fragmented += active;
        return;
    }
    if (!qcow2_entry_has_cluster(q, entry))
        return;
    check->result->n_allocated += active;
    if (active && *next != 0 && offset != *next)
        check->result->n_fragmented++;
    *next = offset + q->cluster_size;
    if (!q->has_data_file)
        qcow2_check_count(check, offset, q->cluster_size);
}

static int check_walk_l2(struct qcow2_check *check, uint64_t offset, uint64_t guest, bool active)
{
    struct qcow2 *q = check->q;
    uint64_t next = 0; /* where the next cluster would not be a fragment, as QEMU counts them */
    g_autofree be64_t *words = g_malloc(q->cluster_size);
    unsigned width = q->has_extended_l2 ? 2 : 1;
    int ret = vblk_storage_read(q->storage, words, q->cluster_size, offset);

    for (uint64_t i = 0; ret == 0 && i < q->cluster_size / 8; i += width) {
        struct qcow2_l2_entry entry = {be64_value(words[i]),
                                       width > 1 ? be64_value(words[i + 1]) : 0};

        check_count_entry(check, entry, qcow2_check_guest_offset(q, guest, i / width), active,
                          &next);
    }
    return ret;
}

/* --- L1 --- */

static int check_walk_l1(struct qcow2_check *check, uint64_t l1_offset, uint32_t l1_size,
                         bool active)
{
    struct qcow2 *q = check->q;
    uint64_t len = (uint64_t)l1_size * sizeof(be64_t);
    g_autofree be64_t *entries = g_malloc(len);
    int ret = vblk_storage_read(q->storage, entries, len, l1_offset);

    qcow2_check_count(check, l1_offset, len);
    for (uint32_t i = 0; ret == 0 && i < l1_size; i++) {
        uint64_t entry = be64_value(entries[i]), offset = entry & QCOW2_OFFSET_MASK;
        bool is_sane;

        if (entry == 0)
            continue;
        is_sane = offset != 0 && (offset & (q->cluster_size - 1)) == 0;
        if (!is_sane || (entry & QCOW2_L1_RESERVED))
            qcow2_check_report(check, &check->result->n_corruptions,
                               "ERROR: L1 entry %u, %#" PRIx64 ", makes no sense", i, entry);
        /* Reserved bits alone keep nobody from reading what it names: that is in use. */
        if (!is_sane)
            continue;
        qcow2_check_count(check, offset, q->cluster_size);
        if (offset >> q->cluster_bits < check->n_file)
            ret = check_walk_l2(check, offset, qcow2_check_guest(q, i, active), active);
    }
    return ret;
}

static int check_walk_snapshots(struct qcow2_check *check)
{
    struct qcow2 *q = check->q;
    g_autoptr(GPtrArray) snapshots = NULL;
    uint64_t len;
    int ret = qcow2_snapshot_table_read(q, &snapshots, &len);

    for (guint i = 0; ret == 0 && i < snapshots->len; i++) {
        const struct qcow2_snapshot *snapshot = g_ptr_array_index(snapshots, i);

        ret = check_walk_l1(check, snapshot->l1_offset, snapshot->l1_size, false);
    }
    if (ret < 0)
        return ret;
    qcow2_check_count(check, q->header.snapshots_offset, len);
    if (q->n_bad_snapshots > 0) {
        check->result->n_corruptions += q->n_bad_snapshots - 1;
        qcow2_check_report(check, &check->result->n_corruptions,
                           "ERROR: the snapshot table makes no sense in %u places",
                           q->n_bad_snapshots);
    }
    return 0;
}

/* --- all --- */

static int check_alloc_counts(struct qcow2_check *check)
{
    struct qcow2 *q = check->q;
    int ret = vblk_storage_refresh_size(q->storage);

    if (ret < 0)
        return ret;
    check->n_file = qcow2_clusters_for(q, __atomic_load_n(&q->storage->size, __ATOMIC_RELAXED));
    check->n_counts = check->n_file;
    if (!q->storage->is_block_device)
        check->n_counts += CHECK_BEYOND_END;
    check->counts = g_try_new0(uint32_t, check->n_counts);
    return check->counts ? 0 : -ENOMEM;
}

int qcow2_check_walk(struct qcow2_check *check)
{
    struct qcow2 *q = check->q;
    int ret = check_alloc_counts(check);

    if (ret < 0)
        return ret;
    check->result->n_clusters = qcow2_clusters_for(q, q->header.size);
    qcow2_check_count(check, 0, q->cluster_size);
    ret = check_walk_l1(check, q->header.l1_offset, q->header.l1_size, true);
    if (ret == 0)
        ret = check_walk_snapshots(check);
    if (ret == 0)
        ret = qcow2_check_walk_bitmaps(check);
    if (q->header.n_mended > 0) {
        check->result->n_corruptions += q->header.n_mended - 1;
        qcow2_check_report(check, &check->result->n_corruptions,
                           "ERROR: the header makes no sense in %u places", q->header.n_mended);
    }
    if (q->refcounts.n_bad > 0) {
        check->result->n_corruptions += q->refcounts.n_bad - 1;
        qcow2_check_report(check, &check->result->n_corruptions,
                           "ERROR: %" PRIu64 " entries of the refcount table make no sense",
                           q->refcounts.n_bad);
    }
    qcow2_check_count(check, q->header.reftable_offset,
                      (uint64_t)q->header.reftable_clusters << q->cluster_bits);
    for (uint64_t i = 0; i < q->refcounts.n_entries; i++) {
        if (q->refcounts.table[i])
            qcow2_check_count(check, q->refcounts.table[i], q->cluster_size);
    }
    return ret;
}
