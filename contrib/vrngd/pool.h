/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests for random bytes that wait, for their turn, for the source or for the limits. Whoever
 * asks does so as a client: a device, or a connection of the EGD server. Requests of one client are
 * served in their order, and clients take turns.
 *
 * A request gets what there is, one byte or more, and is over; who needs the rest asks again.
 *
 * Threads: any may ask and cancel; `done` runs on the feeder's thread, which owns the source.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rng_limit;
struct rng_pool;
struct rng_client;

/* The first field of whatever is to be filled. The pool's from rng_client_request on, until done is
 * called or it was cancelled. */
struct rng_request {
    size_t size; /* at most so many bytes; > 0 */
    /*
     * 1 to size bytes, which are wiped afterwards. The request is the client's again and may be
     * asked with anew from here. Must not wait.
     */
    void (*done)(struct rng_request *request, const uint8_t *data, size_t size);
    struct rng_request *next; /* the pool's */
};

/* limit: of this client alone, borrowed; NULL: none but the pool's own. Any thread. */
struct rng_client *rng_client_create(struct rng_pool *pool, struct rng_limit *limit);
/* No request of its may wait. Waits for a `done` that is running; not to be called from one. */
void rng_client_destroy(struct rng_client *client);

/* Any thread; never waits. */
void rng_client_request(struct rng_client *client, struct rng_request *request);
/*
 * True: it did not get anything, and is the caller's again. False: it is over, or was not asked
 * with; its `done` has returned. Not to be called from a `done` of the same pool.
 */
bool rng_client_cancel(struct rng_client *client, struct rng_request *request);
