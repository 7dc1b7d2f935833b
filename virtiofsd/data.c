/* SPDX-License-Identifier: Apache-2.0 */
/*
 * READ and WRITE: preadv2 and pwritev2 straight on the guest's pages.
 *
 * On a queue's worker a transfer is tried with RWF_NOWAIT, which moves what the page cache holds
 * and never sleeps; what is left goes to a helper. Some file systems refuse RWF_NOWAIT (ext4 for
 * buffered writes). Their transfers run on the worker while they prove quick, and on helpers for a
 * while after one that was slow. Writes that have to reach the disk go to a helper at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"
#include "virtiofsd/kill-privileges.h"
#include "virtiofsd/request.h"
#include "virtiofsd/thread.h"

enum data_direction { DATA_READ = 0, DATA_WRITE = 1 }; /* index of fs_handle.slow */

#define DATA_SLOW_NS     200000u /* beside 1 ns for each byte: copying is not waiting */
#define DATA_SLOW_HOLD   32      /* transfers that go to helpers after a slow one */
#define DATA_REFUSE_HOLD 32   /* open files that are not tried with RWF_NOWAIT after one refused */
#define DATA_N_TURNS     64   /* writes of different files rarely wait for each other */
#define DATA_MIN_BLOCK   512u /* caches hold whole blocks of at least this */
/* No kernel asks for so much, and a reply's length is an int: ranges that overlap make 4 GiB of
 * room. */
#define DATA_MAX_READ (64u << 20)

/* One transfer on its way: what is left of it. */
struct data_transfer {
    enum data_direction direction;
    int fd;
    int flags; /* RWF_* */
    struct vu_iov_cursor *cursor;
    uint64_t offset;
    uint64_t left;
};

/*
 * One system call's worth, without advancing. Returns bytes or -errno; *ret_asked is what a full
 * transfer would have returned.
 */
static ssize_t data_call(const struct data_transfer *t, int extra_flags, uint64_t *ret_asked)
{
    struct iovec iov[IOV_MAX];
    unsigned n = vu_iov_peek(t->cursor, t->left, iov, IOV_MAX, ret_asked);
    ssize_t ret;

    if (t->direction == DATA_READ)
        ret = preadv2(t->fd, iov, (int)n, (off_t)t->offset, t->flags | extra_flags);
    else
        ret = pwritev2(t->fd, iov, (int)n, (off_t)t->offset, t->flags | extra_flags);
    return ret < 0 ? -errno : ret;
}

/*
 * Moves all that is left, to the end of file or the first error. A short read that ends inside a
 * block met the end of file: what a cache lacks is whole blocks.
 */
static int data_run(struct data_transfer *t, int extra_flags)
{
    while (t->left > 0) {
        uint64_t asked;
        ssize_t ret = data_call(t, extra_flags, &asked);

        if (ret == -EINTR)
            continue;
        if (ret <= 0)
            return (int)ret;
        vu_iov_skip(t->cursor, (size_t)ret);
        t->offset += (uint64_t)ret;
        t->left -= (uint64_t)ret;
        if (t->direction == DATA_READ && (uint64_t)ret < asked && t->offset % DATA_MIN_BLOCK != 0)
            return 0;
    }
    return 0;
}

/* Costs an ordinary WRITE nothing: the guest says when there may be something to take away. */
static int data_kill_privileges(const struct fs_request *request, int fd)
{
    bool by_user = request->args.write.write_flags & FUSE_WRITE_KILL_SUIDGID;

    if (!fs_kill_is_needed(request->share, by_user))
        return 0;
    return fs_kill_privileges(request->share, fd, by_user);
}

/*
 * Whether a WRITE goes to wherever the file ends. The guest's write-back of mapped pages knows its
 * place in the file. What a predecessor may have appended already is not appended twice: the guest
 * says where the file ended, and if nobody else has made it longer since, the data goes there.
 */
static bool data_appends(const struct fs_request *request, const struct fs_handle *handle)
{
    const struct fuse_write_in *in = &request->args.write;
    struct stat st;

    if (!(in->flags & O_APPEND) || in->write_flags & FUSE_WRITE_CACHE)
        return false;
    if (!request->elem->is_again || fstat(handle->fd, &st) < 0)
        return true;
    return (uint64_t)st.st_size < in->offset || (uint64_t)st.st_size - in->offset > in->size;
}

/* What the request still has to move. -EINVAL where a WRITE carries less data than it says, or the
 * offset is none. */
