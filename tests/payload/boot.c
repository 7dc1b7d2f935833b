/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kernel finds at its entry: memory map, command line, initrd, ACPI. The command line is
 * "mib=MIB nodes=N initrd=SUM", SUM the sum of the initrd's bytes.
 */
#include "acpi.h"
#include "payload.h"

#define START_INFO_MAGIC 0x336ec578u
#define RAM              1
#define MAX_RANGES       8

void payload_ap_main(unsigned index)
{
}

static const struct payload_range *map_of(const struct payload_info *info)
{
    return (const struct payload_range *)(uintptr_t)info->ranges;
}

/* All RAM but what a PC keeps back below 1 MiB. */
static void test_map(const struct payload_info *info)
{
    const struct payload_range *map = map_of(info);
    uint64_t total = 0, wanted = (uint64_t)payload_argument(info, "mib=") << 20;
    bool is_sorted = true, is_there = true;

    for (unsigned i = 0; i < info->n_ranges; i++) {
        payload_print("# 0x%x, 0x%x, type %u\n", map[i].gpa, map[i].len, (uint64_t)map[i].type);
        if (i > 0 && map[i].gpa < map[i - 1].gpa + map[i - 1].len && map[i].gpa != 0xe0000000u)
            is_sorted = false;
        if (map[i].type == RAM)
            total += map[i].len;
        if (map[i].type == RAM && map[i].gpa + map[i].len <= 1ull << 32) {
            volatile uint64_t *last = payload_at(map[i].gpa + map[i].len - 8);

            *last = map[i].gpa + 1;
            is_there = is_there && *last == map[i].gpa + 1;
        }
    }
    payload_check(is_sorted, "the memory map is sorted and nothing in it overlaps");
    payload_check(total == wanted - 0x100000 + 0x9fc00, "it has all of the RAM");
    payload_check(is_there, "each range is RAM to its last word");
}

static void test_initrd(const struct payload_info *info)
{
    const uint64_t *module = (const uint64_t *)(uintptr_t)info->modules;
    unsigned wanted = payload_argument(info, "initrd="), sum = 0;

    if (!payload_check(info->n_modules == 1, "an initrd"))
        return;
    for (uint64_t i = 0; i < module[1]; i++)
        sum += *((const uint8_t *)(uintptr_t)module[0] + i);
    payload_check(sum == wanted && module[0] % 4096 == 0, "it is whole, and begins with a page");
}

static void test_acpi(const struct payload_info *info)
{
    const uint8_t *fadt = payload_acpi_find(info, "FACP");

    payload_check(fadt != NULL, "RSDP, XSDT and FADT");
    payload_check(fadt != NULL && payload_get(fadt + 112, 4) & 1u << 20, "hardware-reduced");
    payload_check(payload_acpi_find(info, "APIC") != NULL, "MADT");
    payload_check(payload_acpi_find(info, "MCFG") != NULL, "MCFG");
}

/* The SRAT's memory is the map's, and the SLIT has a row for each node. */
static void test_nodes(const struct payload_info *info)
{
    struct payload_node_range ranges[MAX_RANGES];
    unsigned n = payload_acpi_ranges(info, ranges, MAX_RANGES);
    unsigned n_nodes = payload_argument(info, "nodes=");
    const uint8_t *slit = payload_acpi_find(info, "SLIT");
    uint64_t total = 0, seen = 0;

    for (unsigned i = 0; i < n; i++) {
        payload_print("# node %u: 0x%x, 0x%x\n", (uint64_t)ranges[i].node, ranges[i].gpa,
                      ranges[i].len);
        total += ranges[i].len;
        seen |= 1ull << ranges[i].node;
    }
    payload_check(total == (uint64_t)payload_argument(info, "mib=") << 20,
                  "the nodes have all of the RAM");
    payload_check(seen == (1ull << n_nodes) - 1, "each node has some");
    payload_check(slit != NULL && payload_get(slit + 36, 8) == n_nodes && slit[44] == 10,
                  "and its distances");
    payload_check(payload_acpi_cpu_node(info, 0) == 0, "the first CPU is near the first");
}

void payload_main(const struct payload_info *info)
{
    payload_check(info->magic == START_INFO_MAGIC, "hvm_start_info");
    test_map(info);
    test_initrd(info);
    test_acpi(info);
    test_nodes(info);
    payload_finish();
}
