/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver and a device joined by a ring, with requests of random shapes whose contents are checked
 * on both sides. For tests of both sides at work; ring-guest.h is the hand-made hostile one.
 *
 * The driver's calls belong to one thread; ring_pair_serve may be called by any.
 */
#pragma once

#include "vhost-user/driver.h"
#include "vhost-user/shared-memory.h"
#include "vhost-user/vring.h"

#define RING_PAIR_MAX_SLOTS 256u
#define RING_PAIR_MAX_SG    24u

/* A small random number generator of a thread's own (g_test_rand is not for several). */
struct ring_pair_rand {
    uint64_t state;
};

/* 0 to n - 1. */
unsigned ring_pair_rand(struct ring_pair_rand *rand, unsigned n);

/* One request and the memory set aside for it; a straddling buffer where it lies on the border. */
struct ring_pair_slot {
    unsigned index;
    bool busy;
    uint64_t seed; /* of its out part */
    uint64_t out_len, in_len;
    unsigned n_out, n_in;
    struct vu_sg sg[RING_PAIR_MAX_SG];
    uint64_t order; /* in which it was added */
};

struct ring_pair {
    struct vu_shmem shmem;
    struct vu_memory *memory;
    struct vu_driver *driver;
    struct vu_vring vring;
    unsigned n_slots;
    struct ring_pair_slot slots[RING_PAIR_MAX_SLOTS];
    uint64_t n_added, n_harvested;
    struct ring_pair_rand rand; /* the driver's */
};

/* Joins the two; the vring is started. indirect_max as for vu_driver_create. */
void ring_pair_init(struct ring_pair *pair, unsigned num, uint64_t features, uint32_t seed);
/* The vring must have nothing in flight. */
void ring_pair_clear(struct ring_pair *pair);
void ring_pair_start(struct ring_pair *pair);

/* Adds a request of a random shape, not published yet. False where there is no room. */
bool ring_pair_add(struct ring_pair *pair);
/* What the device does with a request: checks the out part, fills a part of the in part. Sets
 * `written`, does not push. */
void ring_pair_serve(struct vu_elem *elem);
/* Takes what came back and checks it. Returns how many. */
unsigned ring_pair_harvest(struct ring_pair *pair);
