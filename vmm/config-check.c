/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine must be as a whole, and what was left out of its description. */
#include <string.h>

#include "vmm/config.h"
#include "vmm/keyval.h"

#define DEFAULT_SIZE (UINT64_C(128) << 20)

static bool node_has_cpu(const struct vmm_numa_node *node, unsigned cpu)
{
    return node->cpus[cpu / 64] >> (cpu % 64) & 1;
}

static bool node_has_any_cpu(const struct vmm_numa_node *node)
{
    return node->cpus[0] || node->cpus[1] || node->cpus[2] || node->cpus[3];
}

/* --- memory --- */

/* A memfd that nobody has named. */
static char *config_add_memdev(struct vmm_config *config, unsigned node, uint64_t size)
{
    struct vmm_memdev *memdev = g_new0(struct vmm_memdev, 1);

    memdev->id = g_strdup_printf("ram-node%u", node);
    memdev->size = size;
    memdev->share = memdev->seal = true;
    g_ptr_array_add(config->memdevs, memdev);
    return g_strdup(memdev->id);
}

/* Without -numa there is one node, of one memdev. */
static bool check_only_node(struct vmm_config *config, GError **error)
{
    struct vmm_numa_node *node = &config->nodes[0];

    config->n_nodes = 1;
    node->exists = true;
    node->initiator = VMM_NO_NODE;
    if (!config->memory_backend) {
        if (config->memory_size == 0)
            config->memory_size = DEFAULT_SIZE;
        node->memdev = config_add_memdev(config, 0, config->memory_size);
        return true;
    }
    if (!vmm_config_find_memdev(config, config->memory_backend))
        return vmm_config_fail(error, "-machine: memory-backend: there is no -object %s",
                               config->memory_backend);
    node->memdev = g_strdup(config->memory_backend);
    return true;
}

/* Every node's memdev exists and is its own; or none has one, and they share -m evenly. */
static bool check_node_memory(struct vmm_config *config, GError **error)
{
    g_autoptr(GHashTable) used = g_hash_table_new(g_str_hash, g_str_equal);
    unsigned n_nodes = 0, left;

    for (unsigned i = 0; i < config->n_nodes; i++) {
        struct vmm_numa_node *node = &config->nodes[i];

        n_nodes += node->exists;
        if (!node->memdev && config->memory_backend && config->n_nodes == 1)
            node->memdev = g_strdup(config->memory_backend);
        if (!node->memdev)
            continue;
        if (!vmm_config_find_memdev(config, node->memdev))
            return vmm_config_fail(error, "-numa node,nodeid=%u: memdev: there is no -object %s", i,
                                   node->memdev);
        if (!g_hash_table_add(used, node->memdev))
            return vmm_config_fail(error,
                                   "-numa node,nodeid=%u: memdev: %s is another node's already", i,
                                   node->memdev);
    }
    if (g_hash_table_size(used) > 0)
        return true;
    if (config->memory_size == 0)
        config->memory_size = DEFAULT_SIZE;
    left = n_nodes;
    for (unsigned i = 0; i < config->n_nodes; i++) {
        /* Whole MiB, and the last has what remains. */
        uint64_t size = config->memory_size / n_nodes >> 20 << 20;

        if (!config->nodes[i].exists)
            continue;
        if (size == 0)
            return vmm_config_fail(error, "-m: too little for %u nodes", n_nodes);
        left--;
        if (left == 0)
            size = config->memory_size - (n_nodes - 1) * size;
        config->nodes[i].memdev = config_add_memdev(config, i, size);
    }
    return true;
}

/* The nodes' sizes are -m's, and back-ends can see all of it. */
static bool check_sizes(struct vmm_config *config, GError **error)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < config->n_nodes; i++) {
        struct vmm_memdev *memdev;

        if (!config->nodes[i].memdev)
            continue;
        memdev = vmm_config_find_memdev(config, config->nodes[i].memdev);
        if (__builtin_add_overflow(sum, memdev->size, &sum))
            return vmm_config_fail(error, "-object %s: size: is too much", memdev->id);
        if (!memdev->share && config->devices->len > 0)
            return vmm_config_fail(error, "-object %s: vhost-user devices need share=on",
                                   memdev->id);
        memdev->prealloc |= config->mem_prealloc;
    }
    if (config->memory_size && sum != config->memory_size)
        return vmm_config_fail(error,
                               "-m: is %" G_GUINT64_FORMAT " bytes, but the memory of the nodes "
                               "sums to %" G_GUINT64_FORMAT,
                               config->memory_size, sum);
    config->memory_size = sum;
    return true;
}

