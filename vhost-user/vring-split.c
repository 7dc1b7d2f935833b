/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split layout of a ring: descriptor table, avail ring, used ring (virtio 1.x section 2.7).
 * Under the ring's lock; the driver reads and writes all three at the same time.
 */
#include <errno.h>
#include <glib.h>

#include "vhost-user/inflight-log.h"
#include "vhost-user/vring-elem.h"
#include "vhost-user/vring-ops.h"

static struct vu_split_avail *split_avail(const struct vu_vring *vring)
{
    return vring->avail;
}

static struct vu_split_used *split_used(const struct vu_vring *vring)
{
    return vring->used;
}

static bool split_num_valid(unsigned num)
{
    return num > 0 && num <= VU_RING_MAX_SIZE && (num & (num - 1)) == 0;
}

static int split_map(struct vu_vring *vring, const struct vu_memory *memory)
{
    unsigned num = vring->num;
    void *desc = vu_memory_translate_user(
        memory, vring->desc_uva, (uint64_t)num * sizeof(struct vu_split_desc), &vring->desc_gpa);
    void *avail = vu_memory_translate_user(memory, vring->avail_uva, vu_split_avail_len(num), NULL);
    void *used = vu_memory_translate_user(memory, vring->used_uva, vu_split_used_len(num), NULL);

    if (desc == NULL || avail == NULL || used == NULL)
        return -EINVAL;
    if ((uintptr_t)desc % 16 != 0 || (uintptr_t)avail % 2 != 0 || (uintptr_t)used % 4 != 0)
        return -EINVAL;
    vring->desc = desc;
    vring->avail = avail;
    vring->used = used;
    return 0;
}

static int split_begin(struct vu_vring *vring, const char **ret_reason)
{
    struct vu_inflight *inflight = vring->inflight;
    struct vu_inflight_split *region;
    struct vu_split_log *log;
    bool fresh;
    int err;

    if (vring->base > UINT16_MAX) {
        *ret_reason = "its base is none that a ring can have";
        return -EINVAL;
    }
    vring->used_idx = le16_load(&split_used(vring)->idx);
    vring->avail_idx = (uint16_t)vring->base;
    if (inflight == NULL)
        return 0;
    region = vu_inflight_split_queue(inflight, vring->index, vring->num);
    if (region == NULL) {
        *ret_reason = "no place for this ring";
        return -EBADMSG;
    }
    fresh = vu_inflight_load(region->version) == 0;
    err = vu_split_log_open(region, inflight->queue_size, vring->num, vring->used_idx, &log,
                            &vring->resubmit, ret_reason);
    if (err < 0)
        return err;
    vring->inflight_log = log;
    if (!fresh) /* a front-end that lost its back-end cannot know how far that had popped */
        vring->avail_idx =
            (uint16_t)(vring->used_idx + (vring->resubmit != NULL ? vring->resubmit->n : 0));
    return 0;
}

static void split_end(struct vu_vring *vring, bool idle)
{
    if (vring->inflight_log != NULL)
        vu_split_log_close(vring->inflight_log, idle);
}

static uint32_t split_base(const struct vu_vring *vring)
{
    return vring->avail_idx;
}

static bool split_has_used(const struct vu_vring *vring)
{
    return vring->used_idx != 0;
}

static bool split_available(const struct vu_vring *vring)
{
    /* Acquire: see split_pop. */
    return le16_load_acquire(&split_avail(vring)->idx) != vring->avail_idx;
}

/* Collects the chain that begins at head, which is in the ring. */
static int split_walk(const struct vu_vring *vring, struct vu_chain *chain, unsigned head)
{
    const struct vu_split_desc *table = vring->desc;
    struct vu_chain_desc desc;
    unsigned index = head;
    int err;

    for (unsigned n = 1;; n++) {
        desc = (struct vu_chain_desc){
            .addr = le64_load(&table[index].addr),
            .len = le32_load(&table[index].len),
            .flags = le16_load(&table[index].flags),
            .link = le16_load(&table[index].next),
        };
        err = vu_chain_add(chain, &desc, index);
        if (err < 0)
            return err;
        if ((desc.flags & VU_DESC_F_NEXT) == 0)
            return 0;
        if (n == vring->num)
            return vu_chain_fail(chain, "chain loops", &desc, index);
        if (desc.link >= vring->num)
            return vu_chain_fail(chain, "next beyond the ring", &desc, index);
        index = desc.link;
    }
}

/* NULL: the chain was refused, and the ring is broken. */
static struct vu_elem *split_take(struct vu_vring *vring, uint16_t head)
{
    struct vu_elem *elem = vu_elem_take_locked(vring);
    struct vu_chain chain;

    vu_chain_begin(&chain, elem, vring->features);
    if (split_walk(vring, &chain, head) < 0) {
        vu_elem_release_locked(elem);
        vu_vring_break_chain_locked(vring, &chain);
        return NULL;
    }
    elem->id = head;
    elem->n_slots = 1;
    vu_vring_account_locked(vring, elem);
    return elem;
}

