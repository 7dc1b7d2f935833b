/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packed layout of a ring: one ring of descriptors that driver and device both write, with wrap
 * counters, and an event suppression area of each (virtio 1.x section 2.8). Under the ring's lock;
 * the driver reads and writes all three at the same time.
 */
#include <errno.h>
#include <glib.h>

#include "vhost-user/inflight-log.h"
#include "vhost-user/vring-elem.h"
#include "vhost-user/vring-ops.h"

#define PACKED_SLOT_MASK 0x7fffu
#define PACKED_WRAP_BIT  15

static struct vu_packed_pos packed_avail_pos(const struct vu_vring *vring)
{
    return (struct vu_packed_pos){vring->avail_idx, vring->avail_wrap};
}

static struct vu_packed_pos packed_used_pos(const struct vu_vring *vring)
{
    return (struct vu_packed_pos){vring->used_idx, vring->used_wrap};
}

static void packed_set_avail_pos(struct vu_vring *vring, struct vu_packed_pos pos)
{
    vring->avail_idx = pos.slot;
    vring->avail_wrap = pos.wrap;
}

static void packed_set_used_pos(struct vu_vring *vring, struct vu_packed_pos pos)
{
    vring->used_idx = pos.slot;
    vring->used_wrap = pos.wrap;
}

/* A position as 16 bits of a base or of an event: slot, and the wrap counter on top. */
static uint16_t packed_encode(struct vu_packed_pos pos)
{
    return (uint16_t)(pos.slot | (unsigned)pos.wrap << PACKED_WRAP_BIT);
}

static struct vu_packed_pos packed_decode(uint32_t bits)
{
    return (struct vu_packed_pos){bits & PACKED_SLOT_MASK, (bits >> PACKED_WRAP_BIT & 1) != 0};
}

static bool packed_num_valid(unsigned num)
{
    return num > 0 && num <= VU_RING_MAX_SIZE;
}

static int packed_map(struct vu_vring *vring, const struct vu_memory *memory)
{
    uint64_t ring_len = (uint64_t)vring->num * sizeof(struct vu_packed_desc);
    void *desc = vu_memory_translate_user(memory, vring->desc_uva, ring_len, &vring->desc_gpa);
    void *avail =
        vu_memory_translate_user(memory, vring->avail_uva, sizeof(struct vu_packed_event), NULL);
    void *used =
        vu_memory_translate_user(memory, vring->used_uva, sizeof(struct vu_packed_event), NULL);

    if (desc == NULL || avail == NULL || used == NULL)
        return -EINVAL;
    if ((uintptr_t)desc % 16 != 0 || (uintptr_t)avail % 4 != 0 || (uintptr_t)used % 4 != 0)
        return -EINVAL;
    vring->desc = desc;
    vring->avail = avail;
    vring->used = used;
    return 0;
}

static int packed_begin_log(struct vu_vring *vring, const char **ret_reason)
{
    struct vu_packed_pos pos = packed_used_pos(vring);
    struct vu_inflight *inflight = vring->inflight;
    struct vu_inflight_packed *region;
    struct vu_packed_log *log;
    unsigned n_slots;
    bool fresh;
    int err;

    region = vu_inflight_packed_queue(inflight, vring->index, vring->num);
    if (region == NULL) {
        *ret_reason = "no place for this ring";
        return -EBADMSG;
    }
    fresh = vu_inflight_load(region->version) == 0;
    err = vu_packed_log_open(region, inflight->queue_size, vring->num, vring->desc, &pos, &log,
                             &vring->resubmit, &n_slots, ret_reason);
    if (err < 0)
        return err;
    vring->inflight_log = log;
    if (!fresh) { /* a front-end that lost its back-end cannot know how far that had come */
        packed_set_used_pos(vring, pos);
        packed_set_avail_pos(vring, vu_packed_advance(pos, n_slots, vring->num));
    }
    return 0;
}

