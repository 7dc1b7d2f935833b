/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images of any format: which one it is, opening and closing, and the calls that wait, made of the
 * format's operations.
 */
#include "vblkd/format/image.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "vblkd/format/image-users.h"
#include "vblkd/format/qcow2.h"
#include "vblkd/format/raw.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/iov.h"

#define IMAGE_PROBE_LEN 512
#define IMAGE_MAX_IOV   64 /* of one transfer */

/* --- opening --- */

struct image_format {
    const struct vblk_format *format;
    /* Whether a file that begins like this is one; NULL: any file can be. */
    bool (*probe)(const void *head, size_t len);
    struct vblk_image *(*open)(struct vblk_storage *storage,
                               const struct vblk_image_options *options, GError **error);
};

/* What any file can be comes last. */
static const struct image_format image_formats[] = {
    {&vblk_format_qcow2, qcow2_probe, qcow2_open},
    {&vblk_format_raw, NULL, raw_open},
};

static const struct image_format *image_find_format(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(image_formats); i++)
        if (strcmp(image_formats[i].format->name, name) == 0)
            return &image_formats[i];
    return NULL;
}

static const struct image_format *image_probe(struct vblk_storage *storage, GError **error)
{
    char head[IMAGE_PROBE_LEN];
    int err = vblk_storage_read(storage, head, sizeof(head), 0);

    if (err < 0) {
        g_set_error(error, G_FILE_ERROR, (int)g_file_error_from_errno(-err),
                    "%s: cannot be read: %s", storage->path, g_strerror(-err));
        return NULL;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(image_formats); i++)
        if (!image_formats[i].probe || image_formats[i].probe(head, sizeof(head)))
            return &image_formats[i];
    return NULL;
}

/* A guest can write the beginning of its raw disk, and so must not decide what it is. */
static bool image_check_format(const char *path, const struct vblk_image_options *options,
                               GError **error)
{
    if (options->format && !image_find_format(options->format)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s: no format is called %s", path,
                    options->format);
        return false;
    }
    if (!options->format && !options->storage.read_only) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "%s: the format of an image that is written must be given", path);
        return false;
    }
    return true;
}

/* Takes over the storage in any case. */
static struct vblk_image *image_open_storage(struct vblk_storage *storage,
                                             const struct vblk_image_options *options,
                                             GError **error)
{
    const struct image_format *format;
    struct vblk_image *image;

    format = options->format ? image_find_format(options->format) : image_probe(storage, error);
    image = format ? format->open(storage, options, error) : NULL;
    if (!image)
        vblk_storage_close(storage);
    return image;
}

struct vblk_image *vblk_image_open(const char *path, const struct vblk_image_options *options,
                                   GError **error)
{
    struct vblk_storage *storage;

    if (!image_check_format(path, options, error))
        return NULL;
    storage = vblk_storage_open(path, &options->storage, error);
    return storage ? image_open_storage(storage, options, error) : NULL;
}

struct vblk_image *vblk_image_open_fd(int fd, const char *name,
                                      const struct vblk_image_options *options, GError **error)
{
    vu_autofd int owned = fd;
    struct vblk_storage *storage;

    if (!image_check_format(name, options, error))
        return NULL;
    storage = vblk_storage_adopt(vu_steal_fd(&owned), name, &options->storage, error);
    return storage ? image_open_storage(storage, options, error) : NULL;
}

const char *vblk_image_guess_format(struct vblk_image *image)
{
    const struct image_format *format = image_probe(image->storage, NULL);

    return format ? format->format->name : vblk_format_raw.name;
}

void vblk_image_close(struct vblk_image *image)
{
    if (!image)
        return;
    image->format->close(image);
    vblk_image_close(image->backing);
    vblk_users_destroy(image->users);
    vblk_storage_close(image->storage);
    g_free(image);
}

/* --- mapping --- */

int vblk_image_map(struct vblk_image *image, uint64_t offset, uint64_t len, unsigned flags,
                   struct vblk_extent *ret_extent, struct vblk_image **ret_image)
{
    uint64_t size;
    int err;

