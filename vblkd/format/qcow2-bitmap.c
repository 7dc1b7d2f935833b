/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bitmaps in memory: bits read before the first write, set by what is written, with room made for
 * a disk that grows. qcow2-bitmap-store.c brings them back.
 */
#include "vblkd/format/qcow2-bitmap.h"

#include <gio/gio.h>
#include <string.h>

#include "vblkd/format/qcow2-bitmap-directory.h"
#include "vblkd/format/qcow2-bitmap-store.h"
#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-journal-bits.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

/* --- bits --- */

/* Bytes of what is in memory, and of n bits more. */
static bool bitmap_fits(const struct qcow2 *q, uint64_t n)
{
    uint64_t len = n / 8;

    for (guint i = 0; q->bitmaps && i < q->bitmaps->len; i++) {
        const struct qcow2_bitmap *bitmap = g_ptr_array_index(q->bitmaps, i);

        for (const struct qcow2_bits *bits = bitmap->bits; bits; bits = bits->smaller)
            len += bits->n / 8;
    }
    return len <= QCOW2_MAX_BITMAPS_MEMORY;
}

struct qcow2_bitmap *qcow2_bitmap_create(const struct qcow2 *q, const char *name,
                                         unsigned granularity_bits, uint32_t flags)
{
    struct qcow2_bitmap *bitmap = g_new0(struct qcow2_bitmap, 1);
    uint64_t n;

    bitmap->name = g_strdup(name);
    bitmap->flags = flags;
    bitmap->type = QCOW2_BITMAP_TYPE_DIRTY;
    bitmap->granularity_bits = (uint8_t)granularity_bits;
    bitmap->is_changed = true;
    n = qcow2_bitmap_n_bits(bitmap, q->header.size);
    if (bitmap_fits(q, n))
        bitmap->bits = qcow2_bits_create(n);
    if (bitmap->bits)
        return bitmap;
    qcow2_bitmap_free(bitmap);
    return NULL;
}

static int bitmap_read_data(struct qcow2 *q, const struct qcow2_bitmap *bitmap,
                            struct qcow2_bits *bits)
{
    g_autofree uint64_t *table = NULL;
    g_autofree uint8_t *bytes = g_malloc(q->cluster_size);
    int ret = qcow2_bitmap_table_read(q, bitmap, &table);

    for (uint32_t i = 0; ret == 0 && i < bitmap->table_len; i++) {
        uint64_t offset = table[i] & QCOW2_OFFSET_MASK;

        if (offset)
            ret = vblk_storage_read(q->storage, bytes, q->cluster_size, offset);
        else if (table[i] & QCOW2_BITMAP_ALL_ONES)
            memset(bytes, 0xff, q->cluster_size);
        else
            continue;
        if (ret == 0)
            qcow2_bits_decode(bits, i * q->cluster_size, q->cluster_size, bytes);
    }
    return ret;
}

/* Where a successor finds them, if that is possible. */
static struct qcow2_bits *bitmap_new_bits(struct qcow2 *q, uint64_t n)
{
    struct qcow2_bits *bits;

    if (!bitmap_fits(q, n))
        return NULL;
    bits = qcow2_journal_create_bits(q, n);
    return bits ? bits : qcow2_bits_create(n);
}

static void bitmap_publish_bits(struct qcow2 *q, struct qcow2_bitmap *bitmap,
                                struct qcow2_bits *bits)
{
    guint index = 0;

    if (q->bitmaps && g_ptr_array_find(q->bitmaps, bitmap, &index))
        qcow2_journal_publish_bits(q, index, bitmap->name, bits);
    __atomic_store_n(&bitmap->bits, bits, __ATOMIC_RELEASE);
}

int qcow2_bitmap_load(struct qcow2 *q, struct qcow2_bitmap *bitmap)
{
    uint64_t n = qcow2_bitmap_n_bits(bitmap, q->header.size);
    struct qcow2_bits *bits;
    int ret;

    if (bitmap->bits)
        return 0;
    if (!qcow2_bitmap_is_usable(bitmap))
        return -EBADMSG;
    bits = bitmap_new_bits(q, n);
    if (!bits)
        return -ENOMEM;
    ret = bitmap_read_data(q, bitmap, bits);
    if (ret == 0)
        bitmap_publish_bits(q, bitmap, bits);
    else
        qcow2_bits_destroy(bits);
    return ret;
}

/* --- opening --- */

/* What tracking will take. */
static bool bitmaps_check_memory(const struct qcow2 *q, GError **error)
{
    uint64_t len = 0;

    for (guint i = 0; i < q->bitmaps->len && len <= QCOW2_MAX_BITMAPS_MEMORY; i++) {
        const struct qcow2_bitmap *bitmap = g_ptr_array_index(q->bitmaps, i);

        if (qcow2_bitmap_is_usable(bitmap) && (bitmap->flags & QCOW2_BITMAP_AUTO))
            len += qcow2_bitmap_n_bits(bitmap, q->header.size) / 8;
    }
    if (len <= QCOW2_MAX_BITMAPS_MEMORY)
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                "its enabled bitmaps would take more than the %" G_GUINT64_FORMAT
                " MiB of memory that are allowed; disable some, or open it read-only",
                QCOW2_MAX_BITMAPS_MEMORY >> 20);
    return false;
}

