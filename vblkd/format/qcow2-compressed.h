/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed clusters: zlib (raw deflate) or zstd, packed without regard to cluster borders.
 * [Compressed Clusters Descriptor]
 */
#pragma once

#include "vblkd/format/qcow2-image.h"

/* Where the bytes of a compressed cluster lie, and how many there may be. */
void qcow2_compressed_place(const struct qcow2 *q, uint64_t descriptor, uint64_t *ret_offset,
                            uint32_t *ret_len);

/* Operation of struct vblk_format. */
int qcow2_read_compressed(struct vblk_image *image, uint64_t offset, uint64_t len, void *buf);
/* A whole cluster, uncompressed, of which the entry is known. Waits; without the lock. */
int qcow2_compressed_read_cluster(struct qcow2 *q, uint64_t descriptor, void *buf);

/* Clusters may have become something else: nothing read before counts. Under the lock. */
void qcow2_compressed_forget(struct qcow2 *q);
void qcow2_compressed_clear(struct qcow2 *q);

/*
 * Writes the cluster at `offset` (aligned; len is less than a cluster only at the disk's end)
 * compressed. -ENOTSUP: it does not become smaller, write it as it is. For tools; waits, any
 * threads: they compress beside each other.
 */
int qcow2_write_compressed(struct vblk_image *image, uint64_t offset, uint64_t len,
                           const void *buf);
