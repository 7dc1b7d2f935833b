/* SPDX-License-Identifier: Apache-2.0 */
/* Copying without seeing the data: file systems that can do so share it. */
#pragma once

#include "vblkd/format/image.h"

/* `len` bytes from a place of a file to a place of the target's disk. -EOPNOTSUPP: these files
 * cannot; nothing, or a part of it, is copied then. */
int img_copy_offload(const struct vblk_storage *source, uint64_t source_offset,
                     struct vblk_image *target, uint64_t target_offset, uint64_t len);
