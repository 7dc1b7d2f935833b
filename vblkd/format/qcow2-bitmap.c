/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of bitmaps, changed in place: flags only. */
#include "vblkd/format/qcow2-bitmap.h"

#include <string.h>

/* Sets the flag in each entry that needs it. */
static int bitmaps_mark(const struct qcow2 *q, uint8_t *directory, bool *ret_changed)
{
    uint64_t at = 0, len = q->header.bitmaps_size;

    for (uint32_t i = 0; i < q->header.n_bitmaps; i++) {
        struct qcow2_disk_bitmap disk;
        uint32_t flags;
        uint64_t entry_len;

        if (at > len || len - at < sizeof(disk))
            return -EBADMSG;
        memcpy(&disk, directory + at, sizeof(disk));
        entry_len =
            sizeof(disk) + (uint64_t)be32_value(disk.extra_data_size) + be16_value(disk.name_size);
        if (entry_len > len - at)
            return -EBADMSG;
        flags = be32_value(disk.flags);
        if ((flags & QCOW2_BITMAP_AUTO) && !(flags & QCOW2_BITMAP_IN_USE)) {
            disk.flags = be32_from(flags | QCOW2_BITMAP_IN_USE);
            memcpy(directory + at, &disk, sizeof(disk));
            *ret_changed = true;
        }
        at += (entry_len + 7) & ~UINT64_C(7);
    }
    return 0;
}

int qcow2_bitmaps_mark_in_use(struct qcow2 *q)
{
    g_autofree uint8_t *directory = NULL;
    bool changed = false;
    int ret;

    if (!q->header.has_bitmaps || !(q->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS))
        return 0;
    directory = g_malloc(q->header.bitmaps_size + 1);
    ret =
        vblk_storage_read(q->storage, directory, q->header.bitmaps_size, q->header.bitmaps_offset);
    if (ret == 0)
        ret = bitmaps_mark(q, directory, &changed);
    if (ret < 0 || !changed)
        return ret;
    ret =
        vblk_storage_write(q->storage, directory, q->header.bitmaps_size, q->header.bitmaps_offset);
    return ret == 0 ? vblk_storage_flush(q->storage) : ret;
}
