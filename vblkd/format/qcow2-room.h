/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room ahead of an image that grows past the page cache (O_DIRECT).
 *
 * A write that makes its file longer, or lies in a hole, has the file system find blocks for it and
 * note them, one such write at a time. So the file is made longer in steps, by blocks that are
 * there and read as zeros, before what is in use reaches its end. Closing gives back what is left;
 * a killed process leaves it as free clusters.
 */
#pragma once

#include "vblkd/format/qcow2-image.h"

/*
 * Under `lock`, before clusters of the file are allocated. -EAGAIN with *need: it is time to make
 * room, which has to wait; of those who must not wait (VBLK_NOWAIT in flags) one alone is told so.
 * 0: there is enough, or the storage is none that it pays for, or cannot.
 */
int qcow2_room_want(struct qcow2 *q, unsigned flags, struct qcow2_need *need);
/* Fulfils that: the file reaches to `end`, in bytes, where it can be made to. Lets go of `lock`. */
void qcow2_room_make(struct qcow2 *q, uint64_t end);
/* Nobody writes, and all metadata is on the disk: what is not in use is given back, if possible. */
void qcow2_room_give_back(struct qcow2 *q);
