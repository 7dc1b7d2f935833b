/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening an image's file or block device, and what there is to know of it: its size, what O_DIRECT
 * asks of buffers and ranges, its sectors. storage-file.c moves bytes, image-lock.c has the locks.
 */
#include "vblkd/storage/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vblkd/storage/image-lock.h"
#include "vhost-user/cleanup.h"

#define STORAGE_SECTOR    512u
#define STORAGE_MAX_ALIGN 4096u

const char *const vblk_caches[] = {
    [VBLK_CACHE_WRITEBACK] = "writeback",
    [VBLK_CACHE_NONE] = "none",
    [VBLK_CACHE_WRITETHROUGH] = "writethrough",
    [VBLK_CACHE_DIRECTSYNC] = "directsync",
    [VBLK_CACHE_UNSAFE] = "unsafe",
    NULL,
};

static bool storage_fail(GError **error, const char *path, int err, const char *what)
{
    g_set_error(error, G_FILE_ERROR, (int)g_file_error_from_errno(err), "%s: %s%s%s", path,
                what ? what : "", what ? ": " : "", g_strerror(err));
    return false;
}

static bool storage_is_image(const struct stat *st)
{
    return S_ISREG(st->st_mode) || S_ISBLK(st->st_mode);
}

/* Opens the path without ever waiting, nor taking what is no image. -1 with *error. */
static int storage_open_fd(const char *path, const struct vblk_storage_options *options,
                           GError **error)
{
    int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (options->read_only ? O_RDONLY : O_RDWR) |
                (options->create ? O_CREAT : 0);
    vu_autofd int fd = -1;
    struct stat st;

    /* Opening alone has consequences for a FIFO or a tape; what replaces it meanwhile is let go. */
    if (stat(path, &st) == 0 && !storage_is_image(&st)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "%s: neither a regular file nor a block device", path);
        return -1;
    }
    fd = open(path, flags, 0644);
    if (fd < 0 || fstat(fd, &st) < 0) {
        storage_fail(error, path, errno, NULL);
        return -1;
    }
    if (!storage_is_image(&st)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "%s: neither a regular file nor a block device", path);
        return -1;
    }
    return vu_steal_fd(&fd);
}

/*
 * The page cache, or not. A file in memory stays O_NONBLOCK: it ignores that, but io_uring then
 * reads and writes it at once, rather than by a thread.
 */
static bool storage_set_flags(struct vblk_storage *storage, GError **error)
{
    int flags = vblk_cache_is_direct(storage->cache) ? O_DIRECT : 0;
    struct statfs fs;

    storage->is_in_memory = fstatfs(storage->fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
    if (storage->is_in_memory)
        flags |= O_NONBLOCK;
    if (fcntl(storage->fd, F_SETFL, flags) == 0)
        return true;
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                "%s: cache=%s does not work here, the file system has no O_DIRECT (%s); "
                "cache=writeback does",
                storage->path, vblk_caches[storage->cache], g_strerror(errno));
    return false;
}

static bool storage_can_read(int fd, void *buf, size_t len, off_t offset)
{
    return pread(fd, buf, len, offset) >= 0;
}

/* By trying; for file systems that do not tell. */
static void storage_probe_alignment(struct vblk_storage *storage)
{
    void *buf = NULL;

    storage->request_align = storage->memory_align = STORAGE_MAX_ALIGN;
    if (storage->size < STORAGE_MAX_ALIGN ||
        posix_memalign(&buf, STORAGE_MAX_ALIGN, (size_t)2 * STORAGE_MAX_ALIGN) != 0)
        return;
    for (uint32_t align = STORAGE_SECTOR; align < STORAGE_MAX_ALIGN; align *= 2) {
        if (storage_can_read(storage->fd, buf, align, align)) {
            storage->request_align = align;
            break;
        }
    }
    for (uint32_t align = STORAGE_SECTOR; align < STORAGE_MAX_ALIGN; align *= 2) {
        if (storage_can_read(storage->fd, (char *)buf + align, STORAGE_MAX_ALIGN, 0)) {
            storage->memory_align = align;
            break;
        }
    }
    free(buf);
}

