/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the drivers in ring 3 have in common: the ways of using a queue that they go through, each
 * with data of its own, and one interrupt, which is counted. The command line may say "split": the
 * back-end has no packed rings.
 */
#pragma once

#include "payload.h"
#include "virtio.h"

#define F_EVENT_IDX (1ull << 29)
#define F_VERSION_1 (1ull << 32)
#define F_PACKED    (1ull << 34)

struct pass {
    char name; /* from a on */
    uint64_t features;
    bool has_irqs; /* of queues on vector 1 */
    const char *what;
};

/* How many interrupts there were in this pass. */
extern volatile unsigned passes_n_irqs;

/* Finds the device of that kind, goes through all passes in ring 3, and ends the guest. */
void passes_run(const struct payload_info *info, uint16_t virtio_id,
                void (*make_pass)(struct virtio *virtio, const struct pass *pass));
/* Up to where a driver sets up its queues. */
void passes_negotiate(struct virtio *virtio, const struct pass *pass);
