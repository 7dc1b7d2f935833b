/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inflight log of a packed ring: see inflight-log.h.
 *
 * A packed ring overwrites its descriptors, so the log holds copies of those in flight. Entries are
 * in a free list that begins at free_head; a request takes as many from its front as it has
 * descriptors, so the links between them stay those of the list.
 *
 *   take    first entry: num, counter, inflight = 1; each: addr, len, flags, id; free_head goes on
 *   taken   old_free_head = free_head: until then the request is still in the free list
 *   put     its entries go back in front of the free list; used_idx and its wrap counter go on
 *   (the flags of the batch's first descriptor are written: the moment at which the batch counts)
 *   settle  inflight = 0 for each, then the old_ fields = the new ones
 *
 * Recovery looks at the descriptor at old_used_idx. If it is used already, the batch counts, else
 * it is taken back: the old_ fields are the truth, and the descriptors of the batch after the
 * first, which may have been written, are marked available again, or the driver would stumble on
 * them later. Then whoever is in the free list is not in flight, and the others are: see
 * inflight-recover.c.
 */
#include "vhost-user/inflight-log.h"

#include <assert.h>
#include <glib.h>

void vu_packed_log_store_positions(struct vu_inflight_packed *region, struct vu_packed_pos used,
                                   struct vu_packed_pos old_used)
{
    union {
        struct {
            uint16_t used_idx, old_used_idx;
            uint8_t used_wrap_counter, old_used_wrap_counter;
            uint8_t padding[2];
        } fields;
        uint64_t whole;
    } positions = {
        .fields = {.used_idx = used.slot,
                   .old_used_idx = old_used.slot,
                   .used_wrap_counter = used.wrap,
                   .old_used_wrap_counter = old_used.wrap},
    };

    static_assert(offsetof(struct vu_inflight_packed, used_idx) % 8 == 0, "one aligned store");
    static_assert(offsetof(struct vu_inflight_packed, old_used_wrap_counter) ==
                      offsetof(struct vu_inflight_packed, used_idx) + 5,
                  "four fields side by side");
    __atomic_store_n((uint64_t *)(void *)&region->used_idx, positions.whole, __ATOMIC_RELAXED);
}

void vu_packed_log_close(struct vu_packed_log *log, bool idle)
{
    if (idle)
        log->region->version = 0;
    g_free(log);
}

void vu_packed_log_take(struct vu_packed_log *log, const struct vu_chain_desc *desc)
{
    uint16_t entry = log->free_head;
    struct vu_inflight_packed_desc *first, *to;

    /* Requests in flight never take more ring entries than the ring has. */
    assert(entry < log->n_entries);
    if (log->n_taken == 0)
        log->first = entry;
    first = &log->region->desc[log->first];
    to = &log->region->desc[entry];
    if (log->n_taken == 0) {
        first->num = 0;
        first->counter = log->counter++;
        vu_inflight_step();
        first->inflight = 1;
    }
    log->n_taken++;
    first->num = log->n_taken;
    to->addr = desc->addr;
    to->len = desc->len;
    to->flags = desc->flags;
    to->id = desc->link;
    log->last = entry;
    log->free_head = log->next[entry];
    log->region->free_head = log->free_head;
}

void vu_packed_log_taken(struct vu_packed_log *log, struct vu_elem *elem)
{
    log->region->desc[log->first].last = log->last;
    vu_inflight_step();
    log->region->old_free_head = log->free_head;
    vu_inflight_step();
    elem->inflight_slot = log->first;
    elem->inflight_last = log->last;
    log->n_taken = 0;
}

struct vu_chain_desc vu_packed_log_read(const struct vu_packed_log *log, uint16_t *entry)
{
    const struct vu_inflight_packed_desc *from = &log->region->desc[*entry];

    *entry = log->next[*entry];
    return (struct vu_chain_desc){
        .addr = vu_inflight_load(from->addr),
        .len = vu_inflight_load(from->len),
        .flags = vu_inflight_load(from->flags),
        .link = vu_inflight_load(from->id),
    };
}

void vu_packed_log_put(struct vu_packed_log *log, const struct vu_elem *elem,
                       struct vu_packed_pos pos_after)
{
    struct vu_inflight_packed *region = log->region;

    log->next[elem->inflight_last] = log->free_head;
    region->desc[elem->inflight_last].next = log->free_head;
    vu_inflight_step();
    log->free_head = elem->inflight_slot;
    region->free_head = elem->inflight_slot;
    vu_inflight_step();
    log->used = pos_after;
    vu_packed_log_store_positions(region, log->used, log->old_used);
    vu_inflight_step();
}

void vu_packed_log_settle(struct vu_packed_log *log, const struct vu_elem *elem)
{
    vu_inflight_step();
    log->region->desc[elem->inflight_slot].inflight = 0;
}

void vu_packed_log_settled(struct vu_packed_log *log)
{
    vu_inflight_step();
    log->region->old_free_head = log->free_head;
    vu_inflight_step();
    log->old_used = log->used;
    vu_packed_log_store_positions(log->region, log->used, log->old_used);
    vu_inflight_step();
}
