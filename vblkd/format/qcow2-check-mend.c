/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mending tables, in passes over all L1 tables. What each cluster is used for is noted first, by
 * the tables that make sense: so a cluster of the guest's data that a bad L1 entry names is not
 * taken for an L2 table.
 */
#include "vblkd/format/qcow2-check-mend.h"

#include <string.h>

#include "vblkd/format/qcow2-compressed.h"
#include "vblkd/format/qcow2-l2-table.h"
#include "vblkd/format/qcow2-snapshot-table.h"

enum mend_use {
    MEND_OTHER = 1 << 0,   /* header, the active L1 table, the table of snapshots */
    MEND_DATA = 1 << 1,    /* named by an L2 table that makes sense */
    MEND_SEEN = 1 << 2,    /* an L2 table that was looked at */
    MEND_SUSPECT = 1 << 3, /* some of its entries make no sense, or it is empty */
    MEND_DONE = 1 << 4,
    MEND_TABLE = 1 << 5,    /* an L2 table of the disk, after all */
    MEND_LAST = 1 << 6,     /* looked at for the last time */
    MEND_SNAPSHOT = 1 << 7, /* an L1 table, as the table of snapshots says */
};

struct mend {
    struct qcow2_check *check;
    uint8_t *uses; /* of each cluster of the file: enum mend_use */
    uint64_t n;
};

/* An L1 table on its way through a pass. */
struct mend_l1 {
    uint64_t offset;
    uint32_t n;
    be64_t *entries;
    bool is_active, is_changed;
};

typedef int (*mend_pass)(struct mend *mend, struct mend_l1 *l1);

/* --- one L2 entry --- */

uint64_t qcow2_check_guest(const struct qcow2 *q, uint32_t l1_index, bool is_active)
{
    return is_active && q->has_data_file ? (uint64_t)l1_index << qcow2_l1_shift(q) : UINT64_MAX;
}

uint64_t qcow2_check_guest_offset(const struct qcow2 *q, uint64_t guest, uint64_t i)
{
    return guest == UINT64_MAX ? guest : guest + (i << q->cluster_bits);
}

static bool mend_is_inside(const struct qcow2 *q, struct qcow2_l2_entry entry,
                           uint64_t guest_offset, uint64_t limit)
{
    uint64_t offset = qcow2_entry_offset(entry);
    uint32_t len;

    if (entry.cluster & QCOW2_COMPRESSED) {
        qcow2_compressed_place(q, entry.cluster, &offset, &len);
        return !q->has_data_file && offset >> q->cluster_bits < limit;
    }
    if ((offset & (q->cluster_size - 1)) != 0)
        return false;
    if (q->has_data_file)
        return guest_offset == UINT64_MAX || !qcow2_entry_has_cluster(q, entry) ||
               offset == guest_offset;
    return offset >> q->cluster_bits < limit;
}

struct qcow2_l2_entry qcow2_check_mended(const struct qcow2 *q, struct qcow2_l2_entry entry,
                                         uint64_t guest_offset, uint64_t limit)
{
    bool has_zero_flag = !q->has_extended_l2 && q->header.version >= 3;
    uint32_t allocated, zero;

    /* There is but one place for it in a data file. */
    if (guest_offset != UINT64_MAX && !mend_is_inside(q, entry, guest_offset, limit)) {
        if (entry.cluster & QCOW2_COMPRESSED)
            entry = (struct qcow2_l2_entry){0, q->has_extended_l2 ? UINT32_MAX : 0};
        entry.cluster = (entry.cluster & QCOW2_ZERO) | guest_offset | QCOW2_COPIED;
    }
    allocated = (uint32_t)entry.bitmap;
    zero = (uint32_t)(entry.bitmap >> 32);
    if (!mend_is_inside(q, entry, guest_offset, limit)) {
        entry.cluster = has_zero_flag ? QCOW2_ZERO : 0;
        entry.bitmap = q->has_extended_l2 ? (uint64_t)UINT32_MAX << QCOW2_SUBCLUSTERS : 0;
        return entry;
    }
    if (entry.cluster & QCOW2_COMPRESSED)
        return (struct qcow2_l2_entry){entry.cluster & ~QCOW2_COPIED, 0};
    /* qemu-img passes over ZERO where the format has no such flag; vblkd takes that for corrupt. */
    entry.cluster &= ~(QCOW2_L2_RESERVED | (has_zero_flag ? 0 : QCOW2_ZERO));
    if (!qcow2_entry_has_cluster(q, entry)) {
        entry.cluster &= ~QCOW2_COPIED;
        zero |= allocated;
        allocated = 0;
    }
    allocated &= ~zero;
    if (q->has_extended_l2)
        entry.bitmap = allocated | (uint64_t)zero << QCOW2_SUBCLUSTERS;
    return entry;
}

