/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An overlay that comes in front of an image in use: an external snapshot. All of this needs both
 * images for itself: no request is on its way.
 */
#pragma once

#include "vblkd/format/image.h"

/*
 * Whether `overlay`, opened for writing with no_backing, may lie in front of `active`: a qcow2
 * image with nothing in it, as large, that says that something lies behind it. What it calls that
 * is its maker's business. False with *error. Changes nothing.
 */
bool qcow2_overlay_check(const struct vblk_image *overlay, const struct vblk_image *active,
                         GError **error);

/*
 * Puts the overlay in front: `active` is settled, will not be written any more, and belongs to the
 * overlay; the journal (journal_fd -1: none) is the overlay's. -errno: `active` is as it was, and
 * is no less to be used.
 */
int qcow2_overlay_insert(struct vblk_image *overlay, struct vblk_image *active, int journal_fd);
