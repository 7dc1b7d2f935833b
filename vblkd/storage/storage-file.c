/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls on a storage that wait: for metadata, helpers and tools. Where O_DIRECT asks for
 * aligned buffers or ranges and those given are not, the bytes go through a buffer that is.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vblkd/storage/storage.h"
#include "vhost-user/iov.h"
#include "vhost-user/log.h"

#define STORAGE_BOUNCE_LEN (1u << 20)
#define STORAGE_ZERO_LEN   (1u << 20)
#define STORAGE_MAX_IOV    64 /* of one system call */
/* A direct transfer that was cut short goes on at a multiple of this. */
#define STORAGE_RESUME_ALIGN UINT64_C(4096)

bool vblk_storage_is_aligned(const struct vblk_storage *storage, const struct iovec *iov,
                             unsigned n_iov, uint64_t offset, uint64_t len)
{
    uint64_t mask = storage->memory_align - 1;

    if (storage->request_align <= 1 && mask == 0)
        return true;
    if ((offset | len) & (storage->request_align - 1))
        return false;
    for (unsigned i = 0; i < n_iov; i++) {
        /* Pieces go to the device one by one, so that lengths are held to both. */
        if (((uintptr_t)iov[i].iov_base | iov[i].iov_len) & mask)
            return false;
        if (iov[i].iov_len & (storage->request_align - 1))
            return false;
    }
    return true;
}

/* --- transfers --- */

static ssize_t storage_call(const struct vblk_storage *storage, const struct iovec *iov, unsigned n,
                            uint64_t offset, bool is_write)
{
    int flags = is_write && vblk_cache_is_writethrough(storage->cache) ? RWF_DSYNC : 0;

    return is_write ? pwritev2(storage->fd, iov, (int)n, (off_t)offset, flags)
                    : preadv(storage->fd, iov, (int)n, (off_t)offset);
}

static bool storage_is_at_end(const struct vblk_storage *storage, uint64_t offset)
{
    struct stat st;

    return fstat(storage->fd, &st) == 0 && S_ISREG(st.st_mode) && offset >= (uint64_t)st.st_size;
}

/* All of iov, which is aligned as the storage wants it. */
static int storage_transfer(const struct vblk_storage *storage, const struct iovec *iov,
                            unsigned n_iov, uint64_t offset, bool is_write)
{
    struct iovec part[STORAGE_MAX_IOV];
    struct vu_iov_cursor cursor;
    uint64_t len, moved;
    ssize_t ret;
    unsigned n;

    vu_iov_cursor_init(&cursor, iov, n_iov, 0);
    while ((n = vu_iov_peek(&cursor, INT_MAX & ~(STORAGE_RESUME_ALIGN - 1), part, STORAGE_MAX_IOV,
                            &len)) > 0) {
        ret = storage_call(storage, part, n, offset, is_write);
        if (ret < 0 && errno == EINTR)
            continue;
        if (ret < 0)
            return -errno;
        moved = (uint64_t)ret;
        if (moved < len && !is_write &&
            (moved == 0 || storage_is_at_end(storage, offset + moved))) {
            vu_iov_skip(&cursor, moved);
            vu_iov_zero(&cursor, SIZE_MAX);
            return 0;
        }
        if (moved == 0)
            return -EIO;
        if (moved < len && moved > STORAGE_RESUME_ALIGN)
            moved &= ~(STORAGE_RESUME_ALIGN - 1);
        vu_iov_skip(&cursor, moved);
        offset += moved;
    }
    return 0;
}

/* One aligned window of the storage, into buf or out of it. */
static int storage_transfer_buf(const struct vblk_storage *storage, void *buf, uint64_t len,
                                uint64_t offset, bool is_write)
{
    struct iovec iov = {.iov_base = buf, .iov_len = len};

    return storage_transfer(storage, &iov, 1, offset, is_write);
}

/* What lies around a write that begins or ends within an aligned block. */
static int storage_read_edges(const struct vblk_storage *storage, char *buf, uint64_t from,
                              uint64_t to, uint64_t offset, uint64_t end)
{
    uint64_t align = storage->request_align;
    int err = 0;

    if (from < offset)
        err = storage_transfer_buf(storage, buf, align, from, false);
    if (err == 0 && to > end && (to - from > align || from >= offset))
        err = storage_transfer_buf(storage, buf + (to - from - align), align, to - align, false);
    return err;
}

static int storage_read_window(const struct vblk_storage *storage, char *buf,
                               struct vu_iov_cursor *cursor, uint64_t offset, uint64_t len)
{
    uint64_t align = storage->request_align;
    uint64_t from = offset & ~(align - 1), to = (offset + len + align - 1) & ~(align - 1);
    int err = storage_transfer_buf(storage, buf, to - from, from, false);

