/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_uring (io_uring(7)). Completions are put into memory we share with the kernel, most of them,
 * where the page cache has the data, while we submit; those of a disk are worked up by our own
 * thread when it next asks (DEFER_TASKRUN), where the kernel can (6.1), rather than by interrupting
 * it.
 */
#include <errno.h>
#include <liburing.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vblkd/aio/engine.h"
#include "vblkd/aio/uring-buffers.h"
#include "vhost-user/cleanup.h"

#define URING_BATCH      32   /* completions looked at in one go */
#define URING_MAX_DEPTH  4096 /* the kernel's limit is 32768 */
#define URING_RETRY_US   1000 /* the kernel was short of memory */
#define URING_FIXED_FILE 0    /* where the registered file is */
#define URING_PARALLEL   (512u << 10)

struct uring {
    struct vblk_aio aio;
    struct io_uring ring;
    int file; /* the registered one; -1: none */
    struct uring_buffers buffers;
};

static struct uring *uring_of(struct vblk_aio *aio)
{
    return (struct uring *)aio;
}

/* The best first; an older kernel says -EINVAL. */
static const unsigned uring_flags[] = {
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    0,
};

static int uring_create(unsigned depth, struct vblk_aio **ret_aio)
{
    struct uring *uring = g_new0(struct uring, 1);
    int err = -EINVAL;

    depth = MIN(depth, URING_MAX_DEPTH);
    vblk_aio_init(&uring->aio, &vblk_aio_uring, depth);
    uring->file = -1;
    for (size_t i = 0; i < G_N_ELEMENTS(uring_flags) && err == -EINVAL; i++)
        err = io_uring_queue_init(depth, &uring->ring, uring_flags[i]);
    if (err < 0) {
        g_free(uring);
        return err;
    }
    /* Not the ring's own descriptor: older kernels do not wake its epoll under DEFER_TASKRUN. */
    uring->aio.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    err = uring->aio.fd < 0 ? -errno : io_uring_register_eventfd(&uring->ring, uring->aio.fd);
    if (err < 0) {
        vu_clear_fd(&uring->aio.fd);
        io_uring_queue_exit(&uring->ring);
        g_free(uring);
        return err;
    }
    io_uring_register_ring_fd(&uring->ring); /* saves looking it up; older kernels cannot */
    *ret_aio = &uring->aio;
    return 0;
}

static void uring_destroy(struct vblk_aio *aio)
{
    struct uring *uring = uring_of(aio);

    io_uring_queue_exit(&uring->ring);
    uring_buffers_clear(&uring->buffers);
    vu_clear_fd(&aio->fd);
    g_free(uring);
}

static void uring_register_file(struct vblk_aio *aio, int fd)
{
    struct uring *uring = uring_of(aio);

    if (uring->file >= 0)
        io_uring_unregister_files(&uring->ring);
    uring->file = io_uring_register_files(&uring->ring, &fd, 1) == 0 ? fd : -1;
}

static int uring_register_memory(struct vblk_aio *aio, const struct iovec *ranges, unsigned n)
{
    struct uring *uring = uring_of(aio);

    return uring_buffers_follow(&uring->buffers, &uring->ring, ranges, n);
}

/* Long copies out of the page cache, beside each other rather than one after the other. */
static bool uring_is_parallel(const struct vblk_aio *aio, const struct vblk_io *io)
{
    return io->op == VBLK_OP_READ && (io->flags & VBLK_IO_CACHED) && io->len >= URING_PARALLEL &&
           aio->n_in_flight > 1;
}

