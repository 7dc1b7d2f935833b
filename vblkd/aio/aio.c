/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all engines share: the operations that wait for a slot, and what becomes of a transfer that
 * came back short. The engine's thread runs all of it.
 */
#include "vblkd/aio/aio.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "vblkd/aio/engine.h"
#include "vhost-user/cpu.h"
#include "vhost-user/iov.h"

/* A direct transfer goes on at a multiple of this, whatever it was cut at. */
#define AIO_RESUME_ALIGN 4096
/* Longest transfer that is carried out at once, and what it may take. */
#define AIO_NOW_MAX     (64u << 10)
#define AIO_SLEPT_NS    UINT64_C(200000)
#define AIO_PATIENCE_NS UINT64_C(20000000)

const char *const vblk_aio_kinds[] = {
    [VBLK_AIO_NATIVE] = "native",
    [VBLK_AIO_URING] = "io_uring",
    [VBLK_AIO_THREADS] = "threads",
    NULL,
};

static const struct vblk_aio_engine *const aio_engines[] = {
    [VBLK_AIO_NATIVE] = &vblk_aio_native,
    [VBLK_AIO_URING] = &vblk_aio_uring,
    [VBLK_AIO_THREADS] = &vblk_aio_threads,
};

/* --- for the engines --- */

void vblk_aio_init(struct vblk_aio *aio, const struct vblk_aio_engine *engine, unsigned depth)
{
    *aio = (struct vblk_aio){.engine = engine, .fd = -1, .blind_fd = -1, .depth = depth};
    aio->last = &aio->first;
}

struct vblk_io *vblk_aio_take(struct vblk_aio *aio)
{
    struct vblk_io *io = aio->first;

    if (!io || aio->n_in_flight >= aio->depth)
        return NULL;
    aio->first = io->next;
    if (!aio->first)
        aio->last = &aio->first;
    aio->n_waiting--;
    aio->n_in_flight++;
    return io;
}

void vblk_aio_put_back(struct vblk_aio *aio, struct vblk_io *io)
{
    io->next = aio->first;
    aio->first = io;
    if (!io->next)
        aio->last = &io->next;
    aio->n_waiting++;
    aio->n_in_flight--;
}

void vblk_aio_finish_later(struct vblk_aio *aio, struct vblk_io *io, int64_t result)
{
    io->result = result;
    io->next = aio->finished;
    aio->finished = io;
}

static void aio_append(struct vblk_aio *aio, struct vblk_io *io)
{
    io->next = NULL;
    *aio->last = io;
    aio->last = &io->next;
    aio->n_waiting++;
}

/* Sets io->progress, and makes `rest` what remains of iov from there on. */
static void aio_set_progress(struct vblk_io *io, uint64_t progress)
{
    struct vu_iov_cursor cursor;
    uint64_t len;

    io->progress = progress;
    if (!io->rest)
        io->rest = g_new(struct iovec, io->n_iov);
    vu_iov_cursor_init(&cursor, io->iov, io->n_iov, progress);
    io->n_rest = vu_iov_peek(&cursor, UINT64_MAX, io->rest, io->n_iov, &len);
}

static bool aio_is_at_end(const struct vblk_io *io, uint64_t progress)
{
    struct stat st;

    return fstat(io->fd, &st) == 0 && S_ISREG(st.st_mode) &&
           io->offset + progress >= (uint64_t)st.st_size;
}

static void aio_zero_rest(const struct vblk_io *io, uint64_t progress)
{
    struct vu_iov_cursor cursor;

    vu_iov_cursor_init(&cursor, io->iov, io->n_iov, progress);
    vu_iov_zero(&cursor, SIZE_MAX);
}

/*
 * A transfer that moved moved bytes, less than all. True where it is over, with its result. A
 * direct one can only go on at an aligned place, if need be by moving some bytes again.
 */
static bool aio_end_short(struct vblk_io *io, uint64_t moved, int *ret_result)
{
    uint64_t progress = io->progress + moved,
             aligned = progress & ~(AIO_RESUME_ALIGN - UINT64_C(1));

    if (io->op == VBLK_OP_READ && (moved == 0 || aio_is_at_end(io, progress))) {
        aio_zero_rest(io, progress);
        *ret_result = 0;
        return true;
    }
    if (moved == 0) {
        *ret_result = -EIO;
        return true;
    }
    aio_set_progress(io, aligned > io->progress ? aligned : progress);
    return false;
}

void vblk_aio_finish(struct vblk_aio *aio, struct vblk_io *io, int64_t result)
{
    bool is_transfer = io->op != VBLK_OP_FLUSH;
    int end = result < 0 ? (int)result : 0;

    aio->n_in_flight--;
    if (result == -EINTR || result == -EAGAIN ||
        (is_transfer && result >= 0 && io->progress + (uint64_t)result < io->len &&
         !aio_end_short(io, (uint64_t)result, &end))) {
        aio_append(aio, io);
        return;
    }
    g_clear_pointer(&io->rest, g_free);
    io->done(io, end);
}