/*
 * Whether a base of 0 means the beginning: User Mode Linux sends 0 for a fresh ring, without the
 * wrap counters, which start at 1. A driver in its first lap never sets USED. In a ring that really
 * has come round to slot 0, the chain that ended in the last slot began in the same lap and has a
 * used descriptor, with USED set; or the driver's next lap, which sets it too, is over it already.
 */
static bool packed_base_is_fresh(const struct vu_vring *vring)
{
    const struct vu_packed_desc *ring = vring->desc;
    bool fresh = vring->base == 0;

    for (unsigned i = 0; fresh && i < vring->num; i++)
        fresh = (le16_load(&ring[i].flags) & VU_DESC_F_USED) == 0;
    return fresh;
}

static int packed_begin(struct vu_vring *vring, const char **ret_reason)
{
    uint32_t base = packed_base_is_fresh(vring) ? 1u << PACKED_WRAP_BIT : vring->base;
    struct vu_packed_pos avail = packed_decode(base);
    struct vu_packed_pos used = packed_decode(base >> 16);

    if (base >> 16 == 0) /* some front-ends know only the first half; nothing is in flight */
        used = avail;
    if (avail.slot >= vring->num || used.slot >= vring->num) {
        *ret_reason = "its base lies outside the ring";
        return -EINVAL;
    }
    packed_set_avail_pos(vring, avail);
    packed_set_used_pos(vring, used);
    return vring->inflight == NULL ? 0 : packed_begin_log(vring, ret_reason);
}

static void packed_end(struct vu_vring *vring, bool idle)
{
    if (vring->inflight_log != NULL)
        vu_packed_log_close(vring->inflight_log, idle);
}

static uint32_t packed_base(const struct vu_vring *vring)
{
    return packed_encode(packed_avail_pos(vring)) | (uint32_t)packed_encode(packed_used_pos(vring))
                                                        << 16;
}

static bool packed_has_used(const struct vu_vring *vring)
{
    return vring->used_idx != 0 || !vring->used_wrap;
}

static bool packed_flags_available(uint16_t flags, bool wrap)
{
    return ((flags & VU_DESC_F_AVAIL) != 0) == wrap && ((flags & VU_DESC_F_USED) != 0) != wrap;
}

static bool packed_available(const struct vu_vring *vring)
{
    const struct vu_packed_desc *ring = vring->desc;

    return packed_flags_available(le16_load(&ring[vring->avail_idx].flags), vring->avail_wrap);
}

static struct vu_chain_desc packed_fetch(const struct vu_vring *vring, unsigned slot,
                                         uint16_t flags)
{
    const struct vu_packed_desc *from = (const struct vu_packed_desc *)vring->desc + slot;

    return (struct vu_chain_desc){
        .addr = le64_load(&from->addr),
        .len = le32_load(&from->len),
        .flags = flags,
        .link = le16_load(&from->id),
    };
}

/*
 * Collects the chain at the avail position, whose first descriptor has `flags`. The ring entries
 * that requests in flight take are not the driver's: no chain may reach into them.
 */
static int packed_walk(const struct vu_vring *vring, struct vu_chain *chain, uint16_t flags)
{
    const struct vu_packed_desc *ring = vring->desc;
    struct vu_packed_pos pos = packed_avail_pos(vring);
    struct vu_elem *elem = chain->elem;
    struct vu_chain_desc desc;
    int err;

    for (unsigned n = 1;; n++) {
        desc = packed_fetch(vring, pos.slot, flags);
        if (vring->n_slots + n > vring->num)
            return vu_chain_fail(chain, "more descriptors than the ring has", &desc, pos.slot);
        err = vu_chain_add(chain, &desc, pos.slot);
        if (err < 0)
            return err;
        if (vring->inflight_log != NULL)
            vu_packed_log_take(vring->inflight_log, &desc);
        if ((desc.flags & VU_DESC_F_NEXT) == 0) {
            elem->id = desc.link;
            elem->n_slots = (uint16_t)n;
            return 0;
        }
        pos = vu_packed_advance(pos, 1, vring->num);
        flags = le16_load(&ring[pos.slot].flags);
    }
}

