/* SPDX-License-Identifier: Apache-2.0 */
/* The clock, and what a thread that polls has to know of its CPU. Any thread. */
#pragma once

#include <stdint.h>
#include <time.h>

/* CLOCK_MONOTONIC in nanoseconds; no system call. */
static inline uint64_t vu_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

/* The same in milliseconds, signed for arithmetic on deadlines. */
static inline int64_t vu_now_ms(void)
{
    return (int64_t)(vu_now_ns() / 1000000);
}

/* Tells the CPU that this is a loop that waits, which leaves more of the core to its other thread.
 */
static inline void vu_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#else
    __asm__ volatile("" ::: "memory");
#endif
}

/* CPUs that this process may use; at least 1. */
unsigned vu_cpu_count(void);