    for (;;) {
        err = image->format->map(image, offset, len, flags, ret_extent);
        if (ret_image)
            *ret_image = image;
        if (err < 0 || ret_extent->kind != VBLK_EXTENT_BACKING)
            return err;
        len = ret_extent->len;
        size = image->backing ? __atomic_load_n(&image->backing->size, __ATOMIC_ACQUIRE) : 0;
        if (offset >= size) {
            *ret_extent = (struct vblk_extent){.kind = VBLK_EXTENT_ZERO, .len = len};
            return 0;
        }
        image = image->backing;
        len = MIN(len, size - offset);
    }
}

/* --- transfers that wait --- */

/* Reads or writes the next len bytes of the cursor at an extent, and advances it. */
static int image_transfer(struct vblk_storage *storage, struct vu_iov_cursor *cursor, uint64_t len,
                          uint64_t offset, bool is_write)
{
    struct iovec part[IMAGE_MAX_IOV];
    uint64_t part_len;
    unsigned n;
    int err;

    while (len > 0) {
        n = vu_iov_peek(cursor, len, part, IMAGE_MAX_IOV, &part_len);
        if (n == 0)
            return -EINVAL;
        err = is_write ? vblk_storage_writev(storage, part, n, offset)
                       : vblk_storage_readv(storage, part, n, offset);
        if (err < 0)
            return err;
        vu_iov_skip(cursor, part_len);
        offset += part_len;
        len -= part_len;
    }
    return 0;
}

static int image_read_compressed(struct vblk_image *image, struct vu_iov_cursor *cursor,
                                 uint64_t len, uint64_t offset)
{
    g_autofree void *buf = g_try_malloc(len);
    int err = buf ? image->format->read_compressed(image, offset, len, buf) : -ENOMEM;

    if (err == 0)
        vu_iov_write(cursor, buf, len);
    return err;
}

static int image_read_extent(struct vblk_image *owner, const struct vblk_extent *extent,
                             struct vu_iov_cursor *cursor, uint64_t offset)
{
    switch (extent->kind) {
    case VBLK_EXTENT_DATA:
        return image_transfer(extent->storage, cursor, extent->len, extent->offset, false);
    case VBLK_EXTENT_COMPRESSED:
        return image_read_compressed(owner, cursor, extent->len, offset);
    case VBLK_EXTENT_ZERO:
    case VBLK_EXTENT_BACKING:
        break;
    }
    vu_iov_zero(cursor, extent->len);
    return 0;
}

static bool image_has_range(const struct vblk_image *image, uint64_t len, uint64_t offset)
{
    uint64_t size = __atomic_load_n(&image->size, __ATOMIC_ACQUIRE);

    return offset <= size && len <= size - offset;
}

int vblk_image_readv(struct vblk_image *image, const struct iovec *iov, unsigned n_iov,
                     uint64_t len, uint64_t offset)
{
    unsigned ticket = vblk_image_enter(image, VBLK_MAX_QUEUES);
    struct vu_iov_cursor cursor;
    struct vblk_extent extent;
    struct vblk_image *owner;
    int err = image_has_range(image, len, offset) ? 0 : -EINVAL;

    vu_iov_cursor_init(&cursor, iov, n_iov, 0);
    while (err == 0 && len > 0) {
        err = vblk_image_map(image, offset, MIN(len, VBLK_REQUEST_MAX), 0, &extent, &owner);
        if (err == 0)
            err = image_read_extent(owner, &extent, &cursor, offset);
        if (err == 0) {
            offset += extent.len;
            len -= extent.len;
        }
    }
    vblk_image_leave(image, VBLK_MAX_QUEUES, ticket);
    return err;
}

