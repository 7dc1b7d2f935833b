/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI 6.4 sections 5.2.5, 5.2.8, 5.2.12 and 5.2.16. */
#include "acpi.h"

#define HEADER_LEN 36
#define MADT_FIRST 44
#define SRAT_FIRST 48

uint64_t payload_get(const uint8_t *at, unsigned len)
{
    uint64_t value = 0;

    for (unsigned i = len; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

static uint8_t acpi_sum(const uint8_t *at, uint64_t len)
{
    uint8_t sum = 0;

    for (uint64_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + at[i]);
    return sum;
}

static const uint8_t *acpi_table(uint64_t gpa)
{
    const uint8_t *table = (const uint8_t *)(uintptr_t)gpa;

    return acpi_sum(table, payload_get(table + 4, 4)) == 0 ? table : NULL;
}

const uint8_t *payload_acpi_find(const struct payload_info *info, const char *signature)
{
    const uint8_t *rsdp = (const uint8_t *)(uintptr_t)info->rsdp, *xsdt;

    if (acpi_sum(rsdp, 20) != 0 || acpi_sum(rsdp, 36) != 0)
        return NULL;
    xsdt = acpi_table(payload_get(rsdp + 24, 8));
    for (uint64_t at = HEADER_LEN; xsdt != NULL && at < payload_get(xsdt + 4, 4); at += 8) {
        const uint8_t *table = acpi_table(payload_get(xsdt + at, 8));

        if (table != NULL && payload_get(table, 4) == payload_get((const uint8_t *)signature, 4))
            return table;
    }
    return NULL;
}

void payload_acpi_cpus(const struct payload_info *info, struct payload_cpus *ret_cpus)
{
    const uint8_t *madt = payload_acpi_find(info, "APIC");

    ret_cpus->n = 0;
    if (madt == NULL)
        return;
    for (uint64_t at = MADT_FIRST; at < payload_get(madt + 4, 4); at += madt[at + 1])
        if (madt[at] == 0 && madt[at + 4] & 1 && ret_cpus->n < PAYLOAD_MAX_CPUS)
            ret_cpus->apic_ids[ret_cpus->n++] = madt[at + 3];
}

unsigned payload_acpi_cpu_node(const struct payload_info *info, uint8_t apic_id)
{
    const uint8_t *srat = payload_acpi_find(info, "SRAT");

    for (uint64_t at = SRAT_FIRST; srat != NULL && at < payload_get(srat + 4, 4);
         at += srat[at + 1])
        if (srat[at] == 0 && srat[at + 3] == apic_id)
            return srat[at + 2];
    return UINT32_MAX;
}

unsigned payload_acpi_ranges(const struct payload_info *info, struct payload_node_range *ranges,
                             unsigned max)
{
    const uint8_t *srat = payload_acpi_find(info, "SRAT");
    unsigned n = 0;

    for (uint64_t at = SRAT_FIRST; srat != NULL && at < payload_get(srat + 4, 4);
         at += srat[at + 1])
        if (srat[at] == 1 && n < max)
            ranges[n++] = (struct payload_node_range){
                .node = (unsigned)payload_get(srat + at + 2, 4),
                .gpa = payload_get(srat + at + 8, 8),
                .len = payload_get(srat + at + 16, 8),
            };
    return n;
}

static bool acpi_begins_with(const char *text, const char *word)
{
    while (*word != '\0' && *text == *word) {
        text++;
        word++;
    }
    return *word == '\0';
}

static const char *acpi_find_word(const struct payload_info *info, const char *word)
{
    const char *text = (const char *)(uintptr_t)info->cmdline;

    while (*text != '\0' && !acpi_begins_with(text, word))
        text++;
    return *text != '\0' ? text : NULL;
}

bool payload_has_word(const struct payload_info *info, const char *word)
{
    return acpi_find_word(info, word) != NULL;
}

unsigned payload_argument(const struct payload_info *info, const char *name)
{
    const char *text = acpi_find_word(info, name);
    unsigned value = 0;

    if (text == NULL)
        return 0;
    while (*name++ != '\0')
        text++;
    for (; *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (unsigned)(*text - '0');
    return value;
}
