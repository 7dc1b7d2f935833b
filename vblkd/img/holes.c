/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a file for its holes costs system calls, so only one that has many is asked. */
#include "vblkd/img/holes.h"

#include <string.h>
#include <sys/stat.h>

#include "vblkd/format/qcow2-image.h"

#define HOLES_BLOCK 512

/* As many as qemu-img looks for: a tenth of the clusters, and not one or two. */
static bool holes_are_many(const struct vblk_storage *storage, uint64_t cluster_size)
{
    struct stat st;
    uint64_t n, n_allocated;

    if (storage->is_block_device || fstat(storage->fd, &st) < 0)
        return false;
    n = (uint64_t)st.st_size / cluster_size;
    n_allocated = (uint64_t)st.st_blocks * HOLES_BLOCK / cluster_size;
    return n >= MAX(n_allocated * 10 / 9, n_allocated + 2);
}

bool img_holes_look(const struct vblk_image *owner, struct vblk_extent *extent)
{
    uint64_t len;
    bool is_data;

    /* A raw image has told already. Of an external data file, too, the image's own file tells
     * whether to ask. */
    if (extent->kind != VBLK_EXTENT_DATA || strcmp(owner->format->name, "qcow2") != 0 ||
        !holes_are_many(owner->storage, qcow2_of(owner)->cluster_size) ||
        vblk_storage_map(extent->storage, extent->offset, &is_data, &len) < 0)
        return false;
    extent->len = MIN(extent->len, len);
    if (!is_data)
        extent->kind = VBLK_EXTENT_ZERO;
    return !is_data;
}