/* --- nodes --- */

static bool place_has_cpu(const struct vmm_cpu_place *place, const struct vmm_topology *smp,
                          unsigned cpu)
{
    int thread = (int)(cpu % smp->threads);
    int core = (int)(cpu / smp->threads % smp->cores);
    int socket = (int)(cpu / smp->threads / smp->cores);

    return (place->socket < 0 || place->socket == socket) &&
           (place->core < 0 || place->core == core) &&
           (place->thread < 0 || place->thread == thread);
}

static bool check_cpu_places(struct vmm_config *config, GError **error)
{
    for (unsigned i = 0; i < config->cpu_places->len; i++) {
        const struct vmm_cpu_place *place =
            &g_array_index(config->cpu_places, struct vmm_cpu_place, i);
        unsigned n_found = 0;

        for (unsigned cpu = 0; cpu < config->smp.max_cpus; cpu++) {
            if (!place_has_cpu(place, &config->smp, cpu))
                continue;
            config->nodes[place->node].cpus[cpu / 64] |= UINT64_C(1) << (cpu % 64);
            n_found++;
        }
        if (n_found == 0)
            return vmm_config_fail(
                error, "-numa cpu,node-id=%u: no vCPU sits there (-smp has %u sockets of %u cores)",
                place->node, config->smp.sockets, config->smp.cores);
    }
    return true;
}

/* Every vCPU is on one node. Where no node was given any, they are dealt out in blocks. */
static bool check_node_cpus(struct vmm_config *config, GError **error)
{
    bool any = false;
    unsigned n_nodes = 0, at = 0;

    for (unsigned i = 0; i < config->n_nodes; i++) {
        any |= node_has_any_cpu(&config->nodes[i]);
        n_nodes += config->nodes[i].exists;
    }
    for (unsigned i = 0; i < config->n_nodes && !any; i++) {
        if (!config->nodes[i].exists)
            continue;
        for (unsigned cpu = 0; cpu < config->smp.max_cpus; cpu++)
            if (cpu * n_nodes / config->smp.max_cpus == at)
                config->nodes[i].cpus[cpu / 64] |= UINT64_C(1) << (cpu % 64);
        at++;
    }
    for (unsigned cpu = 0; cpu < VMM_MAX_CPUS; cpu++) {
        unsigned n_holders = 0;

        for (unsigned i = 0; i < config->n_nodes; i++)
            n_holders += node_has_cpu(&config->nodes[i], cpu);
        if (cpu >= config->smp.max_cpus && n_holders > 0)
            return vmm_config_fail(error, "-numa node: cpus: there is no vCPU %u (-smp has %u)",
                                   cpu, config->smp.max_cpus);
        if (n_holders > 1)
            return vmm_config_fail(error, "-numa node: cpus: vCPU %u is on two nodes", cpu);
        if (cpu < config->smp.max_cpus && n_holders == 0)
            return vmm_config_fail(error, "-numa node: cpus: vCPU %u is on no node", cpu);
    }
    return true;
}

