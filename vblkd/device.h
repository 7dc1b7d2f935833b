/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device: one image behind a virtio-blk of several queues (virtio 1.3 section 5.2).
 *
 * Each queue's worker has an engine of its own, on which it moves data straight between the guest's
 * pages and the file. What would make a queue wait (metadata that is not in memory, compressed
 * clusters, discards, zeros, buffers that O_DIRECT does not take) runs on helpers.
 *
 * What changes the image as a whole (live.h) has the device paused: no request is on its way then.
 */
#pragma once

#include "vblkd/format/image.h"
#include "vblkd/guest-choice.h"
#include "vblkd/pin.h"
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
    bool pins_memory;   /* the guest's, with io_uring */
    uint64_t pin_limit; /* bytes, of all queues together; UINT64_MAX: none */
    enum blk_detect_zeroes detect_zeroes;
    struct blk_limits limits;
    /* As the image was opened; what comes in front of it is opened likewise. Strings are the
     * caller's, the journal too. */
    struct vblk_image_options image;
    /* Where what the guest chose is kept, see guest-choice.h; borrowed. */
    bool has_choice_file;
    int choice_fd;
};

struct blk_queue; /* see queue.h */

/* See pause.c. */
struct blk_pause {
    pthread_mutex_t lock; /* guards the rest, and the queues' n_held */
    pthread_cond_t ended;
    bool is_on;
};

struct blk_device {
    /* Borrowed. Atomic: it is replaced while the device is paused, so that requests find one image
     * from their beginning to their end, and all others ask blk_device_image. */
    struct vblk_image *image;
    struct blk_device_options options;
    uint32_t logical_block_size, physical_block_size; /* bytes */
    uint64_t features;                                /* offered */
    bool lacks_flush, cache_off;                      /* session thread; what the guest knows, and
                                                         what it chose */
    bool wants_durable;                               /* atomic; session -> workers: one of both */
    struct blk_choice choice;                         /* what a driver that goes on has chosen */
    struct blk_throttle throttle;                     /* where limits are set */
    uint64_t next_failure_ns;                         /* see vu_log_is_due */
    unsigned n_failures_untold;                       /* atomic; since the last line of one */
    struct vu_helpers *helpers;
    struct blk_queue *queues; /* VBLK_MAX_QUEUES of them */
    struct blk_pause pause;
    struct blk_pin pin;
    pthread_mutex_t live_lock;  /* one operation of live.h at a time; guards what follows */
    struct vu_backend *backend; /* NULL: there is none */
};

/*
 * The image must outlive the device. False with *error where it cannot be served in the way that
 * is asked for.
 */
bool blk_device_open(struct blk_device *device, struct vblk_image *image,
                     const struct blk_device_options *options, GError **error);
/* No request is in flight. */
void blk_device_close(struct blk_device *device);

static inline struct vblk_image *blk_device_image(const struct blk_device *device)
{
    return __atomic_load_n(&device->image, __ATOMIC_ACQUIRE);
}

/* For the back-end; its callbacks take the struct blk_device. */
void blk_device_describe(const struct blk_device *device, struct vu_device *ret_device);

/*
 * --- pause.c, by who holds live_lock ---
 *
 * No request begins any more, and those that have begun are waited for. New ones stay in their
 * rings, those that the limits hold stay held. False with *error (G_IO_ERROR_TIMED_OUT, which names
 * a queue) where that takes longer than timeout_ms; the device goes on then. A queue that has held
 * requests and is stopped meanwhile waits for the end of the pause.
 */
bool blk_device_pause(struct blk_device *device, unsigned timeout_ms, GError **error);
void blk_device_resume(struct blk_device *device);

/* Sectors the guest sees. Any thread. */
uint64_t blk_device_capacity(const struct blk_device *device);