/* One request at the avail position. NULL: there is none, or it broke the ring. */
static struct vu_elem *packed_pop_one(struct vu_vring *vring)
{
    const struct vu_packed_desc *ring = vring->desc;
    /* Acquire: pairs with the driver's release (its write barrier) between the rest of a chain and
     * the flags of its first descriptor. */
    uint16_t flags = le16_load_acquire(&ring[vring->avail_idx].flags);
    struct vu_chain chain;
    struct vu_elem *elem;

    if (!packed_flags_available(flags, vring->avail_wrap))
        return NULL;
    elem = vu_elem_take_locked(vring);
    vu_chain_begin(&chain, elem, vring->features);
    if (packed_walk(vring, &chain, flags) < 0) {
        vu_elem_release_locked(elem);
        vu_vring_break_chain_locked(vring, &chain);
        return NULL;
    }
    if (vring->inflight_log != NULL)
        vu_packed_log_taken(vring->inflight_log, elem);
    vu_vring_account_locked(vring, elem);
    packed_set_avail_pos(vring,
                         vu_packed_advance(packed_avail_pos(vring), elem->n_slots, vring->num));
    return elem;
}

static unsigned packed_pop(struct vu_vring *vring, struct vu_elem **ret_elems, unsigned max)
{
    struct vu_elem *elem;
    unsigned n = 0;

    while (n < max && (elem = packed_pop_one(vring)) != NULL)
        ret_elems[n++] = elem;
    return n;
}

static struct vu_elem *packed_pop_again(struct vu_vring *vring,
                                        const struct vu_resubmit_entry *entry)
{
    struct vu_elem *elem = vu_elem_take_locked(vring);
    uint16_t log_entry = entry->slot;
    struct vu_chain_desc desc;
    struct vu_chain chain;

    vu_chain_begin(&chain, elem, vring->features);
    for (unsigned n = 0; n < entry->n_slots; n++) {
        desc = vu_packed_log_read(vring->inflight_log, &log_entry);
        if (vu_chain_add(&chain, &desc, n) < 0) {
            vu_elem_release_locked(elem);
            vu_vring_break_chain_locked(vring, &chain);
            return NULL;
        }
        elem->id = desc.link;
    }
    elem->inflight_slot = entry->slot;
    elem->inflight_last = entry->last;
    elem->n_slots = entry->n_slots;
    vu_vring_account_locked(vring, elem);
    return elem;
}

/* The last descriptor of a chain has its id; one that was used since is another's. */
static bool packed_take_back(struct vu_vring *vring, const struct vu_elem *elem)
{
    const struct vu_packed_desc *ring = vring->desc;
    struct vu_packed_pos pos = packed_avail_pos(vring);
    unsigned last = (pos.slot + vring->num - 1) % vring->num;
    unsigned first = (pos.slot + vring->num - elem->n_slots) % vring->num;
    bool wrap = first < pos.slot ? pos.wrap : !pos.wrap;

    if (le16_load(&ring[last].id) != elem->id ||
        !packed_flags_available(le16_load(&ring[first].flags), wrap))
        return false;
    packed_set_avail_pos(vring, (struct vu_packed_pos){(uint16_t)first, wrap});
    return true;
}

