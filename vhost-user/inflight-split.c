/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inflight log of a split ring: see inflight-log.h.
 *
 *   take    counter, then inflight = 1
 *   put     next = last_batch_head; last_batch_head = head
 *   (the used index is published: this is the moment at which the batch counts)
 *   settle  inflight = 0 for each of the batch, then used_idx = the used index
 *
 * A predecessor killed between publishing and used_idx left as many requests marked that are done
 * as its used_idx is behind; they are the first of the list that begins at last_batch_head.
 */
#include "vhost-user/inflight-log.h"

#include <errno.h>
#include <glib.h>

static void split_log_clear(struct vu_inflight_split *region, unsigned capacity)
{
    for (unsigned i = 0; i < capacity; i++)
        region->desc[i] = (struct vu_inflight_split_desc){0};
    region->features = 0;
    region->desc_num = (uint16_t)capacity;
    region->last_batch_head = 0;
}

/* Unmarks the n requests of the last batch, which the guest has. */
static const char *split_log_unmark_batch(struct vu_inflight_split *region, unsigned num,
                                          unsigned n)
{
    g_autofree bool *seen = g_new0(bool, num);
    uint16_t head = vu_inflight_load(region->last_batch_head);

    if (n > num)
        return "its used index is not of this ring";
    for (unsigned i = 0; i < n; i++) {
        if (head >= num)
            return "its last batch leads beyond the ring";
        if (seen[head])
            return "its last batch loops";
        seen[head] = true;
        region->desc[head].inflight = 0;
        head = vu_inflight_load(region->desc[head].next);
    }
    return NULL;
}

static unsigned split_log_count(const struct vu_inflight_split *region, unsigned capacity)
{
    unsigned n = 0;

    for (unsigned i = 0; i < capacity; i++)
        n += region->desc[i].inflight != 0;
    return n;
}

static const char *split_log_recover(struct vu_inflight_split *region, unsigned capacity,
                                     unsigned num, uint16_t used_idx)
{
    unsigned n_published = (uint16_t)(used_idx - vu_inflight_load(region->used_idx));
    unsigned desc_num = vu_inflight_load(region->desc_num);
    const char *reason;

    if (region->version != VU_INFLIGHT_VERSION)
        return "its version is unknown";
    if (desc_num < num || desc_num > capacity)
        return "its number of descriptors is not the ring's";
    for (unsigned i = num; i < capacity; i++)
        if (region->desc[i].inflight != 0)
            return "a request beyond the ring is in flight";
    /* A used_idx of a ring that has since begun anew does not matter where nothing is in flight. */
    if (n_published > 0 && split_log_count(region, num) > 0) {
        reason = split_log_unmark_batch(region, num, n_published);
        if (reason != NULL)
            return reason;
    }
    vu_inflight_step();
    region->used_idx = used_idx;
    return NULL;
}

/* Copies what is in flight; sets where the counter goes on. */
static struct vu_resubmit *split_log_collect(struct vu_split_log *log, unsigned num)
{
    struct vu_resubmit *resubmit = vu_resubmit_create(num);
    struct vu_resubmit_entry *entry;

    for (unsigned i = 0; i < num; i++) {
        if (log->region->desc[i].inflight == 0)
            continue;
        entry = &resubmit->entries[resubmit->n++];
        entry->counter = vu_inflight_load(log->region->desc[i].counter);
        entry->slot = (uint16_t)i;
        log->counter = MAX(log->counter, entry->counter + 1);
    }
    return vu_resubmit_sort(resubmit);
}

int vu_split_log_open(struct vu_inflight_split *region, unsigned capacity, unsigned num,
                      uint16_t used_idx, struct vu_split_log **ret_log,
                      struct vu_resubmit **ret_resubmit, const char **ret_reason)
{
    struct vu_split_log *log;

    if (region->version == 0) {
        split_log_clear(region, capacity);
        region->used_idx = used_idx;
        vu_inflight_step();
        region->version = VU_INFLIGHT_VERSION;
    } else {
        *ret_reason = split_log_recover(region, capacity, num, used_idx);
        if (*ret_reason != NULL)
            return -EBADMSG;
    }
    log = g_new0(struct vu_split_log, 1);
    log->region = region;
    log->last_batch_head = region->last_batch_head;
    *ret_resubmit = split_log_collect(log, num);
    *ret_log = log;
    return 0;
}

void vu_split_log_close(struct vu_split_log *log, bool idle)
{
    if (idle)
        log->region->version = 0;
    g_free(log);
}

void vu_split_log_take(struct vu_split_log *log, uint16_t head)
{
    log->region->desc[head].counter = log->counter++;
    vu_inflight_step();
    log->region->desc[head].inflight = 1;
    vu_inflight_step();
}

void vu_split_log_put(struct vu_split_log *log, uint16_t head)
{
    log->region->desc[head].next = log->last_batch_head;
    vu_inflight_step();
    log->region->last_batch_head = head;
    log->last_batch_head = head;
    vu_inflight_step();
}

void vu_split_log_settle(struct vu_split_log *log, uint16_t head)
{
    vu_inflight_step();
    log->region->desc[head].inflight = 0;
}

void vu_split_log_settled(struct vu_split_log *log, uint16_t used_idx)
{
    vu_inflight_step();
    log->region->used_idx = used_idx;
}
