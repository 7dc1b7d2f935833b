/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entropy device (virtio 1.3 section 5.4): one queue of buffers to be filled. Of several
 * queues, where a front-end has a use for them, all are the same.
 *
 * With an instant source a queue's worker fills its requests by itself, straight in the guest's
 * pages. Otherwise, and where limits are reached, they wait in the pool, whose feeder fills them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "contrib/vrngd/pool.h"
#include "contrib/vrngd/source.h"
#include "vhost-user/backend.h"
#include "vhost-user/counters.h"
#include "vhost-user/daemon/stats.h"

#define RNG_MAX_QUEUES  16
#define RNG_MAX_REQUEST (256u << 10) /* bytes of one request; the driver asks again for more */

struct rng_device;
struct rng_service;

struct rng_queue {
    struct rng_device *device;
    struct vu_counters *counters; /* atomic pointer; NULL: it never ran */
    uint64_t n_short;             /* atomic: requests that got less than they had room for */
};

struct rng_device {
    char *name; /* for log lines */
    struct rng_service *service;
    struct rng_client *client;  /* of the service's pool */
    struct rng_source *instant; /* NULL: the feeder has the source */
    unsigned n_queues;
    struct rng_queue queues[RNG_MAX_QUEUES];
};

/* number: among n_devices of the service. */
void rng_device_init(struct rng_device *device, struct rng_service *service, unsigned number,
                     unsigned n_devices, unsigned n_queues);
/* No request is in flight. */
void rng_device_finish(struct rng_device *device);
/* For the back-end; its callbacks take the struct rng_device. */
void rng_device_describe(const struct rng_device *device, struct vu_device *ret_device);

/* --- queue.c --- */

extern const struct vu_worker_ops rng_queue_worker_ops;
extern const struct vu_stats rng_stats;
/* Gives back what waits: the queue is about to stop. Session thread. */
void rng_queue_quiesce(struct rng_device *device, unsigned queue);
