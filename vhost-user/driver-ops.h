/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between split and packed rings on the driver's side, and the helpers that both
 * share. Only driver*.c include this file.
 */
#pragma once

#include "vhost-user/driver.h"

struct vu_driver_ops {
    /* Bytes of the three parts of a ring of num descriptors. */
    uint64_t (*avail_len)(unsigned num);
    uint64_t (*used_len)(unsigned num);
    /* The part of a reset that is not common; the shared memory is zero already. */
    void (*reset)(struct vu_driver *driver);
    /* Writes the request into the ring; room and ranges were checked. Returns its id. */
    uint16_t (*add)(struct vu_driver *driver, const struct vu_sg *sg, unsigned n_out, unsigned n_in,
                    unsigned n_descs);
    bool (*publish)(struct vu_driver *driver);
    /* How many used entries are worth looking at now, at most n_in_flight; -EPROTO. Packed: 0 or
     * 1. */
    int (*peek)(const struct vu_driver *driver);
    /* The used entry at the current position, each field read once. */
    void (*read_used)(const struct vu_driver *driver, uint32_t *ret_id, uint32_t *ret_len);
    /* Moves past the used request `id` and gives its descriptors back. */
    void (*release)(struct vu_driver *driver, uint16_t id);
    void (*arm_call)(struct vu_driver *driver);
    void (*disarm_call)(struct vu_driver *driver);
    uint32_t (*base)(const struct vu_driver *driver);
};

extern const struct vu_driver_ops vu_driver_split_ops;
extern const struct vu_driver_ops vu_driver_packed_ops;

/* Bytes of a descriptor, of either kind. */
#define VU_DRIVER_DESC_LEN 16u

/* Takes the first free id. There is one wherever there is a free descriptor. */
static inline uint16_t driver_take_id(struct vu_driver *driver)
{
    uint16_t id = driver->free_head;

    driver->free_head = driver->requests[id].next;
    return id;
}

/* Gives back the ids from head to tail, which are linked. IN_ORDER wants them taken again in ring
 * order, so they go to the end; otherwise the warm ones come first. */
static inline void driver_free_ids(struct vu_driver *driver, uint16_t head, uint16_t tail,
                                   bool none_left)
{
    if (none_left) {
        driver->free_head = head;
        driver->free_tail = tail;
    } else if (driver->in_order) {
        driver->requests[driver->free_tail].next = head;
        driver->free_tail = tail;
    } else {
        driver->requests[tail].next = driver->free_head;
        driver->free_head = head;
    }
}

/* The indirect table of an id. */
static inline uint8_t *driver_indirect_table(const struct vu_driver *driver, uint16_t id,
                                             uint64_t *ret_gpa)
{
    uint64_t offset = (uint64_t)id * driver->indirect_max * VU_DRIVER_DESC_LEN;

    *ret_gpa = driver->indirect_gpa + offset;
    return driver->indirect + offset;
}
