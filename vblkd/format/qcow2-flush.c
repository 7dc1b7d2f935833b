/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing metadata. What is to be written is copied under the lock, at one instant, so that it is
 * consistent in itself; it is written without the lock, while requests go on and make new changes.
 */
#include "vblkd/format/qcow2-flush.h"

#include <stdlib.h>
#include <string.h>

#include "vblkd/format/qcow2-bitmap.h"
#include "vblkd/format/qcow2-free.h"
#include "vblkd/format/qcow2-journal.h"
#include "vblkd/format/qcow2-refcount.h"
#include "vhost-user/cleanup.h"

/* Part of a table on its way to the disk. */
struct flush_piece {
    uint64_t offset;
    uint32_t len;
    uint8_t *bytes;               /* owned, but for slices */
    struct qcow2_refblock *block; /* of a refcount block */
    struct qcow2_l2_frame *frame; /* of a slice */
};

/* What one flush writes. */
struct flush_batch {
    GArray *blocks, *slices;         /* struct flush_piece */
    struct flush_piece reftable, l1; /* len 0: none */
    uint64_t reftable_from, l1_from; /* entries, to mark them dirty again */
    uint8_t *slice_bytes;
    bool is_moved, sets_dirty_bit;
    uint64_t n_reftable_clusters; /* of a table that has moved */
    uint64_t n_changes, journal_head;
};

/* --- taking it, under the lock --- */

static void flush_take_blocks(struct qcow2 *q, struct flush_batch *batch)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, q->refcounts.blocks);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct qcow2_refblock *block = value;
        struct flush_piece piece = {.block = block};

        if (block->dirty_from == block->dirty_to)
            continue;
        piece.offset = block->offset + block->dirty_from;
        piece.len = block->dirty_to - block->dirty_from;
        piece.bytes = g_memdup2(block->bytes + block->dirty_from, piece.len);
        block->dirty_from = block->dirty_to = 0;
        block->is_writing = true;
        g_array_append_val(batch->blocks, piece);
    }
}

/* Entries [from, to) of a table at `offset`, big-endian. */
static struct flush_piece flush_take_entries(const uint64_t *entries, uint64_t from, uint64_t to,
                                             uint64_t offset)
{
    struct flush_piece piece = {.offset = offset + from * 8, .len = (uint32_t)((to - from) * 8)};
    be64_t *bytes;

    if (piece.len == 0)
        return piece;
    bytes = g_malloc(piece.len);
    for (uint64_t i = from; i < to; i++)
        bytes[i - from] = be64_from(entries[i]);
    piece.bytes = (uint8_t *)bytes;
    return piece;
}

