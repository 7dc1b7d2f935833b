/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes that need more than a mapped cluster. A cluster that is being allocated or filled is
 * "fresh": known here, not to readers, until one of the writes into it has ended well.
 *
 *   write_begin --> COPYING --> READY --write_end--> mapped
 *
 * COPYING: old contents, if the write covers a part; other writes of the cluster wait. READY: they
 * join.
 */
#pragma once

#include "vblkd/format/qcow2-image.h"
#include "vblkd/format/qcow2-l2-cache.h"

struct qcow2_fresh {
    uint64_t guest;            /* cluster of the disk */
    uint64_t offset;           /* of its cluster in the file */
    struct qcow2_l2_entry old; /* what the entry was when it began */
    uint32_t must;             /* subclusters that come along from an old cluster */
    uint32_t defined;          /* subclusters whose bytes in the file make sense */
    uint32_t busy;             /* subclusters that are being filled, or written as a whole */
    unsigned n_writers;
    bool is_new;    /* the cluster was allocated for it */
    bool is_mapped; /* the L2 entry says so already */
};

/* Operations of struct vblk_format. */
int qcow2_write_begin(struct vblk_image *image, uint64_t offset, uint64_t len, unsigned flags,
                      struct vblk_write *ret_write);
int qcow2_write_end(struct vblk_image *image, struct vblk_write *write, int result);

/* Of a cluster of the disk; NULL: it is not fresh. Under the lock. */
struct qcow2_fresh *qcow2_fresh_find(struct qcow2 *q, uint64_t guest_cluster);
/* Subclusters that [at, at + len) of a cluster covers. */
uint32_t qcow2_subclusters_covered(const struct qcow2 *q, uint64_t at, uint64_t len);
