/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asynchronous reads, writes and flushes of files behind one interface: io_uring, Linux native AIO,
 * or threads.
 *
 * An engine belongs to one thread (a queue's worker, or a tool's main loop), which creates it and
 * makes every call: it queues operations, submits all that is queued with one system call, and
 * reaps what is finished. `done` is called from vblk_aio_reap, never from vblk_aio_queue.
 *
 *   queue ... queue -> submit -> (the descriptor of vblk_aio_fd, or just look) -> reap -> done, ...
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum vblk_op {
    VBLK_OP_READ,
    VBLK_OP_WRITE,
    VBLK_OP_FLUSH, /* what was written is durable; no range */
};

enum vblk_io_flags {
    VBLK_IO_FUA = 1 << 0, /* WRITE: durable when done */
    /* Through the page cache, so that it most likely need not sleep. */
    VBLK_IO_CACHED = 1 << 1,
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
    uint64_t progress;  /* bytes done by earlier, short, attempts */
    struct iovec *rest; /* then: what of iov remains; g_free */
    unsigned n_rest;
    int64_t result; /* of what the engine did not see */
};

enum vblk_aio_kind {
    VBLK_AIO_NATIVE,
    VBLK_AIO_URING,
    VBLK_AIO_THREADS,
};
/* "native", "io_uring", "threads", NULL: as --help has it */
extern const char *const vblk_aio_kinds[];

struct vblk_aio;

/*
 * depth: operations that may be submitted at a time; more are kept and submitted later. -ENOSYS,
 * -EPERM: the kernel has no such engine for us (then the next one of io_uring, threads may be
 * taken); -ENOMEM and others.
 */
int vblk_aio_create(enum vblk_aio_kind kind, unsigned depth, struct vblk_aio **ret_aio);
/* Nothing may be in flight. NULL is allowed. */
void vblk_aio_destroy(struct vblk_aio *aio);

/* An optional speed-up for one descriptor; where it fails things just go on without. Nothing may be
 * in flight. */
void vblk_aio_register_file(struct vblk_aio *aio, int fd);

/*
 * Another one: operations on a single iovec within one of these ranges spare the kernel looking for
 * their pages, which stay pinned until a later call leaves them out, or the engine ends. Operations
 * in flight do not mind. The ranges must not come to be other memory while they are registered.
 * 0, or -errno: none is.
 */
int vblk_aio_register_memory(struct vblk_aio *aio, const struct iovec *ranges, unsigned n);

/* Takes the operation over. It begins with the next submit, or one after that where depth allows no
 * more. */
void vblk_aio_queue(struct vblk_aio *aio, struct vblk_io *io);
/*
 * One system call for all that is queued, as far as depth allows (none where nothing is); what is
 * CACHED may be carried out at once instead. True where something is finished already: reap before
 * sleeping, for nothing is said of that by vblk_aio_fd.
 */
bool vblk_aio_submit(struct vblk_aio *aio);
/* Calls `done` of all that is finished; how many. Makes no system call where that can be known from
 * memory. `done` may queue further operations. */
unsigned vblk_aio_reap(struct vblk_aio *aio);
/* Submits, sleeps until something is finished, and reaps. 0 where nothing is pending. */
unsigned vblk_aio_wait(struct vblk_aio *aio);
/* Queued or in flight. */
unsigned vblk_aio_n_pending(const struct vblk_aio *aio);
/*
 * For EPOLLET: an edge whenever vblk_aio_reap has come to have something to find. Nobody reads it,
 * so that a level may be left behind.
 */
int vblk_aio_fd(const struct vblk_aio *aio);
