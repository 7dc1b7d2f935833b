/* SPDX-License-Identifier: Apache-2.0 */
/* See cpu.h. */
#include "vhost-user/cpu.h"

#include <sched.h>

unsigned vu_cpu_count(void)
{
    cpu_set_t set;

    /* It fails on machines with more CPUs than the set has bits: many. */
    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return CPU_SETSIZE;
    return (unsigned)CPU_COUNT(&set);
}
