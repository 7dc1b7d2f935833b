/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about the image. */
#include "vblkd/control.h"
#include "vblkd/device.h"

JsonNode *blk_control_flush(struct vu_control_call *call, GError **error)
{
    const struct blk_device *device = call->opaque;
    int err = vblk_image_flush(device->image);

    if (err < 0)
        return vu_control_fail(error, "%s: flush: %s", device->image->storage->path,
                               g_strerror(-err));
    return vu_control_nothing();
}
