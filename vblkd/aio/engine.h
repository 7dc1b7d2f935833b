/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an engine is to aio.c, and what aio.c does for all of them: operations that wait for a slot,
 * short transfers, the end of a file. Private to this folder; everything on the engine's thread.
 */
#pragma once

#include "vblkd/aio/aio.h"

struct vblk_aio_engine {
    /* *ret_aio is begun by vblk_aio_init. 0, -ENOSYS, -EPERM, ... */
    int (*create)(unsigned depth, struct vblk_aio **ret_aio);
    void (*destroy)(struct vblk_aio *aio);
    /* Submits what vblk_aio_take gives, and what an earlier call could not. */
    void (*submit)(struct vblk_aio *aio);
    /* Calls vblk_aio_finish for all that is finished; how many. wait: for at least one. */
    unsigned (*reap)(struct vblk_aio *aio, bool wait);
    void (*register_file)(struct vblk_aio *aio, int fd); /* NULL: makes no difference */
    int (*register_memory)(struct vblk_aio *aio, const struct iovec *ranges,
                           unsigned n); /* likewise */
    /* A read or write that the page cache can take is dearer this way than a system call. */
    bool reads_are_dear, writes_are_dear;
};

extern const struct vblk_aio_engine vblk_aio_uring, vblk_aio_native, vblk_aio_threads;

/* Begins every engine. */
struct vblk_aio {
    const struct vblk_aio_engine *engine;
    int fd; /* of vblk_aio_fd; the engine closes it */
    unsigned depth;
    unsigned n_waiting, n_in_flight;
    struct vblk_io *first, **last; /* waiting for submission, oldest first */
    struct vblk_io *now;           /* to be carried out at once, newest first; in flight */
    struct vblk_io *finished;      /* what the engine does not know of; in flight until reaped */
    int blind_fd; /* a file that does not tell whether a read would sleep; -1: none is known */
    uint64_t patient_until_ns; /* until then nothing is tried at once, for that has slept */
};

void vblk_aio_init(struct vblk_aio *aio, const struct vblk_aio_engine *engine, unsigned depth);

/* The oldest that waits, now in flight; NULL where there is none, or depth are in flight. */
struct vblk_io *vblk_aio_take(struct vblk_aio *aio);
/* Puts back what was taken last, to be taken first. */
void vblk_aio_put_back(struct vblk_aio *aio, struct vblk_io *io);
/* An attempt is over: bytes moved, or -errno. Calls `done`, or queues the rest. */
void vblk_aio_finish(struct vblk_aio *aio, struct vblk_io *io, int64_t result);
/* What was taken needs, or got, no engine: finished by the next reap. */
void vblk_aio_finish_later(struct vblk_aio *aio, struct vblk_io *io, int64_t result);

/* What the attempt that comes is about. */
static inline const struct iovec *vblk_io_iov(const struct vblk_io *io)
{
    return io->rest ? io->rest : io->iov;
}

static inline unsigned vblk_io_n_iov(const struct vblk_io *io)
{
    return io->rest ? io->n_rest : io->n_iov;
}

static inline uint64_t vblk_io_offset(const struct vblk_io *io)
{
    return io->offset + io->progress;
}
