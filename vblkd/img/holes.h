/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clusters that were set aside and never written (preallocation=metadata) are data for the format,
 * and holes of the file: they need not be read to know that they are zeros.
 */
#pragma once

#include "vblkd/format/image.h"

/* An extent that `owner` told becomes shorter, and zeros (then true), where it is a hole. */
bool img_holes_look(const struct vblk_image *owner, struct vblk_extent *extent);