static void packed_put(struct vu_vring *vring, struct vu_elem *elem)
{
    struct vu_packed_pos pos = packed_used_pos(vring);
    struct vu_packed_pos after = vu_packed_advance(pos, elem->n_slots, vring->num);
    struct vu_packed_desc *to = (struct vu_packed_desc *)vring->desc + pos.slot;
    uint16_t flags = pos.wrap ? VU_DESC_F_AVAIL | VU_DESC_F_USED : 0;

    if (elem->written > 0)
        flags |= VU_DESC_F_WRITE;
    if (vring->inflight_log != NULL)
        vu_packed_log_put(vring->inflight_log, elem, after);
    le16_store(&to->id, elem->id);
    le32_store(&to->len, elem->written);
    if (vring->batch == NULL) {
        vring->batch_slot = pos.slot;
        vring->batch_flags = flags;
    } else {
        le16_store(&to->flags, flags); /* not looked at before the first of the batch is used */
    }
    vu_vring_log_desc_locked(vring, pos.slot * sizeof(*to), sizeof(*to));
    packed_set_used_pos(vring, after);
    vring->n_batch_slots += elem->n_slots;
    elem->next = vring->batch;
    vring->batch = elem;
}

/* Whether the driver wants to hear of used descriptors in the n_batch_slots before used_idx. */
static bool packed_call_wanted(const struct vu_vring *vring)
{
    const struct vu_packed_event *event = vring->avail;
    struct vu_packed_pos wanted;
    unsigned flags, event_idx;

    /* Pairs with the driver's full barrier between what it asks for and its last look at the ring:
     * either it sees the used descriptors, or we see what it wants. */
    vu_full_barrier();
    /* Acquire: pairs with the driver's release; it writes off_wrap before flags. */
    flags = le16_load_acquire(&event->flags) & VU_EVENT_MASK;
    if (flags != VU_EVENT_DESC || !vu_has(vring->features, VU_F_RING_EVENT_IDX))
        return flags != VU_EVENT_DISABLE;
    wanted = packed_decode(le16_load(&event->off_wrap));
    event_idx = wanted.slot;
    if (wanted.wrap != vring->used_wrap) /* of the lap before */
        event_idx -= vring->num;
    return vu_event_passed((uint16_t)event_idx, vring->used_idx,
                           (uint16_t)(vring->used_idx - vring->n_batch_slots));
}

static bool packed_publish(struct vu_vring *vring)
{
    struct vu_packed_desc *ring = vring->desc;
    struct vu_packed_log *log = vring->inflight_log;

    /* Release: pairs with the driver's acquire of these flags; the rest of the batch and the data
     * come before it. */
    le16_store_release(&ring[vring->batch_slot].flags, vring->batch_flags);
    vu_vring_log_desc_locked(vring, vring->batch_slot * sizeof(*ring), sizeof(*ring));
    if (log != NULL) {
        for (struct vu_elem *elem = vring->batch; elem != NULL; elem = elem->next)
            vu_packed_log_settle(log, elem);
        vu_packed_log_settled(log);
    }
    return packed_call_wanted(vring);
}

static void packed_set_kicks(struct vu_vring *vring, bool wanted)
{
    struct vu_packed_event *event = vring->used;
    uint16_t flags = wanted ? VU_EVENT_ENABLE : VU_EVENT_DISABLE;

    if (wanted && vu_has(vring->features, VU_F_RING_EVENT_IDX)) {
        le16_store(&event->off_wrap, packed_encode(packed_avail_pos(vring)));
        flags = VU_EVENT_DESC;
    }
    /* Release: pairs with the driver's acquire, or its read barrier, between flags and off_wrap. */
    le16_store_release(&event->flags, flags);
    vu_vring_log_used_locked(vring, 0, sizeof(*event));
}

const struct vu_vring_ops vu_vring_packed_ops = {
    .num_valid = packed_num_valid,
    .map = packed_map,
    .begin = packed_begin,
    .end = packed_end,
    .base = packed_base,
    .has_used = packed_has_used,
    .available = packed_available,
    .pop = packed_pop,
    .pop_again = packed_pop_again,
    .take_back = packed_take_back,
    .put = packed_put,
    .publish = packed_publish,
    .set_kicks = packed_set_kicks,
};
