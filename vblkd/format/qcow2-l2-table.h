/* SPDX-License-Identifier: Apache-2.0 */
/*
 * L2 tables: what an entry means, slices read in, tables made. [Cluster mapping], [Extended L2
 * Entries]
 */
#pragma once

#include "vblkd/format/qcow2-image.h"

enum qcow2_kind {
    QCOW2_UNALLOCATED,
    QCOW2_ZERO_PLAIN, /* may have a cluster set aside */
    QCOW2_DATA,
    QCOW2_PACKED, /* compressed */
    QCOW2_BAD,    /* makes no sense */
};

/* Of a subcluster (0 without extended L2). */
enum qcow2_kind qcow2_entry_kind(const struct qcow2 *q, struct qcow2_l2_entry entry,
                                 unsigned subcluster);
/* Whether there is a cluster of the file, which is not compressed. */
bool qcow2_entry_has_cluster(const struct qcow2 *q, struct qcow2_l2_entry entry);
static inline uint64_t qcow2_entry_offset(struct qcow2_l2_entry entry)
{
    return entry.cluster & QCOW2_OFFSET_MASK;
}
static inline bool qcow2_entry_same(struct qcow2_l2_entry a, struct qcow2_l2_entry b)
{
    return a.cluster == b.cluster && a.bitmap == b.bitmap;
}

/*
 * The frame of the slice that maps a guest's offset, with its table there to be changed. Under the
 * lock; -EAGAIN with *need.
 */
int qcow2_l2_frame_for_write(struct qcow2 *q, uint64_t offset, struct qcow2_l2_frame **ret_frame,
                             struct qcow2_need *need);
/* The entry of a guest's offset, whether there is a table or not. Under the lock. */
int qcow2_l2_entry_at(struct qcow2 *q, uint64_t offset, struct qcow2_l2_entry *ret_entry,
                      struct qcow2_need *need);
/* The clusters that an entry refers to lose that reference. Under the lock. */
void qcow2_l2_entry_free(struct qcow2 *q, struct qcow2_l2_entry entry);

/* Fulfil needs of these names: let go of the lock while they read and write. */
int qcow2_l2_slice_load(struct qcow2 *q, uint64_t slice);
int qcow2_l2_table_make(struct qcow2 *q, uint64_t l1_index);
