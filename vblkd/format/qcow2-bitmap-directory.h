/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of bitmaps as bytes, for the files of bitmaps. */
#pragma once

#include "vblkd/format/qcow2-bitmap.h"

/* All but those to be removed; or (marks_held) all as they are on the disk, those that are held in
 * use. *ret_n: how many entries. */
GByteArray *qcow2_bitmap_directory_encode(const GPtrArray *bitmaps, bool marks_held,
                                          uint32_t *ret_n);
/* Those that are held become in use on the disk: flags change, in place. By who holds flush_lock.
 */
int qcow2_bitmap_directory_mark(struct qcow2 *q);