/* --- L2 tables --- */

static struct qcow2_l2_entry mend_entry(const struct qcow2 *q, const be64_t *words, uint64_t i)
{
    return (struct qcow2_l2_entry){be64_value(words[i]),
                                   q->has_extended_l2 ? be64_value(words[i + 1]) : 0};
}

/* What it should be; what is put where something of the header is, makes no sense either. */
static struct qcow2_l2_entry mend_better(const struct mend *mend, struct qcow2_l2_entry entry,
                                         uint64_t guest_offset)
{
    const struct qcow2 *q = mend->check->q;
    struct qcow2_l2_entry better = qcow2_check_mended(q, entry, guest_offset, mend->n);

    if (!q->has_data_file && qcow2_entry_has_cluster(q, better) &&
        (mend->uses[qcow2_entry_offset(better) >> q->cluster_bits] & (MEND_OTHER | MEND_TABLE)))
        better = qcow2_check_mended(q, better, guest_offset, 0);
    return better;
}

static void mend_note_data(struct mend *mend, const be64_t *words)
{
    const struct qcow2 *q = mend->check->q;

    for (uint64_t i = 0; i < q->cluster_size / 8; i += q->has_extended_l2 ? 2 : 1) {
        struct qcow2_l2_entry entry = mend_entry(q, words, i);

        if (qcow2_entry_has_cluster(q, entry) && !q->has_data_file)
            mend->uses[qcow2_entry_offset(entry) >> q->cluster_bits] |= MEND_DATA;
    }
}

/* Whether a table is above suspicion. */
static bool mend_is_good(const struct mend *mend, const be64_t *words, uint64_t guest)
{
    const struct qcow2 *q = mend->check->q;
    unsigned width = q->has_extended_l2 ? 2 : 1;
    bool is_empty = true;

    for (uint64_t i = 0; i < q->cluster_size / 8; i += width) {
        struct qcow2_l2_entry entry = mend_entry(q, words, i);
        uint64_t at = qcow2_check_guest_offset(q, guest, i / width);

        if (!qcow2_entry_same(entry, mend_better(mend, entry, at)))
            return false;
        is_empty &= entry.cluster == 0 && entry.bitmap == 0;
    }
    return !is_empty;
}

/* Whether something named data, or may have, and the better one does not. */
static bool mend_loses(const struct qcow2 *q, struct qcow2_l2_entry entry,
                       struct qcow2_l2_entry better)
{
    if ((better.cluster & QCOW2_COMPRESSED) || qcow2_entry_has_cluster(q, better))
        return false;
    if (entry.cluster & QCOW2_COMPRESSED)
        return true;
    return qcow2_entry_offset(entry) != 0 &&
           (q->has_extended_l2 ? (uint32_t)entry.bitmap != 0 : !(entry.cluster & QCOW2_ZERO));
}

static int mend_table(struct mend *mend, uint64_t offset, uint64_t guest)
{
    struct qcow2_check *check = mend->check;
    struct qcow2 *q = check->q;
    g_autofree be64_t *words = g_malloc(q->cluster_size);
    unsigned width = q->has_extended_l2 ? 2 : 1;
    bool changed = false;
    int ret = vblk_storage_read(q->storage, words, q->cluster_size, offset);

    for (uint64_t i = 0; ret == 0 && i < q->cluster_size / 8; i += width) {
        struct qcow2_l2_entry entry = mend_entry(q, words, i);
        struct qcow2_l2_entry better =
            mend_better(mend, entry, qcow2_check_guest_offset(q, guest, i / width));
        bool loses = mend_loses(q, entry, better);

        if (qcow2_entry_same(entry, better))
            continue;
        qcow2_check_report(check, &check->result->n_corruptions,
                           "ERROR: L2 entry %#" PRIx64 " at %#" PRIx64 " makes no sense: %s",
                           entry.cluster, offset + i * 8,
                           loses ? "it reads as zeros now" : "corrected");
        check->result->n_corruptions_fixed++;
        check->result->n_lost += loses;
        words[i] = be64_from(better.cluster);
        if (q->has_extended_l2)
            words[i + 1] = be64_from(better.bitmap);
        changed = true;
    }
    return ret == 0 && changed ? vblk_storage_write(q->storage, words, q->cluster_size, offset)
                               : ret;
}

