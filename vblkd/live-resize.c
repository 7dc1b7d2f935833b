/* SPDX-License-Identifier: Apache-2.0 */
/* Another size under a running guest, which learns of it by a change of its configuration. */
#include <gio/gio.h>

#include "vblkd/live-tell.h"
#include "vblkd/live.h"
#include "vhost-user/cleanup.h"

bool blk_live_tell(struct blk_device *device)
{
    return device->backend && vu_backend_config_changed(device->backend) == 0;
}

static bool resize_refuse(const struct vblk_image *image, const char *why, GError **error)
{
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "%s: %s", image->storage->path,
                why);
    return false;
}

static bool resize_check(const struct blk_device *device, uint64_t size, bool may_shrink,
                         GError **error)
{
    const struct vblk_image *image = device->image;

    if (size == 0 || size > INT64_MAX || size % device->logical_block_size != 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "%s: the size must be a multiple of %u", image->storage->path,
                    device->logical_block_size);
        return false;
    }
    if (image->read_only)
        return resize_refuse(image, "the image is read-only", error);
    if (size < image->size && !may_shrink)
        return resize_refuse(image,
                             "shrinking the disk would lose what lies behind its new end, and was "
                             "not asked for",
                             error);
    return true;
}

bool blk_live_resize(const struct blk_live *live, uint64_t size, bool may_shrink, bool *ret_told,
                     GError **error)
{
    struct blk_device *device = live->device;
    bool ok, told = false;

    VU_LOCK_SCOPE(&device->live_lock);
    if (!resize_check(device, size, may_shrink, error) ||
        !blk_device_pause(device, live->timeout_ms, error))
        return false;
    ok = device->image->format->resize(device->image, size, error);
    blk_device_resume(device);
    if (ok)
        told = blk_live_tell(device);
    if (ret_told)
        *ret_told = told;
    return ok;
}

static bool refresh_paused(struct vblk_image *image, bool may_shrink, GError **error)
{
    uint64_t old_size = image->size;
    int err = vblk_image_refresh_size(image);

    if (err < 0) {
        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(-err), "%s: %s",
                    image->storage->path,
                    err == -ENOTSUP ? "the new size must be said, for the image knows its own"
                                    : g_strerror(-err));
        return false;
    }
    if (image->size >= old_size || may_shrink)
        return true;
    __atomic_store_n(&image->size, old_size, __ATOMIC_RELEASE);
    return resize_refuse(image, "has become smaller, and the disk shall not", error);
}

bool blk_live_refresh_size(const struct blk_live *live, bool may_shrink, bool *ret_told,
                           GError **error)
{
    struct blk_device *device = live->device;
    bool ok, told = false;

    VU_LOCK_SCOPE(&device->live_lock);
    if (!blk_device_pause(device, live->timeout_ms, error))
        return false;
    ok = refresh_paused(device->image, may_shrink, error);
    blk_device_resume(device);
    if (ok)
        told = blk_live_tell(device);
    if (ret_told)
        *ret_told = told;
    return ok;
}
