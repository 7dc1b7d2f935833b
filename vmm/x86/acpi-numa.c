/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NUMA tables: SRAT (ACPI 6.4 section 5.2.16), which CPUs and which memory belong together; SLIT
 * (5.2.17), how far it is between them; HMAT (5.2.27), how fast.
 */
#include "vmm/machine.h"
#include "vmm/x86/acpi-bytes.h"
#include "vmm/x86/acpi-tables.h"
#include "vmm/x86/topology.h"

#define SRAT_CPU             0
#define SRAT_MEMORY          1
#define SRAT_ENABLED         1

#define HMAT_REVISION        2
#define HMAT_NEAREST         0 /* which CPUs are nearest to some memory */
#define HMAT_SPEED           1
#define HMAT_CACHE           2
#define HMAT_HAS_INITIATOR   1
#define HMAT_N_HIERARCHIES   4
#define HMAT_N_DATA_TYPES    6
#define HMAT_FIRST_BANDWIDTH 3
#define HMAT_MAX_ENTRY       0xfffe /* what a number may be at most, in units of its base */
#define HMAT_PS_OF_NS        1000u
#define HMAT_BYTES_OF_UNIT   1000000u

void vmm_acpi_put_srat(const struct vmm_machine *machine, GByteArray *bytes)
{
    const struct vmm_config *config = &machine->config;
    unsigned at = vmm_acpi_begin(bytes, "SRAT", 3);

    acpi_put_u32(bytes, 1);
    acpi_put_zeros(bytes, 8);
    for (unsigned i = 0; i < config->smp.n_cpus; i++) {
        unsigned node = vmm_config_cpu_node(config, i);

        acpi_put_u8(bytes, SRAT_CPU);
        acpi_put_u8(bytes, 16);
        acpi_put_u8(bytes, (uint8_t)node);
        acpi_put_u8(bytes, (uint8_t)vmm_topology_apic_id(&config->smp, i));
        acpi_put_u32(bytes, SRAT_ENABLED);
        acpi_put_zeros(bytes, 8); /* local SAPIC, higher bits of the node, clock */
    }
    for (unsigned i = 0; i < machine->ram.n_ranges; i++) {
        acpi_put_u8(bytes, SRAT_MEMORY);
        acpi_put_u8(bytes, 40);
        acpi_put_u32(bytes, machine->ram.ranges[i].node);
        acpi_put_u16(bytes, 0);
        acpi_put_u64(bytes, machine->ram.ranges[i].gpa);
        acpi_put_u64(bytes, machine->ram.ranges[i].len);
        acpi_put_u32(bytes, 0);
        acpi_put_u32(bytes, SRAT_ENABLED);
        acpi_put_u64(bytes, 0);
    }
    vmm_acpi_end(bytes, at);
}

void vmm_acpi_put_slit(const struct vmm_machine *machine, GByteArray *bytes)
{
    const struct vmm_config *config = &machine->config;
    unsigned at = vmm_acpi_begin(bytes, "SLIT", 1);

    acpi_put_u64(bytes, config->n_nodes);
    for (unsigned i = 0; i < config->n_nodes; i++)
        for (unsigned j = 0; j < config->n_nodes; j++) {
            uint8_t distance = config->nodes[i].distances[j];

            if (distance == 0)
                distance = i == j ? VMM_DISTANCE_OWN : VMM_DISTANCE_FAR;
            acpi_put_u8(bytes, distance);
        }
    vmm_acpi_end(bytes, at);
}

/* --- HMAT --- */

static void hmat_put_nearest(const struct vmm_machine *machine, GByteArray *bytes, unsigned node)
{
    int initiator = machine->config.nodes[node].initiator;

    acpi_put_u16(bytes, HMAT_NEAREST);
    acpi_put_u16(bytes, 0);
    acpi_put_u32(bytes, 40);
    acpi_put_u16(bytes, initiator == VMM_NO_NODE ? 0 : HMAT_HAS_INITIATOR);
    acpi_put_u16(bytes, 0);
    acpi_put_u32(bytes, initiator == VMM_NO_NODE ? 0 : (uint32_t)initiator);
    acpi_put_u32(bytes, node);
    acpi_put_zeros(bytes, 20);
}

/* One matrix: the numbers of a hierarchy and a data type, from each node with CPUs to each with
 * memory. */
struct hmat_matrix {
    uint64_t values[VMM_MAX_NODES][VMM_MAX_NODES]; /* [initiator][target]; 0: not said */
    uint64_t max;
    uint64_t initiators, targets; /* bit masks of those that are named */
};

static bool hmat_fill(const struct vmm_config *config, unsigned hierarchy, unsigned data_type,
                      struct hmat_matrix *matrix)
{
    *matrix = (struct hmat_matrix){0};
    for (unsigned i = 0; i < config->hmat_lb->len; i++) {
        const struct vmm_hmat_lb *lb = &g_array_index(config->hmat_lb, struct vmm_hmat_lb, i);
        uint64_t value =
            data_type < HMAT_FIRST_BANDWIDTH ? lb->latency_ns : lb->bandwidth / HMAT_BYTES_OF_UNIT;

        if (lb->hierarchy != hierarchy || lb->data_type != data_type)
            continue;
        matrix->values[lb->initiator][lb->target] = MAX(value, 1);
        matrix->max = MAX(matrix->max, value);
        matrix->initiators |= 1ull << lb->initiator;
        matrix->targets |= 1ull << lb->target;
    }
    return matrix->initiators != 0;
}

