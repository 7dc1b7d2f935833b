/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors of one request into an element's iovecs: see vring-chain.h. */
#include "vhost-user/vring-chain.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "vhost-user/vring-elem.h"

/* Regions are at least a page, so this many hold the largest table wherever it begins. */
#define CHAIN_TABLE_PARTS 8
/* "A driver MUST NOT create a descriptor chain longer than 2^32 bytes in total" (2.7.4.2). */
#define CHAIN_MAX_BYTES (UINT64_C(1) << 32)

#define CHAIN_DESC_SIZE sizeof(struct vu_split_desc)
static_assert(sizeof(struct vu_split_desc) == sizeof(struct vu_packed_desc), "one stride for both");

/* An indirect table, in as many pieces as the regions it straddles. */
struct chain_table {
    struct iovec parts[CHAIN_TABLE_PARTS];
    unsigned n_parts;
    unsigned n_descs;
    uint64_t gpa;
};

void vu_chain_begin(struct vu_chain *chain, struct vu_elem *elem, uint64_t features)
{
    chain->elem = elem;
    chain->packed = vu_has(features, VU_F_RING_PACKED);
    chain->indirect_allowed = vu_has(features, VU_F_RING_INDIRECT_DESC);
    chain->n_descs = 0;
    chain->reason = NULL;
    chain->bad_table_gpa = UINT64_MAX;
}

int vu_chain_fail(struct vu_chain *chain, const char *reason, const struct vu_chain_desc *desc,
                  unsigned index)
{
    chain->reason = reason;
    chain->bad = *desc;
    chain->bad_index = index;
    return -EINVAL;
}

/* Adds the one range of a descriptor that is no indirect one. */
static int chain_add_range(struct vu_chain *chain, const struct vu_chain_desc *desc, unsigned index)
{
    struct vu_elem *elem = chain->elem;
    unsigned n_iov = elem->n_out + elem->n_in;
    int n;

    if (++chain->n_descs > VU_CHAIN_MAX_DESCS)
        return vu_chain_fail(chain, "chain too long", desc, index);
    if (desc->len == 0)
        return 0;
    if ((desc->flags & VU_DESC_F_WRITE) == 0 && elem->n_in > 0)
        return vu_chain_fail(chain, "readable after writable", desc, index);
    if (elem->out_len + elem->in_len + desc->len > CHAIN_MAX_BYTES)
        return vu_chain_fail(chain, "chain of more than 4 GiB", desc, index);
    while ((n = vu_memory_translate(elem->memory, desc->addr, desc->len, elem->iov + n_iov,
                                    elem->iov_capacity - n_iov)) == -E2BIG)
        if (!vu_elem_grow(elem))
            return vu_chain_fail(chain, "chain in too many pieces", desc, index);
    if (n <= 0)
        return vu_chain_fail(chain, "outside guest memory", desc, index);
    if ((desc->flags & VU_DESC_F_WRITE) != 0) {
        elem->n_in += (unsigned)n;
        elem->in_len += desc->len;
    } else {
        elem->n_out += (unsigned)n;
        elem->out_len += desc->len;
    }
    return 0;
}

/* Copies descriptor `index` of a table, wherever it lies: tables need no alignment at all. */
static struct vu_chain_desc chain_fetch(const struct vu_chain *chain,
                                        const struct chain_table *table, unsigned index)
{
    union {
        struct vu_split_desc split;
        struct vu_packed_desc packed;
        uint8_t bytes[CHAIN_DESC_SIZE];
    } raw;
    size_t offset = index * CHAIN_DESC_SIZE, copied = 0, piece;
    unsigned part = 0;

    while (offset >= table->parts[part].iov_len)
        offset -= table->parts[part++].iov_len;
    for (; copied < sizeof(raw); copied += piece, offset = 0, part++) {
        piece = MIN(sizeof(raw) - copied, table->parts[part].iov_len - offset);
        memcpy(raw.bytes + copied, (const uint8_t *)table->parts[part].iov_base + offset, piece);
    }
    /* The compiler may not fetch a field a second time from guest memory after this. */
    __asm__ volatile("" ::: "memory");
    if (chain->packed)
        return (struct vu_chain_desc){
            .addr = le64_value(raw.packed.addr),
            .len = le32_value(raw.packed.len),
            .flags = le16_value(raw.packed.flags),
            .link = le16_value(raw.packed.id),
        };
    return (struct vu_chain_desc){
        .addr = le64_value(raw.split.addr),
        .len = le32_value(raw.split.len),
        .flags = le16_value(raw.split.flags),
        .link = le16_value(raw.split.next),
    };
}

/* Packed: all entries, in order, and of their flags only WRITE counts. Split: along `next`. */
static int chain_walk_table(struct vu_chain *chain, const struct chain_table *table)
{
    struct vu_chain_desc desc;
    unsigned index = 0;
    int err;

    chain->bad_table_gpa = table->gpa;
    for (unsigned n = 1;; n++) {
        desc = chain_fetch(chain, table, index);
        if ((desc.flags & VU_DESC_F_INDIRECT) != 0)
            return vu_chain_fail(chain, "indirect table inside an indirect table", &desc, index);
        err = chain_add_range(chain, &desc, index);
        if (err < 0)
            return err;
        if (chain->packed ? n == table->n_descs : (desc.flags & VU_DESC_F_NEXT) == 0)
            break;
        if (n == table->n_descs)
            return vu_chain_fail(chain, "loop in an indirect table", &desc, index);
        if (!chain->packed && desc.link >= table->n_descs)
            return vu_chain_fail(chain, "next beyond the indirect table", &desc, index);
        index = chain->packed ? n : desc.link;
    }
    chain->bad_table_gpa = UINT64_MAX;
    return 0;
}

static int chain_add_table(struct vu_chain *chain, const struct vu_chain_desc *desc, unsigned index)
{
    struct chain_table table = {.gpa = desc->addr, .n_descs = desc->len / CHAIN_DESC_SIZE};
    int n;

    if (!chain->indirect_allowed)
        return vu_chain_fail(chain, "indirect table without the feature", desc, index);
    if ((desc->flags & VU_DESC_F_NEXT) != 0)
        return vu_chain_fail(chain, "indirect table with a next descriptor", desc, index);
    if (desc->len == 0 || desc->len % CHAIN_DESC_SIZE != 0)
        return vu_chain_fail(chain, "indirect table of a bad length", desc, index);
    /* A split table may be larger than the chain in it, but no driver makes it so. */
    if (table.n_descs > VU_CHAIN_MAX_DESCS)
        return vu_chain_fail(chain, "indirect table too long", desc, index);
    n = vu_memory_translate(chain->elem->memory, desc->addr, desc->len, table.parts,
                            CHAIN_TABLE_PARTS);
    if (n <= 0)
        return vu_chain_fail(chain, "indirect table outside guest memory", desc, index);
    table.n_parts = (unsigned)n;
    return chain_walk_table(chain, &table);
}

int vu_chain_add(struct vu_chain *chain, const struct vu_chain_desc *desc, unsigned index)
{
    if ((desc->flags & VU_DESC_F_INDIRECT) != 0)
        return chain_add_table(chain, desc, index);
    return chain_add_range(chain, desc, index);
}
