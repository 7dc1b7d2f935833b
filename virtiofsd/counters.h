/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests of each kind a guest has sent: what a slow guest is busy with can be read off
 * the log. Any thread.
 */
#pragma once

#include <stdint.h>

#define FS_N_COUNTERS 64 /* opcodes below this are counted one by one, the others together at 0 */

/* By opcode, since the daemon's start; atomic, all of them. */
struct fs_counters {
    uint64_t n[FS_N_COUNTERS];
    uint64_t n_failed[FS_N_COUNTERS]; /* of n: answered with an error */
    uint64_t n_logged[FS_N_COUNTERS]; /* of n, by fs_counters_log */
};

static inline void fs_counters_add(struct fs_counters *counters, uint32_t opcode)
{
    __atomic_fetch_add(&counters->n[opcode < FS_N_COUNTERS ? opcode : 0], 1, __ATOMIC_RELAXED);
}

static inline void fs_counters_add_failed(struct fs_counters *counters, uint32_t opcode)
{
    __atomic_fetch_add(&counters->n_failed[opcode < FS_N_COUNTERS ? opcode : 0], 1,
                       __ATOMIC_RELAXED);
}

/* The name of what is counted there; "unknown". */
const char *fs_counters_name(uint32_t opcode);

/* One line of what was counted since the last one, the most frequent first; none where that is
 * nothing. */
void fs_counters_log(struct fs_counters *counters);
/* The same of all that was counted. */
void fs_counters_log_all(const struct fs_counters *counters);
