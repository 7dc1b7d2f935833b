/* SPDX-License-Identifier: Apache-2.0 */
/* Zeros of snapshots, said in a way that version 2 of the format knows. */
#pragma once

#include "vblkd/format/qcow2-image.h"

/*
 * No L2 table of these snapshots (struct qcow2_snapshot) says any more that a cluster is zeros: it
 * is one that was never written, or, in front of a backing image, one with zeros in it. Each reads
 * as before, whenever this ends. The active disk says nothing of that kind any more, is flushed,
 * and nobody uses it; no extended L2 entries, no data file. Waits. 0 or -errno; -EBADMSG: a table
 * makes no sense.
 */
int qcow2_expand_snapshots(struct qcow2 *q, const GPtrArray *snapshots);
