/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Comparing refcounts with what was counted, and the COPIED flags with refcounts; repairing both:
 * tables first (qcow2-check-mend.c), then where refcounts lie (qcow2-check-rebuild.c), refcounts,
 * and flags, which depend on all of that.
 */
#include "vblkd/format/qcow2-check.h"

#include <string.h>

#include "vblkd/format/qcow2-check-bitmaps.h"
#include "vblkd/format/qcow2-check-mend.h"
#include "vblkd/format/qcow2-check-rebuild.h"
#include "vblkd/format/qcow2-check-walk.h"
#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-free.h"
#include "vblkd/format/qcow2-journal-replay.h"
#include "vblkd/format/qcow2-l2-table.h"
#include "vblkd/format/qcow2-open.h"
#include "vblkd/format/qcow2-refcount.h"
#include "vblkd/format/qcow2-snapshot-table.h"
#include "vhost-user/cleanup.h"

/* --- refcounts --- */

struct check_set {
    uint64_t cluster, count;
};

static int check_get_step(struct qcow2 *q, void *opaque, struct qcow2_need *need)
{
    struct check_set *set = opaque;

    return qcow2_refcount_get(q, set->cluster, &set->count, need);
}

/* There is a block, or refcounts would have been rebuilt. */
static int check_set_step(struct qcow2 *q, void *opaque, struct qcow2_need *need)
{
    const struct check_set *set = opaque;
    struct qcow2_refblock *block;
    int ret;

    ret = qcow2_refblock_get(q, set->cluster >> qcow2_refblock_bits(q), &block, need);
    if (ret == 0)
        qcow2_refblock_set(q, block, set->cluster, set->count);
    return ret;
}

/*
 * Behind the end of the file nothing is told: no disk space is wasted there, and an entry that
 * names something there is told of itself. It is set right all the same, for when the file grows.
 */
static int check_compare_one(struct qcow2_check *check, uint64_t cluster, unsigned kind,
                             unsigned fix)
{
    bool leaks = kind == QCOW2_FIX_LEAKS, is_inside = cluster < check->n_file;
    struct check_set set = {.cluster = cluster};
    struct qcow2_check_result *result = check->result;
    uint64_t expected = check->counts[cluster];
    int ret = qcow2_run(check->q, 0, check_get_step, &set);

    if (ret < 0 || (leaks ? set.count <= expected : set.count >= expected))
        return ret;
    if (is_inside)
        qcow2_check_report(check, leaks ? &result->n_leaks : &result->n_corruptions,
                           "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
                           leaks ? "Leaked" : "ERROR", cluster, set.count, expected);
    /* More references than can be counted: that stays wrong. */
    if (!(fix & kind) || expected > qcow2_refcount_max(check->q->header.refcount_order)) {
        if (is_inside)
            result->image_end = MAX(result->image_end, (cluster + 1) << check->q->cluster_bits);
        return 0;
    }
    set.count = expected;
    ret = qcow2_run(check->q, 0, check_set_step, &set);
    if (ret == 0 && is_inside)
        *(leaks ? &result->n_leaks_fixed : &result->n_corruptions_fixed) += 1;
    return ret;
}

/* Ranges without a refcount block, where nothing was counted, are passed over. */
static int check_compare_kind(struct qcow2_check *check, unsigned kind, unsigned fix)
{
    uint64_t per_block = UINT64_C(1) << qcow2_refblock_bits(check->q);
    int ret = 0;

    for (uint64_t c = 0; c < check->n_counts && ret == 0; c++) {
        uint64_t index = c / per_block;
        bool has_block = index < check->q->refcounts.n_entries && check->q->refcounts.table[index];

        if (has_block || check->counts[c] > 0)
            ret = check_compare_one(check, c, kind, fix);
    }
    return ret;
}

static int check_compare(struct qcow2_check *check, unsigned fix)
{
    int ret = check_compare_kind(check, QCOW2_FIX_ERRORS, fix);

    return ret == 0 ? check_compare_kind(check, QCOW2_FIX_LEAKS, fix) : ret;
}

/* --- flags --- */

/* What the flag must be, for a cluster that an entry names. */
static int check_is_single(struct qcow2_check *check, uint64_t offset, bool *ret_is_single)
{
    struct check_set set = {.cluster = offset >> check->q->cluster_bits};
    int ret = qcow2_run(check->q, 0, check_get_step, &set);

    *ret_is_single = set.count == 1;
    return ret;
}

