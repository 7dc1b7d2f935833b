/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of a disk, and which image of its chain has them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vblkd/format/image.h"

struct img_layer_extent {
    uint64_t start, len;
    struct vblk_image *image; /* of the chain: whose it is */
    unsigned depth;           /* of that one; 0: the image itself */
    bool is_present;          /* some image says what is here; else it is zeros that none has */
    bool is_data;             /* else it reads as zeros */
    bool is_hole;             /* zeros, since a cluster that is there was never written */
    bool is_compressed;
    bool has_offset;
    struct vblk_storage *storage; /* has_offset: the file */
    uint64_t offset;              /* has_offset: where in it */
};

/* The first extent of the range, which lies inside the disk. Waits; -errno. */
int img_layers_map(struct vblk_image *image, uint64_t offset, uint64_t len,
                   struct img_layer_extent *ret_extent);