    if (err == 0)
        vu_iov_write(cursor, buf + (offset - from), len);
    return err;
}

/* Another write of a part of the same block waits, or it would be undone. */
static int storage_write_window(struct vblk_storage *storage, char *buf,
                                struct vu_iov_cursor *cursor, uint64_t offset, uint64_t len)
{
    uint64_t align = storage->request_align;
    uint64_t from = offset & ~(align - 1), to = (offset + len + align - 1) & ~(align - 1);
    bool has_edges = from < offset || to > offset + len;
    int err;

    if (has_edges)
        pthread_mutex_lock(&storage->edge_lock);
    err = storage_read_edges(storage, buf, from, to, offset, offset + len);
    if (err == 0) {
        vu_iov_read(cursor, buf + (offset - from), len);
        err = storage_transfer_buf(storage, buf, to - from, from, true);
    }
    if (has_edges)
        pthread_mutex_unlock(&storage->edge_lock);
    return err;
}

/* By windows that end at aligned places, through an aligned buffer. */
static int storage_bounce(struct vblk_storage *storage, const struct iovec *iov, unsigned n_iov,
                          uint64_t offset, bool is_write)
{
    struct vu_iov_cursor cursor;
    void *buf = NULL;
    int err = 0;

    if (posix_memalign(&buf, MAX(storage->memory_align, sizeof(void *)), STORAGE_BOUNCE_LEN) != 0)
        return -ENOMEM;
    vu_iov_cursor_init(&cursor, iov, n_iov, 0);
    while (err == 0 && cursor.left > 0) {
        uint64_t len = STORAGE_BOUNCE_LEN - (offset & (storage->request_align - 1));

        len = MIN(len, cursor.left);
        err = is_write ? storage_write_window(storage, buf, &cursor, offset, len)
                       : storage_read_window(storage, buf, &cursor, offset, len);
        offset += len;
    }
    free(buf);
    return err;
}

static int storage_move(struct vblk_storage *storage, const struct iovec *iov, unsigned n_iov,
                        uint64_t offset, bool is_write)
{
    uint64_t len = 0;

    for (unsigned i = 0; i < n_iov; i++)
        len += iov[i].iov_len;
    if (offset > INT64_MAX || len > INT64_MAX - offset)
        return -EFBIG;
    if (vblk_storage_is_aligned(storage, iov, n_iov, offset, len))
        return storage_transfer(storage, iov, n_iov, offset, is_write);
    return storage_bounce(storage, iov, n_iov, offset, is_write);
}

int vblk_storage_readv(struct vblk_storage *storage, const struct iovec *iov, unsigned n_iov,
                       uint64_t offset)
{
    return storage_move(storage, iov, n_iov, offset, false);
}

int vblk_storage_writev(struct vblk_storage *storage, const struct iovec *iov, unsigned n_iov,
                        uint64_t offset)
{
    int err = storage->read_only ? -EROFS : storage_move(storage, iov, n_iov, offset, true);

    /* Each was a flush at the same time. */
    if (err == -EIO && storage->cache == VBLK_CACHE_WRITETHROUGH)
        vblk_storage_flush_result(storage, err);
    return err;
}

int vblk_storage_read(struct vblk_storage *storage, void *buf, uint64_t len, uint64_t offset)
{
    struct iovec iov = {.iov_base = buf, .iov_len = len};

    return vblk_storage_readv(storage, &iov, 1, offset);
}

int vblk_storage_write(struct vblk_storage *storage, const void *buf, uint64_t len, uint64_t offset)
{
    /* Only read from. */
    union {
        const void *from;
        void *base;
    } data = {.from = buf};
    struct iovec iov = {.iov_base = data.base, .iov_len = len};

    return vblk_storage_writev(storage, &iov, 1, offset);
}

