/* SPDX-License-Identifier: Apache-2.0 */
/* The active L1 table as a whole: replaced by another one, at one instant. */
#pragma once

#include "vblkd/format/qcow2-image.h"

/*
 * Writes n entries to a new place and makes them the active L1 table of a disk of `size` bytes, by
 * one write of the header. By who holds flush_lock, with nothing dirty and nobody in the image
 * beyond the smaller size. -errno: it is as it was.
 */
int qcow2_l1_replace(struct qcow2 *q, const uint64_t *entries, uint32_t n, uint64_t size);

/* Operation of struct vblk_format. */
bool qcow2_resize(struct vblk_image *image, uint64_t size, GError **error);

/* n clusters in a row; waits, by who holds flush_lock. */
int qcow2_l1_alloc_clusters(struct qcow2 *q, uint64_t n, uint64_t *ret_cluster);
