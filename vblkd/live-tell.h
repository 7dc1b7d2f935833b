/* SPDX-License-Identifier: Apache-2.0 */
/* What the operations of live.h share. */
#pragma once

#include "vblkd/device.h"

/* Tells the front-end that the configuration space has changed; whether that could be. By who holds
 * live_lock, not in a pause. */
bool blk_live_tell(struct blk_device *device);
