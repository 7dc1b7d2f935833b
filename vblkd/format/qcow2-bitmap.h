/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Persistent bitmaps. Those that are enabled ("auto") would have to reflect what we write; they are
 * marked in use before the first write, so nobody takes them for more than they are. The others
 * stay as they are. [Bitmaps]
 */
#pragma once

#include "vblkd/format/qcow2-image.h"

/*
 * Before the first write, by who holds flush_lock. -errno; -EBADMSG: the directory makes no sense,
 * and the bitmaps as a whole no longer count.
 */
int qcow2_bitmaps_mark_in_use(struct qcow2 *q);
