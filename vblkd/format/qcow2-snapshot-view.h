/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what a snapshot has kept. */
#pragma once

#include "vblkd/format/qcow2-snapshot.h"

/*
 * An image that is open for reading, and that nobody reads at the moment, becomes the disk of the
 * snapshot. -EINVAL: it is open for writing; -EBADMSG: the snapshot makes no sense; -EIO, ...
 */
int qcow2_snapshot_view(struct vblk_image *image, const struct qcow2_snapshot *snapshot);
