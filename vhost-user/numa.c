/* SPDX-License-Identifier: Apache-2.0 */
/* The host's nodes, and how a thread comes to one: see numa.h. */
#include "vhost-user/numa.h"

#include <errno.h>
#include <glib.h>
#include <numaif.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "vhost-user/log.h"

/* Written by vu_numa_learn alone. */
static cpu_set_t numa_cpus[VU_NUMA_MAX_NODES];
static unsigned numa_n_nodes; /* that have CPUs */

/* "0-3,8,10-11\n", as the kernel writes it. What is not understood ends it. */
static void numa_parse_cpus(const char *text, cpu_set_t *ret_cpus)
{
    unsigned long first, last;
    char *end;

    CPU_ZERO(ret_cpus);
    while (g_ascii_isdigit(*text)) {
        first = last = strtoul(text, &end, 10);
        if (*end == '-')
            last = strtoul(end + 1, &end, 10);
        for (; first <= last && first < CPU_SETSIZE; first++)
            CPU_SET(first, ret_cpus);
        text = *end == ',' ? end + 1 : "";
    }
}

void vu_numa_learn(const char *path)
{
    numa_n_nodes = 0;
    for (unsigned i = 0; i < VU_NUMA_MAX_NODES; i++) {
        g_autofree char *file = g_strdup_printf("%s/node%u/cpulist", path, i);
        g_autofree char *text = NULL;

        CPU_ZERO(&numa_cpus[i]);
        if (g_file_get_contents(file, &text, NULL, NULL))
            numa_parse_cpus(text, &numa_cpus[i]);
        numa_n_nodes += CPU_COUNT(&numa_cpus[i]) > 0;
    }
}

/* --- the kernel --- */

static int numa_node_of(const void *address, unsigned *ret_node)
{
    void *page = (void *)((uintptr_t)address & ~(uintptr_t)4095);
    int node = -1;

    if (get_mempolicy(&node, NULL, 0, page, MPOL_F_NODE | MPOL_F_ADDR) < 0)
        return -errno;
    *ret_node = (unsigned)node;
    return 0;
}

static int numa_get_cpus(void *ret_cpus, unsigned len)
{
    return sched_getaffinity(0, len, ret_cpus) < 0 ? -errno : 0;
}

static int numa_set_cpus(const void *cpus, unsigned len)
{
    return sched_setaffinity(0, len, cpus) < 0 ? -errno : 0;
}

static int numa_prefer(unsigned node)
{
    unsigned long nodes = 1UL << node;

    return set_mempolicy(MPOL_PREFERRED, &nodes, VU_NUMA_MAX_NODES + 1) < 0 ? -errno : 0;
}

G_STATIC_ASSERT(sizeof(unsigned long) * 8 >= VU_NUMA_MAX_NODES);

struct vu_numa_calls vu_numa_calls = {
    .node_of = numa_node_of,
    .get_cpus = numa_get_cpus,
    .set_cpus = numa_set_cpus,
    .prefer = numa_prefer,
};

bool vu_numa_follow(const void *address)
{
    cpu_set_t allowed, cpus;
    unsigned node;

    if (numa_n_nodes < 2 || address == NULL || vu_numa_calls.node_of(address, &node) < 0 ||
        node >= VU_NUMA_MAX_NODES || vu_numa_calls.get_cpus(&allowed, sizeof(allowed)) < 0)
        return false;
    CPU_AND(&cpus, &allowed, &numa_cpus[node]);
    if (CPU_COUNT(&cpus) == 0 || vu_numa_calls.set_cpus(&cpus, sizeof(cpus)) < 0)
        return false;
    if (vu_numa_calls.prefer(node) < 0)
        vu_debug("node %u: its memory cannot be preferred", node);
    return true;
}
