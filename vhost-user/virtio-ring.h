/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wire layouts of split and packed virtqueues (virtio 1.x sections 2.7 and 2.8), for both sides of
 * the ring.
 *
 *   split:   desc[num], 16 bytes each
 *            avail: flags, idx, ring[num], used_event
 *            used: flags, idx, {id, len}[num], avail_event
 *   packed:  desc[num], 16 bytes each
 *            driver event suppression, 4 bytes
 *            device event suppression, 4 bytes
 */
#pragma once

#include <assert.h>
#include <stdbool.h>

#include "vhost-user/wire.h"

#define VU_RING_MAX_SIZE 32768u

enum {
    VU_DESC_F_NEXT = 1,
    VU_DESC_F_WRITE = 2,
    VU_DESC_F_INDIRECT = 4,
    VU_DESC_F_AVAIL = 1 << 7, /* packed */
    VU_DESC_F_USED = 1 << 15, /* packed */
};

enum { VU_AVAIL_F_NO_INTERRUPT = 1 };
enum { VU_USED_F_NO_NOTIFY = 1 };

struct vu_split_desc {
    le64_t addr;
    le32_t len;
    le16_t flags;
    le16_t next;
};
static_assert(sizeof(struct vu_split_desc) == 16, "split descriptor");

struct vu_split_avail {
    le16_t flags;
    le16_t idx;
    le16_t ring[]; /* num entries, then used_event */
};
static_assert(sizeof(struct vu_split_avail) == 4, "avail ring");

struct vu_split_used_elem {
    le32_t id;
    le32_t len;
};
static_assert(sizeof(struct vu_split_used_elem) == 8, "used element");

struct vu_split_used {
    le16_t flags;
    le16_t idx;
    struct vu_split_used_elem ring[]; /* num entries, then le16 avail_event */
};
static_assert(sizeof(struct vu_split_used) == 4, "used ring");

struct vu_packed_desc {
    le64_t addr;
    le32_t len;
    le16_t id;
    le16_t flags;
};
static_assert(sizeof(struct vu_packed_desc) == 16, "packed descriptor");

/* flags of struct vu_packed_event */
enum { VU_EVENT_ENABLE = 0, VU_EVENT_DISABLE = 1, VU_EVENT_DESC = 2, VU_EVENT_MASK = 3 };

struct vu_packed_event {
    le16_t off_wrap; /* bits 0-14 ring offset, bit 15 wrap counter */
    le16_t flags;
};
static_assert(sizeof(struct vu_packed_event) == 4, "event suppression");

/* Bytes of the avail and used rings of a split queue of num entries, event fields included. */
static inline uint64_t vu_split_avail_len(unsigned num)
{
    return sizeof(struct vu_split_avail) + 2u * (uint64_t)num + 2u;
}

static inline uint64_t vu_split_used_len(unsigned num)
{
    return sizeof(struct vu_split_used) + 8u * (uint64_t)num + 2u;
}

/* The two event fields behind the rings. Rings are 2-byte aligned at least (2.7), so these are too.
 */
static inline le16_t *vu_split_used_event(struct vu_split_avail *avail, unsigned num)
{
    return &avail->ring[num];
}

static inline le16_t *vu_split_avail_event(struct vu_split_used *used, unsigned num)
{
    return (le16_t *)(void *)&used->ring[num];
}

/* Whether an index that moved from `old_idx` to `new_idx` passed `event` (2.7.7.2); all arithmetic
 * mod 2^16. */
static inline bool vu_event_passed(uint16_t event, uint16_t new_idx, uint16_t old_idx)
{
    return (uint16_t)(new_idx - event - 1) < (uint16_t)(new_idx - old_idx);
}
