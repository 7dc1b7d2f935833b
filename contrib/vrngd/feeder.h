/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that has the source for its own, reads it while requests wait in the pool, and gives
 * out what it got. Also of an instant source: to requests that the limits made wait.
 *
 *   CLOSED --open--> OPEN --an error, its end--> CLOSED, for a while that grows
 *
 * What a source has not delivered is waited for; it is never made up for.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "contrib/vrngd/pool.h"
#include "contrib/vrngd/source.h"

struct rng_feeder;

/* Both are borrowed. Never fails. */
struct rng_feeder *rng_feeder_create(struct rng_pool *pool, struct rng_source *source);
void rng_feeder_destroy(struct rng_feeder *feeder);
/* 0 or -errno. */
int rng_feeder_start(struct rng_feeder *feeder);
/* Ends the thread; requests stay where they are. */
void rng_feeder_stop(struct rng_feeder *feeder);

struct rng_feeder_status {
    int problem;                  /* the errno why requests wait for the source; 0: they do not */
    uint64_t n_bytes, n_failures; /* read so far; times that it failed or was at its end */
};
/* Any thread. */
void rng_feeder_get_status(struct rng_feeder *feeder, struct rng_feeder_status *ret_status);