/* Writes what lies behind the first extent; its length in *ret_len. */
static int image_write_some(struct vblk_image *image, struct vu_iov_cursor *cursor, uint64_t len,
                            uint64_t offset, uint64_t *ret_len)
{
    const struct vblk_format *format = image->format;
    struct vblk_extent extent;
    struct vblk_write write;
    int err = format->map_write(image, offset, len, 0, &extent);

    if (err == 0) {
        *ret_len = extent.len;
        return image_transfer(extent.storage, cursor, extent.len, extent.offset, true);
    }
    if (err != -EAGAIN || !format->write_begin)
        return err;
    err = format->write_begin(image, offset, len, 0, &write);
    if (err < 0)
        return err;
    *ret_len = write.len;
    err = image_transfer(write.storage, cursor, write.len, write.offset, true);
    return format->write_end(image, &write, err);
}

int vblk_image_writev(struct vblk_image *image, const struct iovec *iov, unsigned n_iov,
                      uint64_t len, uint64_t offset)
{
    unsigned ticket = vblk_image_enter(image, VBLK_MAX_QUEUES);
    struct vu_iov_cursor cursor;
    uint64_t done = 0;
    int err = image_has_range(image, len, offset) ? 0 : -EINVAL;

    if (err == 0 && image->read_only)
        err = -EROFS;
    vu_iov_cursor_init(&cursor, iov, n_iov, 0);
    while (err == 0 && len > 0) {
        err = image_write_some(image, &cursor, MIN(len, VBLK_REQUEST_MAX), offset, &done);
        offset += done;
        len -= err == 0 ? done : 0;
    }
    vblk_image_leave(image, VBLK_MAX_QUEUES, ticket);
    return err;
}

int vblk_image_read(struct vblk_image *image, void *buf, uint64_t len, uint64_t offset)
{
    struct iovec iov = {.iov_base = buf, .iov_len = len};

    return vblk_image_readv(image, &iov, 1, len, offset);
}

int vblk_image_write(struct vblk_image *image, const void *buf, uint64_t len, uint64_t offset)
{
    /* Only read from. */
    union {
        const void *from;
        void *base;
    } data = {.from = buf};
    struct iovec iov = {.iov_base = data.base, .iov_len = len};

    return vblk_image_writev(image, &iov, 1, len, offset);
}

/* --- the rest --- */

static int image_check_change(const struct vblk_image *image, uint64_t len, uint64_t offset)
{
    if (image->read_only)
        return -EROFS;
    return image_has_range(image, len, offset) ? 0 : -EINVAL;
}

int vblk_image_zero(struct vblk_image *image, uint64_t offset, uint64_t len, bool may_unmap)
{
    int err = image_check_change(image, len, offset);

    for (uint64_t chunk; err == 0 && len > 0; offset += chunk, len -= chunk) {
        chunk = MIN(len, VBLK_REQUEST_MAX);
        err = image->format->zero(image, offset, chunk, may_unmap);
    }
    return err;
}

int vblk_image_discard(struct vblk_image *image, uint64_t offset, uint64_t len)
{
    int err = image_check_change(image, len, offset);

    for (uint64_t chunk; err == 0 && len > 0; offset += chunk, len -= chunk) {
        chunk = MIN(len, VBLK_REQUEST_MAX);
        err = image->format->discard(image, offset, chunk);
    }
    return err;
}

int vblk_image_flush(struct vblk_image *image)
{
    return image->read_only ? 0 : image->format->flush(image);
}

int vblk_image_refresh_size(struct vblk_image *image)
{
    int err;

    if (image->format != &vblk_format_raw)
        return -ENOTSUP;
    err = vblk_storage_refresh_size(image->storage);
    if (err == 0)
        __atomic_store_n(&image->size, __atomic_load_n(&image->storage->size, __ATOMIC_ACQUIRE),
                         __ATOMIC_RELEASE);
    return err;
}

void vblk_image_make_read_only(struct vblk_image *image)
{
    __atomic_store_n(&image->read_only, true, __ATOMIC_RELAXED);
    if (image->format->make_read_only)
        image->format->make_read_only(image);
    vblk_storage_make_read_only(image->storage);
}
