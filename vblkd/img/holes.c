/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a file for its holes costs system calls, so only one that has many is asked. */
#include "vblkd/img/holes.h"

#include <string.h>
#include <sys/stat.h>

#define HOLES_PART  10 /* of the file: fewer are not looked for */
#define HOLES_BLOCK 512

static bool holes_are_many(const struct vblk_storage *storage)
{
    struct stat st;
    uint64_t allocated;

    if (storage->is_block_device || fstat(storage->fd, &st) < 0)
        return false;
    allocated = (uint64_t)st.st_blocks * HOLES_BLOCK;
    return allocated < (uint64_t)st.st_size &&
           (uint64_t)st.st_size - allocated > (uint64_t)st.st_size / HOLES_PART;
}

bool img_holes_look(const struct vblk_image *owner, struct vblk_extent *extent)
{
    uint64_t len;
    bool is_data;

    /* A raw image has told already; of an external data file qemu-img does not ask. */
    if (extent->kind != VBLK_EXTENT_DATA || strcmp(owner->format->name, "qcow2") != 0 ||
        extent->storage != owner->storage || !holes_are_many(extent->storage) ||
        vblk_storage_map(extent->storage, extent->offset, &is_data, &len) < 0)
        return false;
    extent->len = MIN(extent->len, len);
    if (!is_data) {
        extent->kind = VBLK_EXTENT_ZERO;
        extent->is_allocated = true;
    }
    return !is_data;
}
