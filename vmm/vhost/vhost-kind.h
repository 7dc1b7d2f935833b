/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds of device differ in. */
#pragma once

#include <stdint.h>

#include "vmm/config.h"

struct vhost_kind {
    const char *name; /* for messages */
    uint16_t virtio_id;
    uint32_t class_code;     /* of PCI */
    uint64_t features;       /* of the device itself, taken where the back-end offers them */
    unsigned n_fixed_queues; /* beside the request queues */
    unsigned n_queues;       /* request queues unless said; 0: one for each vCPU */
    uint16_t queue_size;     /* unless said */
    uint32_t config_len;     /* bytes; generic: as its config says */
};

extern const struct vhost_kind vhost_kinds[]; /* by enum vmm_device_kind */

/*
 * Puts into the configuration space what is for this side to say: the tag and the number of queues.
 * device_config->num_queues may be 0; n_queues is what was settled on.
 */
void vhost_kind_amend_config(const struct vmm_device_config *device_config, unsigned n_queues,
                             uint8_t *space);
/* Whether the configuration space is all ours. */
bool vhost_kind_knows_config(const struct vmm_device_config *device_config);
