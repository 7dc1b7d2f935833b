/* SPDX-License-Identifier: Apache-2.0 */
/* A format of its own: extents are those of the image that has the offset. */
#include "vblkd/img/concat.h"

#include <errno.h>

#define CONCAT_SECTOR UINT64_C(512)

struct concat {
    struct vblk_image **images;
    uint64_t *starts; /* n + 1: the last is the end */
    unsigned n;
};

/* Which image has an offset inside the disk, and where in it. */
static struct vblk_image *concat_find(const struct vblk_image *image, uint64_t *offset,
                                      uint64_t *ret_len)
{
    const struct concat *concat = image->data;
    unsigned i = 0;

    while (*offset >= concat->starts[i + 1])
        i++;
    *ret_len = concat->starts[i + 1] - *offset;
    *offset -= concat->starts[i];
    return concat->images[i];
}

static int concat_map(struct vblk_image *image, uint64_t offset, uint64_t len, unsigned flags,
                      struct vblk_extent *ret_extent)
{
    uint64_t left;
    struct vblk_image *part = concat_find(image, &offset, &left);

    len = MIN(len, left);
    /* What fills up its last sector. */
    if (offset >= part->size) {
        *ret_extent = (struct vblk_extent){.kind = VBLK_EXTENT_ZERO, .len = len};
        return 0;
    }
    return vblk_image_map(part, offset, MIN(len, part->size - offset), flags, ret_extent, NULL);
}

static int concat_read_compressed(struct vblk_image *image, uint64_t offset, uint64_t len,
                                  void *buf)
{
    uint64_t left;
    struct vblk_image *part = concat_find(image, &offset, &left);

    return len <= left ? vblk_image_read(part, buf, len, offset) : -EINVAL;
}

static void concat_close(struct vblk_image *image)
{
    struct concat *concat = image->data;

    for (unsigned i = 0; i < concat->n; i++)
        vblk_image_close(concat->images[i]);
    g_free(concat->images);
    g_free(concat->starts);
    g_free(concat);
}

static const struct vblk_format concat_format = {
    .name = "concatenated",
    .map = concat_map,
    .read_compressed = concat_read_compressed,
    .close = concat_close,
};

struct vblk_image *img_concat(struct vblk_image **images, unsigned n)
{
    struct vblk_image *image = g_new0(struct vblk_image, 1);
    struct concat *concat = g_new0(struct concat, 1);

    concat->images = g_memdup2(images, n * sizeof(struct vblk_image *));
    concat->starts = g_new0(uint64_t, n + 1);
    concat->n = n;
    for (unsigned i = 0; i < n; i++)
        concat->starts[i + 1] =
            concat->starts[i] + ((images[i]->size + CONCAT_SECTOR - 1) & ~(CONCAT_SECTOR - 1));
    image->format = &concat_format;
    image->size = concat->starts[n];
    image->read_only = true;
    image->data = concat;
    return image;
}
