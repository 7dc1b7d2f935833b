/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each client of the pool may have of its own limit, and of that over all clients. Of the
 * latter a client that was active in this window or the one before has an equal share, whatever the
 * others do and however much they ask for. What shares are left in the second half of a window goes
 * to whoever wants it.
 *
 * Private to the pool's files; under the pool's lock.
 */
#pragma once

#include "contrib/vrngd/pool.h"

struct rng_client {
    struct rng_pool *pool;
    struct rng_client *next;
    struct rng_limit limit;            /* its own */
    struct rng_request *first, **last; /* that wait */
    unsigned n_waiting;
    uint64_t waiting_size; /* what they come to */

    /* by windows of pool->total, which are known by their beginnings */
    uint64_t active_ns;        /* the last in which it asked for anything; 0: none */
    uint64_t window_ns, spent; /* the last in which it got any, and how much */
};

/* It asks for something. */
void rng_share_touch_locked(struct rng_client *client, uint64_t now_ns);
/* Bytes that it may have now. */
uint64_t rng_share_allowed_locked(struct rng_client *client, uint64_t now_ns);
/* It gets so many, which were allowed. */
void rng_share_spend_locked(struct rng_client *client, uint64_t size);
/* Where nothing is allowed: when it may be. */
uint64_t rng_share_until_ns_locked(struct rng_client *client, uint64_t now_ns);
