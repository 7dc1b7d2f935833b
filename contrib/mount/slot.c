/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where requests and replies lie in shared memory; see slot.h.
 */
#include "contrib/mount/slot.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/uio.h>

int slot_pool_init(struct slot_pool *pool, struct vu_shmem *shmem, unsigned n)
{
    *pool = (struct slot_pool){.slots = g_new0(struct slot, n), .n_slots = n};
    for (unsigned i = n; i-- > 0;) {
        struct slot *slot = &pool->slots[i];

        slot->base = vu_shmem_alloc(shmem, SLOT_LEN, SLOT_PAGE, &slot->gpa);
        if (!slot->base)
            return -ENOMEM;
        slot->next_free = pool->free;
        pool->free = slot;
    }
    return 0;
}

void slot_pool_clear(struct slot_pool *pool)
{
    g_free(pool->slots);
    *pool = (struct slot_pool){0};
}

struct slot *slot_pool_take(struct slot_pool *pool)
{
    struct slot *slot = pool->free;

    pool->free = slot->next_free;
    slot->in_flight = true;
    slot->sequence = pool->sequence++;
    __atomic_store_n(&pool->n_in_flight, pool->n_in_flight + 1, __ATOMIC_RELAXED);
    return slot;
}

void slot_pool_give(struct slot_pool *pool, struct slot *slot)
{
    slot->in_flight = false;
    slot->next_free = pool->free;
    pool->free = slot;
    __atomic_store_n(&pool->n_in_flight, pool->n_in_flight - 1, __ATOMIC_RELAXED);
}

int slot_read_request(struct slot *slot, int fuse_fd)
{
    uint8_t *request = slot->base + SLOT_REQUEST_OFFSET;
    struct iovec iov[2] = {
        {.iov_base = slot->head.bytes, .iov_len = SLOT_HEAD_LEN},
        {.iov_base = request + SLOT_HEAD_LEN, .iov_len = SLOT_DATA_MAX},
    };
    ssize_t n = readv(fuse_fd, iov, 2);

    if (n < 0)
        return -errno;
    if ((size_t)n < sizeof(struct fuse_in_header) || slot->head.header.len != (size_t)n)
        return -EPROTO;
    memcpy(request, slot->head.bytes, MIN((size_t)n, SLOT_HEAD_LEN));
    slot->request_len = (uint32_t)n;
    slot->reply_len = 0;
    return 0;
}

void slot_set_request(struct slot *slot, const void *request, uint32_t len)
{
    memcpy(slot->base + SLOT_REQUEST_OFFSET, request, len);
    memcpy(slot->head.bytes, request, MIN(len, SLOT_HEAD_LEN));
    slot->request_len = len;
    slot->reply_len = 0;
}

int slot_offer_reply(struct slot *slot, uint64_t len)
{
    uint32_t header_len = sizeof(struct fuse_out_header);
    uint32_t request_end = (uint32_t)SLOT_REQUEST_OFFSET + slot->request_len;
    uint32_t data_offset = (request_end + SLOT_PAGE - 1) / SLOT_PAGE * SLOT_PAGE + SLOT_PAGE;

    if (len <= SLOT_REQUEST_OFFSET - header_len)
        slot->reply_offset = 0;
    else if (len <= SLOT_LEN - data_offset)
        slot->reply_offset = data_offset - header_len;
    else
        return -E2BIG;
    slot->reply_len = header_len + (uint32_t)len;
    return 0;
}

unsigned slot_describe(const struct slot *slot, struct vu_sg sg[SLOT_MAX_SG], unsigned *ret_n_in)
{
    uint64_t gpa = slot->gpa + SLOT_REQUEST_OFFSET;
    uint32_t left = slot->request_len;
    unsigned n = 0;

    /* The C virtiofsd spares itself a copy of the data where header and arguments come apart. */
    if (slot->head.header.opcode == FUSE_WRITE && left > SLOT_HEAD_LEN) {
        sg[n++] = (struct vu_sg){gpa, sizeof(struct fuse_in_header)};
        sg[n++] = (struct vu_sg){gpa + sizeof(struct fuse_in_header), sizeof(struct fuse_write_in)};
        gpa += SLOT_HEAD_LEN;
        left -= (uint32_t)SLOT_HEAD_LEN;
    }
    sg[n++] = (struct vu_sg){gpa, left};
    *ret_n_in = 0;
    if (slot->reply_len > 0) {
        sg[n] = (struct vu_sg){slot->gpa + slot->reply_offset, slot->reply_len};
        *ret_n_in = 1;
    }
    return n;
}
