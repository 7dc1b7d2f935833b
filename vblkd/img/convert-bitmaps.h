/* SPDX-License-Identifier: Apache-2.0 */
/* Persistent bitmaps of one image for another, after its contents. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "vblkd/format/image.h"

/* Before anything is copied: whether it can be. Inconsistent ones are passed over, with a warning,
 * or (without skips_broken) an error. False with *error. */
bool img_convert_bitmaps_check(struct vblk_image *source, bool skips_broken, GError **error);
/* Copies those that are consistent. False with *error. */
bool img_convert_bitmaps(struct vblk_image *source, struct vblk_image *target, GError **error);
