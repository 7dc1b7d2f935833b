/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each operation changes the list of an open image and has it stored: at any instant the file has
 * the bitmaps of before, or those of after.
 */
#include "vblkd/format/qcow2-bitmap-edit.h"

#include <gio/gio.h>
#include <stdarg.h>
#include <string.h>

#include "vblkd/format/qcow2-bitmap.h"
#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-journal.h"
#include "vhost-user/cleanup.h"

/* --- what all have in common --- */

static bool edit_refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool edit_refuse(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error)
        *error = g_error_new_valist(G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, format, args);
    va_end(args);
    return false;
}

GPtrArray *qcow2_bitmap_list(struct vblk_image *image, GError **error)
{
    GPtrArray *bitmaps = NULL;
    int ret = qcow2_bitmap_directory_read(qcow2_of(image), &bitmaps);

    if (ret < 0)
        edit_refuse(error, "the directory of bitmaps cannot be read: %s", g_strerror(-ret));
    return bitmaps;
}

/* By who holds flush_lock. */
static bool edit_begin(struct qcow2 *q, GError **error)
{
    if (q->image->read_only || qcow2_is_corrupt(q))
        return edit_refuse(error, "the image is read-only");
    if (q->header.version < 3)
        return edit_refuse(error, "an image of version 2 has no bitmaps");
    if (!q->bitmaps)
        return edit_refuse(error, "the directory of bitmaps makes no sense");
    return true;
}

/* One that makes sense. */
static struct qcow2_bitmap *edit_find(const GPtrArray *bitmaps, const char *name, GError **error)
{
    struct qcow2_bitmap *bitmap = qcow2_bitmap_find(bitmaps, name);

    if (!bitmap)
        edit_refuse(error, "there is no bitmap \"%s\"", name);
    else if (bitmap->flags & QCOW2_BITMAP_IN_USE)
        edit_refuse(error,
                    "bitmap \"%s\" is inconsistent: who wrote it did not finish; it can only be "
                    "removed",
                    name);
    else if (!qcow2_bitmap_is_usable(bitmap))
        edit_refuse(error, "bitmap \"%s\" is of a kind that is not known here", name);
    else
        return bitmap;
    return NULL;
}

/* The same, with its bits in memory. */
static struct qcow2_bitmap *edit_load(struct qcow2 *q, const GPtrArray *bitmaps, const char *name,
                                      GError **error)
{
    struct qcow2_bitmap *bitmap = edit_find(bitmaps, name, error);
    int ret = bitmap ? qcow2_bitmap_load(q, bitmap) : 0;

    if (ret == 0)
        return bitmap;
    edit_refuse(error, "bitmap \"%s\" cannot be read: %s", name, g_strerror(-ret));
    return NULL;
}

/* What has been changed, to the disk. */
static bool edit_end(struct qcow2 *q, GError **error)
{
    int ret;

    q->header.autoclear &= QCOW2_AUTOCLEAR_KNOWN | (q->journal ? QCOW2_AUTOCLEAR_JOURNAL : 0);
    ret = qcow2_bitmaps_store(q);
    /* Once to free what was given up, and once more to write that. */
    if (ret == 0)
        ret = qcow2_flush_all_held(q);
    if (ret == 0)
        ret = qcow2_flush_all_held(q);
    return ret == 0 || edit_refuse(error, "%s", g_strerror(-ret));
}

/* The bits or the flags of a bitmap have become others. */
static bool edit_end_change(struct qcow2 *q, struct qcow2_bitmap *bitmap, GError **error)
{
    __atomic_store_n(&bitmap->is_changed, true, __ATOMIC_RELAXED);
    return edit_end(q, error);
}

/* --- the operations --- */

static bool edit_check_new(const struct qcow2 *q, const char *name, uint64_t granularity,
                           GError **error)
{
    if (name[0] == '\0' || strlen(name) > QCOW2_BITMAP_MAX_NAME)
        return edit_refuse(error, "the name of a bitmap has 1 to %d bytes", QCOW2_BITMAP_MAX_NAME);
    if (qcow2_bitmap_find(q->bitmaps, name))
        return edit_refuse(error, "there is a bitmap \"%s\" already", name);
    if (granularity < UINT64_C(1) << QCOW2_BITMAP_MIN_BITS ||
        granularity > UINT64_C(1) << QCOW2_BITMAP_MAX_BITS ||
        (granularity & (granularity - 1)) != 0)
        return edit_refuse(error, "the granularity of a bitmap is a power of two from 512 to 2G");
    if (q->bitmaps->len >= QCOW2_MAX_BITMAPS)
        return edit_refuse(error, "the image has as many bitmaps as it can");
    /* It would have no table, and QEMU does not open such an image. */
    if (q->header.size == 0)
        return edit_refuse(error, "a disk of no bytes has no bitmaps");
    return true;
}

