/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of device: virtio 1.3 sections 5.2 (block), 5.4 (entropy), 5.11 (file system). */
#include "vmm/vhost/vhost-kind.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <string.h>

#define BIT(n) (UINT64_C(1) << (n))

/* Feature bits that mean something to the device, not to the transport. */
#define GENERIC_FEATURES (BIT(24) - 1)

const struct vhost_kind vhost_kinds[] = {
    [VMM_DEVICE_FS] =
        {
            .name = "fs",
            .virtio_id = VIRTIO_ID_FS,
            .class_code = 0x018000,
            .n_fixed_queues = 1,
            .n_queues = 1,
            .queue_size = 128,
            .config_len = sizeof(struct virtio_fs_config),
        },
    [VMM_DEVICE_BLK] =
        {
            .name = "blk",
            .virtio_id = VIRTIO_ID_BLOCK,
            .class_code = 0x010000,
            .features = BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(VIRTIO_BLK_F_SEG_MAX) |
                        BIT(VIRTIO_BLK_F_GEOMETRY) | BIT(VIRTIO_BLK_F_RO) |
                        BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_FLUSH) |
                        BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_CONFIG_WCE) |
                        BIT(VIRTIO_BLK_F_MQ) | BIT(VIRTIO_BLK_F_DISCARD) |
                        BIT(VIRTIO_BLK_F_WRITE_ZEROES),
            .queue_size = 128,
            .config_len = 60, /* up to write_zeroes_may_unmap and its padding */
        },
    [VMM_DEVICE_RNG] =
        {
            .name = "rng",
            .virtio_id = VIRTIO_ID_RNG,
            .class_code = 0x00ff00,
            .n_queues = 1,
            .queue_size = 64,
        },
    [VMM_DEVICE_GENERIC] =
        {
            .name = "device",
            .class_code = 0x00ff00,
            .features = GENERIC_FEATURES,
            .n_queues = 1,
            .queue_size = 128,
        },
};

void vhost_kind_amend_config(const struct vmm_device_config *device_config, unsigned n_queues,
                             uint8_t *space)
{
    struct virtio_fs_config fs = {0};
    uint16_t n_blk_queues = (uint16_t)n_queues;

    if (device_config->kind == VMM_DEVICE_FS && device_config->tag) {
        memcpy(fs.tag, device_config->tag, MIN(strlen(device_config->tag), sizeof(fs.tag)));
        memcpy(space, fs.tag, sizeof(fs.tag));
    }
    if (device_config->kind == VMM_DEVICE_FS) {
        fs.num_request_queues = n_queues - vhost_kinds[VMM_DEVICE_FS].n_fixed_queues;
        memcpy(space + offsetof(struct virtio_fs_config, num_request_queues),
               &fs.num_request_queues, sizeof(fs.num_request_queues));
    }
    if (device_config->kind == VMM_DEVICE_BLK)
        memcpy(space + offsetof(struct virtio_blk_config, num_queues), &n_blk_queues,
               sizeof(n_blk_queues));
}

bool vhost_kind_knows_config(const struct vmm_device_config *device_config)
{
    return device_config->kind == VMM_DEVICE_RNG ||
           (device_config->kind == VMM_DEVICE_FS && device_config->tag) ||
           (device_config->kind == VMM_DEVICE_GENERIC && device_config->config_size == 0);
}
