/* SPDX-License-Identifier: Apache-2.0 */
/*
 * External snapshots. Whatever moment the process is killed at, one of the two images is the disk,
 * and the other one does no harm to it: the active image is settled, so that nothing of it is in
 * the journal, before the journal becomes the overlay's, and the overlay is empty until then. A
 * successor that is given the wrong one of the two learns from the journal that it is.
 */
#include "vblkd/format/qcow2-overlay.h"

#include <gio/gio.h>
#include <string.h>

#include "vblkd/format/qcow2-journal.h"
#include "vblkd/format/qcow2.h"

/* What is wrong with it by itself; NULL: nothing. */
static const char *overlay_look(const struct qcow2 *q)
{
    if (q->image->read_only)
        return "it is read-only";
    if (!q->header.backing_name)
        return "it has no backing file, which should be the image in use";
    if (q->has_data_file)
        return "an external data file is not supported here";
    if (q->header.n_snapshots > 0)
        return "it has snapshots";
    if (q->header.has_bitmaps)
        return "it has bitmaps";
    for (uint32_t i = 0; i < q->l1.n_entries; i++) {
        if (q->l1.entries[i] & QCOW2_OFFSET_MASK)
            return "it is not empty";
    }
    return qcow2_is_corrupt(q) ? "it is corrupt" : NULL;
}

static bool overlay_is_behind(const struct vblk_image *overlay, const struct vblk_image *active)
{
    for (; active; active = active->backing) {
        if (vblk_storage_is_same(overlay->storage, active->storage))
            return true;
    }
    return false;
}

bool qcow2_overlay_check(const struct vblk_image *overlay, const struct vblk_image *active,
                         GError **error)
{
    const struct qcow2 *q = qcow2_of(overlay);
    const char *format = q->header.backing_format, *why = overlay_look(q);

    if (!why && format && strcmp(format, active->format->name) != 0)
        why = "its backing file is said to have another format than the image in use";
    if (!why && overlay->size != active->size)
        why = "it is not as large as the image in use";
    if (!why && overlay_is_behind(overlay, active))
        why = "it is the image in use, or one behind it";
    if (why)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "%s: %s",
                    overlay->storage->path, why);
    return why == NULL;
}

int qcow2_overlay_insert(struct vblk_image *overlay, struct vblk_image *active, int journal_fd)
{
    int ret = active->format->settle(active);

    if (ret == 0 && journal_fd >= 0)
        ret = qcow2_journal_move(active, qcow2_of(overlay), journal_fd);
    if (ret < 0)
        return ret;
    vblk_image_make_read_only(active);
    overlay->backing = active;
    return 0;
}