bool qcow2_bitmaps_open(struct qcow2 *q, GError **error)
{
    int ret;

    if (q->image->read_only)
        return true;
    ret = qcow2_bitmap_directory_read(q, &q->bitmaps);
    if (ret < 0) {
        vu_warning("%s: the directory of bitmaps cannot be read: %s", q->name, g_strerror(-ret));
        return true;
    }
    return bitmaps_check_memory(q, error);
}

void qcow2_bitmaps_report(const struct qcow2 *q)
{
    for (guint i = 0; q->bitmaps && i < q->bitmaps->len; i++) {
        const struct qcow2_bitmap *bitmap = g_ptr_array_index(q->bitmaps, i);

        if (bitmap->flags & QCOW2_BITMAP_IN_USE)
            vu_warning("%s: bitmap \"%s\" is inconsistent: it was in use by a program that did not "
                       "end well; it is kept, and does not follow what is written",
                       q->name, bitmap->name);
    }
}

/* They could not be stored: nobody has them. */
static void bitmaps_give_up(struct qcow2 *q, int err)
{
    vu_warning("%s: bitmaps of a predecessor could not be stored: %s", q->name, g_strerror(-err));
    for (guint i = 0; i < q->bitmaps->len; i++) {
        struct qcow2_bitmap *bitmap = g_ptr_array_index(q->bitmaps, i);

        if (!bitmap->is_held)
            continue;
        bitmap->flags |= QCOW2_BITMAP_IN_USE;
        bitmap->is_held = bitmap->is_changed = false;
        g_clear_pointer(&bitmap->bits, qcow2_bits_destroy);
    }
}

int qcow2_bitmaps_take_over(struct qcow2 *q)
{
    unsigned n_taken = 0;
    int ret;

    VU_LOCK_SCOPE(&q->flush_lock);
    for (guint i = 0; q->bitmaps && i < q->bitmaps->len; i++) {
        struct qcow2_bitmap *bitmap = g_ptr_array_index(q->bitmaps, i);
        uint32_t flags = bitmap->flags;
        struct qcow2_bits *bits;
        uint64_t n;

        bitmap->flags &= ~QCOW2_BITMAP_IN_USE;
        if (flags == bitmap->flags || !qcow2_bitmap_is_usable(bitmap)) {
            bitmap->flags = flags;
            continue;
        }
        n = qcow2_bitmap_n_bits(bitmap, q->header.size);
        bits = bitmap_fits(q, n) ? qcow2_bits_create(n) : NULL;
        if (bits && qcow2_journal_read_bits(q, i, bitmap->name, bits)) {
            bitmap->bits = bits;
            bitmap->is_held = bitmap->is_changed = true;
            n_taken++;
            continue;
        }
        qcow2_bits_destroy(bits);
        bitmap->flags = flags;
    }
    if (n_taken == 0)
        return 0;
    vu_info("%s: %u bitmaps of a predecessor are taken over", q->name, n_taken);
    ret = qcow2_bitmaps_store(q);
    if (ret < 0) {
        bitmaps_give_up(q, ret);
        return 0;
    }
    /* The first frees where they were, the second writes that. */
    for (unsigned i = 0; i < 2 && ret == 0; i++)
        ret = qcow2_flush_all_held(q);
    return ret;
}

void qcow2_bitmaps_clear(struct qcow2 *q)
{
    g_clear_pointer(&q->bitmaps, g_ptr_array_unref);
}

/* --- the first write --- */

/* Bits in memory, and nobody else's business from the next marking on. */
static int bitmap_hold(struct qcow2 *q, struct qcow2_bitmap *bitmap, bool *ret_is_new)
{
    int ret = bitmap->is_held ? 0 : qcow2_bitmap_load(q, bitmap);

    if (ret == -EBADMSG) {
        vu_warning("%s: bitmap \"%s\" makes no sense: it is marked inconsistent", q->name,
                   bitmap->name);
        bitmap->flags |= QCOW2_BITMAP_IN_USE;
        *ret_is_new = true;
        return 0;
    }
    if (ret < 0)
        return ret;
    /* Pairs with qcow2_bitmaps_touch_tracked, which may be at work. */
    if (!bitmap->is_held) {
        __atomic_store_n(&bitmap->is_held, true, __ATOMIC_RELEASE);
        *ret_is_new = true;
    }
    return 0;
}

