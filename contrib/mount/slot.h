/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots: one FUSE request and its reply, in memory shared with the back-end. The kernel's request
 * is read straight into it, and the reply is written to the kernel straight out of it.
 *
 *   offset                 what
 *   0                      a small reply
 *   SLOT_REQUEST_OFFSET    the request; the data of a WRITE begins on the next page
 *   behind the request     a large reply; the data of a READ begins on a page, for O_DIRECT
 *
 * The back-end may write anywhere here at any time. So the head of the request is kept in private
 * memory, and nothing is decided from the shared copy. A slot belongs to the thread of its queue.
 */
#pragma once

#include <linux/fuse.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/driver.h"

#define SLOT_PAGE           4096u
#define SLOT_DATA_MAX       (1u << 20) /* of one READ or WRITE */
#define SLOT_HEAD_LEN       (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
#define SLOT_REQUEST_OFFSET (SLOT_PAGE - SLOT_HEAD_LEN)
#define SLOT_LEN            (SLOT_DATA_MAX + 4 * SLOT_PAGE)
#define SLOT_MAX_SG         4 /* of one request */

struct slot {
    uint8_t *base; /* SLOT_LEN bytes, shared */
    uint64_t gpa;  /* of base */
    struct slot *next_free;
    bool in_flight;
    uint64_t sequence; /* in flight: order of submission */

    /* of the request, private */
    union {
        struct fuse_in_header header;
        uint8_t bytes[SLOT_HEAD_LEN];
    } head;
    uint32_t request_len;
    uint32_t reply_offset, reply_len; /* room offered, header included; 0: no reply */
};

struct slot_pool {
    struct slot *slots;
    unsigned n_slots, n_in_flight;
    struct slot *free; /* warm ones first */
    uint64_t sequence;
};

/* n slots out of shmem. -ENOMEM: it is full. */
int slot_pool_init(struct slot_pool *pool, struct vu_shmem *shmem, unsigned n);
void slot_pool_clear(struct slot_pool *pool);
/* The first free slot goes in flight. There must be one. */
struct slot *slot_pool_take(struct slot_pool *pool);
void slot_pool_give(struct slot_pool *pool, struct slot *slot);

/*
 * Reads one request from /dev/fuse (non-blocking). 0; -EAGAIN none is there; -ENODEV unmounted;
 * -EPROTO nonsense; -errno.
 */
int slot_read_request(struct slot *slot, int fuse_fd);
/* Puts a request of our own in. At most SLOT_DATA_MAX bytes. */
void slot_set_request(struct slot *slot, const void *request, uint32_t len);

/* Finds room for a reply of len bytes behind its header. -E2BIG. */
int slot_offer_reply(struct slot *slot, uint64_t len);

/* The request as ranges, framed as the Linux driver does. Returns n_out; *ret_n_in is 0 or 1. */
unsigned slot_describe(const struct slot *slot, struct vu_sg sg[SLOT_MAX_SG], unsigned *ret_n_in);

/* Where the reply is. */
static inline uint8_t *slot_reply(const struct slot *slot)
{
    return slot->base + slot->reply_offset;
}
