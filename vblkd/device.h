/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device: one image behind a virtio-blk of several queues (virtio 1.3 section 5.2).
 *
 * Each queue's worker has an engine of its own, on which it moves data straight between the guest's
 * pages and the file. What would make a queue wait (metadata that is not in memory, compressed
 * clusters, discards, zeros, buffers that O_DIRECT does not take) runs on helpers.
 */
#pragma once

#include "vblkd/format/image.h"
#include "vblkd/throttle.h"
#include "vblkd/virtio-blk.h"
#include "vhost-user/backend.h"
#include "vhost-user/helpers.h"

#define BLK_MAX_RANGES      256        /* of one DISCARD or WRITE_ZEROES */
#define BLK_MAX_RANGE_LEN   (1u << 30) /* bytes of one of them */
#define BLK_MAX_SEGMENT_LEN (4u << 20) /* bytes, as size_max says */
#define BLK_AIO_DEPTH       256        /* operations of one queue that the kernel works on */
#define BLK_MAX_HELPERS     64

enum blk_detect_zeroes {
    BLK_DETECT_ZEROES_OFF,
    BLK_DETECT_ZEROES_ON,
    BLK_DETECT_ZEROES_UNMAP,
};

struct blk_device_options {
    const char *serial; /* NULL: none; cut to BLK_ID_LEN */
    enum vblk_aio_kind aio;
    unsigned num_queues; /* 0: as many as the front-end likes */
    unsigned queue_size; /* entries a driver's ring will have: limits the segments of a request */
    uint32_t logical_block_size, physical_block_size; /* 0: the storage's */
    bool discard;                                     /* DISCARD is offered, zeros may be holes */
    bool in_order;
    enum blk_detect_zeroes detect_zeroes;
    struct blk_limits limits;
};

struct blk_queue; /* see queue.h */

struct blk_device {
    struct vblk_image *image; /* borrowed */
    struct blk_device_options options;
    uint32_t logical_block_size, physical_block_size; /* bytes */
    uint64_t features;                                /* offered */
    bool wants_durable; /* atomic; session -> workers: the guest has no FLUSH, or switched the
                           write cache off */
    struct blk_throttle throttle; /* where limits are set */
    struct vu_helpers *helpers;
    struct blk_queue *queues; /* VBLK_MAX_QUEUES of them */
};

/*
 * The image must outlive the device. False with *error where it cannot be served in the way that
 * is asked for.
 */
bool blk_device_open(struct blk_device *device, struct vblk_image *image,
                     const struct blk_device_options *options, GError **error);
/* No request is in flight. */
void blk_device_close(struct blk_device *device);

/* For the back-end; its callbacks take the struct blk_device. */
void blk_device_describe(const struct blk_device *device, struct vu_device *ret_device);

/* Sectors the guest sees. Any thread. */
uint64_t blk_device_capacity(const struct blk_device *device);
