/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Persistent bitmaps. Those that are enabled ("auto") are to reflect all that is written: they are
 * in memory while the image is open for writing, marked in use on the disk, and stored at close.
 * [Bitmaps]
 */
#pragma once

#include "vblkd/format/qcow2-image.h"

void qcow2_bitmaps_mark_all(struct qcow2_bitmaps *bitmaps, uint64_t offset, uint64_t len);

/* [offset, offset + len) is about to change. Any thread, no lock. */
static inline void qcow2_bitmaps_mark(struct qcow2 *q, uint64_t offset, uint64_t len)
{
    if (q->bitmaps)
        qcow2_bitmaps_mark_all(q->bitmaps, offset, len);
}
