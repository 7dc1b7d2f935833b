/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata to the disk, in the order that leaves the image consistent wherever it ends:
 *
 *   1. refcount blocks    what is referred to is counted (or the dirty bit says that it is not)
 *   2. refcount table     and header, if the table moved
 *      -- flush --        data of the guest and new L2 tables, too
 *   3. L2 slices
 *      -- flush --
 *   4. L1 table           only if an L2 table is new
 *      -- flush --
 *   5. refcounts of what is no longer referred to drop, in memory: the next flush writes that
 *
 * These wait; the caller holds neither lock unless it is said.
 */
#pragma once

#include "vblkd/format/qcow2-image.h"

/* Operations of struct vblk_format. */
bool qcow2_has_dirty_metadata(struct vblk_image *image);
int qcow2_flush(struct vblk_image *image);
/* As long as something has changed that the file does not have: the same. */
int qcow2_persist(struct vblk_image *image);

/* Refcounts too, even lazy ones. */
int qcow2_flush_all(struct qcow2 *q);
/* The same by who holds flush_lock. */
int qcow2_flush_all_held(struct qcow2 *q);

/* The header, as it is in memory, and a flush. By who holds flush_lock. */
int qcow2_write_header_held(struct qcow2 *q);
/* Before the first write: features that we do not keep are cleared. Fulfils QCOW2_NEED_PREPARE. */
int qcow2_prepare(struct qcow2 *q);