static void bitmaps_publish(struct qcow2 *q)
{
    unsigned n = 0;

    for (guint i = 0; i < q->bitmaps->len; i++) {
        const struct qcow2_bitmap *bitmap = g_ptr_array_index(q->bitmaps, i);

        n += bitmap->is_held && (bitmap->flags & QCOW2_BITMAP_AUTO);
    }
    __atomic_store_n(&q->n_tracked, n, __ATOMIC_RELEASE);
}

/* Holds those that are enabled, or (all) every usable one, and says so on the disk. */
static int bitmaps_hold(struct qcow2 *q, bool all)
{
    bool is_new = false;
    int ret = 0;

    for (guint i = 0; i < q->bitmaps->len && ret == 0; i++) {
        struct qcow2_bitmap *bitmap = g_ptr_array_index(q->bitmaps, i);
        bool wanted = all || (bitmap->flags & QCOW2_BITMAP_AUTO);

        if (wanted && qcow2_bitmap_is_usable(bitmap))
            ret = bitmap_hold(q, bitmap, &is_new);
        else if (wanted && !(bitmap->flags & QCOW2_BITMAP_IN_USE)) {
            /* Of a kind that we do not know: it cannot follow. */
            bitmap->flags |= QCOW2_BITMAP_IN_USE;
            is_new = true;
        }
    }
    if (ret == 0 && is_new)
        ret = qcow2_bitmap_directory_mark(q);
    return ret;
}

int qcow2_bitmaps_begin(struct qcow2 *q)
{
    int ret;

    if (!q->header.has_bitmaps || !(q->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS))
        return 0;
    if (!q->bitmaps)
        return -EBADMSG;
    ret = bitmaps_hold(q, false);
    if (ret == 0)
        bitmaps_publish(q);
    return ret;
}

/* --- writing --- */

void qcow2_bitmaps_touch_tracked(struct qcow2 *q, uint64_t offset, uint64_t len)
{
    /* Whoever sees a larger disk sees larger bitmaps: pairs with the store of the new size. */
    uint64_t size = __atomic_load_n(&q->image->size, __ATOMIC_ACQUIRE);

    if (offset >= size || len == 0)
        return;
    for (guint i = 0; i < q->bitmaps->len; i++) {
        struct qcow2_bitmap *bitmap = g_ptr_array_index(q->bitmaps, i);
        unsigned bits = bitmap->granularity_bits;

        if (!__atomic_load_n(&bitmap->is_held, __ATOMIC_ACQUIRE) ||
            !(bitmap->flags & QCOW2_BITMAP_AUTO))
            continue;
        qcow2_bits_set(__atomic_load_n(&bitmap->bits, __ATOMIC_ACQUIRE), offset >> bits,
                       ((offset + len - 1) >> bits) - (offset >> bits) + 1);
        if (!__atomic_load_n(&bitmap->is_changed, __ATOMIC_RELAXED))
            __atomic_store_n(&bitmap->is_changed, true, __ATOMIC_RELAXED);
    }
}

/* --- resizing --- */

/* Room for n bits. Who still has the old ones may set some there: they stay with the new. */
static int bitmap_grow(struct qcow2 *q, struct qcow2_bitmap *bitmap, uint64_t n)
{
    struct qcow2_bits *bits;

    __atomic_store_n(&bitmap->is_changed, true, __ATOMIC_RELAXED);
    if (bitmap->bits->n >= n)
        return 0;
    bits = bitmap_new_bits(q, n);
    if (!bits)
        return -ENOMEM;
    bits->smaller = bitmap->bits;
    bitmap_publish_bits(q, bitmap, bits);
    return 0;
}

int qcow2_bitmaps_grow(struct qcow2 *q, uint64_t size)
{
    int ret;

    if (!q->bitmaps || q->bitmaps->len == 0 || !(q->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS))
        return 0;
    for (guint i = 0; i < q->bitmaps->len; i++) {
        const struct qcow2_bitmap *bitmap = g_ptr_array_index(q->bitmaps, i);

        if (!qcow2_bitmap_is_usable(bitmap))
            return -EBUSY;
    }
    ret = bitmaps_hold(q, true);
    for (guint i = 0; i < q->bitmaps->len && ret == 0; i++) {
        struct qcow2_bitmap *bitmap = g_ptr_array_index(q->bitmaps, i);

        /* One that turned out to make no sense is not held. */
        ret = bitmap->is_held ? bitmap_grow(q, bitmap, qcow2_bitmap_n_bits(bitmap, size)) : -EBUSY;
    }
    return ret;
}

void qcow2_bitmaps_shrink(struct qcow2 *q, uint64_t size)
{
    for (guint i = 0; q->bitmaps && i < q->bitmaps->len; i++) {
        struct qcow2_bitmap *bitmap = g_ptr_array_index(q->bitmaps, i);

        if (bitmap->is_held)
            qcow2_bits_clear_from(bitmap->bits, qcow2_bitmap_n_bits(bitmap, size));
    }
}