/* The operation itself; fd is a descriptor, or the registered file's place. */
static void uring_prepare_op(struct uring *uring, struct io_uring_sqe *sqe,
                             const struct vblk_io *io, int fd)
{
    const struct iovec *iov = vblk_io_iov(io);
    unsigned n = vblk_io_n_iov(io), len = n == 1 ? (unsigned)iov->iov_len : 0;
    uint64_t offset = vblk_io_offset(io);
    int buffer = n == 1 ? uring_buffers_find(&uring->buffers, iov) : -1;

    if (io->op == VBLK_OP_FLUSH)
        io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
    else if (io->op == VBLK_OP_READ && buffer >= 0)
        io_uring_prep_read_fixed(sqe, fd, iov->iov_base, len, offset, buffer);
    else if (io->op == VBLK_OP_READ && n == 1)
        io_uring_prep_read(sqe, fd, iov->iov_base, len, offset);
    else if (io->op == VBLK_OP_READ)
        io_uring_prep_readv(sqe, fd, iov, n, offset);
    else if (buffer >= 0)
        io_uring_prep_write_fixed(sqe, fd, iov->iov_base, len, offset, buffer);
    else if (n == 1)
        io_uring_prep_write(sqe, fd, iov->iov_base, len, offset);
    else
        io_uring_prep_writev(sqe, fd, iov, n, offset);
}

static void uring_prepare(struct uring *uring, struct io_uring_sqe *sqe, struct vblk_io *io)
{
    bool is_fixed = io->fd == uring->file;

    uring_prepare_op(uring, sqe, io, is_fixed ? URING_FIXED_FILE : io->fd);
    if (io->op == VBLK_OP_WRITE && (io->flags & VBLK_IO_FUA))
        sqe->rw_flags = RWF_DSYNC;
    if (is_fixed)
        sqe->flags |= IOSQE_FIXED_FILE;
    if (uring_is_parallel(&uring->aio, io))
        sqe->flags |= IOSQE_ASYNC;
    io_uring_sqe_set_data(sqe, io);
}

static void uring_submit(struct vblk_aio *aio)
{
    struct uring *uring = uring_of(aio);
    struct io_uring_sqe *sqe;
    struct vblk_io *io;
    int ret;

    while ((io = vblk_aio_take(aio)) != NULL) {
        sqe = io_uring_get_sqe(&uring->ring);
        if (!sqe) { /* depth operations fit: only what is left from before can be in the way */
            vblk_aio_put_back(aio, io);
            break;
        }
        uring_prepare(uring, sqe, io);
    }
    while (io_uring_sq_ready(&uring->ring) > 0) {
        ret = io_uring_submit(&uring->ring);
        if (ret > 0 || ret == -EINTR)
            continue;
        /* Short of memory, or of room for completions: what is in flight makes some. */
        if (io_uring_cq_ready(&uring->ring) > 0)
            break;
        g_usleep(URING_RETRY_US);
    }
}

static unsigned uring_reap(struct vblk_aio *aio, bool wait)
{
    struct uring *uring = uring_of(aio);
    struct io_uring_cqe *cqes[URING_BATCH], *cqe;
    unsigned n, n_all = 0;

    if (wait)
        while (io_uring_wait_cqe(&uring->ring, &cqe) == -EINTR)
            ;
    while ((n = io_uring_peek_batch_cqe(&uring->ring, cqes, URING_BATCH)) > 0) {
        struct vblk_io *ios[URING_BATCH];
        int results[URING_BATCH];

        /* `done` may take long; the kernel gets its room back before. */
        for (unsigned i = 0; i < n; i++) {
            ios[i] = io_uring_cqe_get_data(cqes[i]);
            results[i] = cqes[i]->res;
        }
        io_uring_cq_advance(&uring->ring, n);
        for (unsigned i = 0; i < n; i++)
            vblk_aio_finish(aio, ios[i], results[i]);
        n_all += n;
    }
    return n_all;
}

const struct vblk_aio_engine vblk_aio_uring = {
    .create = uring_create,
    .destroy = uring_destroy,
    .submit = uring_submit,
    .reap = uring_reap,
    .register_file = uring_register_file,
    .register_memory = uring_register_memory,
    .writes_are_dear = true,
};
