/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed virtqueues, the driver's side (virtio 1.x section 2.8). Runs on the one thread that drives
 * the queue.
 *
 * A request takes consecutive slots and one buffer id. The device walks slot by slot, so a batch
 * stays invisible for as long as the flags of its very first descriptor are not written: publish
 * writes those last.
 */
#include <string.h>

#include "vhost-user/driver-ops.h"

#define PACKED_WRAP_BIT 0x8000u

static uint64_t packed_event_len(unsigned num)
{
    return sizeof(struct vu_packed_event);
}

static void packed_reset(struct vu_driver *driver)
{
    driver->avail_wrap = driver->used_wrap = true;
}

/* Flags that make a descriptor available in the current round. */
static unsigned packed_avail_flags(const struct vu_driver *driver)
{
    return driver->avail_wrap ? VU_DESC_F_AVAIL : VU_DESC_F_USED;
}

/* Writes the next slot; everything of a batch but its first flags may be seen at any time. */
static void packed_write_slot(struct vu_driver *driver, const struct vu_sg *sg, uint16_t id,
                              unsigned flags)
{
    struct vu_packed_desc *desc = (struct vu_packed_desc *)driver->desc + driver->avail_idx;

    flags |= packed_avail_flags(driver);
    desc->addr = le64_from(sg->gpa);
    desc->len = le32_from(sg->len);
    desc->id = le16_from(id);
    if (driver->n_unpublished == 0) {
        driver->first_idx = driver->avail_idx;
        driver->first_flags = (uint16_t)flags;
    } else {
        le16_store(&desc->flags, (uint16_t)flags);
    }
    driver->n_unpublished++;
    if (++driver->avail_idx == driver->num) {
        driver->avail_idx = 0;
        driver->avail_wrap = !driver->avail_wrap;
    }
}

static void packed_add_indirect(struct vu_driver *driver, const struct vu_sg *sg, uint16_t id,
                                unsigned n_out, unsigned n)
{
    struct vu_sg table_sg = {.len = n * VU_DRIVER_DESC_LEN};
    struct vu_packed_desc *table = (void *)driver_indirect_table(driver, id, &table_sg.gpa);

    for (unsigned i = 0; i < n; i++)
        table[i] = (struct vu_packed_desc){
            .addr = le64_from(sg[i].gpa),
            .len = le32_from(sg[i].len),
            .flags = le16_from(i >= n_out ? VU_DESC_F_WRITE : 0),
        };
    packed_write_slot(driver, &table_sg, id, VU_DESC_F_INDIRECT);
}

static uint16_t packed_add(struct vu_driver *driver, const struct vu_sg *sg, unsigned n_out,
                           unsigned n_in, unsigned n_descs)
{
    unsigned n = n_out + n_in;
    uint16_t id = driver_take_id(driver);

    if (n_descs < n) {
        packed_add_indirect(driver, sg, id, n_out, n);
        return id;
    }
    for (unsigned i = 0; i < n; i++)
        packed_write_slot(driver, &sg[i], id,
                          (i >= n_out ? VU_DESC_F_WRITE : 0u) | (i + 1 < n ? VU_DESC_F_NEXT : 0u));
    return id;
}

/* The device's wish as one load, so that offset and flags belong together. */
static bool packed_wants_kick(const struct vu_driver *driver, unsigned n_new)
{
    uint32_t raw = __atomic_load_n((const uint32_t *)driver->used, __ATOMIC_RELAXED);
    struct vu_packed_event event;
    unsigned mode, off_wrap;
    uint16_t off;

    memcpy(&event, &raw, sizeof(event));
    mode = le16_value(event.flags) & VU_EVENT_MASK;
    if (mode != VU_EVENT_DESC || !driver->event_idx)
        return mode != VU_EVENT_DISABLE;
    off_wrap = le16_value(event.off_wrap);
    off = (uint16_t)(off_wrap & ~PACKED_WRAP_BIT);
    if (((off_wrap & PACKED_WRAP_BIT) != 0) != driver->avail_wrap)
        off = (uint16_t)(off - driver->num);
    return vu_event_passed(off, driver->avail_idx, (uint16_t)(driver->avail_idx - n_new));
}

static bool packed_publish(struct vu_driver *driver)
{
    struct vu_packed_desc *desc = driver->desc;
    unsigned n_new = driver->n_unpublished;

    if (n_new == 0)
        return false;
    /* Pairs with the device's acquire load of the flags: it sees the whole batch. */
    le16_store_release(&desc[driver->first_idx].flags, driver->first_flags);
    driver->n_unpublished = 0;
    /* Pairs with the device's barrier between its request for kicks and its look at the ring. */
    vu_full_barrier();
    return packed_wants_kick(driver, n_new);
}

static int packed_peek(const struct vu_driver *driver)
{
    const struct vu_packed_desc *desc =
        (const struct vu_packed_desc *)driver->desc + driver->used_idx;
    uint16_t flags;
    bool avail, used;

    if (driver->n_in_flight == 0)
        return 0;
    if (driver->batch_valid)
        return 1;
    flags = le16_load_acquire(&desc->flags);
    avail = (flags & VU_DESC_F_AVAIL) != 0;
    used = (flags & VU_DESC_F_USED) != 0;
    return avail == used && used == driver->used_wrap;
}

static void packed_read_used(const struct vu_driver *driver, uint32_t *ret_id, uint32_t *ret_len)
{
    const struct vu_packed_desc *desc =
        (const struct vu_packed_desc *)driver->desc + driver->used_idx;

    *ret_id = le16_load(&desc->id);
    *ret_len = le32_load(&desc->len);
}

static void packed_release(struct vu_driver *driver, uint16_t id)
{
    unsigned next = driver->used_idx + (unsigned)driver->requests[id].n_descs;

    if (next >= driver->num) {
        next -= driver->num;
        driver->used_wrap = !driver->used_wrap;
    }
    driver->used_idx = (uint16_t)next;
    /* The request itself counts no longer, but its id was taken. */
    driver_free_ids(driver, id, id, driver->n_in_flight + 1 == driver->num);
}

static uint16_t packed_off_wrap(uint16_t slot, bool wrap)
{
    return (uint16_t)(slot | (wrap ? PACKED_WRAP_BIT : 0));
}

static void packed_arm_call(struct vu_driver *driver)
{
    struct vu_packed_event *event = driver->avail;

    if (!driver->event_idx) {
        le16_store(&event->flags, VU_EVENT_ENABLE);
        return;
    }
    le16_store(&event->off_wrap, packed_off_wrap(driver->used_idx, driver->used_wrap));
    /* The offset must be there before the flags that make it count. */
    le16_store_release(&event->flags, VU_EVENT_DESC);
}

static void packed_disarm_call(struct vu_driver *driver)
{
    struct vu_packed_event *event = driver->avail;

    le16_store(&event->flags, VU_EVENT_DISABLE);
}

static uint32_t packed_base(const struct vu_driver *driver)
{
    uint32_t position = packed_off_wrap(driver->used_idx, driver->used_wrap);

    return position | position << 16;
}

const struct vu_driver_ops vu_driver_packed_ops = {
    .avail_len = packed_event_len,
    .used_len = packed_event_len,
    .reset = packed_reset,
    .add = packed_add,
    .publish = packed_publish,
    .peek = packed_peek,
    .read_used = packed_read_used,
    .release = packed_release,
    .arm_call = packed_arm_call,
    .disarm_call = packed_disarm_call,
    .base = packed_base,
};
