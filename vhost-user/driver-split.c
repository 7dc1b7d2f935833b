/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split virtqueues, the driver's side (virtio 1.x section 2.7). Runs on the one thread that drives
 * the queue. An id is the index of a chain's first descriptor; requests[i].next links both the free
 * descriptors and those of a chain, so that freeing a chain is one splice.
 */
#include <errno.h>
#include <string.h>

#include "vhost-user/driver-ops.h"

static uint64_t split_avail_len(unsigned num)
{
    return vu_split_avail_len(num);
}

static uint64_t split_used_len(unsigned num)
{
    return vu_split_used_len(num);
}

static void split_reset(struct vu_driver *driver)
{
}

static void split_write_desc(struct vu_split_desc *desc, const struct vu_sg *sg, unsigned flags,
                             unsigned next)
{
    *desc = (struct vu_split_desc){
        .addr = le64_from(sg->gpa),
        .len = le32_from(sg->len),
        .flags = le16_from((uint16_t)flags),
        .next = le16_from((uint16_t)next),
    };
}

static unsigned split_flags(unsigned i, unsigned n_out, unsigned n)
{
    return (i >= n_out ? VU_DESC_F_WRITE : 0u) | (i + 1 < n ? VU_DESC_F_NEXT : 0u);
}

static uint16_t split_add_indirect(struct vu_driver *driver, const struct vu_sg *sg, unsigned n_out,
                                   unsigned n)
{
    uint16_t head = driver_take_id(driver);
    struct vu_sg table_sg = {.len = n * VU_DRIVER_DESC_LEN};
    struct vu_split_desc *table = (void *)driver_indirect_table(driver, head, &table_sg.gpa);
    struct vu_split_desc *desc = driver->desc;

    for (unsigned i = 0; i < n; i++)
        split_write_desc(&table[i], &sg[i], split_flags(i, n_out, n), i + 1 < n ? i + 1 : 0);
    split_write_desc(&desc[head], &table_sg, VU_DESC_F_INDIRECT, 0);
    return head;
}

static uint16_t split_add_chain(struct vu_driver *driver, const struct vu_sg *sg, unsigned n_out,
                                unsigned n)
{
    struct vu_split_desc *desc = driver->desc;
    uint16_t head = driver->free_head;

    for (unsigned i = 0; i < n; i++) {
        uint16_t at = driver_take_id(driver);

        split_write_desc(&desc[at], &sg[i], split_flags(i, n_out, n),
                         i + 1 < n ? driver->free_head : 0);
    }
    return head;
}

static uint16_t split_add(struct vu_driver *driver, const struct vu_sg *sg, unsigned n_out,
                          unsigned n_in, unsigned n_descs)
{
    struct vu_split_avail *avail = driver->avail;
    unsigned n = n_out + n_in;
    uint16_t head = n_descs < n ? split_add_indirect(driver, sg, n_out, n)
                                : split_add_chain(driver, sg, n_out, n);

    le16_store(&avail->ring[driver->avail_idx & (driver->num - 1)], head);
    driver->avail_idx++;
    driver->n_unpublished++;
    return head;
}

static bool split_publish(struct vu_driver *driver)
{
    struct vu_split_avail *avail = driver->avail;
    struct vu_split_used *used = driver->used;
    uint16_t old_idx = driver->kicked_idx;

    if (driver->n_unpublished == 0)
        return false;
    /* Pairs with the device's acquire load: it sees whole descriptors and ring entries. */
    le16_store_release(&avail->idx, driver->avail_idx);
    driver->n_unpublished = 0;
    driver->kicked_idx = driver->avail_idx;
    /* Pairs with the device's barrier between its request for kicks and its look at avail.idx. */
    vu_full_barrier();
    if (driver->event_idx)
        return vu_event_passed(le16_load(vu_split_avail_event(used, driver->num)),
                               driver->avail_idx, old_idx);
    return (le16_load(&used->flags) & VU_USED_F_NO_NOTIFY) == 0;
}

static int split_peek(const struct vu_driver *driver)
{
    const struct vu_split_used *used = driver->used;
    uint16_t n = (uint16_t)(le16_load_acquire(&used->idx) - driver->used_idx);

    if (n > driver->n_in_flight || (n == 0 && driver->batch_valid))
        return -EPROTO;
    return n;
}

static void split_read_used(const struct vu_driver *driver, uint32_t *ret_id, uint32_t *ret_len)
{
    const struct vu_split_used *used = driver->used;
    const struct vu_split_used_elem *elem = &used->ring[driver->used_idx & (driver->num - 1)];

    *ret_id = le32_load(&elem->id);
    *ret_len = le32_load(&elem->len);
}

static void split_release(struct vu_driver *driver, uint16_t id)
{
    unsigned n_descs = driver->requests[id].n_descs;
    uint16_t tail = id;

    driver->used_idx++;
    for (unsigned i = 1; i < n_descs; i++)
        tail = driver->requests[tail].next;
    driver_free_ids(driver, id, tail, driver->n_free == n_descs);
}

static void split_arm_call(struct vu_driver *driver)
{
    struct vu_split_avail *avail = driver->avail;

    if (driver->event_idx)
        le16_store(vu_split_used_event(avail, driver->num), driver->used_idx);
    else
        le16_store(&avail->flags, 0);
}

/* With EVENT_IDX the event is put behind the device, which then passes it every 65536 entries. */
static void split_disarm_call(struct vu_driver *driver)
{
    struct vu_split_avail *avail = driver->avail;

    if (driver->event_idx)
        le16_store(vu_split_used_event(avail, driver->num), (uint16_t)(driver->used_idx - 1));
    else
        le16_store(&avail->flags, VU_AVAIL_F_NO_INTERRUPT);
}

static uint32_t split_base(const struct vu_driver *driver)
{
    return driver->used_idx;
}

const struct vu_driver_ops vu_driver_split_ops = {
    .avail_len = split_avail_len,
    .used_len = split_used_len,
    .reset = split_reset,
    .add = split_add,
    .publish = split_publish,
    .peek = split_peek,
    .read_used = split_read_used,
    .release = split_release,
    .arm_call = split_arm_call,
    .disarm_call = split_disarm_call,
    .base = split_base,
};