bool qcow2_bitmap_add(struct vblk_image *image, const char *name, uint64_t granularity,
                      bool is_enabled, GError **error)
{
    struct qcow2 *q = qcow2_of(image);
    struct qcow2_bitmap *bitmap;

    if (granularity == 0)
        granularity = CLAMP(q->cluster_size, QCOW2_BITMAP_DEFAULT_MIN, QCOW2_BITMAP_DEFAULT_MAX);
    VU_LOCK_SCOPE(&q->flush_lock);
    if (!edit_begin(q, error) || !edit_check_new(q, name, granularity, error))
        return false;
    bitmap = qcow2_bitmap_create(q, name, (unsigned)__builtin_ctzll(granularity),
                                 is_enabled ? QCOW2_BITMAP_AUTO : 0);
    if (!bitmap)
        return edit_refuse(error, "the bitmap would be too large: take a larger granularity");
    g_ptr_array_add(q->bitmaps, bitmap);
    if (edit_end(q, error))
        return true;
    g_ptr_array_remove(q->bitmaps, bitmap);
    return false;
}

bool qcow2_bitmap_remove(struct vblk_image *image, const char *name, GError **error)
{
    struct qcow2 *q = qcow2_of(image);
    struct qcow2_bitmap *bitmap;

    VU_LOCK_SCOPE(&q->flush_lock);
    if (!edit_begin(q, error))
        return false;
    bitmap = qcow2_bitmap_find(q->bitmaps, name);
    if (!bitmap)
        return edit_refuse(error, "there is no bitmap \"%s\"", name);
    bitmap->is_removed = true;
    return edit_end(q, error);
}

bool qcow2_bitmap_clear(struct vblk_image *image, const char *name, GError **error)
{
    struct qcow2 *q = qcow2_of(image);
    struct qcow2_bitmap *bitmap;

    VU_LOCK_SCOPE(&q->flush_lock);
    bitmap = edit_begin(q, error) ? edit_load(q, q->bitmaps, name, error) : NULL;
    if (!bitmap)
        return false;
    qcow2_bits_clear_from(bitmap->bits, 0);
    return edit_end_change(q, bitmap, error);
}

bool qcow2_bitmap_enable(struct vblk_image *image, const char *name, bool is_enabled,
                         GError **error)
{
    struct qcow2 *q = qcow2_of(image);
    struct qcow2_bitmap *bitmap;

    VU_LOCK_SCOPE(&q->flush_lock);
    bitmap = edit_begin(q, error) ? edit_find(q->bitmaps, name, error) : NULL;
    if (!bitmap)
        return false;
    bitmap->flags &= ~QCOW2_BITMAP_AUTO;
    bitmap->flags |= is_enabled ? QCOW2_BITMAP_AUTO : 0;
    return edit_end_change(q, bitmap, error);
}

/* --- merging --- */

/* Every bit of `to` whose piece overlaps one of `from` that is set. */
static void merge_bits(const struct qcow2_bitmap *to, const struct qcow2_bitmap *from,
                       uint64_t disk_size)
{
    if (to->granularity_bits == from->granularity_bits) {
        qcow2_bits_merge(to->bits, from->bits);
        return;
    }
    for (uint64_t i = 0; i < from->bits->n; i++) {
        uint64_t start = i << from->granularity_bits, end, first;

        /* Most are not set. */
        if (i % 64 == 0 && !from->bits->smaller && from->bits->words[i / 64] == 0) {
            i += 63;
            continue;
        }
        if (!qcow2_bits_test(from->bits, i))
            continue;
        end = start + MIN(disk_size - start, UINT64_C(1) << from->granularity_bits);
        first = start >> to->granularity_bits;
        qcow2_bits_set(to->bits, first, ((end - 1) >> to->granularity_bits) - first + 1);
    }
}

bool qcow2_bitmap_merge(struct vblk_image *image, const char *name, struct vblk_image *source,
                        const char *source_name, GError **error)
{
    struct qcow2 *q = qcow2_of(image);
    g_autoptr(GPtrArray) others = NULL;
    struct qcow2_bitmap *bitmap, *from;

    if (source->size != image->size)
        return edit_refuse(error, "bitmaps of disks of different sizes cannot be merged");
    VU_LOCK_SCOPE(&q->flush_lock);
    if (!edit_begin(q, error))
        return false;
    others = source == image ? g_ptr_array_ref(q->bitmaps) : qcow2_bitmap_list(source, error);
    from = others ? edit_load(qcow2_of(source), others, source_name, error) : NULL;
    bitmap = from ? edit_load(q, q->bitmaps, name, error) : NULL;
    if (!bitmap)
        return false;
    merge_bits(bitmap, from, image->size);
    return edit_end_change(q, bitmap, error);
}

/* --- sizes --- */

uint64_t qcow2_bitmap_measure(const GPtrArray *bitmaps, uint64_t disk_size, uint64_t cluster_size)
{
    uint64_t mask = cluster_size - 1, directory_len = 0, len = 0;

    for (guint i = 0; i < bitmaps->len; i++) {
        const struct qcow2_bitmap *bitmap = g_ptr_array_index(bitmaps, i);
        uint64_t n_bytes = (qcow2_bitmap_n_bits(bitmap, disk_size) + 7) / 8;
        uint64_t n = (n_bytes + mask) / cluster_size;

        len += n * cluster_size + ((n * sizeof(be64_t) + mask) & ~mask);
        directory_len +=
            (sizeof(struct qcow2_disk_bitmap) + strlen(bitmap->name) + 7) & ~UINT64_C(7);
    }
    return len + ((directory_len + mask) & ~mask);
}
