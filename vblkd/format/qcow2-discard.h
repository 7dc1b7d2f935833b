/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges that become zeros, or that the guest no longer needs. */
#pragma once

#include "vblkd/format/qcow2-image.h"

/* Operations of struct vblk_format. */
int qcow2_zero(struct vblk_image *image, uint64_t offset, uint64_t len, bool may_unmap);
int qcow2_discard(struct vblk_image *image, uint64_t offset, uint64_t len);

/* The disk is as if never written: all of it is what a backing image has. Waits; nobody else uses
 * the image meanwhile. -errno: some of it may be. */
int qcow2_forget(struct vblk_image *image);
/* The same of whole clusters (the last may reach beyond the disk); no flush. */
int qcow2_forget_range(struct vblk_image *image, uint64_t offset, uint64_t len);
