/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asynchronous file operations behind one interface: io_uring, Linux native AIO, or threads.
 *
 * An engine belongs to one thread (a queue's worker, or a tool's main loop): it queues operations
 * there, submits all that is queued with one system call, and reaps what is finished there. `done`
 * is called from vblk_aio_reap on that thread, never from vblk_aio_queue.
 *
 *   queue ... queue -> submit -> (vblk_aio_fd readable, or just look) -> reap -> done, done, ...
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum vblk_op {
    VBLK_OP_READ,
    VBLK_OP_WRITE,
    VBLK_OP_FLUSH,   /* what was written is durable; no range */
    VBLK_OP_DISCARD, /* space may be given back; what the range then reads as is not said */
    VBLK_OP_ZERO,    /* the range reads as zeros */
};

enum vblk_io_flags {
    VBLK_IO_FUA = 1 << 0,   /* WRITE, ZERO: durable when done */
    VBLK_IO_UNMAP = 1 << 1, /* ZERO: may give the space back */
};

/*
 * One operation on one descriptor. The caller's, filled in, until queued; the engine's until `done`
 * is called; then the caller's again. iov and the memory under it must live as long. Operations run
 * in any order, beside each other.
 */
struct vblk_io {
    enum vblk_op op;
    unsigned flags; /* enum vblk_io_flags */
    int fd;
    uint64_t offset, len;    /* bytes; of READ and WRITE, len is the sum of iov */
    const struct iovec *iov; /* READ, WRITE */
    unsigned n_iov;          /* at most IOV_MAX */
    /*
     * 0: all of len was done; the end of a file that is shorter reads as zeros. Else -errno. An
     * operation that came back short was continued by the engine.
     */
    void (*done)(struct vblk_io *io, int result);

    /* the engine's own while it has the operation */
    struct vblk_io *next;
    uint64_t progress; /* bytes done by earlier, short, attempts */
    void *engine_data;
};

enum vblk_aio_kind {
    VBLK_AIO_NATIVE,
    VBLK_AIO_URING,
    VBLK_AIO_THREADS,
};
extern const char
    *const vblk_aio_kinds[]; /* "native", "io_uring", "threads", NULL: as --help has it */

struct vblk_aio;

/*
 * depth: operations that may be submitted at a time; more are kept and submitted later. -ENOSYS,
 * -EPERM: the kernel has no such engine for us (then the next one of io_uring, threads may be
 * taken); -ENOMEM and others.
 */
int vblk_aio_create(enum vblk_aio_kind kind, unsigned depth, struct vblk_aio **ret_aio);
/* Nothing may be in flight. */
void vblk_aio_destroy(struct vblk_aio *aio);

/* Optional speed-ups; errors are not told, things just go on without. Nothing may be in flight. */
void vblk_aio_register_file(struct vblk_aio *aio, int fd);
void vblk_aio_register_memory(struct vblk_aio *aio, const struct iovec *ranges, unsigned n);

void vblk_aio_queue(struct vblk_aio *aio, struct vblk_io *io);
/* One system call for all that is queued, as far as depth allows (none where nothing is). */
void vblk_aio_submit(struct vblk_aio *aio);
/* Calls `done` of all that is finished; how many. Makes no system call where that can be known from
 * memory. `done` may queue further operations. */
unsigned vblk_aio_reap(struct vblk_aio *aio);
/* Queued or in flight. */
unsigned vblk_aio_n_pending(const struct vblk_aio *aio);
/* Becomes readable when vblk_aio_reap would find something; reap makes it unreadable. */
int vblk_aio_fd(const struct vblk_aio *aio);