/* Distances that were said one way hold both ways; where any was said, all must be. */
static bool check_distances(struct vmm_config *config, GError **error)
{
    bool any = false;

    for (unsigned from = 0; from < VMM_MAX_NODES; from++) {
        for (unsigned to = 0; to < VMM_MAX_NODES; to++) {
            if (config->nodes[from].distances[to] == 0)
                continue;
            if (!config->nodes[from].exists || !config->nodes[to].exists)
                return vmm_config_fail(error, "-numa dist: there is no node %u",
                                       config->nodes[from].exists ? to : from);
            any |= from != to;
        }
    }
    for (unsigned from = 0; from < config->n_nodes; from++) {
        for (unsigned to = 0; to < config->n_nodes; to++) {
            uint8_t *distance = &config->nodes[from].distances[to];

            if (from == to)
                *distance = VMM_DISTANCE_OWN;
            else if (*distance == 0)
                *distance = config->nodes[to].distances[from];
            if (*distance == 0 && any && config->nodes[from].exists && config->nodes[to].exists)
                return vmm_config_fail(error, "-numa dist: how far node %u is from %u was not said",
                                       from, to);
            if (*distance == 0)
                *distance = VMM_DISTANCE_FAR;
        }
    }
    return true;
}

static bool check_hmat_caches(const struct vmm_config *config, GError **error)
{
    for (unsigned i = 0; i < config->hmat_caches->len; i++) {
        const struct vmm_hmat_cache *cache =
            &g_array_index(config->hmat_caches, struct vmm_hmat_cache, i);

        if (!config->nodes[cache->node].exists || !config->nodes[cache->node].memdev)
            return vmm_config_fail(error, "-numa hmat-cache: node-id: node %u has no memory",
                                   cache->node);
        for (unsigned j = 0; j < i; j++) {
            const struct vmm_hmat_cache *other =
                &g_array_index(config->hmat_caches, struct vmm_hmat_cache, j);

            if (other->node == cache->node && other->level == cache->level)
                return vmm_config_fail(error, "-numa hmat-cache: level: node %u has its level %u",
                                       cache->node, cache->level);
        }
    }
    return true;
}

static bool check_hmat(const struct vmm_config *config, GError **error)
{
    for (unsigned i = 0; i < config->n_nodes; i++) {
        int initiator = config->nodes[i].initiator;

        if (!config->nodes[i].exists || initiator == VMM_NO_NODE)
            continue;
        if (!config->nodes[initiator].exists || !node_has_any_cpu(&config->nodes[initiator]))
            return vmm_config_fail(error, "-numa node,nodeid=%u: initiator: node %d has no vCPUs",
                                   i, initiator);
    }
    for (unsigned i = 0; i < config->hmat_lb->len; i++) {
        const struct vmm_hmat_lb *lb = &g_array_index(config->hmat_lb, struct vmm_hmat_lb, i);

        if (!config->nodes[lb->initiator].exists ||
            !node_has_any_cpu(&config->nodes[lb->initiator]))
            return vmm_config_fail(error, "-numa hmat-lb: initiator: node %u has no vCPUs",
                                   lb->initiator);
        if (!config->nodes[lb->target].exists || !config->nodes[lb->target].memdev)
            return vmm_config_fail(error, "-numa hmat-lb: target: node %u has no memory",
                                   lb->target);
    }
    return true;
}

bool vmm_config_check(struct vmm_config *config, GError **error)
{
    if (config->probe)
        return true;
    if (!config->kernel)
        return vmm_config_fail(error, "-kernel: must be given");
    if (config->daemonize && !config->serial.is_given)
        config->serial.kind = VMM_SERIAL_NONE;
    if (config->daemonize && config->serial.kind == VMM_SERIAL_STDIO)
        return vmm_config_fail(error, "-daemonize: the serial port cannot be the terminal then; "
                                      "give it -serial unix:PATH, file:PATH or none");
    for (unsigned i = config->smp.n_cpus; i < VMM_MAX_CPUS; i++)
        if (config->affinity[i] >= 0)
            return vmm_config_fail(error, "-vcpu-affinity: there is no vCPU %u", i);
    if (config->n_nodes == 0 ? !check_only_node(config, error) : !check_node_memory(config, error))
        return false;
    if (config->n_nodes > 1 && config->memory_backend)
        return vmm_config_fail(error, "-machine: memory-backend: the nodes have theirs by memdev=");
    return check_sizes(config, error) && check_cpu_places(config, error) &&
           check_node_cpus(config, error) && check_distances(config, error) &&
           check_hmat(config, error) && check_hmat_caches(config, error) &&
           vmm_config_check_devices(config, error);
}
