/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of bitmaps. [Bitmap table] */
#pragma once

#include "vblkd/format/qcow2-bitmap.h"

#define QCOW2_BITMAP_ALL_ONES       UINT64_C(1)
#define QCOW2_BITMAP_TABLE_RESERVED UINT64_C(0xff000000000001fe)

/* The entries, checked; they are as many as the bits of the disk take. g_free them. -EBADMSG. */
int qcow2_bitmap_table_read(struct qcow2 *q, const struct qcow2_bitmap *bitmap,
                            uint64_t **ret_entries);
