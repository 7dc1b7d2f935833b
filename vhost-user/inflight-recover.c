/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking over the inflight log of a packed ring: from a clean file, or from a predecessor that was
 * killed at any instruction. Each step may be repeated by a successor of ours that is killed in it.
 * The order of the stores that this relies on is described in inflight-packed.c.
 */
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "vhost-user/inflight-log.h"

#define PACKED_BOTH (VU_DESC_F_AVAIL | VU_DESC_F_USED)

/* A region being taken over: all that is read from it is checked and kept here. */
struct packed_recovery {
    struct vu_inflight_packed *region;
    struct vu_packed_desc *ring;
    unsigned num, n_entries;
    uint16_t free_head;
    struct vu_packed_pos used, old_used;
    unsigned n_free, n_slots;
    bool *seen; /* n_entries: whether an entry is in the free list or in a request */
    uint16_t *next;
    struct vu_resubmit *resubmit;
};

static void packed_region_clear(struct vu_inflight_packed *region, unsigned capacity,
                                struct vu_packed_pos pos)
{
    memset(region->desc, 0, capacity * sizeof(region->desc[0]));
    for (unsigned i = 0; i < capacity; i++)
        region->desc[i].next = (uint16_t)(i + 1);
    region->features = 0;
    region->desc_num = (uint16_t)capacity;
    region->free_head = 0;
    region->old_free_head = 0;
    vu_packed_log_store_positions(region, pos, pos);
    vu_inflight_step();
    region->version = VU_INFLIGHT_VERSION;
}

static const char *packed_recovery_read_header(struct packed_recovery *recovery, unsigned capacity)
{
    struct vu_inflight_packed *region = recovery->region;
    unsigned wrap = vu_inflight_load(region->used_wrap_counter);
    unsigned old_wrap = vu_inflight_load(region->old_used_wrap_counter);

    recovery->n_entries = vu_inflight_load(region->desc_num);
    recovery->used = (struct vu_packed_pos){vu_inflight_load(region->used_idx), wrap != 0};
    recovery->old_used =
        (struct vu_packed_pos){vu_inflight_load(region->old_used_idx), old_wrap != 0};
    recovery->free_head = vu_inflight_load(region->free_head);
    if (region->version != VU_INFLIGHT_VERSION)
        return "its version is unknown";
    if (recovery->n_entries < recovery->num || recovery->n_entries > capacity)
        return "its number of descriptors is not the ring's";
    if (recovery->used.slot >= recovery->num || recovery->old_used.slot >= recovery->num ||
        wrap > 1 || old_wrap > 1)
        return "its used index is not of this ring";
    return NULL;
}

static bool packed_pos_equal(struct vu_packed_pos a, struct vu_packed_pos b)
{
    return a.slot == b.slot && a.wrap == b.wrap;
}

static uint16_t packed_available_flags(struct vu_packed_pos pos)
{
    return pos.wrap ? VU_DESC_F_AVAIL : VU_DESC_F_USED;
}

/* Marks the descriptors of the batch that was never published, all but its first, available: the
 * driver would take them for used ones once it gets there. */
static void packed_recovery_mend_ring(struct packed_recovery *recovery)
{
    struct vu_packed_pos pos = vu_packed_advance(recovery->old_used, 1, recovery->num);

    for (unsigned n = 1; n < recovery->num && !packed_pos_equal(pos, recovery->used); n++) {
        le16_store(&recovery->ring[pos.slot].flags, packed_available_flags(pos));
        pos = vu_packed_advance(pos, 1, recovery->num);
    }
}

/* Settles or takes back the batch that the predecessor was working on, if any. */
static void packed_recover_batch(struct packed_recovery *recovery)
{
    struct vu_inflight_packed *region = recovery->region;
    uint16_t flags;

    if (!packed_pos_equal(recovery->used, recovery->old_used)) {
        flags = le16_load_acquire(&recovery->ring[recovery->old_used.slot].flags);
        if ((flags & PACKED_BOTH) != packed_available_flags(recovery->old_used)) {
            region->old_free_head = recovery->free_head;
            vu_inflight_step();
            recovery->old_used = recovery->used;
        } else {
            packed_recovery_mend_ring(recovery);
            vu_inflight_step();
            recovery->used = recovery->old_used;
        }
    }
    recovery->free_head = vu_inflight_load(region->old_free_head);
    region->free_head = recovery->free_head;
    vu_inflight_step();
    vu_packed_log_store_positions(region, recovery->used, recovery->old_used);
    vu_inflight_step();
}

