/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over the descriptors of one request, for both kinds of ring: each descriptor is copied
 * once, checked, and its range translated into the element's iovecs. The ring walks its own
 * descriptors and adds them one by one; an indirect table is walked here.
 *
 * Refused: descriptors outside memory, nested or misplaced indirect tables, tables that are empty
 * or no whole number of descriptors, chains that loop or are too long, device-readable parts after
 * device-writable ones. virtio 1.x sections 2.7.5 and 2.8.5 to 2.8.7.
 */
#pragma once

#include "vhost-user/vring.h"

/* A private copy of one descriptor; nothing is read from the ring again. */
struct vu_chain_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t link; /* split: next; packed: buffer id */
};

struct vu_chain {
    struct vu_elem *elem;
    bool packed;
    bool indirect_allowed;
    unsigned n_descs;

    /* what stopped the walk; reason NULL: nothing */
    const char *reason;
    struct vu_chain_desc bad;
    unsigned bad_index;     /* in the ring or in the table */
    uint64_t bad_table_gpa; /* UINT64_MAX: not in a table */
};

/* Starts a walk into an empty element. */
void vu_chain_begin(struct vu_chain *chain, struct vu_elem *elem, uint64_t features);

/*
 * Adds descriptor `index` of the ring, or the whole table where it is an indirect one. -EINVAL: see
 * chain->reason; what was added before is of no use then.
 */
int vu_chain_add(struct vu_chain *chain, const struct vu_chain_desc *desc, unsigned index);

/* Ends a walk that the ring itself found wrong, at descriptor `index`. Returns -EINVAL. */
int vu_chain_fail(struct vu_chain *chain, const char *reason, const struct vu_chain_desc *desc,
                  unsigned index);
