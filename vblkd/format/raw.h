/* SPDX-License-Identifier: Apache-2.0 */
/* The raw format, as image.c sees it: the file is the disk. */
#pragma once

#include "vblkd/format/image.h"

extern const struct vblk_format vblk_format_raw;

/* Never fails; the storage becomes the image's. */
struct vblk_image *raw_open(struct vblk_storage *storage, const struct vblk_image_options *options,
                            GError **error);