static int data_begin(struct fs_request *request, enum data_direction direction,
                      const struct fs_handle *handle, struct data_transfer *ret_transfer)
{
    struct data_transfer t = {.direction = direction, .fd = handle->fd};

    if (direction == DATA_READ) {
        t.cursor = &request->in;
        t.offset = request->args.read.offset + request->done;
        t.left = MIN(request->args.read.size, DATA_MAX_READ) - request->done;
        t.left = MIN(t.left, t.cursor->left);
    } else {
        const struct fuse_write_in *in = &request->args.write;
        int sync = (int)(in->flags | handle->open_flags) & O_SYNC;

        t.cursor = &request->out;
        t.offset = in->offset + request->done;
        t.left = in->size - request->done;
        if (t.left > t.cursor->left)
            return -EINVAL;
        if (data_appends(request, handle))
            t.flags |= RWF_APPEND;
        if (sync)
            t.flags |= sync == O_SYNC ? RWF_SYNC : RWF_DSYNC;
    }
    if (t.offset > INT64_MAX)
        return -EINVAL; /* -1 would mean the descriptor's own position */
    *ret_transfer = t;
    return direction == DATA_WRITE ? data_kill_privileges(request, handle->fd) : 0;
}

/* Remembers how far the request came. */
static void data_note_done(struct fs_request *request, const struct data_transfer *t)
{
    uint64_t begin =
        t->direction == DATA_READ ? request->args.read.offset : request->args.write.offset;

    request->done = (uint32_t)(t->offset - begin);
}

/*
 * The reply after `ret` of data_run. A short READ would tell the guest that the file ends there, so
 * an error counts whatever was read; a short WRITE is an answer.
 */
static int data_reply(struct fs_request *request, enum data_direction direction, int ret)
{
    if (ret < 0 && (direction == DATA_READ || request->done == 0))
        return ret;
    if (direction == DATA_READ)
        return (int)request->done;
    request->reply.write = (struct fuse_write_out){.size = request->done};
    return (int)sizeof(request->reply.write);
}

/* Bits of fs_handle.nowait. */
static uint32_t data_refuses(enum data_direction direction)
{
    return 1u << direction;
}

static uint32_t data_accepts(enum data_direction direction)
{
    return 4u << direction;
}

/* Takes one from a hint that counts down. False where it was 0. */
static bool data_hint_take(uint32_t *hint)
{
    uint32_t left = __atomic_load_n(hint, __ATOMIC_RELAXED);

    if (left > 0)
        __atomic_store_n(hint, left - 1, __ATOMIC_RELAXED);
    return left > 0;
}

/*
 * Learns from a transfer that could sleep. A write that RWF_NOWAIT would not do and that was quick
 * all the same (copy-on-write file systems refuse most) is better done on the worker next time;
 * reads are not, because others in the queue would wait for the disk with it.
 */
static void data_note_pace(struct fs_handle *handle, enum data_direction direction, bool slow)
{
    if (slow) {
        __atomic_store_n(&handle->slow[direction], DATA_SLOW_HOLD, __ATOMIC_RELAXED);
        __atomic_store_n(&handle->doubt[direction], DATA_SLOW_HOLD, __ATOMIC_RELAXED);
        return;
    }
    data_hint_take(&handle->slow[direction]);
    if (direction == DATA_WRITE &&
        !(__atomic_load_n(&handle->nowait, __ATOMIC_RELAXED) & data_refuses(direction)))
        __atomic_fetch_or(&handle->nowait, data_refuses(direction), __ATOMIC_RELAXED);
}

/*
 * Writes of one file take turns wherever they may sleep. The kernel takes a lock for each inode
 * around a buffered write anyway, and threads that meet there burn CPU time spinning for it and
 * learn nothing of the disk.
 */
static pthread_mutex_t *data_turn(const struct fs_handle *handle)
{
    static pthread_mutex_t turns[DATA_N_TURNS] = {[0 ... DATA_N_TURNS - 1] =
                                                      PTHREAD_MUTEX_INITIALIZER};

    return &turns[handle->nodeid % DATA_N_TURNS];
}

/*
 * What is left of a transfer whose memory, offset or length O_DIRECT does not take, as the end of a
 * file that the guest's cache writes back: by way of the host's cache.
 */
static int data_run_unaligned(const struct fs_share *share, struct data_transfer *t)
{
    vu_autofd int fd =
        fs_share_reopen(share, t->fd, t->direction == DATA_READ ? O_RDONLY : O_WRONLY);

    if (fd < 0)
        return fd;
    t->fd = fd;
    return data_run(t, 0);
}

/*
 * Finishes a transfer, sleeping as long as it takes. After one that took long, the next ones are
 * asked whether they slept at all, since on a busy host time passes for other reasons, too.
 */
static int data_finish_blocking(struct fs_request *request, struct fs_handle *handle,
                                struct data_transfer *t)
{
    uint64_t begin_ns = vu_now_ns(), len = t->left;
    bool in_doubt = data_hint_take(&handle->doubt[t->direction]);
    long n_waits = in_doubt ? fs_thread_n_waits() : 0;
    int ret = data_run(t, 0);
    bool slow;

