/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cursor over scattered ranges. Invariant: either left is 0, or offset lies inside the current
 * entry, so that no operation has to look at an empty entry twice.
 */
#include "vhost-user/iov.h"

#include <limits.h>
#include <string.h>

/* What remains of the current entry, at most len bytes. Only while left > 0. */
static size_t iov_chunk(const struct vu_iov_cursor *cursor, size_t len)
{
    size_t chunk = cursor->iov->iov_len - cursor->offset;

    return chunk < len ? chunk : len;
}

/* Advances by len bytes, which must not exceed left. Steps over entries used up and empty ones. */
static void iov_advance(struct vu_iov_cursor *cursor, uint64_t len)
{
    cursor->left -= len;
    len += cursor->offset;
    while (cursor->n > 0 && len >= cursor->iov->iov_len) {
        len -= cursor->iov->iov_len;
        cursor->iov++;
        cursor->n--;
    }
    cursor->offset = (size_t)len;
}

void vu_iov_cursor_init(struct vu_iov_cursor *cursor, const struct iovec *iov, unsigned n,
                        uint64_t skip)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < n; i++)
        total += iov[i].iov_len;
    *cursor = (struct vu_iov_cursor){.iov = iov, .n = n, .left = total};
    iov_advance(cursor, skip < total ? skip : total);
}

size_t vu_iov_read(struct vu_iov_cursor *cursor, void *buf, size_t len)
{
    char *to = buf;
    size_t done = 0;

    if (len > cursor->left)
        len = (size_t)cursor->left;
    while (done < len) {
        size_t chunk = iov_chunk(cursor, len - done);

        memcpy(to + done, (const char *)cursor->iov->iov_base + cursor->offset, chunk);
        iov_advance(cursor, chunk);
        done += chunk;
    }
    return done;
}

size_t vu_iov_write(struct vu_iov_cursor *cursor, const void *buf, size_t len)
{
    const char *from = buf;
    size_t done = 0;

    if (len > cursor->left)
        len = (size_t)cursor->left;
    while (done < len) {
        size_t chunk = iov_chunk(cursor, len - done);

        memcpy((char *)cursor->iov->iov_base + cursor->offset, from + done, chunk);
        iov_advance(cursor, chunk);
        done += chunk;
    }
    return done;
}

size_t vu_iov_zero(struct vu_iov_cursor *cursor, size_t len)
{
    size_t done = 0;

    if (len > cursor->left)
        len = (size_t)cursor->left;
    while (done < len) {
        size_t chunk = iov_chunk(cursor, len - done);

        memset((char *)cursor->iov->iov_base + cursor->offset, 0, chunk);
        iov_advance(cursor, chunk);
        done += chunk;
    }
    return done;
}

size_t vu_iov_skip(struct vu_iov_cursor *cursor, size_t len)
{
    if (len > cursor->left)
        len = (size_t)cursor->left;
    iov_advance(cursor, len);
    return len;
}

unsigned vu_iov_peek(const struct vu_iov_cursor *cursor, uint64_t len, struct iovec *ret_iov,
                     unsigned max, uint64_t *ret_len)
{
    size_t offset = cursor->offset;
    uint64_t total = 0;
    unsigned n = 0;

    if (max > IOV_MAX)
        max = IOV_MAX;
    if (len > cursor->left)
        len = cursor->left;
    for (unsigned i = 0; i < cursor->n && n < max && total < len; i++) {
        size_t chunk = cursor->iov[i].iov_len - offset;

        if (chunk > len - total)
            chunk = (size_t)(len - total);
        if (chunk > 0)
            ret_iov[n++] = (struct iovec){.iov_base = (char *)cursor->iov[i].iov_base + offset,
                                          .iov_len = chunk};
        total += chunk;
        offset = 0;
    }
    *ret_len = total;
    return n;
}