static unsigned split_pop(struct vu_vring *vring, struct vu_elem **ret_elems, unsigned max)
{
    const struct vu_split_avail *avail = vring->avail;
    const struct vu_split_desc *table = vring->desc;
    /* Acquire: pairs with the driver's release (its write barrier) between the ring entries with
     * their descriptors and the index. */
    uint16_t driver_idx = le16_load_acquire(&avail->idx);
    unsigned n_available = (uint16_t)(driver_idx - vring->avail_idx);
    unsigned mask = vring->num - 1, n, next_head;
    struct vu_elem *elem;

    if (n_available == 0)
        return 0;
    if (n_available > vring->num || vring->n_slots + n_available > vring->num) {
        vu_vring_break_locked(vring, "avail index %u: %u requests more, with %u of %u in flight",
                              driver_idx, n_available, vring->n_slots, vring->num);
        return 0;
    }
    max = MIN(max, n_available);
    next_head = le16_load(&avail->ring[vring->avail_idx & mask]);
    for (n = 0; n < max; n++) {
        uint16_t head = (uint16_t)next_head;

        if (head >= vring->num) {
            vu_vring_break_locked(vring, "avail entry %u: head %u of %u", vring->avail_idx & mask,
                                  head, vring->num);
            break;
        }
        if (n + 1 < max) {
            next_head = le16_load(&avail->ring[(vring->avail_idx + 1u) & mask]);
            __builtin_prefetch(&table[next_head & mask]);
        }
        elem = split_take(vring, head);
        if (elem == NULL)
            break;
        ret_elems[n] = elem;
        if (vring->inflight_log != NULL)
            vu_split_log_take(vring->inflight_log, head);
        vring->avail_idx++;
    }
    return n;
}

static struct vu_elem *split_pop_again(struct vu_vring *vring,
                                       const struct vu_resubmit_entry *entry)
{
    return split_take(vring, entry->slot);
}

static bool split_take_back(struct vu_vring *vring, const struct vu_elem *elem)
{
    uint16_t before = (uint16_t)(vring->avail_idx - 1);

    if (le16_load(&split_avail(vring)->ring[before & (vring->num - 1)]) != elem->id)
        return false;
    vring->avail_idx = before;
    return true;
}

static void split_put(struct vu_vring *vring, struct vu_elem *elem)
{
    unsigned slot = vring->used_idx & (vring->num - 1);
    struct vu_split_used_elem *entry = &split_used(vring)->ring[slot];

    le32_store(&entry->id, elem->id);
    le32_store(&entry->len, elem->written);
    vu_vring_log_used_locked(vring, offsetof(struct vu_split_used, ring) + slot * sizeof(*entry),
                             sizeof(*entry));
    if (vring->inflight_log != NULL)
        vu_split_log_put(vring->inflight_log, elem->id);
    vring->used_idx++;
    vring->n_batch_slots++;
    elem->next = vring->batch;
    vring->batch = elem;
}

/* Whether the driver wants to hear of a used index that moved from old_idx to used_idx. */
static bool split_call_wanted(const struct vu_vring *vring, uint16_t old_idx)
{
    struct vu_split_avail *avail = vring->avail;

    /* Pairs with the driver's full barrier between its used_event or flags and its last look at
     * the used index: either it sees the new index, or we see what it wants. */
    vu_full_barrier();
    if (vu_has(vring->features, VU_F_RING_EVENT_IDX))
        return vu_event_passed(le16_load(vu_split_used_event(avail, vring->num)), vring->used_idx,
                               old_idx);
    return (le16_load(&avail->flags) & VU_AVAIL_F_NO_INTERRUPT) == 0;
}

static bool split_publish(struct vu_vring *vring)
{
    struct vu_split_log *log = vring->inflight_log;
    uint16_t old_idx = (uint16_t)(vring->used_idx - vring->n_batch_slots);

    /* Release: pairs with the driver's acquire of the index; entries and data come before it. */
    le16_store_release(&split_used(vring)->idx, vring->used_idx);
    vu_vring_log_used_locked(vring, offsetof(struct vu_split_used, idx), sizeof(le16_t));
    if (log != NULL) {
        for (struct vu_elem *elem = vring->batch; elem != NULL; elem = elem->next)
            vu_split_log_settle(log, elem->id);
        vu_split_log_settled(log, vring->used_idx);
    }
    return split_call_wanted(vring, old_idx);
}

static void split_set_kicks(struct vu_vring *vring, bool wanted)
{
    struct vu_split_used *used = vring->used;
    le16_t *avail_event = vu_split_avail_event(used, vring->num);

    if (!vu_has(vring->features, VU_F_RING_EVENT_IDX)) {
        le16_store(&used->flags, wanted ? 0 : VU_USED_F_NO_NOTIFY);
        vu_vring_log_used_locked(vring, offsetof(struct vu_split_used, flags), sizeof(le16_t));
        return;
    }
    /* An index that was popped is behind, but for a whole lap. A worker that a kick woke finds the
     * event there; one that was woken by a completion has to put it there. */
    le16_store(avail_event, (uint16_t)(vring->avail_idx - !wanted));
    vu_vring_log_used_locked(vring, vu_split_used_len(vring->num) - sizeof(le16_t), sizeof(le16_t));
}

const struct vu_vring_ops vu_vring_split_ops = {
    .num_valid = split_num_valid,
    .map = split_map,
    .begin = split_begin,
    .end = split_end,
    .base = split_base,
    .has_used = split_has_used,
    .available = split_available,
    .pop = split_pop,
    .pop_again = split_pop_again,
    .take_back = split_take_back,
    .put = split_put,
    .publish = split_publish,
    .set_kicks = split_set_kicks,
};
