/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inflight log: which requests each queue has taken and not completed, in a file that the
 * front-end keeps while the back-end dies and comes back. vhost-user "Inflight I/O tracking";
 * layouts of split and packed rings there.
 *
 * The region is shared with the front-end and is hostile input when it is handed to us. Each
 * queue's part is kept by inflight-split.c and inflight-packed.c under the ring's lock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost-user/proto.h"

#define VU_INFLIGHT_VERSION    1
#define VU_INFLIGHT_ALIGN      64 /* of each queue's part, as all other back-ends have it */
#define VU_INFLIGHT_MAX_QUEUES 256

/*
 *   offset size  split queue region      offset size  packed queue region
 *        0    8  features                     0    8  features
 *        8    2  version (1)                  8    2  version (1)
 *       10    2  desc_num                    10    2  desc_num
 *       12    2  last_batch_head             12    2  free_head
 *       14    2  used_idx                    14    2  old_free_head
 *       16   16  desc[desc_num]              16    2  used_idx
 *                                            18    2  old_used_idx
 *                                            20    1  used_wrap_counter
 *                                            21    1  old_used_wrap_counter
 *                                            22   10  padding
 *                                            32   32  desc[desc_num]
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
    uint8_t *addr; /* of queue 0's part */
    unsigned n_queues;
    unsigned queue_size;
    bool packed;
    bool faulted; /* atomic; the file was truncated under us: rings on it break */
    void *map_addr;
    size_t map_len;
};

/*
 * GET_INFLIGHT_FD: makes a zeroed, sealed memfd that fits, maps it, fills ret_desc (offset 0). The
 * descriptor in *ret_fd is the caller's. -EINVAL: sizes of 0 or above the limits
 * (VU_INFLIGHT_MAX_QUEUES, VU_RING_MAX_SIZE); -errno of memfd_create, ftruncate or mmap.
 */
int vu_inflight_create(unsigned n_queues, unsigned queue_size, bool packed,
                       struct vu_inflight **ret_inflight, struct vu_inflight_desc *ret_desc,
                       int *ret_fd);
/*
 * SET_INFLIGHT_FD: maps what the front-end hands over. fd stays the caller's. -EINVAL: smaller than
 * n_queues x queue_size, beyond the file, or sizes above the limits. Contents are checked when a
 * ring starts on it.
 */
int vu_inflight_map(const struct vu_inflight_desc *desc, int fd, bool packed,
                    struct vu_inflight **ret_inflight);
/* NULL is allowed. No ring may run on it. */
void vu_inflight_destroy(struct vu_inflight *inflight);

/* True once the file was found truncated. */
static inline bool vu_inflight_faulted(const struct vu_inflight *inflight)
{
    return __atomic_load_n(&inflight->faulted, __ATOMIC_ACQUIRE);
}

/* The region of one queue; NULL beyond n_queues, where the ring is larger than queue_size, or of
 * the other kind. */
struct vu_inflight_split *vu_inflight_split_queue(struct vu_inflight *inflight, unsigned queue,
                                                  unsigned num);
struct vu_inflight_packed *vu_inflight_packed_queue(struct vu_inflight *inflight, unsigned queue,
                                                    unsigned num);
