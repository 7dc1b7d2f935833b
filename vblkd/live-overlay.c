/* SPDX-License-Identifier: Apache-2.0 */
/*
 * External snapshots: an overlay, opened by the client of the control socket, comes in front of the
 * image in use. What can fail comes before the old image is changed in any way that lasts.
 */
#include <gio/gio.h>

#include "vblkd/format/qcow2-overlay.h"
#include "vblkd/live.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

static struct vblk_image *overlay_open(const struct blk_live *live, int fd, const char *name,
                                       GError **error)
{
    struct vblk_image_options options = live->device->options.image;

    options.format = "qcow2";
    options.no_backing = true;
    options.has_journal = false; /* not yet: the image in use has it */
    options.chain = NULL;
    options.storage.read_only = options.storage.create = options.storage.share_all = false;
    return vblk_image_open_fd(fd, name, &options, error);
}

/* The guest knows a block size, and may go on with that. */
static bool overlay_check_blocks(const struct blk_device *device, const struct vblk_image *overlay,
                                 GError **error)
{
    if (overlay->storage->request_align <= device->logical_block_size)
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                "%s: cache=%s asks for blocks of %u bytes there, and those of the guest have %u",
                overlay->storage->path, vblk_caches[overlay->storage->cache],
                overlay->storage->request_align, device->logical_block_size);
    return false;
}

static bool overlay_insert_paused(const struct blk_live *live, struct vblk_image *overlay,
                                  GError **error)
{
    const struct vblk_image_options *options = &live->device->options.image;
    struct blk_device *device = live->device;
    struct vblk_image *active = device->image;
    int err =
        qcow2_overlay_insert(overlay, active, options->has_journal ? options->journal_fd : -1);

    if (err < 0) {
        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(-err),
                    "%s: cannot be left behind: %s", active->storage->path, g_strerror(-err));
        return false;
    }
    __atomic_store_n(&device->image, overlay, __ATOMIC_RELEASE);
    blk_choice_follow(&device->choice, overlay->storage);
    vu_info("vblkd: the disk is %s from now on, with %s behind it", overlay->storage->path,
            active->storage->path);
    return true;
}

bool blk_live_insert_overlay(const struct blk_live *live, int fd, const char *name, GError **error)
{
    struct blk_device *device = live->device;
    vu_autofd int owned = fd;
    struct vblk_image *overlay;
    bool ok;

    VU_LOCK_SCOPE(&device->live_lock);
    if (device->image->read_only) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_READ_ONLY, "%s: the image is read-only",
                    device->image->storage->path);
        return false;
    }
    overlay = overlay_open(live, vu_steal_fd(&owned), name, error);
    if (!overlay)
        return false;
    ok = qcow2_overlay_check(overlay, device->image, error) &&
         overlay_check_blocks(device, overlay, error) &&
         blk_device_pause(device, live->timeout_ms, error);
    if (ok) {
        ok = overlay_insert_paused(live, overlay, error);
        blk_device_resume(device);
    }
    if (!ok)
        vblk_image_close(overlay);
    return ok;
}
