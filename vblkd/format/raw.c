/* SPDX-License-Identifier: Apache-2.0 */
/* The raw format: what a guest's disk has at an offset, the file has at the same. */
#include "vblkd/format/raw.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int raw_map(struct vblk_image *image, uint64_t offset, uint64_t len, unsigned flags,
                   struct vblk_extent *ret_extent)
{
    bool is_data = true;
    uint64_t run = len;
    int err = 0;

    if (flags & VBLK_HOLES)
        err = vblk_storage_map(image->storage, offset, &is_data, &run);
    *ret_extent = (struct vblk_extent){
        .kind = is_data ? VBLK_EXTENT_DATA : VBLK_EXTENT_ZERO,
        .len = MIN(run, len),
        .storage = image->storage,
        .offset = offset,
    };
    return err;
}

static int raw_map_write(struct vblk_image *image, uint64_t offset, uint64_t len, unsigned flags,
                         struct vblk_extent *ret_extent)
{
    if (image->read_only)
        return -EROFS;
    return raw_map(image, offset, len, 0, ret_extent);
}

static int raw_zero(struct vblk_image *image, uint64_t offset, uint64_t len, bool may_unmap)
{
    return vblk_storage_zero(image->storage, offset, len, may_unmap);
}

static int raw_discard(struct vblk_image *image, uint64_t offset, uint64_t len)
{
    return vblk_storage_discard(image->storage, offset, len);
}

static bool raw_has_dirty_metadata(struct vblk_image *image)
{
    return false;
}

static int raw_flush(struct vblk_image *image)
{
    return vblk_storage_flush(image->storage);
}

static bool raw_resize(struct vblk_image *image, uint64_t size, GError **error)
{
    int err = vblk_storage_truncate(image->storage, size);

    if (err == -ENOTSUP && image->storage->is_block_device) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "%s: cannot be resized: a block device of %" PRIu64
                    " bytes, which has to be made larger first",
                    image->storage->path, __atomic_load_n(&image->storage->size, __ATOMIC_ACQUIRE));
        return false;
    }
    if (err < 0) {
        g_set_error(error, G_FILE_ERROR, (int)g_file_error_from_errno(-err),
                    "%s: cannot be resized: %s", image->storage->path, g_strerror(-err));
        return false;
    }
    __atomic_store_n(&image->size, size, __ATOMIC_RELEASE);
    return true;
}

static void raw_close(struct vblk_image *image)
{
}

const struct vblk_format vblk_format_raw = {
    .name = "raw",
    .map = raw_map,
    .map_write = raw_map_write,
    .zero = raw_zero,
    .discard = raw_discard,
    .has_dirty_metadata = raw_has_dirty_metadata,
    .flush = raw_flush,
    .resize = raw_resize,
    .settle = raw_flush,
    .close = raw_close,
};

struct vblk_image *raw_open(struct vblk_storage *storage, const struct vblk_image_options *options,
                            GError **error)
{
    struct vblk_image *image = g_new0(struct vblk_image, 1);

    image->format = &vblk_format_raw;
    image->storage = storage;
    image->size = storage->size;
    image->read_only = storage->read_only;
    return image;
}
