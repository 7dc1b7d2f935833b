/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads near the memory they work on. On a host of several NUMA nodes a queue's thread runs on,
 * and allocates from, the node that its ring lies on; on any other host nothing of this does
 * anything.
 *
 * The nodes are learned once, at start-up, before the sandbox hides /sys; after that any thread.
 */
#pragma once

#include <stdbool.h>

#define VU_NUMA_SYSFS     "/sys/devices/system/node"
#define VU_NUMA_MAX_NODES 64

/* Reads nodeN/cpulist of the folder. Threads stay where they are unless this has found several
 * nodes. */
void vu_numa_learn(const char *path);

/*
 * Moves the calling thread, and what it allocates from now on, to the node on which the page of
 * `address` lies. Not where none of that node's CPUs is among those it may use: whoever chose these
 * knows better. True where it was moved.
 */
bool vu_numa_follow(const void *address);

/* How the kernel is asked; tests have their own. Each 0 or -errno. */
struct vu_numa_calls {
    int (*node_of)(const void *address, unsigned *ret_node);
    int (*get_cpus)(void *ret_cpus, unsigned len); /* a cpu_set_t */
    int (*set_cpus)(const void *cpus, unsigned len);
    int (*prefer)(unsigned node);
};
extern struct vu_numa_calls vu_numa_calls;