static gint flush_compare_pieces(gconstpointer a, gconstpointer b)
{
    const struct flush_piece *x = a, *y = b;

    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void flush_take_slices(struct qcow2 *q, struct flush_batch *batch)
{
    uint32_t slice_len = q->l2.slice_words * 8;
    struct qcow2_l2_frame *frame;
    uint64_t slice;

    if (q->l2.n_dirty == 0)
        return;
    batch->slice_bytes = aligned_alloc(
        QCOW2_L2_SLICE_MAX, ((size_t)q->l2.n_dirty * slice_len + QCOW2_L2_SLICE_MAX - 1) &
                                ~(size_t)(QCOW2_L2_SLICE_MAX - 1));
    g_assert(batch->slice_bytes);
    while ((frame = qcow2_l2_cache_begin_write(&q->l2, &slice))) {
        unsigned shift = q->l2_bits - q->slice_bits;
        uint64_t table = q->l1.entries[slice >> shift] & QCOW2_OFFSET_MASK;
        struct flush_piece piece = {
            .offset = table + (slice & ((UINT64_C(1) << shift) - 1)) * slice_len,
            .len = slice_len,
            .frame = frame,
        };

        g_array_append_val(batch->slices, piece);
    }
    g_array_sort(batch->slices, flush_compare_pieces);
    for (guint i = 0; i < batch->slices->len; i++) {
        struct flush_piece *piece = &g_array_index(batch->slices, struct flush_piece, i);

        piece->bytes = batch->slice_bytes + (size_t)i * slice_len;
        qcow2_l2_cache_encode(&q->l2, piece->frame, piece->bytes);
    }
}

/* The table may have grown, and not found a place: what lies behind its end on the disk is not its.
 */
static void flush_take_reftable(struct qcow2 *q, struct flush_batch *batch)
{
    struct qcow2_refcounts *refcounts = &q->refcounts;
    uint64_t n_placed = (refcounts->n_clusters << q->cluster_bits) / sizeof(uint64_t);
    uint64_t to = MIN(refcounts->dirty_to, n_placed), from = MIN(refcounts->dirty_from, to);

    batch->reftable_from = from;
    batch->reftable = flush_take_entries(refcounts->table, from, to, refcounts->offset);
    if (to == refcounts->dirty_to)
        refcounts->dirty_from = refcounts->dirty_to = 0;
    else
        refcounts->dirty_from = MAX(refcounts->dirty_from, to);
    batch->is_moved = refcounts->is_moved;
    batch->n_reftable_clusters = refcounts->n_clusters;
    refcounts->is_moved = false;
}

/* lazily: refcounts may stay behind, with the dirty bit. */
static void flush_take(struct qcow2 *q, struct flush_batch *batch, bool lazily)
{
    pthread_mutex_lock(&q->lock);
    batch->blocks = g_array_new(FALSE, FALSE, sizeof(struct flush_piece));
    batch->slices = g_array_new(FALSE, FALSE, sizeof(struct flush_piece));
    batch->n_changes = __atomic_load_n(&q->n_changes, __ATOMIC_RELAXED);
    q->n_unmapped_taken = q->unmapped->len;
    batch->journal_head = qcow2_journal_head(q);
    /* The old place of a table that has moved may become free: then the header must not name it. */
    if (lazily && !q->refcounts.is_moved) {
        batch->sets_dirty_bit = (q->header.incompatible & QCOW2_INCOMPAT_DIRTY) == 0;
        q->header.incompatible |= QCOW2_INCOMPAT_DIRTY;
    } else {
        flush_take_blocks(q, batch);
        flush_take_reftable(q, batch);
    }
    flush_take_slices(q, batch);
    batch->l1_from = q->l1.dirty_from;
    batch->l1 =
        flush_take_entries(q->l1.entries, q->l1.dirty_from, q->l1.dirty_to, q->header.l1_offset);
    q->l1.dirty_from = q->l1.dirty_to = 0;
    pthread_mutex_unlock(&q->lock);
}

/* --- putting it down again --- */

#define FLUSH_MERGE_RANGE(x, from, to)                      \
    do {                                                    \
        if ((x)->dirty_from == (x)->dirty_to) {             \
            (x)->dirty_from = (from);                       \
            (x)->dirty_to = (to);                           \
        } else {                                            \
            (x)->dirty_from = MIN((x)->dirty_from, (from)); \
            (x)->dirty_to = MAX((x)->dirty_to, (to));       \
        }                                                   \
    } while (0)

static void flush_restore(struct qcow2 *q, struct flush_batch *batch)
{
    if (batch->sets_dirty_bit)
        q->header.incompatible &= ~QCOW2_INCOMPAT_DIRTY;
    for (guint i = 0; i < batch->blocks->len; i++) {
        struct flush_piece *piece = &g_array_index(batch->blocks, struct flush_piece, i);
        uint32_t from = (uint32_t)(piece->offset - piece->block->offset);

        FLUSH_MERGE_RANGE(piece->block, from, from + piece->len);
    }
    if (batch->reftable.len > 0)
        FLUSH_MERGE_RANGE(&q->refcounts, batch->reftable_from,
                          batch->reftable_from + batch->reftable.len / 8);
    q->refcounts.is_moved |= batch->is_moved;
    if (batch->l1.len > 0)
        FLUSH_MERGE_RANGE(&q->l1, (uint32_t)batch->l1_from,
                          (uint32_t)batch->l1_from + batch->l1.len / 8);
}

static void flush_put(struct qcow2 *q, struct flush_batch *batch, bool succeeded)
{
    pthread_mutex_lock(&q->lock);
    if (!succeeded)
        flush_restore(q, batch);
    for (guint i = 0; i < batch->blocks->len; i++) {
        struct flush_piece *piece = &g_array_index(batch->blocks, struct flush_piece, i);

        piece->block->is_writing = false;
        g_free(piece->bytes);
    }
    for (guint i = 0; i < batch->slices->len; i++)
        qcow2_l2_cache_end_write(&q->l2, g_array_index(batch->slices, struct flush_piece, i).frame,
                                 succeeded);
    if (succeeded) {
        qcow2_free_passed(q, q->n_unmapped_taken);
        qcow2_journal_forget(q, batch->journal_head);
        __atomic_store_n(&q->n_written, batch->n_changes, __ATOMIC_RELEASE);
    }
    q->n_unmapped_taken = 0;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
    g_array_free(batch->blocks, TRUE);
    g_array_free(batch->slices, TRUE);
    g_free(batch->reftable.bytes);
    g_free(batch->l1.bytes);
    free(batch->slice_bytes);
}

/* --- writing it --- */

static int flush_storage(struct qcow2 *q)
{
    int ret = vblk_storage_flush(q->storage);

    if (ret == 0 && q->has_data_file)
        ret = vblk_storage_flush(q->data_storage);
    return ret;
}

/* Neighbours with one call; slices are sorted, and their bytes lie side by side. */
static int flush_write_slices(struct qcow2 *q, const GArray *slices)
{
    int ret = 0;

    for (guint i = 0, n; i < slices->len && ret == 0; i += n) {
        const struct flush_piece *first = &g_array_index(slices, struct flush_piece, i);

        for (n = 1; i + n < slices->len && first[n].offset == first->offset + n * first->len; n++)
            ;
        ret = vblk_storage_write(q->storage, first->bytes, (uint64_t)n * first->len, first->offset);
    }
    return ret;
}

static int flush_write_refcounts(struct qcow2 *q, const struct flush_batch *batch)
{
    int ret = 0;

    for (guint i = 0; i < batch->blocks->len && ret == 0; i++) {
        const struct flush_piece *piece = &g_array_index(batch->blocks, struct flush_piece, i);

        ret = vblk_storage_write(q->storage, piece->bytes, piece->len, piece->offset);
    }
    if (ret < 0 || batch->reftable.len == 0)
        return ret;
    ret = flush_storage(q);
    if (ret == 0)
        ret = vblk_storage_write(q->storage, batch->reftable.bytes, batch->reftable.len,
                                 batch->reftable.offset);
    if (ret < 0 || !batch->is_moved)
        return ret;
    ret = flush_storage(q);
    if (ret < 0)
        return ret;
    pthread_mutex_lock(&q->lock);
    q->header.reftable_offset = batch->reftable.offset;
    q->header.reftable_clusters = (uint32_t)batch->n_reftable_clusters;
    pthread_mutex_unlock(&q->lock);
    return qcow2_write_header_held(q);
}

static int flush_write(struct qcow2 *q, struct flush_batch *batch)
{
    int ret = 0;

    if (batch->sets_dirty_bit)
        ret = qcow2_write_header_held(q);
    /* Once there it stays in memory, too, whatever fails: or another header would clear it. */
    if (ret == 0)
        batch->sets_dirty_bit = false;
    if (ret == 0)
        ret = flush_write_refcounts(q, batch);
    if (ret == 0)
        ret = flush_storage(q);
    if (ret == 0 && batch->slices->len > 0) {
        ret = flush_write_slices(q, batch->slices);
        if (ret == 0)
            ret = flush_storage(q);
    }
    if (ret == 0 && batch->l1.len > 0) {
        ret = vblk_storage_write(q->storage, batch->l1.bytes, batch->l1.len, batch->l1.offset);
        if (ret == 0)
            ret = flush_storage(q);
    }
    return ret;
}

static int flush_batch(struct qcow2 *q, bool lazily)
{
    struct flush_batch batch = {0};
    int ret;

    flush_take(q, &batch, lazily);
    ret = flush_write(q, &batch);
    flush_put(q, &batch, ret == 0);
    return ret;
}

/* --- the operations --- */

bool qcow2_has_dirty_metadata(struct vblk_image *image)
{
    struct qcow2 *q = qcow2_of(image);

    return __atomic_load_n(&q->n_changes, __ATOMIC_ACQUIRE) !=
               __atomic_load_n(&q->n_written, __ATOMIC_ACQUIRE) ||
           q->has_data_file;
}

static int flush_run(struct qcow2 *q, bool lazily)
{
    int ret;

    if (qcow2_is_corrupt(q)) {
        ret = (q->header.incompatible & QCOW2_INCOMPAT_CORRUPT) || q->header.version < 3
                  ? 0
                  : qcow2_write_header_held(q);
        if (ret == 0)
            ret = flush_storage(q);
        return ret == 0 && q->n_changes != q->n_written ? -EIO : ret;
    }
    if (__atomic_load_n(&q->n_changes, __ATOMIC_ACQUIRE) == q->n_written &&
        (lazily || !(q->header.incompatible & QCOW2_INCOMPAT_DIRTY)))
        ret = flush_storage(q);
    else
        ret = flush_batch(q, lazily);
    /* What could not be freed this time can be the next; the flush itself has succeeded. */
    if (ret == 0)
        qcow2_free_finish(q);
    return ret;
}

int qcow2_flush_all_held(struct qcow2 *q)
{
    return flush_run(q, false);
}

int qcow2_flush_all(struct qcow2 *q)
{
    VU_LOCK_SCOPE(&q->flush_lock);
    return flush_run(q, false);
}

int qcow2_flush(struct vblk_image *image)
{
    struct qcow2 *q = qcow2_of(image);

    if (image->read_only)
        return 0;
    VU_LOCK_SCOPE(&q->flush_lock);
    return flush_run(q, (q->header.compatible & QCOW2_COMPAT_LAZY_REFCOUNTS) != 0 &&
                            q->header.version >= 3);
}

int qcow2_persist(struct vblk_image *image)
{
    struct qcow2 *q = qcow2_of(image);
    uint64_t n = __atomic_load_n(&q->n_changes, __ATOMIC_ACQUIRE);

    if (image->read_only)
        return 0;
    VU_LOCK_SCOPE(&q->flush_lock);
    /* Who waited for the lock may find that one flush was enough for all. */
    return __atomic_load_n(&q->n_written, __ATOMIC_ACQUIRE) >= n ? 0 : flush_run(q, false);
}

/* --- the header --- */

/* As it is now; *ret_is_corrupt: with the bit that says so. */
static int flush_write_header(struct qcow2 *q, bool *ret_is_corrupt)
{
    g_autofree uint8_t *bytes = NULL;
    size_t len;
    int ret;

    pthread_mutex_lock(&q->lock);
    *ret_is_corrupt = qcow2_is_corrupt(q);
    if (*ret_is_corrupt && q->header.version >= 3)
        q->header.incompatible |= QCOW2_INCOMPAT_CORRUPT;
    ret = qcow2_header_encode(&q->header, &bytes, &len);
    pthread_mutex_unlock(&q->lock);
    if (ret < 0)
        return ret;
    VU_LOCK_SCOPE(&q->header_lock);
    return vblk_storage_write(q->storage, bytes, len, 0);
}

int qcow2_write_header_held(struct qcow2 *q)
{
    bool is_corrupt;
    int ret;

    /* What was found meanwhile may have been marked on the disk before this was written there. */
    do {
        ret = flush_write_header(q, &is_corrupt);
    } while (ret == 0 && is_corrupt != qcow2_is_corrupt(q));
    return ret == 0 ? vblk_storage_flush(q->storage) : ret;
}

int qcow2_prepare(struct qcow2 *q)
{
    uint64_t autoclear;
    int ret = 0;

    VU_LOCK_SCOPE(&q->flush_lock);
    if (__atomic_load_n(&q->is_prepared, __ATOMIC_RELAXED))
        return 0;
    if (qcow2_is_corrupt(q))
        return -EIO;
    autoclear = q->header.autoclear;
    q->header.autoclear &= QCOW2_AUTOCLEAR_KNOWN;
    q->header.autoclear |= qcow2_journal_claim(q);
    if (q->header.autoclear != autoclear || q->is_doubtful)
        ret = qcow2_write_header_held(q);
    if (ret < 0) {
        q->header.autoclear = autoclear;
        return ret;
    }
    q->is_doubtful = false;
    /* After that, for what the journal has of them counts only with it. */
    ret = qcow2_bitmaps_begin(q);
    if (ret == -EBADMSG) {
        q->header.autoclear &= ~QCOW2_AUTOCLEAR_BITMAPS;
        ret = qcow2_write_header_held(q);
        if (ret < 0)
            q->header.autoclear |= QCOW2_AUTOCLEAR_BITMAPS;
    }
    if (ret == 0)
        __atomic_store_n(&q->is_prepared, true, __ATOMIC_RELEASE);
    return ret;
}