static void hmat_put_nodes(GByteArray *bytes, uint64_t nodes)
{
    for (unsigned i = 0; i < VMM_MAX_NODES; i++)
        if (nodes >> i & 1)
            acpi_put_u32(bytes, i);
}

static void hmat_put_matrix(GByteArray *bytes, unsigned hierarchy, unsigned data_type,
                            const struct hmat_matrix *matrix)
{
    unsigned n_initiators = (unsigned)__builtin_popcountll(matrix->initiators);
    unsigned n_targets = (unsigned)__builtin_popcountll(matrix->targets);
    uint64_t scale = matrix->max / HMAT_MAX_ENTRY + 1;

    acpi_put_u16(bytes, HMAT_SPEED);
    acpi_put_u16(bytes, 0);
    acpi_put_u32(bytes, 32 + 4 * (n_initiators + n_targets) + 2 * n_initiators * n_targets);
    acpi_put_u8(bytes, (uint8_t)hierarchy);
    acpi_put_u8(bytes, (uint8_t)data_type);
    acpi_put_u16(bytes, 0);
    acpi_put_u32(bytes, n_initiators);
    acpi_put_u32(bytes, n_targets);
    acpi_put_u32(bytes, 0);
    acpi_put_u64(bytes, scale * (data_type < HMAT_FIRST_BANDWIDTH ? HMAT_PS_OF_NS : 1));
    hmat_put_nodes(bytes, matrix->initiators);
    hmat_put_nodes(bytes, matrix->targets);
    for (unsigned i = 0; i < VMM_MAX_NODES; i++)
        for (unsigned j = 0; j < VMM_MAX_NODES; j++)
            if (matrix->initiators >> i & 1 && matrix->targets >> j & 1)
                acpi_put_u16(bytes, (uint16_t)((matrix->values[i][j] + scale - 1) / scale));
}

/* A cache of a node: how many there are for it, which this is, and how it works. */
static void hmat_put_cache(const struct vmm_config *config, GByteArray *bytes,
                           const struct vmm_hmat_cache *cache)
{
    unsigned n_levels = 0;

    for (unsigned i = 0; i < config->hmat_caches->len; i++)
        n_levels +=
            g_array_index(config->hmat_caches, struct vmm_hmat_cache, i).node == cache->node;
    acpi_put_u16(bytes, HMAT_CACHE);
    acpi_put_u16(bytes, 0);
    acpi_put_u32(bytes, 32);
    acpi_put_u32(bytes, cache->node);
    acpi_put_u32(bytes, 0);
    acpi_put_u64(bytes, cache->size);
    acpi_put_u32(bytes, n_levels | (uint32_t)cache->level << 4 |
                            (uint32_t)cache->associativity << 8 | (uint32_t)cache->policy << 12 |
                            (uint32_t)cache->line << 16);
    acpi_put_u16(bytes, 0);
    acpi_put_u16(bytes, 0); /* no handles of SMBIOS */
}

static bool hmat_is_wanted(const struct vmm_config *config)
{
    for (unsigned i = 0; i < config->n_nodes; i++)
        if (config->nodes[i].exists && config->nodes[i].initiator != VMM_NO_NODE)
            return true;
    return (config->hmat_lb != NULL && config->hmat_lb->len > 0) ||
           (config->hmat_caches != NULL && config->hmat_caches->len > 0);
}

void vmm_acpi_put_hmat(const struct vmm_machine *machine, GByteArray *bytes)
{
    const struct vmm_config *config = &machine->config;
    g_autofree struct hmat_matrix *matrix = NULL;
    unsigned at;

    if (!hmat_is_wanted(config))
        return;
    at = vmm_acpi_begin(bytes, "HMAT", HMAT_REVISION);
    acpi_put_u32(bytes, 0);
    for (unsigned i = 0; i < config->n_nodes; i++)
        if (config->nodes[i].exists && config->nodes[i].memdev != NULL)
            hmat_put_nearest(machine, bytes, i);
    matrix = g_new(struct hmat_matrix, 1);
    for (unsigned hierarchy = 0; hierarchy < HMAT_N_HIERARCHIES; hierarchy++)
        for (unsigned type = 0; type < HMAT_N_DATA_TYPES; type++)
            if (config->hmat_lb != NULL && hmat_fill(config, hierarchy, type, matrix))
                hmat_put_matrix(bytes, hierarchy, type, matrix);
    for (unsigned i = 0; config->hmat_caches != NULL && i < config->hmat_caches->len; i++)
        hmat_put_cache(config, bytes,
                       &g_array_index(config->hmat_caches, struct vmm_hmat_cache, i));
    vmm_acpi_end(bytes, at);
}