/* One word of a table, naming `offset`. True: *word was changed. */
static int check_flag(struct qcow2_check *check, const char *what, be64_t *word, bool *ret_changed)
{
    uint64_t entry = be64_value(*word);
    bool is_single;
    int ret = check_is_single(check, entry & QCOW2_OFFSET_MASK, &is_single);

    if (ret < 0 || is_single == ((entry & QCOW2_COPIED) != 0))
        return ret;
    qcow2_check_report(check, &check->result->n_corruptions,
                       "ERROR OFLAG_COPIED %s: entry=%#" PRIx64 " refcount %s 1", what, entry,
                       is_single ? "is" : "is not");
    if (check->fix & QCOW2_FIX_FLAGS) {
        *word = be64_from(entry ^ QCOW2_COPIED);
        *ret_changed = true;
        check->result->n_corruptions_fixed++;
    }
    return 0;
}

static int check_l2_flags(struct qcow2_check *check, uint64_t offset)
{
    struct qcow2 *q = check->q;
    g_autofree be64_t *words = g_malloc(q->cluster_size);
    unsigned width = q->has_extended_l2 ? 2 : 1;
    bool changed = false;
    int ret = vblk_storage_read(q->storage, words, q->cluster_size, offset);

    for (uint64_t i = 0; ret == 0 && i < q->cluster_size / 8; i += width) {
        struct qcow2_l2_entry entry = {be64_value(words[i]), 0};

        if (qcow2_entry_has_cluster(q, entry) && !q->has_data_file)
            ret = check_flag(check, "data cluster", &words[i], &changed);
    }
    return ret == 0 && changed ? vblk_storage_write(q->storage, words, q->cluster_size, offset)
                               : ret;
}

int qcow2_check_flags(struct qcow2_check *check)
{
    struct qcow2 *q = check->q;
    uint64_t len = (uint64_t)q->header.l1_size * sizeof(be64_t);
    g_autofree be64_t *entries = g_malloc(len);
    bool changed = false;
    int ret = vblk_storage_read(q->storage, entries, len, q->header.l1_offset);

    for (uint32_t i = 0; ret == 0 && i < q->header.l1_size; i++) {
        uint64_t entry = be64_value(entries[i]), offset = entry & QCOW2_OFFSET_MASK;

        if (offset == 0 || (offset & (q->cluster_size - 1)) != 0 ||
            offset >> q->cluster_bits >= check->n_counts)
            continue;
        ret = check_flag(check, "L2 table", &entries[i], &changed);
        if (ret == 0)
            ret = check_l2_flags(check, offset);
    }
    if (ret < 0 || !changed)
        return ret;
    for (uint32_t i = 0; i < q->header.l1_size; i++)
        __atomic_store_n(&q->l1.entries[i], be64_value(entries[i]), __ATOMIC_RELEASE);
    return vblk_storage_write(q->storage, entries, len, q->header.l1_offset);
}

/* --- the operation --- */

static uint64_t check_n_broken(const struct qcow2_check_result *result)
{
    return result->n_corruptions - result->n_corruptions_fixed;
}

/* What is as it should be needs no mark. */
static int check_clear_marks(struct qcow2 *q)
{
    uint64_t marks = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT;

    if (!(q->header.incompatible & marks))
        return 0;
    q->header.incompatible &= ~marks;
    __atomic_store_n(&q->image->is_corrupt, false, __ATOMIC_RELAXED);
    return qcow2_write_header_held(q);
}

/*
 * What was counted may be wrong about where refcounts lie; that goes first. Leaks alone are not
 * repaired there: that would be written over something else. Nor are they beside tables that make
 * no sense, since what seems leaked may be what those meant.
 */
static int check_refcount_places(struct qcow2_check *check)
{
    struct qcow2_check_result *result = check->result;
    uint64_t n_bad = result->n_corruptions + result->n_beyond_end, n_leaks = result->n_leaks;
    uint64_t n_before = result->n_corruptions - check->q->refcounts.n_bad;
    bool rebuilds = qcow2_check_must_rebuild(check);
    int ret;

    if (!(check->fix & QCOW2_FIX_ERRORS)) {
        if (rebuilds || n_bad > 0)
            check->fix = 0;
        return 0;
    }
    if (!rebuilds)
        return 0;
    ret = check_compare(check, 0);
    if (ret == 0)
        ret = qcow2_check_rebuild(check);
    if (ret == 0) {
        result->n_corruptions_fixed += result->n_corruptions - n_before;
        result->n_leaks_fixed += result->n_leaks - n_leaks;
    }
    return ret;
}

/* A flag follows from a refcount, where all of those are right: repairing leaks may change it. */
static void check_choose_flags(struct qcow2_check *check)
{
    const struct qcow2_check_result *result = check->result;

    if ((check->fix & QCOW2_FIX_ERRORS) ||
        (check->fix && result->n_corruptions == 0 && result->n_leaks == result->n_leaks_fixed))
        check->fix |= QCOW2_FIX_FLAGS;
}

