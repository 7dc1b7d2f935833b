/* SPDX-License-Identifier: Apache-2.0 */
/* Several disks behind each other, as one image to be read. */
#pragma once

#include "vblkd/format/image.h"

/* Of 1 to n images, which become its own (the array does not); each begins at a whole sector.
 * vblk_image_close closes all. */
struct vblk_image *img_concat(struct vblk_image **images, unsigned n);
