/* SPDX-License-Identifier: Apache-2.0 */
/* [Bitmap directory]: entries of variable length, each checked before its parts are used. */
#include "vblkd/format/qcow2-bitmap-directory.h"

#include <stdlib.h>
#include <string.h>

/* --- one bitmap --- */

void qcow2_bitmap_free(struct qcow2_bitmap *bitmap)
{
    qcow2_bits_destroy(bitmap->bits);
    g_free(bitmap->name);
    g_free(bitmap->extra);
    g_free(bitmap);
}

static void bitmap_free(gpointer opaque)
{
    qcow2_bitmap_free(opaque);
}

uint64_t qcow2_bitmap_n_bits(const struct qcow2_bitmap *bitmap, uint64_t size)
{
    uint64_t mask = (UINT64_C(1) << bitmap->granularity_bits) - 1;

    return (size >> bitmap->granularity_bits) + ((size & mask) != 0);
}

bool qcow2_bitmap_is_usable(const struct qcow2_bitmap *bitmap)
{
    return bitmap->type == QCOW2_BITMAP_TYPE_DIRTY && !(bitmap->flags & QCOW2_BITMAP_IN_USE) &&
           !(bitmap->flags & ~QCOW2_BITMAP_FLAGS_KNOWN) &&
           bitmap->granularity_bits >= QCOW2_BITMAP_MIN_BITS &&
           bitmap->granularity_bits <= QCOW2_BITMAP_MAX_BITS &&
           (bitmap->extra_len == 0 || (bitmap->flags & QCOW2_BITMAP_EXTRA_COMPATIBLE));
}

struct qcow2_bitmap *qcow2_bitmap_find(const GPtrArray *bitmaps, const char *name)
{
    for (guint i = 0; bitmaps && i < bitmaps->len; i++) {
        struct qcow2_bitmap *bitmap = g_ptr_array_index(bitmaps, i);

        if (!bitmap->is_removed && strcmp(bitmap->name, name) == 0)
            return bitmap;
    }
    return NULL;
}

/* --- reading --- */

/* The entry at *at of the directory; advances it. */
static int directory_read_one(const uint8_t *bytes, uint64_t len, uint64_t *at,
                              struct qcow2_bitmap *bitmap)
{
    struct qcow2_disk_bitmap disk;
    uint64_t entry_len, name_len;
    const uint8_t *rest;

    if (*at > len || len - *at < sizeof(disk))
        return -EBADMSG;
    memcpy(&disk, bytes + *at, sizeof(disk));
    rest = bytes + *at + sizeof(disk);
    name_len = be16_value(disk.name_size);
    bitmap->extra_len = be32_value(disk.extra_data_size);
    entry_len = sizeof(disk) + bitmap->extra_len + name_len;
    if (entry_len > len - *at || name_len > QCOW2_BITMAP_MAX_NAME ||
        memchr(rest + bitmap->extra_len, '\0', name_len))
        return -EBADMSG;
    bitmap->table_offset = be64_value(disk.table_offset);
    bitmap->table_len = be32_value(disk.table_size);
    bitmap->flags = be32_value(disk.flags);
    bitmap->type = disk.type;
    bitmap->granularity_bits = disk.granularity_bits;
    bitmap->extra = g_memdup2(rest, bitmap->extra_len);
    bitmap->name = g_strndup((const char *)rest + bitmap->extra_len, name_len);
    *at += (entry_len + 7) & ~UINT64_C(7);
    return 0;
}

static int directory_decode(const struct qcow2 *q, const uint8_t *bytes, GPtrArray *bitmaps)
{
    uint64_t at = 0;

    for (uint32_t i = 0; i < q->header.n_bitmaps; i++) {
        struct qcow2_bitmap *bitmap = g_new0(struct qcow2_bitmap, 1);
        int ret;

        g_ptr_array_add(bitmaps, bitmap);
        ret = directory_read_one(bytes, q->header.bitmaps_size, &at, bitmap);
        if (ret < 0)
            return ret;
    }
    return at == q->header.bitmaps_size ? 0 : -EBADMSG;
}

int qcow2_bitmap_directory_read(struct qcow2 *q, GPtrArray **ret_bitmaps)
{
    g_autoptr(GPtrArray) bitmaps = g_ptr_array_new_with_free_func(bitmap_free);
    g_autofree uint8_t *bytes = NULL;
    int ret;

    if (q->header.has_bitmaps && (q->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        bytes = g_malloc(q->header.bitmaps_size + 1);
        ret =
            vblk_storage_read(q->storage, bytes, q->header.bitmaps_size, q->header.bitmaps_offset);
        if (ret == 0)
            ret = directory_decode(q, bytes, bitmaps);
        if (ret < 0)
            return ret;
    }
    *ret_bitmaps = g_steal_pointer(&bitmaps);
    return 0;
}

/* --- writing --- */

GByteArray *qcow2_bitmap_directory_encode(const GPtrArray *bitmaps, bool marks_held,
                                          uint32_t *ret_n)
{
    static const uint8_t zeros[8];
    GByteArray *bytes = g_byte_array_new();

    *ret_n = 0;
    for (guint i = 0; i < bitmaps->len; i++) {
        const struct qcow2_bitmap *bitmap = g_ptr_array_index(bitmaps, i);
        uint32_t held = marks_held && bitmap->is_held ? QCOW2_BITMAP_IN_USE : 0;
        size_t name_len = strlen(bitmap->name);
        struct qcow2_disk_bitmap disk = {
            .table_offset = be64_from(bitmap->table_offset),
            .table_size = be32_from(bitmap->table_len),
            .flags = be32_from(bitmap->flags | held),
            .type = bitmap->type,
            .granularity_bits = bitmap->granularity_bits,
            .name_size = be16_from((uint16_t)name_len),
            .extra_data_size = be32_from(bitmap->extra_len),
        };

        if (!marks_held && bitmap->is_removed)
            continue;
        g_byte_array_append(bytes, (const guint8 *)&disk, sizeof(disk));
        if (bitmap->extra_len > 0)
            g_byte_array_append(bytes, bitmap->extra, bitmap->extra_len);
        g_byte_array_append(bytes, (const guint8 *)bitmap->name, (guint)name_len);
        g_byte_array_append(bytes, zeros, -bytes->len & 7);
        (*ret_n)++;
    }
    return bytes;
}

int qcow2_bitmap_directory_mark(struct qcow2 *q)
{
    uint32_t n;
    g_autoptr(GByteArray) bytes = qcow2_bitmap_directory_encode(q->bitmaps, true, &n);
    int ret;

    if (n != q->header.n_bitmaps || bytes->len != q->header.bitmaps_size)
        return -EBADMSG;
    ret = vblk_storage_write(q->storage, bytes->data, bytes->len, q->header.bitmaps_offset);
    return ret == 0 ? vblk_storage_flush(q->storage) : ret;
}