/* --- at once --- */

/* io_uring has a thread make buffered writes, where the file system does not do better; most are
 * but a copy into the page cache. */
static bool aio_is_for_now(const struct vblk_aio *aio, const struct vblk_io *io)
{
    if (!(io->flags & VBLK_IO_CACHED) || (io->flags & VBLK_IO_FUA) || io->len > AIO_NOW_MAX)
        return false;
    return (io->op == VBLK_OP_WRITE && aio->engine->writes_are_dear) ||
           (io->op == VBLK_OP_READ && aio->engine->reads_are_dear);
}

/*
 * Bytes, or -errno; -EAGAIN: not without sleeping, as far as one can know. No file system of note
 * takes RWF_NOWAIT for buffered writes, and those in memory not even for reads.
 */
static int64_t aio_carry_out(struct vblk_aio *aio, const struct vblk_io *io)
{
    int n = (int)io->n_iov;
    off_t offset = (off_t)io->offset;
    ssize_t ret = -1;

    if (io->op == VBLK_OP_WRITE) {
        ret = pwritev(io->fd, io->iov, n, offset);
        return ret < 0 ? -errno : ret;
    }
    if (io->fd != aio->blind_fd) {
        ret = preadv2(io->fd, io->iov, n, offset, RWF_NOWAIT);
        if (ret < 0 && errno == EOPNOTSUPP)
            aio->blind_fd = io->fd;
    }
    if (io->fd == aio->blind_fd)
        ret = preadv(io->fd, io->iov, n, offset);
    return ret < 0 ? -errno : ret;
}

/* One that slept, for dirty pages are held back or a page was read, has others wait behind it: for
 * a while they go the other way. */
static void aio_carry_out_now(struct vblk_aio *aio)
{
    uint64_t begin_ns = vu_now_ns(), end_ns;
    struct vblk_io *io;
    int64_t result;

    while ((io = aio->now) != NULL) {
        aio->now = io->next;
        result = begin_ns >= aio->patient_until_ns ? aio_carry_out(aio, io) : -EAGAIN;
        if (result == -EAGAIN) {
            aio->n_in_flight--;
            aio_append(aio, io);
            continue;
        }
        vblk_aio_finish_later(aio, io, result);
        end_ns = vu_now_ns();
        if (end_ns - begin_ns > AIO_SLEPT_NS)
            aio->patient_until_ns = end_ns + AIO_PATIENCE_NS;
        begin_ns = end_ns;
    }
}

/* --- for everybody --- */

int vblk_aio_create(enum vblk_aio_kind kind, unsigned depth, struct vblk_aio **ret_aio)
{
    return aio_engines[kind]->create(MAX(depth, 1), ret_aio);
}

void vblk_aio_destroy(struct vblk_aio *aio)
{
    if (!aio)
        return;
    g_assert(vblk_aio_n_pending(aio) == 0);
    aio->engine->destroy(aio);
}

void vblk_aio_register_file(struct vblk_aio *aio, int fd)
{
    if (aio->engine->register_file)
        aio->engine->register_file(aio, fd);
}

int vblk_aio_register_memory(struct vblk_aio *aio, const struct iovec *ranges, unsigned n)
{
    return aio->engine->register_memory ? aio->engine->register_memory(aio, ranges, n) : 0;
}

void vblk_aio_queue(struct vblk_aio *aio, struct vblk_io *io)
{
    io->progress = 0;
    io->rest = NULL;
    if (aio_is_for_now(aio, io)) {
        io->next = aio->now;
        aio->now = io;
        aio->n_in_flight++;
        return;
    }
    aio_append(aio, io);
}

bool vblk_aio_submit(struct vblk_aio *aio)
{
    aio->engine->submit(aio);
    if (aio->now) {
        aio_carry_out_now(aio);
        aio->engine->submit(aio); /* what could not be done at once after all */
    }
    return aio->finished != NULL;
}

static unsigned aio_reap_finished(struct vblk_aio *aio)
{
    struct vblk_io *io;
    unsigned n = 0;

    while ((io = aio->finished) != NULL) {
        aio->finished = io->next;
        vblk_aio_finish(aio, io, io->result);
        n++;
    }
    return n;
}

unsigned vblk_aio_reap(struct vblk_aio *aio)
{
    unsigned n = aio->finished ? aio_reap_finished(aio) : 0;

    return aio->n_in_flight > 0 ? n + aio->engine->reap(aio, false) : n;
}

unsigned vblk_aio_wait(struct vblk_aio *aio)
{
    unsigned n;

    vblk_aio_submit(aio);
    n = vblk_aio_reap(aio);
    return n > 0 || aio->n_in_flight == 0 ? n : aio->engine->reap(aio, true);
}

unsigned vblk_aio_n_pending(const struct vblk_aio *aio)
{
    return aio->n_waiting + aio->n_in_flight;
}

int vblk_aio_fd(const struct vblk_aio *aio)
{
    return aio->fd;
}