/* --- passes --- */

static void mend_drop(struct mend *mend, struct mend_l1 *l1, uint32_t i, uint64_t becomes)
{
    struct qcow2_check *check = mend->check;

    qcow2_check_report(check, &check->result->n_corruptions,
                       "ERROR: L1 entry %u, %#" PRIx64 ", makes no sense: %s", i,
                       be64_value(l1->entries[i]), becomes ? "corrected" : "dropped");
    check->result->n_corruptions_fixed++;
    check->result->n_lost += becomes == 0;
    l1->entries[i] = be64_from(becomes);
    l1->is_changed = true;
}

static int mend_pass_l1(struct mend *mend, struct mend_l1 *l1)
{
    const struct qcow2 *q = mend->check->q;

    for (uint32_t i = 0; i < l1->n; i++) {
        uint64_t entry = be64_value(l1->entries[i]), offset = entry & QCOW2_OFFSET_MASK;
        uint64_t cluster = offset >> q->cluster_bits;

        if (entry == 0)
            continue;
        if (offset == 0 || (offset & (q->cluster_size - 1)) != 0 || cluster >= mend->n ||
            (mend->uses[cluster] & MEND_OTHER))
            mend_drop(mend, l1, i, 0);
        else if (entry & QCOW2_L1_RESERVED)
            mend_drop(mend, l1, i, entry & ~QCOW2_L1_RESERVED);
    }
    return 0;
}

/* Of an L2 table; NULL: there is none there. */
static uint8_t *mend_uses_of(const struct mend *mend, uint64_t offset)
{
    uint64_t cluster = offset >> mend->check->q->cluster_bits;

    return offset != 0 && cluster < mend->n ? &mend->uses[cluster] : NULL;
}

static int mend_pass_look(struct mend *mend, struct mend_l1 *l1)
{
    struct qcow2 *q = mend->check->q;
    g_autofree be64_t *words = g_malloc(q->cluster_size);
    int ret = 0;

    for (uint32_t i = 0; i < l1->n && ret == 0; i++) {
        uint64_t offset = be64_value(l1->entries[i]) & QCOW2_OFFSET_MASK;
        uint8_t *uses = mend_uses_of(mend, offset);

        if (!uses || (*uses & MEND_SEEN))
            continue;
        ret = vblk_storage_read(q->storage, words, q->cluster_size, offset);
        if (ret < 0)
            break;
        *uses |= MEND_SEEN;
        if (mend_is_good(mend, words, qcow2_check_guest(q, i, l1->is_active)))
            mend_note_data(mend, words);
        else
            *uses |= MEND_SUSPECT;
    }
    return ret;
}

static int mend_pass_l2(struct mend *mend, struct mend_l1 *l1)
{
    struct qcow2 *q = mend->check->q;
    int ret = 0;

    for (uint32_t i = 0; i < l1->n && ret == 0; i++) {
        uint64_t offset = be64_value(l1->entries[i]) & QCOW2_OFFSET_MASK;
        uint8_t *uses = mend_uses_of(mend, offset);

        if (!uses)
            continue;
        if ((*uses & MEND_SUSPECT) && (*uses & (MEND_DATA | MEND_SNAPSHOT)))
            mend_drop(mend, l1, i, 0);
        else if ((*uses & MEND_SUSPECT) && !(*uses & MEND_DONE))
            ret = mend_table(mend, offset, qcow2_check_guest(q, i, l1->is_active));
        *uses |= MEND_DONE;
        if (l1->is_active && be64_value(l1->entries[i]) != 0)
            *uses |= MEND_TABLE;
    }
    return ret;
}

/* What is a snapshot's L1 table at the same time is not written to. */
static int mend_spare_snapshot(struct mend *mend, struct mend_l1 *l1, uint32_t i)
{
    struct qcow2 *q = mend->check->q;
    uint64_t offset = be64_value(l1->entries[i]) & QCOW2_OFFSET_MASK;
    g_autofree be64_t *words = g_malloc(q->cluster_size);
    int ret = vblk_storage_read(q->storage, words, q->cluster_size, offset);

    if (ret == 0 && !mend_is_good(mend, words, qcow2_check_guest(q, i, l1->is_active)))
        mend_drop(mend, l1, i, 0);
    return ret;
}

