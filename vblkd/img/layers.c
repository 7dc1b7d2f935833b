/* SPDX-License-Identifier: Apache-2.0 */
/* Walking down a chain for one range. Zeros behind the end of a short backing image are of the
 * image in front of it. */
#include "vblkd/img/layers.h"

#include "vblkd/img/holes.h"

static void layers_take(const struct vblk_extent *extent, struct img_layer_extent *layer)
{
    layer->is_data = extent->kind == VBLK_EXTENT_DATA || extent->kind == VBLK_EXTENT_COMPRESSED;
    layer->is_compressed = extent->kind == VBLK_EXTENT_COMPRESSED;
    layer->is_present = extent->kind != VBLK_EXTENT_BACKING;
    layer->has_offset = !layer->is_compressed && layer->is_present && extent->storage != NULL;
    layer->storage = extent->storage;
    layer->offset = extent->offset;
}

int img_layers_map(struct vblk_image *image, uint64_t offset, uint64_t len,
                   struct img_layer_extent *ret_extent)
{
    struct img_layer_extent layer = {.start = offset, .len = MIN(len, VBLK_REQUEST_MAX)};

    for (;; layer.depth++) {
        struct vblk_extent extent;
        int ret = image->format->map(image, offset, layer.len, VBLK_HOLES, &extent);

        if (ret < 0)
            return ret;
        layer.is_hole = img_holes_look(image, &extent);
        layer.image = image;
        layer.len = extent.len;
        layers_take(&extent, &layer);
        image = image->backing;
        if (layer.is_present || !image || offset >= image->size)
            break;
        layer.len = MIN(layer.len, image->size - offset);
    }
    *ret_extent = layer;
    return 0;
}
