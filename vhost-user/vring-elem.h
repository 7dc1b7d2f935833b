/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a ring's elements come from and what keeps guest memory mapped under them.
 *
 * Elements are kept for reuse with the iov arrays they grew, so that a ring in steady state
 * allocates nothing. Requests in flight are counted for each memory map of the ring, under the
 * ring's lock, and the map is referenced once for all of them: no atomic operation a request, on
 * a counter that all queues would share.
 *
 * Everything here is called with the ring's lock held, by any thread.
 */
#pragma once

#include "vhost-user/vring.h"

/* A memory map as one ring uses it. Freed when the ring runs on another and n_elems is 0. */
struct vu_memory_use {
    struct vu_memory *memory; /* reference */
    unsigned n_elems;         /* in flight */
};

/* Makes memory (NULL: none) the map for elements to come; takes a reference. */
void vu_elem_switch_memory_locked(struct vu_vring *vring, struct vu_memory *memory);

/* An empty element on the ring's current memory, counted as in flight. */
struct vu_elem *vu_elem_take_locked(struct vu_vring *vring);
/* Ends it: gives up its memory and entries, keeps it for reuse, wakes a stop that waits. */
void vu_elem_release_locked(struct vu_elem *elem);
/* Makes room for twice as many ranges; false at VU_CHAIN_MAX_IOV. */
bool vu_elem_grow(struct vu_elem *elem);
/* Frees what is kept for reuse. */
void vu_elem_free_all_locked(struct vu_vring *vring);
