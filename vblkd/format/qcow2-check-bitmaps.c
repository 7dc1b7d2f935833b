/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bitmaps in a check: the directory, tables, and the clusters that those name. [Bitmaps] What a
 * bitmap has in its clusters is its own business.
 */
#include "vblkd/format/qcow2-check-bitmaps.h"

#include <string.h>

#include "vblkd/format/qcow2-bitmap-directory.h"
#include "vblkd/format/qcow2-bitmap.h"
#include "vblkd/format/qcow2-flush.h"

#define BITMAP_ENTRY_ALL_ONES UINT64_C(1)
#define BITMAP_ENTRY_RESERVED UINT64_C(0xff000000000001fe)

/* --- what makes sense --- */

/* As long as its bits need, but for one that somebody did not finish. */
static bool bitmaps_has_table(const struct qcow2 *q, const struct qcow2_bitmap *bitmap)
{
    uint64_t len = (uint64_t)bitmap->table_len * sizeof(be64_t), bytes;

    if (bitmap->table_len == 0 || len > QCOW2_MAX_BITMAP_TABLE_SIZE || bitmap->table_offset == 0 ||
        (bitmap->table_offset & (q->cluster_size - 1)) != 0 ||
        bitmap->table_offset > QCOW2_MAX_OFFSET ||
        bitmap->table_offset + len >
            ((__atomic_load_n(&q->storage->size, __ATOMIC_RELAXED) + q->cluster_size - 1) &
             ~(q->cluster_size - 1)))
        return false;
    bytes = (qcow2_bitmap_n_bits(bitmap, q->header.size) + 7) / 8;
    return (bitmap->flags & QCOW2_BITMAP_IN_USE) ||
           qcow2_clusters_for(q, bytes) == bitmap->table_len;
}

static bool bitmaps_are_sane(const struct qcow2 *q, const GPtrArray *bitmaps)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);

    for (guint i = 0; i < bitmaps->len; i++) {
        struct qcow2_bitmap *bitmap = g_ptr_array_index(bitmaps, i);

        if (bitmap->granularity_bits < QCOW2_BITMAP_MIN_BITS ||
            bitmap->granularity_bits > QCOW2_BITMAP_MAX_BITS ||
            bitmap->type != QCOW2_BITMAP_TYPE_DIRTY || bitmap->extra_len > 0 ||
            (bitmap->flags & ~QCOW2_BITMAP_FLAGS_KNOWN) || bitmap->name[0] == '\0' ||
            !g_hash_table_add(names, bitmap->name) || !bitmaps_has_table(q, bitmap))
            return false;
    }
    return true;
}

static bool bitmaps_entry_is_sane(const struct qcow2_check *check, uint64_t entry)
{
    const struct qcow2 *q = check->q;
    uint64_t offset = entry & QCOW2_OFFSET_MASK, end;

    end = qcow2_clusters_for(q, __atomic_load_n(&q->storage->size, __ATOMIC_RELAXED));
    if (entry & BITMAP_ENTRY_RESERVED)
        return false;
    if (offset == 0)
        return true;
    return !(entry & BITMAP_ENTRY_ALL_ONES) && (offset & (q->cluster_size - 1)) == 0 &&
           offset >> q->cluster_bits < end;
}

/* --- tables --- */

/* With `mends`, what makes no sense is corrected in the file; else what is there is counted. */
static int bitmaps_walk_table(struct qcow2_check *check, const struct qcow2_bitmap *bitmap,
                              bool mends)
{
    struct qcow2 *q = check->q;
    uint64_t len = (uint64_t)bitmap->table_len * sizeof(be64_t);
    g_autofree be64_t *entries = g_malloc(len);
    bool changed = false;
    int ret = vblk_storage_read(q->storage, entries, len, bitmap->table_offset);

    if (!mends)
        qcow2_check_count(check, bitmap->table_offset, len);
    for (uint32_t i = 0; ret == 0 && i < bitmap->table_len; i++) {
        uint64_t entry = be64_value(entries[i]);
        bool is_sane = bitmaps_entry_is_sane(check, entry);

        if (!is_sane)
            qcow2_check_report(check, &check->result->n_corruptions,
                               "ERROR: bitmap \"%s\": entry %u, %#" PRIx64 ", makes no sense",
                               bitmap->name, i, entry);
        if (!is_sane && mends) {
            check->result->n_corruptions_fixed++;
            entries[i] = be64_from(BITMAP_ENTRY_ALL_ONES);
            changed = true;
        } else if (is_sane && !mends && (entry & QCOW2_OFFSET_MASK)) {
            qcow2_check_count(check, entry & QCOW2_OFFSET_MASK, q->cluster_size);
        }
    }
    return ret == 0 && changed ? vblk_storage_write(q->storage, entries, len, bitmap->table_offset)
                               : ret;
}

/* *ret_bitmaps: NULL where they make no sense. */
static int bitmaps_read(struct qcow2_check *check, GPtrArray **ret_bitmaps)
{
    g_autoptr(GPtrArray) bitmaps = NULL;
    int ret = qcow2_bitmap_directory_read(check->q, &bitmaps);

    *ret_bitmaps = NULL;
    if (ret == -EBADMSG)
        return 0;
    if (ret == 0 && bitmaps_are_sane(check->q, bitmaps))
        *ret_bitmaps = g_steal_pointer(&bitmaps);
    return ret;
}

static int bitmaps_walk(struct qcow2_check *check, const GPtrArray *bitmaps, bool mends)
{
    int ret = 0;

    for (guint i = 0; i < bitmaps->len && ret == 0; i++)
        ret = bitmaps_walk_table(check, g_ptr_array_index(bitmaps, i), mends);
    return ret;
}

/* --- the operations --- */

int qcow2_check_mend_bitmaps(struct qcow2_check *check)
{
    struct qcow2_header *header = &check->q->header;
    g_autoptr(GPtrArray) bitmaps = NULL;
    int ret = bitmaps_read(check, &bitmaps);

    if (ret < 0 || bitmaps)
        return ret < 0 ? ret : bitmaps_walk(check, bitmaps, true);
    qcow2_check_report(check, &check->result->n_corruptions,
                       "ERROR: the directory of bitmaps makes no sense: they are dropped");
    check->result->n_corruptions_fixed++;
    check->result->n_lost++;
    header->has_bitmaps = false;
    header->autoclear &= ~QCOW2_AUTOCLEAR_BITMAPS;
    return qcow2_write_header_held(check->q);
}

int qcow2_check_walk_bitmaps(struct qcow2_check *check)
{
    const struct qcow2_header *header = &check->q->header;
    g_autoptr(GPtrArray) bitmaps = NULL;
    int ret;

    if (!(header->autoclear & QCOW2_AUTOCLEAR_BITMAPS) || !header->has_bitmaps)
        return 0;
    ret = bitmaps_read(check, &bitmaps);
    if (ret < 0)
        return ret;
    qcow2_check_count(check, header->bitmaps_offset, header->bitmaps_size);
    if (!bitmaps) {
        qcow2_check_report(check, &check->result->n_corruptions,
                           "ERROR: the directory of bitmaps makes no sense");
        return 0;
    }
    return bitmaps_walk(check, bitmaps, false);
}
