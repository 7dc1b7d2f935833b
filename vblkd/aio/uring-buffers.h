/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that an io_uring has been shown once and for all (registered buffers): its pages are
 * pinned, and need not be looked up for each operation. The ring's thread makes every call.
 */
#pragma once

#include <liburing.h>
#include <sys/uio.h>

struct uring_buffers {
    struct iovec *slots; /* as the kernel has them, len 0: free; NULL: none were ever wanted */
    unsigned n_slots;    /* the last in use, and one */
    unsigned last;       /* found the last time */
};

/*
 * Makes these ranges (n may be 0) the ones that are registered: what is not among them is let go,
 * as soon as no operation in flight uses it. All of them, or, where the kernel refuses one, none:
 * 0 or -errno.
 */
int uring_buffers_follow(struct uring_buffers *buffers, struct io_uring *ring,
                         const struct iovec *ranges, unsigned n);
/* The buffer's index for an operation on iov, or -1. */
int uring_buffers_find(struct uring_buffers *buffers, const struct iovec *iov);
/* The ring lets go of them itself when it ends. */
void uring_buffers_clear(struct uring_buffers *buffers);
