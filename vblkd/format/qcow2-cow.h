/* SPDX-License-Identifier: Apache-2.0 */
/* Copy-on-write: what the disk has at a place, brought to another place of the file. */
#pragma once

#include "vblkd/format/qcow2-image.h"

/*
 * Fills the subclusters in `mask` of a new cluster with what the guest sees there according to the
 * old entry. The bytes behind the end of the disk become zeros. Waits; without the lock.
 */
int qcow2_cow_fill(struct qcow2 *q, uint64_t guest_cluster, struct qcow2_l2_entry old,
                   uint64_t new_offset, uint32_t mask);

/* Whether the subclusters in `mask` of an old entry read as zeros, as far as can be told without
 * waiting. */
bool qcow2_cow_is_zero(struct qcow2 *q, uint64_t guest_cluster, struct qcow2_l2_entry old,
                       uint32_t mask);

/* Reads len bytes of what the guest has at a place of one cluster, by its entry. Waits. */
int qcow2_cow_read(struct qcow2 *q, uint64_t guest_offset, uint64_t len,
                   struct qcow2_l2_entry entry, uint8_t *buf);
