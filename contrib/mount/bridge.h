/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bridge between /dev/fuse and a vhost-user file system back-end: FUSE requests go as they are
 * from the kernel into virtqueues, and replies back.
 *
 *   main thread       bridge_run: signals, the back-end's connection, reconnection, the end
 *   one thread for    bridge-queue.c: reads requests, adds them to its queue, harvests replies;
 *   each queue        forgets go through the shared high-priority queue (hiprio.h)
 *
 *   RUNNING --lost--> PAUSED (queue threads parked) --successor--> RUNNING
 *                                                   --none--> ENDED: ENOTCONN to whoever waits
 */
#pragma once

#include <glib.h>
#include <pthread.h>
#include <stdbool.h>

#include "contrib/mount/fuse-mount.h"
#include "contrib/mount/hiprio.h"
#include "contrib/mount/slot.h"
#include "vhost-user/frontend.h"
#include "vhost-user/poll-policy.h"

#define BRIDGE_INIT_MAX 256 /* bytes of a FUSE_INIT request */

struct bridge_config {
    const char *socket_path;
    unsigned n_queues; /* request queues; fewer where the back-end has fewer */
    unsigned depth;    /* requests in flight for each */
    unsigned poll_us;
    bool packed; /* packed rings, where they are offered */
    unsigned connect_timeout_ms;
    unsigned reconnect_timeout_ms; /* 0: do not reconnect */
};

/* What queue threads report to the main thread; bits. */
enum { BRIDGE_UNMOUNTED = 1, BRIDGE_BROKEN = 2 };

struct bridge;

struct bridge_queue {
    struct bridge *bridge;
    unsigned index; /* of the virtqueue */
    struct vu_driver *driver;
    struct slot_pool pool;
    int fuse_fd;                         /* this thread's own */
    int wake_fd;                         /* eventfd: look at pausing and stopping */
    int epoll_fd, epoll_without_fuse_fd; /* what it sleeps on; the latter while no slot is free */
    struct vu_poll_policy policy;
    bool fuse_is_ready; /* epoll said so, and nothing was read since */
    unsigned n_bad;     /* replies that were none */
    pthread_t thread;
    bool has_thread;
};

struct bridge {
    struct bridge_config config;
    struct vu_frontend *frontend;
    struct vu_shmem shmem;
    uint64_t features;
    struct fuse_mount *mount; /* NULL until bridge_run */
    struct hiprio hiprio;
    unsigned n_queues;
    struct bridge_queue *queues;
    unsigned n_cpus, n_polling; /* atomic: queue threads that spin */

    int event_fd;         /* eventfd, queue threads -> main thread */
    unsigned events;      /* atomic, BRIDGE_* bits */
    bool stopping;        /* atomic: main thread -> queue threads */
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool pausing; /* read without the lock too, atomic */
    unsigned n_parked;
    uint8_t init_request[BRIDGE_INIT_MAX]; /* for a successor */
    uint32_t init_len;
    uint32_t max_write; /* that the kernel was told */
};

/* Connects and sets everything up but the mount. NULL with *error. */
struct bridge *bridge_create(const struct bridge_config *config, GError **error);
void bridge_destroy(struct bridge *bridge);

/*
 * Takes over the mount and serves it until it is unmounted, stop_fd is readable, or the back-end is
 * lost. 0, or -errno of the loss; the mount is gone on return.
 */
int bridge_run(struct bridge *bridge, struct fuse_mount *mount, int stop_fd);

/* --- bridge-queue.c --- */

/* Starts the thread, with a descriptor of the mount of its own. 0 or -errno. */
int bridge_queue_start(struct bridge_queue *queue, struct fuse_mount *mount);
/* Ends the thread; whoever still waits for a reply gets ENOTCONN. */
void bridge_queue_stop(struct bridge_queue *queue);
void bridge_queue_wake(struct bridge_queue *queue);
/* Adds all requests in flight to the emptied ring again, in their order. The thread is parked. */
void bridge_queue_resubmit(struct bridge_queue *queue);

/* --- bridge-reply.c --- */

/* Passes the reply of a used slot to the kernel, or EIO where it is none. -ENODEV: unmounted. */
int bridge_reply(struct bridge_queue *queue, struct slot *slot, uint32_t used_len);
/* Answers a request with an error (negative errno). */
int bridge_reply_error(const struct bridge_queue *queue, const struct slot *slot, int err);

/* --- bridge-init.c --- */

/* Keeps the kernel's INIT for a successor. */
void bridge_keep_init(struct bridge *bridge, const struct slot *slot);
/* Fits the reply (behind its header, len bytes of private memory) to what a slot can hold. */
void bridge_fit_init(struct bridge *bridge, struct fuse_init_out *out, uint32_t len);
/*
 * Brings a successor to where its predecessor was: one that knows nothing of us is sent INIT. The
 * queue threads are parked. 0 or -errno.
 */
int bridge_introduce(struct bridge *bridge);
