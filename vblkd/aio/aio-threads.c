/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that make ordinary system calls: for kernels and file systems where nothing else works. A
 * helper leaves what it has done in a list, and raises an eventfd for the first entry of it.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vblkd/aio/engine.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/helpers.h"

#define THREADS_MAX 64

struct threads_slot {
    struct vu_job job;
    struct threads *threads;
    struct vblk_io *io;
    int64_t result;
    struct threads_slot *next; /* of those that are free, or done */
};

struct threads {
    struct vblk_aio aio;
    struct vu_helpers *helpers;
    struct threads_slot *slots, *free; /* depth of them */
    struct threads_slot *done;         /* atomic: helpers -> engine, newest first */
    pthread_mutex_t lock;              /* with `finished`: for who waits */
    pthread_cond_t finished;
};

static struct threads *threads_of(struct vblk_aio *aio)
{
    return (struct threads *)aio;
}

static int64_t threads_carry_out(const struct vblk_io *io)
{
    const struct iovec *iov = vblk_io_iov(io);
    int n = (int)vblk_io_n_iov(io);
    off_t offset = (off_t)vblk_io_offset(io);
    ssize_t ret;

    if (io->op == VBLK_OP_FLUSH)
        ret = fdatasync(io->fd);
    else if (io->op == VBLK_OP_READ)
        ret = preadv(io->fd, iov, n, offset);
    else
        ret = pwritev2(io->fd, iov, n, offset, (io->flags & VBLK_IO_FUA) ? RWF_DSYNC : 0);
    return ret < 0 ? -errno : ret;
}

static void threads_run(struct vu_job *job)
{
    struct threads_slot *slot = (struct threads_slot *)job;
    struct threads *threads = slot->threads;

    bool is_first;

    slot->result = threads_carry_out(slot->io);
    pthread_mutex_lock(&threads->lock);
    is_first = threads->done == NULL;
    slot->next = threads->done;
    __atomic_store_n(&threads->done, slot, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&threads->lock);
    /* The slot may be another's by now; the engine waits for its helpers before it goes. */
    if (is_first) {
        (void)eventfd_write(threads->aio.fd, 1);
        pthread_cond_signal(&threads->finished);
    }
}

static void threads_destroy(struct vblk_aio *aio)
{
    struct threads *threads = threads_of(aio);

    vu_helpers_destroy(threads->helpers);
    vu_clear_fd(&aio->fd);
    pthread_cond_destroy(&threads->finished);
    pthread_mutex_destroy(&threads->lock);
    g_free(threads->slots);
    g_free(threads);
}

static int threads_create(unsigned depth, struct vblk_aio **ret_aio)
{
    const struct vu_helpers_options options = {
        .name = "aio",
        .max_threads = MIN(depth, THREADS_MAX),
    };
    struct threads *threads = g_new0(struct threads, 1);
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), err = -errno;

    if (fd < 0) {
        g_free(threads);
        return err;
    }
    vblk_aio_init(&threads->aio, &vblk_aio_threads, depth);
    threads->aio.fd = fd;
    threads->helpers = vu_helpers_create(&options);
    threads->slots = g_new0(struct threads_slot, depth);
    for (unsigned i = 0; i < depth; i++) {
        threads->slots[i].job.run = threads_run;
        threads->slots[i].threads = threads;
        threads->slots[i].next = threads->free;
        threads->free = &threads->slots[i];
    }
    pthread_mutex_init(&threads->lock, NULL);
    pthread_cond_init(&threads->finished, NULL);
    *ret_aio = &threads->aio;
    return 0;
}

static void threads_submit(struct vblk_aio *aio)
{
    struct threads *threads = threads_of(aio);
    struct threads_slot *slot;
    struct vblk_io *io;

    while ((io = vblk_aio_take(aio)) != NULL) {
        slot = threads->free;
        threads->free = slot->next;
        slot->io = io;
        vu_helpers_run(threads->helpers, &slot->job);
    }
}

static struct threads_slot *threads_get_done(struct threads *threads, bool wait)
{
    struct threads_slot *slot;

    if (!wait && !__atomic_load_n(&threads->done, __ATOMIC_ACQUIRE))
        return NULL;
    VU_LOCK_SCOPE(&threads->lock);
    while (!threads->done)
        pthread_cond_wait(&threads->finished, &threads->lock);
    slot = threads->done;
    __atomic_store_n(&threads->done, NULL, __ATOMIC_RELAXED);
    return slot;
}

static unsigned threads_reap(struct vblk_aio *aio, bool wait)
{
    struct threads *threads = threads_of(aio);
    struct threads_slot *slot, *next;
    unsigned n = 0;

    for (slot = threads_get_done(threads, wait); slot; slot = next) {
        struct vblk_io *io = slot->io;
        int64_t result = slot->result;

        next = slot->next;
        slot->next = threads->free;
        threads->free = slot;
        vblk_aio_finish(aio, io, result);
        n++;
    }
    return n;
}

const struct vblk_aio_engine vblk_aio_threads = {
    .create = threads_create,
    .destroy = threads_destroy,
    .submit = threads_submit,
    .reap = threads_reap,
    .reads_are_dear = true,
    .writes_are_dear = true,
};
