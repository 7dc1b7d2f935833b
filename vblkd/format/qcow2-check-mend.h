/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of L1 and L2 tables that make no sense, for a repair. */
#pragma once

#include "vblkd/format/qcow2-check-walk.h"

/*
 * The guest's offset of an L2 table's first entry, and of another of its entries, where entries
 * must agree with it: UINT64_MAX without an external data file.
 */
uint64_t qcow2_check_guest(const struct qcow2 *q, uint32_t l1_index, bool is_active);
uint64_t qcow2_check_guest_offset(const struct qcow2 *q, uint64_t guest, uint64_t i);

/*
 * What an L2 entry for a guest's offset (UINT64_MAX: not known) should be, where it refers to
 * clusters below `limit`: itself if it makes sense; the same without what is wrong about it, where
 * that leaves what it maps as it is; else one that reads as zeros.
 */
struct qcow2_l2_entry qcow2_check_mended(const struct qcow2 *q, struct qcow2_l2_entry entry,
                                         uint64_t guest_offset, uint64_t limit);

/*
 * Mends the tables of the disk and of its snapshots in the file. An L1 entry that names something
 * else than an L2 table is dropped rather than that written to. -errno: the file could not be read
 * or written.
 */
int qcow2_check_mend(struct qcow2_check *check);
