/* SPDX-License-Identifier: Apache-2.0 */
/* convert --bitmaps. They are enabled at the end, so that copying has not set their bits. */
#include "vblkd/img/convert-bitmaps.h"

#include <string.h>

#include "vblkd/format/qcow2-bitmap-edit.h"
#include "vblkd/format/qcow2-bitmap.h"
#include "vblkd/format/qcow2-image.h"
#include "vblkd/img/command.h"

bool img_convert_bitmaps_check(struct vblk_image *source, bool skips_broken, GError **error)
{
    g_autoptr(GPtrArray) bitmaps = NULL;

    if (strcmp(source->format->name, "qcow2") != 0) {
        g_set_error(error, VU_OPTION_ERROR, 0, "--bitmaps: the format %s has no bitmaps",
                    source->format->name);
        return false;
    }
    if (qcow2_of(source)->header.version < 3) {
        g_set_error(error, VU_OPTION_ERROR, 0, "--bitmaps: the source's version has no bitmaps");
        return false;
    }
    bitmaps = qcow2_bitmap_list(source, error);
    for (guint i = 0; bitmaps && i < bitmaps->len; i++) {
        const struct qcow2_bitmap *bitmap = g_ptr_array_index(bitmaps, i);

        if (qcow2_bitmap_is_usable(bitmap))
            continue;
        if (!skips_broken) {
            g_set_error(error, VU_OPTION_ERROR, 0,
                        "bitmap \"%s\" is inconsistent: --skip-broken-bitmaps passes it over, "
                        "vblk-img bitmap --remove removes it",
                        bitmap->name);
            return false;
        }
        img_warn("bitmap \"%s\" is inconsistent, and not copied", bitmap->name);
    }
    return bitmaps != NULL;
}

bool img_convert_bitmaps(struct vblk_image *source, struct vblk_image *target, GError **error)
{
    g_autoptr(GPtrArray) bitmaps = qcow2_bitmap_list(source, error);
    bool ok = bitmaps != NULL;

    for (guint i = 0; ok && i < bitmaps->len; i++) {
        const struct qcow2_bitmap *bitmap = g_ptr_array_index(bitmaps, i);
        const char *name = bitmap->name;

        if (!qcow2_bitmap_is_usable(bitmap))
            continue;
        ok =
            qcow2_bitmap_add(target, name, UINT64_C(1) << bitmap->granularity_bits, false, error) &&
            qcow2_bitmap_merge(target, name, source, name, error) &&
            (!(bitmap->flags & QCOW2_BITMAP_AUTO) ||
             qcow2_bitmap_enable(target, name, true, error));
        if (!ok)
            g_prefix_error(error, "bitmap \"%s\": ", name);
    }
    return ok;
}
