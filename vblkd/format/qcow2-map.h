/* SPDX-License-Identifier: Apache-2.0 */
/* Where the guest's bytes lie, without a lock where the L2 slice is in memory. */
#pragma once

#include "vblkd/format/qcow2-image.h"

/* Operations of struct vblk_format. */
int qcow2_map(struct vblk_image *image, uint64_t offset, uint64_t len, unsigned flags,
              struct vblk_extent *ret_extent);
int qcow2_map_write(struct vblk_image *image, uint64_t offset, uint64_t len, unsigned flags,
                    struct vblk_extent *ret_extent);
