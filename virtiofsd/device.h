/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio file system device (virtio 1.x section 5.11): queue 0 is for high-priority requests
 * (FORGET), the others for all requests; the configuration space says the tag and their number.
 */
#pragma once

#include <assert.h>

#include "vhost-user/backend.h"
#include "vhost-user/wire.h"
#include "virtiofsd/share.h"

/*
 *   offset size
 *        0   36  tag                  UTF-8, filled up with NULs, not ended by one
 *       36    4  num_request_queues
 *       40    4  notify_buf_size      0: there is no notification queue
 */
struct fs_device_config {
    uint8_t tag[FS_TAG_MAX];
    le32_t num_request_queues;
    le32_t notify_buf_size;
};
static_assert(sizeof(struct fs_device_config) == 44, "configuration space");

/* Describes the device of a share; its callbacks take the struct fs_share as `device`. Without a
 * tag there is no configuration space: the front-end has one. */
void fs_device_describe(const struct fs_options *options, struct vu_device *ret_device);
