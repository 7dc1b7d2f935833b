/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One queue's part of the inflight log at work: kept while requests come and go, and recovered
 * after a predecessor was killed. Layouts: inflight.h; rules: vhost-user "Inflight I/O tracking".
 *
 * The front-end can write the region at any time. So it is checked once, when a ring starts on it;
 * what the log needs afterwards is remembered in private memory, and the region is only written.
 *
 * Being killed cuts the program's stores off at one point in their order: those before it are in
 * the region, those after are not. That needs the compiler's cooperation and no more.
 *
 * Everything here is called with the ring's lock held.
 */
#pragma once

#include "vhost-user/inflight.h"
#include "vhost-user/virtio-ring.h"
#include "vhost-user/vring-chain.h"

/* Separates two stores to the region that a successor must see in this order. */
static inline void vu_inflight_step(void)
{
    __asm__ volatile("" ::: "memory");
}

/* One read of a field that the front-end may be changing. */
#define vu_inflight_load(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)

/* One request that a predecessor had taken and not completed. */
struct vu_resubmit_entry {
    uint64_t counter;
    uint16_t slot;          /* split: head index; packed: its first entry in the log */
    uint16_t last, n_slots; /* packed: its last entry, and how many */
};

struct vu_resubmit {
    unsigned n, next;
    struct vu_resubmit_entry entries[];
};

/* Room for max entries. */
struct vu_resubmit *vu_resubmit_create(unsigned max);
/* Brings the entries into the order in which they were taken. Frees it where it is empty: NULL. */
struct vu_resubmit *vu_resubmit_sort(struct vu_resubmit *resubmit);

/* --- split --- */

struct vu_split_log {
    struct vu_inflight_split *region;
    uint64_t counter;
    uint16_t last_batch_head;
};

/*
 * Takes over a region of `capacity` descriptors for a ring of num, whose used index in guest memory
 * is used_idx. -EBADMSG: it contradicts the ring, *ret_reason says how.
 */
int vu_split_log_open(struct vu_inflight_split *region, unsigned capacity, unsigned num,
                      uint16_t used_idx, struct vu_split_log **ret_log,
                      struct vu_resubmit **ret_resubmit, const char **ret_reason);
/* idle: nothing is in flight and the front-end knows the position: the next ring begins there. */
void vu_split_log_close(struct vu_split_log *log, bool idle);

/* A request was taken from the ring. */
void vu_split_log_take(struct vu_split_log *log, uint16_t head);
/* It was put into the used ring, which is about to be published. */
void vu_split_log_put(struct vu_split_log *log, uint16_t head);
/* The used ring is published: of each put request, then once for all. */
void vu_split_log_settle(struct vu_split_log *log, uint16_t head);
void vu_split_log_settled(struct vu_split_log *log, uint16_t used_idx);

/* --- packed --- */

/* A place in a packed ring. */
struct vu_packed_pos {
    uint16_t slot;
    bool wrap;
};

static inline struct vu_packed_pos vu_packed_advance(struct vu_packed_pos pos, unsigned n,
                                                     unsigned num)
{
    unsigned slot = pos.slot + n;

    if (slot < num)
        return (struct vu_packed_pos){(uint16_t)slot, pos.wrap};
    return (struct vu_packed_pos){(uint16_t)(slot - num), !pos.wrap};
}

struct vu_packed_log {
    struct vu_inflight_packed *region;
    uint64_t counter;
    struct vu_packed_pos used, old_used; /* as in the region */
    uint16_t first, last;                /* entries of the request being taken */
    uint16_t n_taken;                    /* of its descriptors, so far */
    uint16_t free_head;                  /* n_entries: none is free */
    unsigned n_entries;
    uint16_t next[]; /* the region's links, as they were checked and as we changed them */
};

/*
 * Takes over a region of `capacity` entries for `ring` of num. *pos is where the front-end says
 * that used descriptors go; where the region knows better it is replaced. *ret_n_slots: ring
 * entries that requests in flight take, so that available ones follow pos by as many.
 */
int vu_packed_log_open(struct vu_inflight_packed *region, unsigned capacity, unsigned num,
                       struct vu_packed_desc *ring, struct vu_packed_pos *pos,
                       struct vu_packed_log **ret_log, struct vu_resubmit **ret_resubmit,
                       unsigned *ret_n_slots, const char **ret_reason);
void vu_packed_log_close(struct vu_packed_log *log, bool idle);

/*
 * A request is taken from the ring: its descriptors one by one, then `taken`, which sets the
 * element's inflight_slot and inflight_last. A request that is never finished is none.
 */
void vu_packed_log_take(struct vu_packed_log *log, const struct vu_chain_desc *desc);
void vu_packed_log_taken(struct vu_packed_log *log, struct vu_elem *elem);

/* A descriptor of a predecessor's request. *entry is its place, and then that of the next one. */
struct vu_chain_desc vu_packed_log_read(const struct vu_packed_log *log, uint16_t *entry);

/*
 * A request is about to be put into the ring, after which used descriptors go to pos_after. Before
 * its used descriptor is written: a successor then knows which descriptors to mend.
 */
void vu_packed_log_put(struct vu_packed_log *log, const struct vu_elem *elem,
                       struct vu_packed_pos pos_after);
/* The batch is visible in the ring: of each put request, then once for all. */
void vu_packed_log_settle(struct vu_packed_log *log, const struct vu_elem *elem);
void vu_packed_log_settled(struct vu_packed_log *log);

/* Writes the four fields of the positions with one store: nobody is killed half-way. */
void vu_packed_log_store_positions(struct vu_inflight_packed *region, struct vu_packed_pos used,
                                   struct vu_packed_pos old_used);