static void storage_learn_alignment(struct vblk_storage *storage)
{
    storage->request_align = storage->memory_align = 1;
    if (!vblk_cache_is_direct(storage->cache))
        return;
#ifdef STATX_DIOALIGN
    struct statx stx;

    if (statx(storage->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
        (stx.stx_mask & STATX_DIOALIGN) && stx.stx_dio_offset_align > 0 &&
        stx.stx_dio_mem_align > 0) {
        storage->request_align = stx.stx_dio_offset_align;
        storage->memory_align = stx.stx_dio_mem_align;
        return;
    }
#endif
    storage_probe_alignment(storage);
}

int vblk_storage_refresh_size(struct vblk_storage *storage)
{
    struct stat st;
    uint64_t size;

    if (storage->is_block_device) {
        if (ioctl(storage->fd, BLKGETSIZE64, &size) < 0)
            return -errno;
    } else {
        if (fstat(storage->fd, &st) < 0)
            return -errno;
        size = (uint64_t)st.st_size;
    }
    __atomic_store_n(&storage->size, size, __ATOMIC_RELEASE);
    return 0;
}

static bool storage_learn(struct vblk_storage *storage, GError **error)
{
    unsigned physical = 0;
    struct stat st;
    int err;

    if (fstat(storage->fd, &st) < 0)
        return storage_fail(error, storage->path, errno, NULL);
    storage->is_block_device = S_ISBLK(st.st_mode);
    storage->physical_sector = st.st_blksize > 0 ? (uint32_t)st.st_blksize : STORAGE_SECTOR;
    if (storage->is_block_device && ioctl(storage->fd, BLKPBSZGET, &physical) == 0)
        storage->physical_sector = physical;
    storage->can_discard = storage->can_zero = !storage->read_only;
    err = vblk_storage_refresh_size(storage);
    if (err < 0)
        return storage_fail(error, storage->path, -err, "size");
    storage_learn_alignment(storage);
    return true;
}

/* The locks come first: a file that another writes is not emptied. */
static bool storage_prepare(struct vblk_storage *storage,
                            const struct vblk_storage_options *options, GError **error)
{
    if (options->take_locks && !vblk_image_lock_take(storage, options, error))
        return false;
    if (!storage_set_flags(storage, error))
        return false;
    if (options->create && ftruncate(storage->fd, 0) < 0 && errno != EINVAL)
        return storage_fail(error, storage->path, errno, "cannot empty it");
    return storage_learn(storage, error);
}

/* Takes over fd in any case. */
static struct vblk_storage *storage_create(int fd, const char *path,
                                           const struct vblk_storage_options *options,
                                           GError **error)
{
    struct vblk_storage *storage = g_new0(struct vblk_storage, 1);

    storage->fd = fd;
    pthread_mutex_init(&storage->edge_lock, NULL);
    storage->path = g_strdup(path);
    storage->cache = options->cache;
    storage->read_only = options->read_only;
    if (storage_prepare(storage, options, error))
        return storage;
    vblk_storage_close(storage);
    return NULL;
}

struct vblk_storage *vblk_storage_open(const char *path, const struct vblk_storage_options *options,
                                       GError **error)
{
    int fd = storage_open_fd(path, options, error);

    return fd < 0 ? NULL : storage_create(fd, path, options, error);
}

struct vblk_storage *vblk_storage_adopt(int fd, const char *name,
                                        const struct vblk_storage_options *options, GError **error)
{
    vu_autofd int owned = fd;
    int flags = fcntl(fd, F_GETFL);
    struct stat st;

    if (flags < 0 || fstat(fd, &st) < 0) {
        storage_fail(error, name, errno, NULL);
        return NULL;
    }
    if (!storage_is_image(&st) || (flags & O_PATH)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "%s: neither a regular file nor a block device", name);
        return NULL;
    }
    if ((flags & O_ACCMODE) != O_RDWR && !(options->read_only && (flags & O_ACCMODE) == O_RDONLY)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_ACCES,
                    "%s: was not opened for reading and writing", name);
        return NULL;
    }
    return storage_create(vu_steal_fd(&owned), name, options, error);
}

void vblk_storage_make_read_only(struct vblk_storage *storage)
{
    storage->read_only = true;
    storage->can_discard = storage->can_zero = false;
    vblk_image_lock_downgrade(storage);
}

bool vblk_storage_is_same(const struct vblk_storage *a, const struct vblk_storage *b)
{
    struct stat x, y;

    if (fstat(a->fd, &x) < 0 || fstat(b->fd, &y) < 0)
        return false;
    return S_ISBLK(x.st_mode) && S_ISBLK(y.st_mode) ? x.st_rdev == y.st_rdev
                                                    : x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

void vblk_storage_close(struct vblk_storage *storage)
{
    if (!storage)
        return;
    vblk_image_lock_release(storage);
    vu_clear_fd(&storage->fd);
    pthread_mutex_destroy(&storage->edge_lock);
    g_free(storage->path);
    g_free(storage);
}