    if (ret == -EINVAL && (handle->open_flags & O_DIRECT))
        ret = data_run_unaligned(request->share, t);
    slow = vu_now_ns() - begin_ns > DATA_SLOW_NS + len;
    if (request->share->options->max_helpers == 0)
        slow = false; /* nobody else could do it */
    if (slow && !in_doubt)
        __atomic_store_n(&handle->doubt[t->direction], DATA_SLOW_HOLD, __ATOMIC_RELAXED);
    else
        data_note_pace(handle, t->direction, slow && fs_thread_n_waits() > n_waits);
    data_note_done(request, t);
    return data_reply(request, t->direction, ret);
}

/* What may sleep. Writes that wait for the disk itself overlap there, so they may come together. */
static int data_sleep(struct fs_request *request, struct fs_handle *handle, struct data_transfer *t)
{
    if (t->direction == DATA_READ || (t->flags & (RWF_DSYNC | RWF_SYNC)))
        return data_finish_blocking(request, handle, t);
    VU_LOCK_SCOPE(data_turn(handle));
    return data_finish_blocking(request, handle, t);
}

/* On a helper. */
static int data_do_blocking(struct fs_request *request, enum data_direction direction)
{
    struct fs_handles *handles = request->share->handles;
    uint64_t fh = direction == DATA_READ ? request->args.read.fh : request->args.write.fh;
    struct fs_handle *handle = fs_handle_get(handles, fh, FS_HANDLE_FILE);
    struct data_transfer t;
    int ret;

    if (!handle)
        return -EBADF;
    ret = data_begin(request, direction, handle, &t);
    if (ret == 0)
        ret = data_sleep(request, handle, &t);
    fs_handle_put(handles, handle);
    return ret;
}

static int data_do_read_blocking(struct fs_request *request)
{
    return data_do_blocking(request, DATA_READ);
}

static int data_do_write_blocking(struct fs_request *request)
{
    return data_do_blocking(request, DATA_WRITE);
}

/*
 * What the page cache allows, without sleeping. -EOPNOTSUPP where this file refuses RWF_NOWAIT, or
 * is taken to: most files of a share lie on one file system, so that one refusal spares the next
 * files the attempt.
 */
static int data_try_nowait(struct fs_share *share, struct fs_handle *handle,
                           struct data_transfer *t)
{
    uint32_t refuses = data_refuses(t->direction), accepts = data_accepts(t->direction);
    uint32_t known = __atomic_load_n(&handle->nowait, __ATOMIC_RELAXED) & (refuses | accepts);
    int ret = -EOPNOTSUPP;

    if (known & refuses)
        return ret;
    if ((known & accepts) || !data_hint_take(&share->refuse_nowait[t->direction])) {
        ret = data_run(t, RWF_NOWAIT);
        if (ret == -EOPNOTSUPP)
            __atomic_store_n(&share->refuse_nowait[t->direction], DATA_REFUSE_HOLD,
                             __ATOMIC_RELAXED);
    }
    if (!known)
        __atomic_fetch_or(&handle->nowait, ret == -EOPNOTSUPP ? refuses : accepts,
                          __ATOMIC_RELAXED);
    return ret;
}

/* On a worker: what can be done without sleeping, else -EAGAIN. Past the cache all waits. */
static int data_try(struct fs_request *request, struct fs_handle *handle, struct data_transfer *t)
{
    int ret;

    if (t->flags & (RWF_DSYNC | RWF_SYNC) || handle->open_flags & O_DIRECT)
        return -EAGAIN;
    ret = data_try_nowait(request->share, handle, t);
    data_note_done(request, t);
    if (ret == -EAGAIN)
        return ret;
    if (ret != -EOPNOTSUPP)
        return data_reply(request, t->direction, ret);
    if (__atomic_load_n(&handle->slow[t->direction], __ATOMIC_RELAXED) > 0)
        return -EAGAIN;
    return data_sleep(request, handle, t);
}

static int data_do(struct fs_request *request, enum data_direction direction, uint64_t fh)
{
    struct fs_handles *handles = request->share->handles;
    struct fs_handle *handle = fs_handle_get(handles, fh, FS_HANDLE_FILE);
    struct data_transfer t;
    int ret;

    if (!handle)
        return -EBADF;
    request->done = 0;
    ret = data_begin(request, direction, handle, &t);
    if (ret == 0)
        ret = data_try(request, handle, &t);
    fs_handle_put(handles, handle);
    if (ret != -EAGAIN)
        return ret;
    return fs_request_hand_on(request, direction == DATA_READ ? data_do_read_blocking
                                                              : data_do_write_blocking);
}

int fs_do_read(struct fs_request *request)
{
    return data_do(request, DATA_READ, request->args.read.fh);
}

int fs_do_write(struct fs_request *request)
{
    return data_do(request, DATA_WRITE, request->args.write.fh);
}
