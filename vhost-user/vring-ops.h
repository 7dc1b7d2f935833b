/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What split and packed rings do differently, and what they and the ring itself share. Private to
 * the vring files. Everything is called with the ring's lock held unless it says otherwise.
 */
#pragma once

#include "vhost-user/vring-chain.h"
#include "vhost-user/vring.h"

struct vu_resubmit_entry; /* see inflight-log.h */

struct vu_vring_ops {
    /* Whether a ring of num entries can be. */
    bool (*num_valid)(unsigned num);
    /* Sets desc, avail, used and desc_gpa. -EINVAL: misaligned, or outside memory. */
    int (*map)(struct vu_vring *vring, const struct vu_memory *memory);
    /* Takes the position from `base`, or from the inflight log, which it opens. -EINVAL, -EBADMSG;
     * *ret_reason then says why. */
    int (*begin)(struct vu_vring *vring, const char **ret_reason);
    /* Closes the inflight log. idle: nothing is in flight, and the front-end knows the position. */
    void (*end)(struct vu_vring *vring, bool idle);
    uint32_t (*base)(const struct vu_vring *vring);
    /* Whether any used entry can have been published. */
    bool (*has_used)(const struct vu_vring *vring);

    /* Whether the driver made available what was not popped yet. */
    bool (*available)(const struct vu_vring *vring);
    /* Pops up to max requests. A guest error breaks the ring. */
    unsigned (*pop)(struct vu_vring *vring, struct vu_elem **ret_elems, unsigned max);
    /* One of a killed predecessor's. NULL: it broke the ring. */
    struct vu_elem *(*pop_again)(struct vu_vring *vring, const struct vu_resubmit_entry *entry);

    /* Moves the position back over elem, where that was the last to be popped; else false. The
     * inflight log keeps it. */
    bool (*take_back)(struct vu_vring *vring, const struct vu_elem *elem);

    /* Writes the used entry of elem, which the driver cannot see yet, and adds it to the batch. */
    void (*put)(struct vu_vring *vring, struct vu_elem *elem);
    /* Makes the batch visible; true where the driver wants to be notified of it. The batch is then
     * still the caller's to release. */
    bool (*publish)(struct vu_vring *vring);

    /* Asks for kicks, or to be spared them. */
    void (*set_kicks)(struct vu_vring *vring, bool wanted);
};

extern const struct vu_vring_ops vu_vring_split_ops;
extern const struct vu_vring_ops vu_vring_packed_ops;

/* Breaks the ring: one log line, err to be signalled, what IN_ORDER holds back released. Where its
 * memory was truncated, that is the reason. */
void vu_vring_break_locked(struct vu_vring *vring, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same for a chain that was refused. */
void vu_vring_break_chain_locked(struct vu_vring *vring, const struct vu_chain *chain);

/* Counts elem, whose n_slots are known, as taken from the ring. */
void vu_vring_account_locked(struct vu_vring *vring, struct vu_elem *elem);

/* Used-ring writes in the dirty log: split and event areas at log_gpa + offset where the front-end
 * asked for it; packed descriptors where they lie. */
void vu_vring_log_used_locked(const struct vu_vring *vring, uint64_t offset, uint64_t len);
void vu_vring_log_desc_locked(const struct vu_vring *vring, uint64_t offset, uint64_t len);

/* Releases the lock and then signals what is pending: the peer, woken, never runs into our lock,
 * and the ring is not touched any more. */
void vu_vring_unlock_and_signal(struct vu_vring *vring);
