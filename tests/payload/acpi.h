/* SPDX-License-Identifier: Apache-2.0 */
/* What a payload reads in the ACPI tables and on its command line. */
#pragma once

#include "payload.h"

struct payload_cpus {
    unsigned n;
    uint8_t apic_ids[PAYLOAD_MAX_CPUS];
};

struct payload_node_range {
    uint64_t gpa, len;
    unsigned node;
};

/* Sends them to payload_ap_main, but for the one that calls. With its APIC on. */
void payload_start_cpus(const struct payload_cpus *cpus);

/* NULL: no such table, or its checksum, or one on the way to it, is wrong. */
const uint8_t *payload_acpi_find(const struct payload_info *info, const char *signature);
void payload_acpi_cpus(const struct payload_info *info, struct payload_cpus *ret_cpus);
/* SRAT: the node of a CPU, UINT32_MAX if none; ranges of memory, how many. */
unsigned payload_acpi_cpu_node(const struct payload_info *info, uint8_t apic_id);
unsigned payload_acpi_ranges(const struct payload_info *info, struct payload_node_range *ranges,
                             unsigned max);
uint64_t payload_get(const uint8_t *at, unsigned len);

/* The number behind a word of the command line ("cpus="); 0 where it is not there. */
unsigned payload_argument(const struct payload_info *info, const char *name);
/* Whether a word is there. */
bool payload_has_word(const struct payload_info *info, const char *word);
