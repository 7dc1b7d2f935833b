/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests of each kind a guest has sent: what a slow guest is busy with can be read off
 * the log. Any thread.
 */
#pragma once

#include <stdint.h>

#define FS_N_COUNTERS 64 /* opcodes below this are counted one by one, the others together at 0 */

struct fs_counters {
    uint64_t n[FS_N_COUNTERS]; /* atomic, by opcode */
};

static inline void fs_counters_add(struct fs_counters *counters, uint32_t opcode)
{
    __atomic_fetch_add(&counters->n[opcode < FS_N_COUNTERS ? opcode : 0], 1, __ATOMIC_RELAXED);
}

/* One line of what was counted since the last one, the most frequent first; none where that is
 * nothing. Starts anew. */
void fs_counters_log(struct fs_counters *counters);
