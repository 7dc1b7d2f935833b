/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing scattered ranges. A cursor walks over an array of iovecs without changing it.
 * The ranges may be guest memory: copy out once, check the copy.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct vu_iov_cursor {
    const struct iovec *iov;
    unsigned n;    /* entries left, the current one included */
    size_t offset; /* into the current entry */
    uint64_t left; /* bytes left in all */
};

/* Begins at byte `skip` of n entries (at the end if they are shorter). */
void vu_iov_cursor_init(struct vu_iov_cursor *cursor, const struct iovec *iov, unsigned n,
                        uint64_t skip);
/* Copy up to len bytes out of or into the ranges, advance, and return how many. */
size_t vu_iov_read(struct vu_iov_cursor *cursor, void *buf, size_t len);
size_t vu_iov_write(struct vu_iov_cursor *cursor, const void *buf, size_t len);
size_t vu_iov_skip(struct vu_iov_cursor *cursor, size_t len);
/* Sets up to len bytes to zero, advances, and returns how many. */
size_t vu_iov_zero(struct vu_iov_cursor *cursor, size_t len);
/*
 * The next ranges, at most len bytes and max entries (no more than IOV_MAX: one system call's
 * worth), into ret_iov, without advancing. Returns the number of entries and their bytes in
 * *ret_len.
 */
unsigned vu_iov_peek(const struct vu_iov_cursor *cursor, uint64_t len, struct iovec *ret_iov,
                     unsigned max, uint64_t *ret_len);
