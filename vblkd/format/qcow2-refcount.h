/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which clusters of the file are in use, and how often. [Host cluster management]
 *
 * All of these are under the image's lock unless they say otherwise, change memory only, and return
 * 0, -EAGAIN with *need, or -errno without having changed anything.
 */
#pragma once

#include "vblkd/format/qcow2-image.h"

/* Reads the table. False with *error. */
bool qcow2_refcounts_open(struct qcow2 *q, uint64_t cache_len, GError **error);
void qcow2_refcounts_clear(struct qcow2 *q);

/* Of a block as it is on disk. */
uint64_t qcow2_refcount_decode(const uint8_t *block, unsigned order, uint64_t index);
void qcow2_refcount_encode(uint8_t *block, unsigned order, uint64_t index, uint64_t count);
/* The largest count that fits. */
uint64_t qcow2_refcount_max(unsigned order);

static inline unsigned qcow2_refblock_bits(const struct qcow2 *q)
{
    return q->cluster_bits + 3 - q->header.refcount_order;
}

int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *ret_count,
                       struct qcow2_need *need);
/* By delta, 1 or -1. -EFBIG: it cannot count that far; -EIO (corrupt): below zero. */
int qcow2_refcount_add(struct qcow2 *q, uint64_t cluster, int delta, struct qcow2_need *need);

struct qcow2_run {
    uint64_t cluster, n;
    bool is_hole; /* reads as zeros: it was never written */
};

/* 1 to n_max clusters in a row, refcount 1. -ENOSPC, -EFBIG. */
int qcow2_clusters_alloc(struct qcow2 *q, uint64_t n_max, struct qcow2_run *ret_run,
                         struct qcow2_need *need);
/* All n in a row, at the end of the file. */
int qcow2_clusters_alloc_all(struct qcow2 *q, uint64_t n, uint64_t *ret_cluster,
                             struct qcow2_need *need);
/* Gives back what nothing ever referred to, at once. */
void qcow2_clusters_give_back(struct qcow2 *q, uint64_t cluster, uint64_t n);

/* --- between the files of refcounts --- */

/* The block of an index, in memory. -ENOENT: there is none, all its refcounts are 0. */
int qcow2_refblock_get(struct qcow2 *q, uint64_t index, struct qcow2_refblock **ret_block,
                       struct qcow2_need *need);
/* A block for an index that has none, in a cluster that it then counts, if it is one of its own. */
struct qcow2_refblock *qcow2_refblock_create(struct qcow2 *q, uint64_t index, uint64_t cluster);
/* Of a cluster whose block is in memory. */
void qcow2_refblock_set(struct qcow2 *q, struct qcow2_refblock *block, uint64_t cluster,
                        uint64_t count);

/* Fulfils QCOW2_NEED_REFBLOCK: lets go of the lock while it reads. */
int qcow2_refblock_load(struct qcow2 *q, uint64_t index);
