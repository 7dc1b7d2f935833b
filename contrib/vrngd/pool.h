/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests for random bytes that wait, for their turn, for the source or for the limits. Whoever
 * asks does so as a client: a device, or a connection of the EGD server. Requests of one client are
 * served in their order, and clients take turns, each with its share of what there is.
 *
 * A request gets what there is, one byte or more, and is over; who needs the rest asks again.
 *
 * Threads: any may ask and cancel; `done` runs on the feeder's thread (feeder.h), which gives.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "contrib/vrngd/limit.h"

struct rng_client;

/* The first field of whatever is to be filled. The pool's from rng_client_request on, until done is
 * called or it was cancelled. */
struct rng_request {
    size_t size; /* at most so many bytes; of 0 it is over when its turn comes */
    /*
     * Up to size bytes, at least 1 of them, which are wiped afterwards. The request is the client's
     * again and may be freed, or asked with anew, from here. Must not wait.
     */
    void (*done)(struct rng_request *request, const uint8_t *data, size_t size);
    const void *owner;        /* the client's, for rng_client_cancel_all */
    struct rng_request *next; /* the pool's */
};

struct rng_pool {
    pthread_mutex_t lock;       /* guards everything here and in the clients */
    pthread_cond_t served;      /* a `done` has returned */
    struct rng_client *clients; /* all of them, those that had their turn last */
    struct rng_client *serving; /* whose `done` runs; NULL: nobody's */
    struct rng_limit total;     /* over all clients */
    bool is_limited;            /* atomic: there is any limit, or there are requests that wait, or
                                   are being served */
    int wake_fd;                /* eventfd: the feeder is to look again */
};

/* Never fails. */
struct rng_pool *rng_pool_create(void);
/* There are no clients any more. */
void rng_pool_destroy(struct rng_pool *pool);

/* Any thread. Waits for a `done` that is running where it says so; that is not to be called from
 * one. */

/* Never fails. */
struct rng_client *rng_client_create(struct rng_pool *pool);
/* None of its requests may wait. Waits. */
void rng_client_destroy(struct rng_client *client);
/* Behind what the client has asked for before; `done` is called by whoever feeds the pool. */
void rng_client_request(struct rng_client *client, struct rng_request *request);
/* True: it got nothing, and is the caller's again. False: it is over, or was not asked with. Waits.
 */
bool rng_client_cancel(struct rng_client *client, const struct rng_request *request);
/* All requests of this owner (NULL: of any) that got nothing, the youngest first, by `next`. Waits.
 */
struct rng_request *rng_client_cancel_all(struct rng_client *client, const void *owner);

/*
 * For who has an instant source: how many of `size` bytes may be taken from it at once, past the
 * pool. 0: it must ask with a request, for limits are reached, or requests of its own are not over.
 */
size_t rng_client_take(struct rng_client *client, size_t size, uint64_t now_ns);

/* A client's own limit, and that over all clients (limit.h); 0 bytes: none. */
void rng_client_set_limit(struct rng_client *client, uint64_t max_bytes, uint64_t period_ms);
void rng_client_get_limit(struct rng_client *client, struct rng_limit *ret_limit);
void rng_pool_set_limit(struct rng_pool *pool, uint64_t max_bytes, uint64_t period_ms);
void rng_pool_get_limit(struct rng_pool *pool, struct rng_limit *ret_limit);
/* Requests that wait. */
unsigned rng_client_n_waiting(struct rng_client *client);

/* --- the feeder --- */

/* Bytes that the limits allow to give out now, at most max. *ret_until_ns: when it may become more
 * with nothing else happening; UINT64_MAX: never. */
size_t rng_pool_wanted(struct rng_pool *pool, size_t max, uint64_t now_ns, uint64_t *ret_until_ns);
/* Gives out what is wanted of these bytes; how many that were. Only to so many requests at a time:
 * to be called again while some are wanted. */
size_t rng_pool_give(struct rng_pool *pool, const uint8_t *data, size_t size, uint64_t now_ns);
