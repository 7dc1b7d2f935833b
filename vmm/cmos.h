/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock of a PC, at ports 0x70 and 0x71: the host's time in UTC, and 114 bytes that keep what
 * is written. It cannot be set, and has no alarm.
 */
#pragma once

#include "vmm/bus.h"

struct vmm_cmos {
    struct vmm_bus *ports;
    struct vmm_bus_range range;
    pthread_mutex_t lock;
    uint8_t index;      /* under lock */
    uint8_t bytes[128]; /* under lock */
};

/* 0 or -errno. */
int vmm_cmos_init(struct vmm_cmos *cmos, struct vmm_bus *ports);
void vmm_cmos_finish(struct vmm_cmos *cmos);
