/* SPDX-License-Identifier: Apache-2.0 */
/* The ways of using a queue that the drivers in ring 3 go through, each with data of its own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define F_EVENT_IDX (1ull << 29)
#define F_VERSION_1 (1ull << 32)
#define F_PACKED    (1ull << 34)

/* Split rings first. */
static const struct pass {
    char name;
    uint64_t features;
    bool has_irqs;
    const char *what;
} passes[] = {
    {'a', 0, false, "split rings, polled"},
    {'b', 0, true, "split rings, interrupts"},
    {'c', F_EVENT_IDX, true, "split rings, interrupts, event index"},
    {'d', F_PACKED, false, "packed rings, polled"},
    {'e', F_PACKED, true, "packed rings, interrupts"},
    {'f', F_PACKED | F_EVENT_IDX, true, "packed rings, interrupts, event index"},
};

#define N_PASSES (sizeof(passes) / sizeof(passes[0]))
