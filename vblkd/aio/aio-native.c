/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux native AIO (io_submit(2)): asynchronous for O_DIRECT files only. Completions lie in a ring
 * in our own memory, which is read without a system call.
 */
#include <errno.h>
#include <libaio.h>
#include <sys/eventfd.h>

#include "vblkd/aio/engine.h"
#include "vhost-user/cleanup.h"

#define NATIVE_MAX_DEPTH  1024 /* /proc/sys/fs/aio-max-nr is 65536 for the whole system */
#define NATIVE_RING_MAGIC 0xa10a10a1u
#define NATIVE_BATCH      32
#define NATIVE_RETRY_US   1000

/*
 * What io_context_t points to. The kernel's, unchanged since 2.5:
 *
 *   offset size
 *        0    4  id
 *        4    4  nr              entries
 *        8    4  head            the next one to read; ours
 *       12    4  tail            the kernel's
 *       16    4  magic
 *       20    4  compat_features
 *       24    4  incompat_features
 *       28    4  header_length
 *       32   32  each entry
 */
struct native_ring {
    uint32_t id, nr;
    uint32_t head, tail; /* atomic */
    uint32_t magic, compat_features, incompat_features, header_length;
    struct io_event events[];
};
G_STATIC_ASSERT(sizeof(struct native_ring) == 32);

struct native {
    struct vblk_aio aio;
    io_context_t context;
    struct native_ring *ring; /* NULL: not as we know it, ask the kernel */
    struct iocb *iocbs;       /* of one submission; the kernel copies them */
    struct iocb **iocb_list;
};

static struct native *native_of(struct vblk_aio *aio)
{
    return (struct native *)aio;
}

static void native_destroy(struct vblk_aio *aio)
{
    struct native *native = native_of(aio);

    if (native->context)
        io_destroy(native->context);
    vu_clear_fd(&aio->fd);
    g_free(native->iocbs);
    g_free(native->iocb_list);
    g_free(native);
}

static int native_create(unsigned depth, struct vblk_aio **ret_aio)
{
    struct native *native = g_new0(struct native, 1);
    struct native_ring *ring;
    int err;

    depth = MIN(depth, NATIVE_MAX_DEPTH);
    vblk_aio_init(&native->aio, &vblk_aio_native, depth);
    err = io_setup((int)depth, &native->context);
    if (err == 0) {
        native->aio.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        err = native->aio.fd < 0 ? -errno : 0;
    }
    if (err < 0) {
        native_destroy(&native->aio);
        return err;
    }
    ring = (struct native_ring *)native->context;
    if (ring->magic == NATIVE_RING_MAGIC && ring->incompat_features == 0 &&
        ring->header_length == sizeof(*ring))
        native->ring = ring;
    native->iocbs = g_new0(struct iocb, depth);
    native->iocb_list = g_new(struct iocb *, depth);
    *ret_aio = &native->aio;
    return 0;
}

static void native_prepare(const struct native *native, struct iocb *iocb, struct vblk_io *io)
{
    const struct iovec *iov = vblk_io_iov(io);
    int n = (int)vblk_io_n_iov(io);
    long long offset = (long long)vblk_io_offset(io);

    if (io->op == VBLK_OP_FLUSH)
        io_prep_fdsync(iocb, io->fd);
    else if (io->op == VBLK_OP_READ)
        io_prep_preadv(iocb, io->fd, iov, n, offset);
    else
        io_prep_pwritev(iocb, io->fd, iov, n, offset);
    if (io->op == VBLK_OP_WRITE && (io->flags & VBLK_IO_FUA))
        iocb->aio_rw_flags = RWF_DSYNC;
    io_set_eventfd(iocb, native->aio.fd);
    iocb->data = io;
}

/* Submits n iocbs of the list, in order. */
static void native_submit_all(struct native *native, unsigned n)
{
    unsigned done = 0;
    int ret;

    while (done < n) {
        ret = io_submit(native->context, n - done, native->iocb_list + done);
        if (ret > 0) {
            done += (unsigned)ret;
        } else if (ret == -EINTR) {
            continue;
        } else if (ret == -EAGAIN || ret == 0) {
            /* The kernel is short of something; that depth fits was settled when it was made. */
            g_usleep(NATIVE_RETRY_US);
        } else {
            vblk_aio_finish_later(&native->aio, native->iocb_list[done]->data, ret);
            done++;
        }
    }
}

static void native_submit(struct vblk_aio *aio)
{
    struct native *native = native_of(aio);
    struct vblk_io *io;
    unsigned n = 0;

    while (n < aio->depth && (io = vblk_aio_take(aio)) != NULL) {
        native_prepare(native, &native->iocbs[n], io);
        native->iocb_list[n] = &native->iocbs[n];
        n++;
    }
    native_submit_all(native, n);
}

/* Copies up to NATIVE_BATCH completions out of the ring. */
static unsigned native_peek(struct native *native, struct io_event *ret_events)
{
    struct native_ring *ring = native->ring;
    /* Pairs with the kernel's barrier between writing an entry and the tail. */
    uint32_t tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE), head = ring->head;
    unsigned n = 0;

    while (head != tail && n < NATIVE_BATCH) {
        ret_events[n++] = ring->events[head];
        head = (head + 1) % ring->nr;
    }
    /* Entries are read before the kernel may write there again. */
    __atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
    return n;
}

static unsigned native_get(struct native *native, struct io_event *ret_events, bool wait)
{
    struct timespec now = {0};
    int n;

    if (native->ring && !wait)
        return native_peek(native, ret_events);
    do {
        n = io_getevents(native->context, wait, NATIVE_BATCH, ret_events, wait ? NULL : &now);
    } while (n == -EINTR);
    return n > 0 ? (unsigned)n : 0;
}

static unsigned native_reap(struct vblk_aio *aio, bool wait)
{
    struct native *native = native_of(aio);
    struct io_event events[NATIVE_BATCH];
    unsigned n, n_all = 0;

    while (aio->n_in_flight > 0 && (n = native_get(native, events, wait)) > 0) {
        wait = false;
        for (unsigned i = 0; i < n; i++)
            vblk_aio_finish(aio, events[i].data, (int64_t)events[i].res);
        n_all += n;
    }
    return n_all;
}

const struct vblk_aio_engine vblk_aio_native = {
    .create = native_create,
    .destroy = native_destroy,
    .submit = native_submit,
    .reap = native_reap,
};
