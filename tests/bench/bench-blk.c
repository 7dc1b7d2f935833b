/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of a virtio-blk driver (virtio 1.3 section 5.2.6): header, data from a page's beginning
 * on, as Linux has it, and a status byte.
 */
#include "bench-blk.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "vhost-user/wire.h"

#define BLK_SECTOR  512
#define BLK_PAGE    4096
#define BLK_IN      0
#define BLK_OUT     1
#define BLK_FLUSH   4
#define BLK_DISCARD 11
#define BLK_READS   7 /* of ten, of a mixed load */

struct blk_header {
    le32_t type, reserved;
    le64_t sector;
};

struct blk_range {
    le64_t sector;
    le32_t n_sectors, flags;
};

int bench_blk_open(struct bench_blk *blk, struct vu_frontend *frontend, uint64_t n_bytes)
{
    le64_t capacity;
    int ret = vu_frontend_get_config(frontend, 0, &capacity, sizeof(capacity));

    if (ret)
        return ret;
    *blk = (struct bench_blk){.n_bytes = le64_value(capacity) * BLK_SECTOR};
    if (n_bytes > 0 && n_bytes < blk->n_bytes)
        blk->n_bytes = n_bytes;
    return blk->n_bytes >= 1 << 20 ? 0 : -EINVAL;
}

/* Header of a request; data lies behind it from a page's beginning on. */
static void bench_blk_header(struct bench_slot *slot, uint32_t type, uint64_t offset)
{
    const struct blk_header header = {
        .type = le32_from(type),
        .sector = le64_from(offset / BLK_SECTOR),
    };

    if (slot->step == 0) {
        slot->step = 1;
        slot->id = (slot->number + 1) * UINT64_C(0x9e3779b97f4a7c15);
        slot->out += BLK_PAGE - sizeof(header);
        slot->out_gpa += BLK_PAGE - sizeof(header);
    }
    memcpy(slot->out, &header, sizeof(header));
    slot->out_head = slot->out_len = sizeof(header);
    slot->in_len = slot->in_tail = 1;
    slot->in_head = 0;
}

static uint64_t bench_blk_random(struct bench_blk *blk, struct bench_slot *slot)
{
    slot->id ^= slot->id << 13; /* xorshift */
    slot->id ^= slot->id >> 7;
    slot->id ^= slot->id << 17;
    return slot->id % (blk->n_bytes / blk->block) * blk->block;
}

static uint64_t bench_blk_next(struct bench_blk *blk)
{
    uint64_t n = __atomic_fetch_add(&blk->position, 1, __ATOMIC_RELAXED);

    return n % (blk->n_bytes / blk->block) * blk->block;
}

static void bench_blk_read_at(const struct bench_blk *blk, struct bench_slot *slot, uint64_t offset)
{
    bench_blk_header(slot, BLK_IN, offset);
    slot->in_len += blk->block;
    slot->in[blk->block] = 0xff;
}

static void bench_blk_write_at(const struct bench_blk *blk, struct bench_slot *slot,
                               uint64_t offset)
{
    bench_blk_header(slot, BLK_OUT, offset);
    slot->out_len += blk->block;
    memset(slot->out + sizeof(struct blk_header), (int)(slot->count++ | 1) & 0xff, BLK_SECTOR);
    slot->in[0] = 0xff;
}

static void bench_blk_fill_read(void *context, struct bench_slot *slot)
{
    if (slot->step == 0)
        bench_blk_header(slot, BLK_IN, 0);
    bench_blk_read_at(context, slot, bench_blk_random(context, slot));
}

static void bench_blk_fill_write(void *context, struct bench_slot *slot)
{
    if (slot->step == 0)
        bench_blk_header(slot, BLK_OUT, 0);
    bench_blk_write_at(context, slot, bench_blk_random(context, slot));
}

static void bench_blk_fill_mixed(void *context, struct bench_slot *slot)
{
    if (slot->count++ % 10 < BLK_READS)
        bench_blk_fill_read(context, slot);
    else
        bench_blk_fill_write(context, slot);
}

static void bench_blk_fill_seqread(void *context, struct bench_slot *slot)
{
    bench_blk_read_at(context, slot, bench_blk_next(context));
}

static void bench_blk_fill_seqwrite(void *context, struct bench_slot *slot)
{
    bench_blk_write_at(context, slot, bench_blk_next(context));
}

static void bench_blk_fill_flush(void *context, struct bench_slot *slot)
{
    bench_blk_header(slot, BLK_FLUSH, 0);
    slot->in[0] = 0xff;
}

static void bench_blk_fill_discard(void *context, struct bench_slot *slot)
{
    struct bench_blk *blk = context;

    if (slot->step == 0)
        bench_blk_header(slot, BLK_DISCARD, 0);
    const struct blk_range range = {
        .sector = le64_from(bench_blk_random(blk, slot) / BLK_SECTOR),
        .n_sectors = le32_from(blk->block / BLK_SECTOR),
    };

    bench_blk_header(slot, BLK_DISCARD, 0);
    memcpy(slot->out + sizeof(struct blk_header), &range, sizeof(range));
    slot->out_len += (uint32_t)sizeof(range);
    slot->in[0] = 0xff;
}

static int bench_blk_done(void *context, struct bench_slot *slot, uint32_t len)
{
    return slot->in[slot->in_len - 1] == 0 ? 1 : -EIO;
}

const struct bench_named_workload bench_blk_workloads[] = {
    {"read", "IN, anywhere", true, {bench_blk_fill_read, bench_blk_done}, 0},
    {"write", "OUT, anywhere", true, {bench_blk_fill_write, bench_blk_done}, 0},
    {"mixed", "IN, and OUT three times of ten", true, {bench_blk_fill_mixed, bench_blk_done}, 0},
    {"seqread", "IN, front to end", true, {bench_blk_fill_seqread, bench_blk_done}, 0},
    {"seqwrite", "OUT, front to end", true, {bench_blk_fill_seqwrite, bench_blk_done}, 0},
    {"flush", "FLUSH", false, {bench_blk_fill_flush, bench_blk_done}, VU_BIT(BENCH_BLK_F_FLUSH)},
    {"discard",
     "DISCARD, anywhere",
     true,
     {bench_blk_fill_discard, bench_blk_done},
     VU_BIT(BENCH_BLK_F_DISCARD)},
};
const unsigned bench_blk_n_workloads = G_N_ELEMENTS(bench_blk_workloads);
