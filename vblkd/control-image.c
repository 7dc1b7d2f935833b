/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about the image. */
#include "vblkd/control.h"
#include "vblkd/device.h"

JsonNode *blk_control_flush(struct vu_control_call *call, GError **error)
{
    struct vblk_image *image = blk_device_image(call->opaque);
    int err = vblk_image_flush(image);

    if (err < 0)
        return vu_control_fail(error, "%s: flush: %s", image->storage->path, g_strerror(-err));
    return vu_control_nothing();
}
