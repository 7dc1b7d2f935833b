/* SPDX-License-Identifier: Apache-2.0 */
/* Bitmaps in memory. */
#include "vblkd/format/qcow2-bitmap.h"

void qcow2_bitmaps_mark_all(struct qcow2_bitmaps *bitmaps, uint64_t offset, uint64_t len)
{
}