int vblk_storage_flush_result(struct vblk_storage *storage, int result)
{
    int none = 0;

    if (result == 0)
        return __atomic_load_n(&storage->flush_error, __ATOMIC_ACQUIRE);
    if (__atomic_compare_exchange_n(&storage->flush_error, &none, result, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        vu_error("%s: a flush has failed, and what was written may be lost; so no flush succeeds "
                 "any more: %s",
                 storage->path, g_strerror(-result));
    return result;
}

int vblk_storage_flush(struct vblk_storage *storage)
{
    if (storage->cache == VBLK_CACHE_UNSAFE)
        return 0;
    return vblk_storage_flush_result(storage, fdatasync(storage->fd) < 0 ? -errno : 0);
}

/* --- space --- */

static bool storage_is_impossible(int err)
{
    return err == -EOPNOTSUPP || err == -ENOSYS || err == -ENOTTY || err == -EINVAL;
}

static int storage_fallocate(const struct vblk_storage *storage, int mode, uint64_t offset,
                             uint64_t len)
{
    int ret;

    do {
        ret = fallocate(storage->fd, mode, (off_t)offset, (off_t)len);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : 0;
}

static int storage_write_zeros(struct vblk_storage *storage, uint64_t offset, uint64_t len)
{
    void *zeros = NULL;
    int err = 0;

    if (posix_memalign(&zeros, STORAGE_RESUME_ALIGN, STORAGE_ZERO_LEN) != 0)
        return -ENOMEM;
    memset(zeros, 0, STORAGE_ZERO_LEN);
    while (err == 0 && len > 0) {
        uint64_t chunk = MIN(len, STORAGE_ZERO_LEN);

        err = vblk_storage_write(storage, zeros, chunk, offset);
        offset += chunk;
        len -= chunk;
    }
    free(zeros);
    return err;
}

/* Parts of blocks are not zeroed between another's reading the block and writing it back. */
static int storage_zero_quickly(struct vblk_storage *storage, uint64_t offset, uint64_t len,
                                bool may_unmap)
{
    bool has_edges = ((offset | len) & (storage->request_align - 1)) != 0;
    int err = -EOPNOTSUPP;

    if (has_edges)
        pthread_mutex_lock(&storage->edge_lock);
    if (may_unmap)
        err = storage_fallocate(storage, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len);
    if (storage_is_impossible(err))
        err = storage_fallocate(storage, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, len);
    if (has_edges)
        pthread_mutex_unlock(&storage->edge_lock);
    return err;
}

int vblk_storage_zero(struct vblk_storage *storage, uint64_t offset, uint64_t len, bool may_unmap)
{
    int err;

    if (storage->read_only)
        return -EROFS;
    if (len == 0)
        return 0;
    if (__atomic_load_n(&storage->can_zero, __ATOMIC_RELAXED)) {
        err = storage_zero_quickly(storage, offset, len, may_unmap);
        if (!storage_is_impossible(err))
            return err;
        /* A range that is not aligned says nothing of others. */
        if (err != -EINVAL && may_unmap)
            __atomic_store_n(&storage->can_zero, false, __ATOMIC_RELAXED);
    }
    return storage_write_zeros(storage, offset, len);
}

int vblk_storage_discard(struct vblk_storage *storage, uint64_t offset, uint64_t len)
{
    uint64_t range[2] = {offset, len};
    int err;

    if (storage->read_only)
        return -EROFS;
    if (len == 0 || !__atomic_load_n(&storage->can_discard, __ATOMIC_RELAXED))
        return 0;
    if (storage->is_block_device)
        err = ioctl(storage->fd, BLKDISCARD, range) < 0 ? -errno : 0;
    else
        err = storage_fallocate(storage, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len);
    if (!storage_is_impossible(err))
        return err;
    if (err != -EINVAL)
        __atomic_store_n(&storage->can_discard, false, __ATOMIC_RELAXED);
    return 0;
}

int vblk_storage_truncate(struct vblk_storage *storage, uint64_t size)
{
    if (storage->read_only)
        return -EROFS;
    if (storage->is_block_device)
        return size <= __atomic_load_n(&storage->size, __ATOMIC_ACQUIRE) ? 0 : -ENOTSUP;
    if (size > INT64_MAX)
        return -EFBIG;
    if (ftruncate(storage->fd, (off_t)size) < 0)
        return -errno;
    return vblk_storage_refresh_size(storage);
}

int vblk_storage_reserve(struct vblk_storage *storage, uint64_t from, uint64_t end)
{
    struct stat st;

    if (storage->is_block_device)
        return -EOPNOTSUPP;
    if (fstat(storage->fd, &st) < 0)
        return -errno;
    from = MAX(from, (uint64_t)st.st_size);
    return from < end ? storage_fallocate(storage, 0, from, end - from) : 0;
}

int vblk_storage_map(struct vblk_storage *storage, uint64_t offset, bool *ret_is_data,
                     uint64_t *ret_len)
{
    uint64_t size = __atomic_load_n(&storage->size, __ATOMIC_ACQUIRE);
    off_t data, hole;

    *ret_is_data = true;
    *ret_len = size > offset ? size - offset : UINT64_MAX - offset;
    if (storage->is_block_device)
        return 0;
    data = lseek(storage->fd, (off_t)offset, SEEK_DATA);
    if (data < 0 && errno == ENXIO) { /* nothing but a hole up to the end, or behind it */
        *ret_is_data = false;
        return 0;
    }
    if (data < 0)
        return 0;
    if ((uint64_t)data > offset) {
        *ret_is_data = false;
        *ret_len = (uint64_t)data - offset;
        return 0;
    }
    hole = lseek(storage->fd, data, SEEK_HOLE);
    if (hole > data)
        *ret_len = (uint64_t)hole - offset;
    return 0;
}