/* Walks the free list and unmarks what is in it. */
static const char *packed_recover_free_list(struct packed_recovery *recovery)
{
    uint16_t entry = recovery->free_head;

    for (; entry < recovery->n_entries; entry = recovery->next[entry]) {
        if (recovery->seen[entry])
            return "its free list loops";
        recovery->seen[entry] = true;
        recovery->n_free++;
        recovery->region->desc[entry].inflight = 0;
    }
    return NULL;
}

/* Checks one request in flight and adds it to those to be resubmitted. */
static const char *packed_recover_request(struct packed_recovery *recovery, uint16_t first)
{
    const struct vu_inflight_packed_desc *head = &recovery->region->desc[first];
    struct vu_resubmit *resubmit = recovery->resubmit;
    struct vu_resubmit_entry *out;
    unsigned num = vu_inflight_load(head->num);
    uint16_t last = vu_inflight_load(head->last), entry = first;

    if (num == 0 || num > recovery->num - recovery->n_slots)
        return "a request in flight has a bad number of descriptors";
    for (unsigned i = 0; i < num; i++) {
        if (i > 0)
            entry = recovery->next[entry];
        if (entry >= recovery->n_entries || recovery->seen[entry])
            return "the descriptors of a request in flight do not belong to it";
        recovery->seen[entry] = true;
    }
    if (entry != last)
        return "the last descriptor of a request in flight is another";
    recovery->n_slots += num;
    out = &resubmit->entries[resubmit->n++];
    out->counter = vu_inflight_load(head->counter);
    out->slot = first;
    out->last = last;
    out->n_slots = (uint16_t)num;
    return NULL;
}

static const char *packed_recover(struct packed_recovery *recovery)
{
    struct vu_inflight_packed *region = recovery->region;
    const char *reason;

    for (unsigned i = 0; i < recovery->n_entries; i++)
        recovery->next[i] = vu_inflight_load(region->desc[i].next);
    packed_recover_batch(recovery);
    reason = packed_recover_free_list(recovery);
    for (unsigned i = 0; reason == NULL && i < recovery->n_entries; i++)
        if (vu_inflight_load(region->desc[i].inflight) != 0)
            reason = packed_recover_request(recovery, (uint16_t)i);
    if (reason == NULL && recovery->n_free + recovery->n_slots != recovery->n_entries)
        reason = "some of its entries are lost";
    return reason;
}

static struct vu_packed_log *packed_log_create(const struct packed_recovery *recovery)
{
    struct vu_packed_log *log =
        g_malloc0(sizeof(*log) + recovery->n_entries * sizeof(log->next[0]));

    log->region = recovery->region;
    log->used = recovery->used;
    log->old_used = recovery->old_used;
    log->free_head = recovery->free_head;
    log->n_entries = recovery->n_entries;
    memcpy(log->next, recovery->next, recovery->n_entries * sizeof(log->next[0]));
    for (unsigned i = 0; i < recovery->resubmit->n; i++)
        log->counter = MAX(log->counter, recovery->resubmit->entries[i].counter + 1);
    return log;
}

int vu_packed_log_open(struct vu_inflight_packed *region, unsigned capacity, unsigned num,
                       struct vu_packed_desc *ring, struct vu_packed_pos *pos,
                       struct vu_packed_log **ret_log, struct vu_resubmit **ret_resubmit,
                       unsigned *ret_n_slots, const char **ret_reason)
{
    g_autofree bool *seen = g_new0(bool, capacity);
    g_autofree uint16_t *next = g_new0(uint16_t, capacity);
    struct packed_recovery recovery = {
        .region = region, .ring = ring, .num = num, .seen = seen, .next = next};

    if (region->version == 0)
        packed_region_clear(region, capacity, *pos);
    *ret_reason = packed_recovery_read_header(&recovery, capacity);
    if (*ret_reason != NULL)
        return -EBADMSG;
    recovery.resubmit = vu_resubmit_create(num);
    *ret_reason = packed_recover(&recovery);
    if (*ret_reason != NULL) {
        g_free(recovery.resubmit);
        return -EBADMSG;
    }
    *pos = recovery.used;
    *ret_n_slots = recovery.n_slots;
    *ret_log = packed_log_create(&recovery);
    *ret_resubmit = vu_resubmit_sort(recovery.resubmit);
    return 0;
}