/* A repair has changed the file below what is in memory of it: that is read anew. */
static int check_reload(struct qcow2 *q)
{
    g_autoptr(GError) error = NULL;

    qcow2_l2_cache_empty(&q->l2);
    __atomic_store_n(&q->is_repairing, false, __ATOMIC_RELAXED);
    g_hash_table_remove_all(q->metadata);
    for (uint64_t i = 0; i < q->refcounts.n_entries; i++) {
        if (q->refcounts.table[i])
            g_hash_table_add(q->metadata,
                             GSIZE_TO_POINTER(q->refcounts.table[i] >> q->cluster_bits));
    }
    return qcow2_l1_open(q, &error) ? 0 : -EIO;
}

/* Tables, before refcounts depend on them; and what a list of snapshots should be, if not NULL. */
static int check_mend(struct qcow2_check *check, GPtrArray **ret_snapshots)
{
    struct qcow2 *q = check->q;
    g_autoptr(GPtrArray) snapshots = NULL;
    uint64_t len;
    int ret = qcow2_check_mend(check);

    if (ret == 0)
        ret = qcow2_check_mend_bitmaps(check);
    if (ret == 0)
        ret = qcow2_snapshot_table_read(q, &snapshots, &len);
    if (ret == 0 && (q->n_bad_snapshots > 0 || q->header.n_mended > 0))
        *ret_snapshots = g_steal_pointer(&snapshots);
    check->result->n_lost += q->n_lost_snapshots + q->header.n_lost;
    q->header.n_lost = 0;
    return ret;
}

/* The header with the table: what was wrong about either is right then. */
static int check_write_snapshots(struct qcow2_check *check, const GPtrArray *snapshots)
{
    struct qcow2 *q = check->q;
    unsigned n_fixed = q->n_bad_snapshots + q->header.n_mended;
    int ret = qcow2_snapshot_table_write(q, snapshots);

    for (unsigned i = 0; i < 2 && ret == 0; i++)
        ret = qcow2_flush_all_held(q);
    if (ret < 0)
        return ret;
    q->n_bad_snapshots = q->header.n_mended = 0;
    check->result->n_corruptions_fixed += n_fixed;
    return 0;
}

static int check_run(struct qcow2_check *check)
{
    struct qcow2 *q = check->q;
    bool mends = q->is_repairing && (check->fix & QCOW2_FIX_ERRORS);
    g_autoptr(GPtrArray) snapshots = NULL;
    int ret = mends ? check_mend(check, &snapshots) : 0;

    if (ret == 0)
        ret = qcow2_check_walk(check);
    if (ret == 0)
        qcow2_journal_count_clusters(q, check->counts, check->n_counts);
    if (ret == 0)
        ret = check_refcount_places(check);
    if (ret < 0)
        return ret;
    /* A new refcount block must not be put where something is that is not counted. */
    for (uint64_t c = 0; c < check->n_counts; c++) {
        if (check->counts[c] > 0)
            q->refcounts.end = MAX(q->refcounts.end, c + 1);
    }
    ret = check_compare(check, check->fix);
    if (ret == 0 && (check->fix & QCOW2_FIX_LEAKS))
        qcow2_free_forget(q);
    check_choose_flags(check);
    if (ret == 0)
        ret = qcow2_check_flags(check);
    if (ret < 0 || check->fix == 0)
        return ret;
    ret = qcow2_flush_all_held(q);
    if (ret == 0 && (check->fix & QCOW2_FIX_ERRORS))
        ret = check_reload(q);
    if (ret == 0 && snapshots)
        ret = check_write_snapshots(check, snapshots);
    if (ret == 0 && check_n_broken(check->result) == 0)
        ret = check_clear_marks(q);
    return ret;
}

int qcow2_check(struct vblk_image *image, unsigned fix, void (*report)(void *opaque, const char *),
                void *opaque, struct qcow2_check_result *ret_result)
{
    struct qcow2 *q = qcow2_of(image);
    struct qcow2_check check = {q, fix, report, opaque, ret_result};
    int ret = 0;

    memset(ret_result, 0, sizeof(*ret_result));
    VU_LOCK_SCOPE(&q->flush_lock);
    if (!image->read_only && !qcow2_is_corrupt(q))
        ret = qcow2_flush_all_held(q);
    if (ret == 0)
        ret = check_run(&check);
    g_free(check.counts);
    if (ret < 0)
        ret_result->n_check_errors++;
    return ret;
}
