/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots inside the image, while it is in use. The image's own functions want it for themselves:
 * in a pause they have it. */
#include <gio/gio.h>
#include <string.h>

#include "vblkd/format/qcow2.h"
#include "vblkd/live-tell.h"
#include "vblkd/live.h"
#include "vhost-user/cleanup.h"

static bool snapshot_refuse(const struct vblk_image *image, int code, const char *why,
                            GError **error)
{
    g_set_error(error, G_IO_ERROR, code, "%s: %s", image->storage->path, why);
    return false;
}

static GPtrArray *snapshot_list(struct vblk_image *image, GError **error)
{
    if (image->format != &vblk_format_qcow2) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "%s: the format %s has no snapshots", image->storage->path,
                    image->format->name);
        return NULL;
    }
    return qcow2_snapshot_list(image, error);
}

/* The one of that ID and name, either of which may be NULL; -1: there is none. */
static int snapshot_find(const GPtrArray *snapshots, const char *id, const char *name)
{
    for (guint i = 0; i < snapshots->len; i++) {
        const struct qcow2_snapshot *snapshot = g_ptr_array_index(snapshots, i);

        if ((!id || strcmp(snapshot->id, id) == 0) && (!name || strcmp(snapshot->name, name) == 0))
            return (int)i;
    }
    return -1;
}

GPtrArray *blk_live_snapshot_list(const struct blk_live *live, GError **error)
{
    VU_LOCK_SCOPE(&live->device->live_lock);
    return snapshot_list(live->device->image, error);
}

bool blk_live_snapshot_create(const struct blk_live *live, const char *name, GError **error)
{
    struct blk_device *device = live->device;
    g_autoptr(GPtrArray) snapshots = NULL;
    bool ok;

    VU_LOCK_SCOPE(&device->live_lock);
    snapshots = snapshot_list(device->image, error);
    if (!snapshots)
        return false;
    if (snapshot_find(snapshots, NULL, name) >= 0)
        return snapshot_refuse(device->image, G_IO_ERROR_EXISTS, "has a snapshot of that name",
                               error);
    if (!blk_device_pause(device, live->timeout_ms, error))
        return false;
    ok = qcow2_snapshot_create(device->image, name, error);
    blk_device_resume(device);
    return ok;
}

/* Looks for it; NULL with *error. Steals it from the list, to be freed. */
static struct qcow2_snapshot *snapshot_take(struct vblk_image *image, const char *id,
                                            const char *name, GError **error)
{
    g_autoptr(GPtrArray) snapshots = snapshot_list(image, error);
    int index;

    if (!snapshots)
        return NULL;
    index = snapshot_find(snapshots, id, name);
    if (index < 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "%s: has no snapshot%s%s%s%s",
                    image->storage->path, id ? " of ID " : "", id ? id : "", name ? " called " : "",
                    name ? name : "");
        return NULL;
    }
    return g_ptr_array_steal_index(snapshots, (guint)index);
}

bool blk_live_snapshot_delete(const struct blk_live *live, const char *id, const char *name,
                              struct qcow2_snapshot **ret_snapshot, GError **error)
{
    struct blk_device *device = live->device;
    struct qcow2_snapshot *snapshot;
    bool ok = false;

    VU_LOCK_SCOPE(&device->live_lock);
    snapshot = snapshot_take(device->image, id, name, error);
    if (!snapshot)
        return false;
    if (blk_device_pause(device, live->timeout_ms, error)) {
        ok = qcow2_snapshot_delete(device->image, snapshot->id, error);
        blk_device_resume(device);
    }
    if (ok && ret_snapshot)
        *ret_snapshot = g_steal_pointer(&snapshot);
    g_clear_pointer(&snapshot, qcow2_snapshot_free);
    return ok;
}

/* In a pause: a queue that starts now reads nothing before it ends. */
static bool snapshot_apply_paused(struct blk_device *device, const char *id, bool is_forced,
                                  GError **error)
{
    if (!is_forced && device->backend && vu_backend_is_running(device->backend))
        return snapshot_refuse(device->image, G_IO_ERROR_BUSY,
                               "a guest uses the disk, and what it has in memory would no longer "
                               "fit; stop its driver first",
                               error);
    return qcow2_snapshot_apply(device->image, id, error);
}

bool blk_live_snapshot_apply(const struct blk_live *live, const char *id, const char *name,
                             bool is_forced, bool *ret_told, GError **error)
{
    struct blk_device *device = live->device;
    struct qcow2_snapshot *snapshot;
    bool ok = false, told = false;

    VU_LOCK_SCOPE(&device->live_lock);
    snapshot = snapshot_take(device->image, id, name, error);
    if (!snapshot)
        return false;
    if (blk_device_pause(device, live->timeout_ms, error)) {
        ok = snapshot_apply_paused(device, snapshot->id, is_forced, error);
        blk_device_resume(device);
    }
    if (ok)
        told = blk_live_tell(device);
    if (ret_told)
        *ret_told = told;
    qcow2_snapshot_free(snapshot);
    return ok;
}
