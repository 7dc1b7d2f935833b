/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of one virtqueue, split or packed behind one interface, in memory that the
 * front-end shares: add many, kick once, harvest many.
 *
 * The host mount, the benchmark and the tests are drivers; a VMM is not (its guest is). One thread
 * at a time. The back-end is not trusted: the descriptors' chains are remembered in private memory,
 * and every index, id and length that it writes is checked. One that lies breaks the queue (-EPROTO
 * from then on), nothing else.
 *
 *   EMPTY --add--> added --publish/kick--> in flight --harvest--> EMPTY
 *
 * virtio 1.x sections 2.7 and 2.8.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/shared-memory.h"
#include "vhost-user/virtio-ring.h"

/* A range of guest-physical memory; it may straddle regions. */
struct vu_sg {
    uint64_t gpa;
    uint32_t len;
};

/* A completed request: what was given with it, and how many bytes the device says it wrote. */
struct vu_driver_used {
    void *token;
    uint32_t len; /* at most the bytes of the request's in part */
};

struct vu_driver_config {
    unsigned index;    /* of the queue; for the session */
    unsigned num;      /* descriptors; split: a power of two */
    uint64_t features; /* negotiated: RING_PACKED, RING_INDIRECT_DESC, RING_EVENT_IDX, IN_ORDER */
    unsigned indirect_max; /* longest indirect table to set aside for each request; 0: none */
};

struct vu_driver_ops; /* split and packed, see driver-ops.h */

/* What is remembered of a request, by its id (split: head descriptor). */
struct vu_driver_request {
    void *token;
    uint32_t in_len;
    uint16_t n_descs; /* ring descriptors it takes; 0: this id is free */
    uint16_t next;    /* free list of ids; split: the chain's next descriptor too */
};

struct vu_driver {
    /* set at creation */
    const struct vu_driver_ops *ops;
    unsigned index, num;
    bool packed, event_idx, in_order;
    uint64_t desc_gpa, avail_gpa, used_gpa; /* packed: avail driver event, used device event */
    void *desc, *avail, *used;              /* typed in driver-split.c and driver-packed.c */
    unsigned indirect_max;
    uint64_t indirect_gpa; /* num tables of indirect_max descriptors, by id */
    uint8_t *indirect;
    int kick_fd, call_fd;                              /* owned eventfds */
    void (*inband_kick)(void *opaque, unsigned index); /* instead of kick_fd where not NULL */
    void *inband_opaque;

    /* the driving thread's */
    struct vu_driver_request *requests; /* num, private memory */
    uint16_t *order;                    /* IN_ORDER: ids in the order they were added, a ring */
    unsigned order_head, n_in_flight;   /* n_in_flight: added and not harvested */
    uint16_t free_head, free_tail;      /* ids; split: descriptors */
    unsigned n_free;                    /* descriptors */
    uint16_t avail_idx, used_idx;       /* split: free-running; packed: slots */
    uint16_t kicked_idx;                /* split: avail_idx at the last decision to kick */
    bool avail_wrap, used_wrap;         /* packed */
    unsigned n_unpublished;             /* packed: slots */
    uint16_t first_idx, first_flags;    /* packed: head of the batch that publish makes visible */
    bool batch_valid;                   /* IN_ORDER: a used entry stands for several requests */
    uint16_t batch_id;
    uint32_t batch_len;
    bool broken;
};

/*
 * Takes the ring (and indirect tables) out of shmem, which must outlive the queue, and makes its
 * eventfds. -EINVAL: num is 0, above VU_RING_MAX_SIZE or (split) no power of two; -ENOMEM: shmem is
 * full; -errno of eventfd.
 */
int vu_driver_create(struct vu_shmem *shmem, const struct vu_driver_config *config,
                     struct vu_driver **ret_driver);
/* The shared memory stays taken. NULL is allowed. */
void vu_driver_destroy(struct vu_driver *driver);

/* Empties the ring and mends a broken one, forgetting all requests. The back-end must have stopped
 * it, or be gone. */
void vu_driver_reset(struct vu_driver *driver);

/*
 * Adds a request: n_out device-readable ranges, then n_in device-writable ones. The device sees it
 * after the next publish or kick. token must not be NULL.
 * -ENOSPC: no room until some are harvested; -E2BIG: never fits; -EINVAL: no ranges, an empty one,
 * or an in part above 4 GiB; -EPROTO: broken.
 */
int vu_driver_add(struct vu_driver *driver, const struct vu_sg *sg, unsigned n_out, unsigned n_in,
                  void *token);

/* Makes what was added visible. True where the device wants a kick. */
bool vu_driver_publish(struct vu_driver *driver);
/* Publishes, and kicks where that is wanted: once for all that was added. Never blocks. */
void vu_driver_kick(struct vu_driver *driver);
/* Kicks whatever the device asked for: after a reconnection. */
void vu_driver_force_kick(struct vu_driver *driver);

/*
 * Takes up to max completed requests. Returns how many (0: none there), or -EPROTO: the device
 * completed what it was not given, or wrote more than it was offered. Those harvested before the
 * lie in the same call are returned first.
 */
int vu_driver_harvest(struct vu_driver *driver, struct vu_driver_used *ret_used, unsigned max);
/* A cheap look: whether a harvest would find something (or fail). */
bool vu_driver_has_used(const struct vu_driver *driver);

/* Asks the device for calls. True where used entries are there already: harvest before sleeping. */
bool vu_driver_arm_call(struct vu_driver *driver);
/* Asks to be spared calls. One may still come. */
void vu_driver_disarm_call(struct vu_driver *driver);
/* Takes a pending call off call_fd, so that it can be waited for again. Never blocks. */
void vu_driver_clear_call(struct vu_driver *driver);

/*
 * Where a device should begin (SET_VRING_BASE): at the oldest request that it has not completed.
 * Harvest until there is nothing more before asking. Split: the index; packed: bits 0-15 the avail
 * slot and its wrap counter, 16-31 the used one.
 */
uint32_t vu_driver_base(const struct vu_driver *driver);
