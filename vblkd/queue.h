/* SPDX-License-Identifier: Apache-2.0 */
/* A queue of the device, and the requests that are on their way through it. */
#pragma once

#include "vblkd/counters.h"
#include "vblkd/device.h"
#include "vblkd/settle.h"
#include "vhost-user/worker.h"

struct blk_request;

/* One piece of a request, on one place of one file: the engine's, or a helper's. */
struct blk_segment {
    struct vblk_io io; /* first */
    struct vu_job job;
    struct blk_request *request;
    uint64_t offset, len;         /* of the virtual disk */
    struct vblk_storage *storage; /* of `io` */
    struct iovec *iov;            /* of this piece alone: g_free; NULL: the request's own */
    bool is_allocating;           /* `write` is to be ended */
    struct vblk_write write;
};

/*
 * A request between pop and push. The worker's until it has pieces on their way, then of whoever
 * ends the last of them.
 */
struct blk_request {
    struct vu_job job;
    struct blk_queue *queue;
    struct vu_elem *elem;
    uint32_t type;
    enum blk_kind kind;   /* as it is counted */
    uint64_t begin_ns;    /* when it was popped */
    uint64_t offset, len; /* bytes of the virtual disk */
    struct iovec *iov;    /* its data, within elem->iov */
    unsigned n_iov;
    uint8_t *status;          /* in guest memory */
    struct iovec *cut;        /* a range that ends with the status byte, cut by that; NULL: none */
    bool is_durable;          /* OUT, WRITE_ZEROES: before it is done */
    bool must_flush;          /* for that: some of it does not go by VBLK_IO_FUA */
    unsigned ticket;          /* of vblk_image_enter */
    unsigned n_pending;       /* atomic; pieces on their way, and one for who begins them */
    int result;               /* atomic; the first error */
    struct blk_range *ranges; /* DISCARD, WRITE_ZEROES: g_free */
    unsigned n_ranges;
    struct blk_segment first; /* most have one */
    struct blk_request *next; /* of those kept for reuse, or held */
};

struct blk_queue {
    struct blk_device *device;
    unsigned index;
    struct blk_request *returned; /* atomic: helpers -> worker, for reuse */
    struct vu_counters *counters; /* atomic pointer; NULL: it never ran */

    /* the worker's */
    struct vblk_aio *aio;
    int fd; /* that it knows */
    struct blk_request *free;
    struct blk_request *held, **last_held; /* by the device's limits, oldest first */
    unsigned n_held;                       /* guarded by the device's pause.lock */
    struct vu_job timer;                   /* sleeps for the first of them, on a helper */
    uint64_t held_until_ns;                /* atomic; worker -> timer */
    unsigned n_changes_seen;               /* of the limits */
    bool is_timed;                         /* atomic; a timer will wake the worker */
    unsigned n_timers;                     /* atomic; that are not through yet */
    struct vu_elem *done[VU_WORKER_BATCH]; /* to be pushed together */
    unsigned n_done;
    struct blk_settle settle;
    struct blk_pinned pinned;
    uint64_t begin_ns; /* when the present batch was popped */
    uint64_t pass_ns;  /* when the present pass found requests to be over; 0: not asked yet */
    struct vu_vring *vring;
};

struct blk_queue *blk_queues_create(struct blk_device *device);
void blk_queues_destroy(struct blk_queue *queues);
extern const struct vu_worker_ops blk_queue_worker_ops;

/* --- request.c --- */

/* What parsing says of a request. */
enum blk_parsed {
    BLK_PARSED_GOOD,
    BLK_PARSED_BAD,     /* to be answered: result is set */
    BLK_PARSED_HOPELESS /* no header, or no room for a status */
};

/* Fills in the request from its element. Worker. */
enum blk_parsed blk_request_parse(struct blk_request *request);
/* Checks a range of the virtual disk: 0, or -EINVAL (not there, or no whole blocks). */
int blk_request_check_range(const struct blk_device *device, uint64_t sector, uint64_t len);
/* GET_ID. Worker. */
void blk_request_give_id(struct blk_request *request);

/* One more piece is on its way. Who begins them. */
void blk_request_expect(struct blk_request *request);
/* A piece is over; the last one ends the request. on_worker: of its own queue. */
void blk_request_end_piece(struct blk_request *request, int result, bool on_worker);

/* --- transfer.c: IN and OUT, worker --- */

void blk_transfer_begin(struct blk_request *request);

/* --- range.c: DISCARD, WRITE_ZEROES, FLUSH, worker --- */

void blk_range_begin(struct blk_request *request);
void blk_flush_begin(struct blk_request *request);

/* --- hold.c: requests that are too many, worker --- */

/* Whether the request must wait; it is then begun by blk_queue_release_held. */
bool blk_queue_hold(struct blk_request *request);
/* Begins what may by now, or (all) everything, after a pause of the device; how many. */
unsigned blk_queue_release_held(struct blk_queue *queue, bool all);
/* Waits for the timer; nothing is held any more. */
void blk_queue_stop_timer(struct blk_queue *queue);

/* --- queue.c --- */

/* Begins a request that was parsed. Worker. */
void blk_queue_begin_parsed(struct blk_request *request);

/* Takes back an ended request and pushes its element. */
void blk_queue_finish(struct blk_request *request, bool on_worker);
