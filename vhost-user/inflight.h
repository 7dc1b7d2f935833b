/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inflight log: which requests each queue has taken and not completed, in a file that the
 * front-end keeps while the back-end dies and comes back. vhost-user "Inflight I/O tracking";
 * layouts of split and packed rings there.
 *
 * The region is shared with the front-end and is hostile input when it is handed to us. Each
 * queue's part is written by vring-split.c and vring-packed.c under the ring's lock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost-user/proto.h"

/*
 *   offset size  split queue region             packed queue region
 *        0    8  features                       features
 *        8    2  version (1)                    version (1)
 *       10    2  desc_num                       desc_num
 *       12    2  last_batch_head                free_head
 *       14    2  used_idx                       old_free_head
 *       16       desc[desc_num], 16 each        used_idx, old_used_idx (2 each), used_wrap,
 * old_used_wrap (1 each), 7 padding 32                                      desc[desc_num], 32 each
 * Fields are in native endianness: only the same host ever reads them.
 */
struct vu_inflight_split_desc {
    uint8_t inflight;
    uint8_t padding[5];
    uint16_t next;    /* of the last batch, while it is being completed */
    uint64_t counter; /* order of submission */
};

struct vu_inflight_split {
    uint64_t features;
    uint16_t version;
    uint16_t desc_num;
    uint16_t last_batch_head;
    uint16_t used_idx;
    struct vu_inflight_split_desc desc[];
};

struct vu_inflight_packed_desc {
    uint8_t inflight;
    uint8_t padding;
    uint16_t next; /* free list, or the last entry's link */
    uint16_t last; /* last descriptor of the chain */
    uint16_t num;  /* of the chain */
    uint64_t counter;
    uint16_t id;
    uint16_t flags;
    uint32_t len;
    uint64_t addr;
};

struct vu_inflight_packed {
    uint64_t features;
    uint16_t version;
    uint16_t desc_num;
    uint16_t free_head;
    uint16_t old_free_head;
    uint16_t used_idx;
    uint16_t old_used_idx;
    uint8_t used_wrap_counter;
    uint8_t old_used_wrap_counter;
    uint8_t padding[7];
    struct vu_inflight_packed_desc desc[];
};

static_assert(sizeof(struct vu_inflight_split_desc) == 16, "split inflight descriptor");
static_assert(sizeof(struct vu_inflight_split) == 16, "split inflight region");
static_assert(sizeof(struct vu_inflight_packed_desc) == 32, "packed inflight descriptor");
static_assert(sizeof(struct vu_inflight_packed) == 32, "packed inflight region");

/* A mapped inflight file. */
struct vu_inflight {
    uint8_t *addr;
    uint64_t len;
    unsigned n_queues;
    unsigned queue_size;
    bool packed;
};

/* GET_INFLIGHT_FD: makes a zeroed, sealed memfd that fits, maps it, fills ret_desc (offset 0).
 * -EINVAL: sizes of 0 or above the limits. */
int vu_inflight_create(unsigned n_queues, unsigned queue_size, bool packed,
                       struct vu_inflight **ret_inflight, struct vu_inflight_desc *ret_desc,
                       int *ret_fd);
/* SET_INFLIGHT_FD: maps what the front-end hands over. fd stays the caller's. -EINVAL: smaller than
 * n_queues x queue_size, beyond the file, or sizes above the limits. Contents are checked when a
 * ring starts on it. */
int vu_inflight_map(const struct vu_inflight_desc *desc, int fd, bool packed,
                    struct vu_inflight **ret_inflight);
void vu_inflight_destroy(struct vu_inflight *inflight);

/* The region of one queue; NULL beyond n_queues, where the ring is larger than queue_size, or of
 * the other kind. */
struct vu_inflight_split *vu_inflight_split_queue(struct vu_inflight *inflight, unsigned queue,
                                                  unsigned num);
struct vu_inflight_packed *vu_inflight_packed_queue(struct vu_inflight *inflight, unsigned queue,
                                                    unsigned num);
