/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses that exit to the VMM: ranges of ports or of memory, and who answers there.
 *
 * Any thread (vCPUs) reads and writes; ranges come and go while they do (BARs move, devices are
 * unplugged). An access is 1, 2, 4 or 8 bytes, lies in one range as a whole, or nobody is there:
 * reads are then all ones and writes go nowhere.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct vmm_bus_ops {
    /* len is 1, 2, 4 or 8; offset from the range's base. On the vCPU that accesses. */
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned len);
    void (*write)(void *opaque, uint64_t offset, unsigned len, uint64_t value);
};

struct vmm_bus_range {
    uint64_t base, len;
    const struct vmm_bus_ops *ops;
    void *opaque;
    unsigned n_users; /* under the bus's lock: accesses that are inside ops */
};

struct vmm_bus {
    pthread_mutex_t lock;
    pthread_cond_t left;           /* a range that is being removed has no users any more */
    struct vmm_bus_range **ranges; /* sorted by base */
    unsigned n_ranges;
};

void vmm_bus_init(struct vmm_bus *bus);
void vmm_bus_finish(struct vmm_bus *bus);

/* The range stays the caller's and must live until it is removed. -EEXIST: it overlaps another;
 * -EINVAL: it is empty or wraps. */
int vmm_bus_add(struct vmm_bus *bus, struct vmm_bus_range *range);
/*
 * Afterwards nobody is inside the range's ops, except the calling thread itself: an access may
 * remove its own range (a BAR that is switched off). Does nothing where the range is not there.
 */
void vmm_bus_remove(struct vmm_bus *bus, struct vmm_bus_range *range);

uint64_t vmm_bus_read(struct vmm_bus *bus, uint64_t address, unsigned len);
void vmm_bus_write(struct vmm_bus *bus, uint64_t address, unsigned len, uint64_t value);
