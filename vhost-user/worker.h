/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread per running queue: waits for the kick or a completion, pops all there is, hands the
 * batch to the device, and polls the ring for a while before sleeping when that has been paying.
 * Polling adapts per queue: it grows while requests keep arriving within the window, shrinks to
 * nothing when they do not, and an idle queue costs no CPU at all.
 */
#pragma once

#include <stdbool.h>

#include "vhost-user/vring.h"

#define VU_WORKER_BATCH 32

struct vu_worker_ops {
    /* Called once on the new thread, before its first batch (unshare, names, caches); 0 or -errno,
     * which stops it. */
    int (*thread_start)(void *device, unsigned queue);
    void (*thread_stop)(void *device, unsigned queue);
    /*
     * Handles n requests. Each must be pushed in the end, now or later, by this or any other
     * thread. May take elements in any order; should push what is finished in one go.
     */
    void (*process)(void *device, struct vu_vring *vring, struct vu_elem **elems, unsigned n);
    /*
     * Both or neither: for a device that works on requests while its thread does something else.
     * The descriptor (asked for after thread_start, watched edge-triggered, never read) says that
     * complete would find something. complete pushes what is finished, and returns how many that
     * were; it is called between batches, and over and over while the queue is polled, so that
     * finding nothing should cost no system call.
     */
    int (*completion_fd)(void *device, unsigned queue);
    unsigned (*complete)(void *device, struct vu_vring *vring);
    /*
     * Optional, on the queue's thread: the memory that its requests lie in from now on, first of
     * all before any is processed. It stays mapped until the next call, or the end of the thread. A
     * front-end that takes memory away has the thread woken for this.
     */
    void (*use_memory)(void *device, unsigned queue, const struct vu_memory *memory);
    /*
     * Both or neither, and not beside completions: for a device that says by turn.h when it may
     * sleep. The watch's thread asks: a request has kept queue's thread for VU_WATCH_TICK_MS or
     * more; may another thread take the queue? After a yes process() learns from vu_turn_leave that
     * this has happened; or, where no thread could be made, keep_thread is called. Neither may
     * wait.
     */
    bool (*spare_thread)(void *device, unsigned queue);
    void (*keep_thread)(void *device, unsigned queue);
    /*
     * Optional: for how many milliseconds a queue that ran dry is left alone, without kicks, before
     * its thread looks at it once more. For requests that come in bursts and whose sender does not
     * wait: a burst then takes one kick. 0: not at all.
     */
    unsigned (*linger_ms)(void *device, unsigned queue);
};

struct vu_worker;

/* Starts the thread of a started ring. poll_us: longest time to poll before sleeping; 0 never
 * polls. */
int vu_worker_create(struct vu_vring *vring, const struct vu_worker_ops *ops, void *device,
                     unsigned poll_us, struct vu_worker **ret_worker);
/* Ends and joins the thread; it pops nothing more. Requests it has handed on may still be in
 * flight. */
void vu_worker_destroy(struct vu_worker *worker);
/* The ring's kick changed, or an in-band kick came (any thread): wake up and look again. */
void vu_worker_wake(struct vu_worker *worker);