/* Guests would write their data over the L2 tables that an entry takes for it. */
static int mend_pass_overlap(struct mend *mend, struct mend_l1 *l1)
{
    struct qcow2 *q = mend->check->q;
    int ret = 0;

    for (uint32_t i = 0; i < l1->n && ret == 0; i++) {
        uint64_t offset = be64_value(l1->entries[i]) & QCOW2_OFFSET_MASK;
        uint8_t *uses = mend_uses_of(mend, offset);

        if (!uses || (*uses & MEND_LAST))
            continue;
        *uses |= MEND_LAST;
        if (*uses & MEND_SNAPSHOT)
            ret = mend_spare_snapshot(mend, l1, i);
        else
            ret = mend_table(mend, offset, qcow2_check_guest(q, i, l1->is_active));
    }
    return ret;
}

/* --- all of it --- */

static int mend_run_l1(struct mend *mend, uint64_t offset, uint32_t n, bool is_active,
                       mend_pass pass)
{
    struct qcow2 *q = mend->check->q;
    uint64_t len = (uint64_t)n * sizeof(be64_t);
    g_autofree be64_t *entries = g_malloc(len);
    struct mend_l1 l1 = {.offset = offset, .n = n, .entries = entries, .is_active = is_active};
    int ret = vblk_storage_read(q->storage, entries, len, offset);

    if (ret == 0)
        ret = pass(mend, &l1);
    return ret == 0 && l1.is_changed ? vblk_storage_write(q->storage, entries, len, offset) : ret;
}

static int mend_run(struct mend *mend, const GPtrArray *snapshots, mend_pass pass)
{
    const struct qcow2 *q = mend->check->q;
    int ret = mend_run_l1(mend, q->header.l1_offset, q->header.l1_size, true, pass);

    for (guint i = 0; i < snapshots->len && ret == 0; i++) {
        const struct qcow2_snapshot *snapshot = g_ptr_array_index(snapshots, i);

        ret = mend_run_l1(mend, snapshot->l1_offset, snapshot->l1_size, false, pass);
    }
    return ret;
}

static void mend_note(struct mend *mend, uint64_t offset, uint64_t len, enum mend_use use)
{
    const struct qcow2 *q = mend->check->q;
    uint64_t first = offset >> q->cluster_bits;

    for (uint64_t c = first; c < first + qcow2_clusters_for(q, len) && c < mend->n; c++)
        mend->uses[c] |= (uint8_t)use;
}

/*
 * Not refcounts: where they are not where they should be, the disk comes first. So it does before
 * the L1 tables of snapshots, but nothing is written over those.
 */
static void mend_note_places(struct mend *mend, const GPtrArray *snapshots, uint64_t table_len)
{
    const struct qcow2 *q = mend->check->q;

    mend_note(mend, 0, q->cluster_size, MEND_OTHER);
    mend_note(mend, q->header.l1_offset, (uint64_t)q->header.l1_size * sizeof(be64_t), MEND_OTHER);
    mend_note(mend, q->header.snapshots_offset, table_len, MEND_OTHER);
    for (guint i = 0; i < snapshots->len; i++) {
        const struct qcow2_snapshot *snapshot = g_ptr_array_index(snapshots, i);

        mend_note(mend, snapshot->l1_offset, (uint64_t)snapshot->l1_size * sizeof(be64_t),
                  MEND_SNAPSHOT);
    }
}

int qcow2_check_mend(struct qcow2_check *check)
{
    static const mend_pass passes[] = {mend_pass_l1, mend_pass_look, mend_pass_l2,
                                       mend_pass_overlap};
    struct qcow2 *q = check->q;
    struct mend mend = {.check = check};
    g_autoptr(GPtrArray) snapshots = NULL;
    g_autofree uint8_t *uses = NULL;
    uint64_t len;
    int ret = qcow2_snapshot_table_read(q, &snapshots, &len);

    if (ret < 0)
        return ret;
    mend.n = qcow2_clusters_for(q, __atomic_load_n(&q->storage->size, __ATOMIC_RELAXED));
    mend.uses = uses = g_try_malloc0(mend.n + 1);
    if (!uses)
        return -ENOMEM;
    mend_note_places(&mend, snapshots, len);
    for (size_t i = 0; i < G_N_ELEMENTS(passes) && ret == 0; i++)
        ret = mend_run(&mend, snapshots, passes[i]);
    return ret == 0 ? vblk_storage_flush(q->storage) : ret;
}
