/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of registered buffers: ranges of memory cut into pieces that the kernel takes, each in
 * a slot, which stays where it is while other memory comes and goes.
 */
#include "vblkd/aio/uring-buffers.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define BUFFERS_MAX_LEN (UINT64_C(1) << 30) /* of one, says the kernel */
#define BUFFERS_MAX     1024                /* ours: 1 TiB */

/* Next piece of a range, from *at on. False at its end. */
static bool buffers_next(const struct iovec *range, uint64_t *at, struct iovec *ret_piece)
{
    uint64_t left = range->iov_len - *at;

    *ret_piece = (struct iovec){
        .iov_base = (char *)range->iov_base + *at,
        .iov_len = MIN(left, BUFFERS_MAX_LEN),
    };
    *at += ret_piece->iov_len;
    return left > 0;
}

static bool buffers_is_wanted(const struct iovec *piece, const struct iovec *ranges, unsigned n)
{
    struct iovec other;

    for (unsigned i = 0; i < n; i++) {
        uint64_t at = 0;

        while (buffers_next(&ranges[i], &at, &other))
            if (other.iov_base == piece->iov_base && other.iov_len == piece->iov_len)
                return true;
    }
    return false;
}

/* 0, or -errno: the slot is what it was. */
static int buffers_set(struct uring_buffers *buffers, struct io_uring *ring, unsigned slot,
                       struct iovec piece)
{
    uint64_t tag = 0;
    int ret = io_uring_register_buffers_update_tag(ring, slot, &piece, (__u64 *)&tag, 1);

    if (ret < 0)
        return ret;
    buffers->slots[slot] = piece;
    return 0;
}

/* Puts a piece into the first free slot, unless it is in one. */
static int buffers_add(struct uring_buffers *buffers, struct io_uring *ring, struct iovec piece)
{
    unsigned slot = BUFFERS_MAX;
    int err;

    for (unsigned i = 0; i < buffers->n_slots; i++) {
        const struct iovec *other = &buffers->slots[i];

        if (other->iov_base == piece.iov_base && other->iov_len == piece.iov_len)
            return 0;
        if (other->iov_len == 0)
            slot = MIN(slot, i);
    }
    slot = MIN(slot, buffers->n_slots);
    if (slot == BUFFERS_MAX)
        return -ENOSPC;
    err = buffers_set(buffers, ring, slot, piece);
    if (err == 0)
        buffers->n_slots = MAX(buffers->n_slots, slot + 1);
    return err;
}

/* Empties the slots of all but these ranges. */
static void buffers_keep(struct uring_buffers *buffers, struct io_uring *ring,
                         const struct iovec *ranges, unsigned n)
{
    for (unsigned i = 0; i < buffers->n_slots; i++)
        if (buffers->slots[i].iov_len > 0 && !buffers_is_wanted(&buffers->slots[i], ranges, n))
            (void)buffers_set(buffers, ring, i, (struct iovec){0});
}

int uring_buffers_follow(struct uring_buffers *buffers, struct io_uring *ring,
                         const struct iovec *ranges, unsigned n)
{
    struct iovec piece;
    int ret = 0;

    if (!buffers->slots) {
        if (n > 0)
            ret = io_uring_register_buffers_sparse(ring, BUFFERS_MAX);
        if (n == 0 || ret < 0)
            return ret;
        buffers->slots = g_new0(struct iovec, BUFFERS_MAX);
    }
    /* First, for they may count against a limit. */
    buffers_keep(buffers, ring, ranges, n);
    for (unsigned i = 0; i < n; i++) {
        uint64_t at = 0;

        while (buffers_next(&ranges[i], &at, &piece)) {
            ret = buffers_add(buffers, ring, piece);
            if (ret < 0) {
                buffers_keep(buffers, ring, NULL, 0);
                return ret;
            }
        }
    }
    return 0;
}

static bool buffers_holds(const struct iovec *slot, const struct iovec *iov)
{
    uintptr_t skip = (uintptr_t)iov->iov_base - (uintptr_t)slot->iov_base;

    return skip < slot->iov_len && iov->iov_len <= slot->iov_len - skip;
}

int uring_buffers_find(struct uring_buffers *buffers, const struct iovec *iov)
{
    if (buffers->n_slots == 0)
        return -1;
    if (buffers_holds(&buffers->slots[buffers->last], iov))
        return (int)buffers->last;
    for (unsigned i = 0; i < buffers->n_slots; i++) {
        if (buffers_holds(&buffers->slots[i], iov)) {
            buffers->last = i;
            return (int)i;
        }
    }
    return -1;
}

void uring_buffers_clear(struct uring_buffers *buffers)
{
    g_clear_pointer(&buffers->slots, g_free);
    buffers->n_slots = 0;
}
