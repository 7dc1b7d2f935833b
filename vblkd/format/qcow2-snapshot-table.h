/* SPDX-License-Identifier: Apache-2.0 */
/* The snapshot table: read, checked, written anew. */
#pragma once

#include "vblkd/format/qcow2-image.h"
#include "vblkd/format/qcow2-snapshot.h"

/*
 * NULL with -errno; -EBADMSG: it makes no sense. *ret_len: bytes of the table. While an image is
 * repaired, what makes no sense is left out, and counted in q->n_bad_snapshots.
 */
int qcow2_snapshot_table_read(struct qcow2 *q, GPtrArray **ret_snapshots, uint64_t *ret_len);
/* To a new place; the header names it when this returns 0. By who holds flush_lock. */
int qcow2_snapshot_table_write(struct qcow2 *q, const GPtrArray *snapshots);
