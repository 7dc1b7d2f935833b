/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making, changing and removing persistent bitmaps. All of these wait, and need an image that is
 * open for writing and that nobody else uses meanwhile. Each is done as a whole or not at all,
 * whenever it ends. False with *error, which does not name the image.
 */
#pragma once

#include "vblkd/format/image.h"

/* granularity: bytes for a bit, a power of two; 0: as large as is usual. */
bool qcow2_bitmap_add(struct vblk_image *image, const char *name, uint64_t granularity,
                      bool is_enabled, GError **error);
/* Also of one that is inconsistent, which nothing else can be done with. */
bool qcow2_bitmap_remove(struct vblk_image *image, const char *name, GError **error);
bool qcow2_bitmap_clear(struct vblk_image *image, const char *name, GError **error);
bool qcow2_bitmap_enable(struct vblk_image *image, const char *name, bool is_enabled,
                         GError **error);
/* What is set in a bitmap of `source` (which may be the image itself, and whose disk is as large)
 * is set in this one too. */
bool qcow2_bitmap_merge(struct vblk_image *image, const char *name, struct vblk_image *source,
                        const char *source_name, GError **error);

/* All of them as the file has them, struct qcow2_bitmap. NULL with *error. */
GPtrArray *qcow2_bitmap_list(struct vblk_image *image, GError **error);

/* Bytes that copies of the bitmaps take in an image of that cluster size. */
uint64_t qcow2_bitmap_measure(const GPtrArray *bitmaps, uint64_t disk_size, uint64_t cluster_size);
