/* SPDX-License-Identifier: Apache-2.0 */
/* Page tables and descriptors of boot-tables.h. Intel SDM volume 3, sections 3.4.5 and 4.5. */
#include "vmm/x86/boot-tables.h"

#include <endian.h>
#include <string.h>

#define TABLES_PDPT          0x1000
#define TABLES_DIRECTORY     0x2000
#define TABLES_N_GIB         4
#define TABLES_N_ENTRIES     512
#define TABLES_LARGE_PAGE    (2ull << 20)

#define TABLES_PRESENT_WRITE 0x3ull
#define TABLES_IS_LARGE      0x80ull

/* Flat, 4 GiB, ring 0. */
#define TABLES_CODE_64 0x00AF9B000000FFFFull
#define TABLES_CODE_32 0x00CF9B000000FFFFull
#define TABLES_DATA    0x00CF93000000FFFFull
#define TABLES_TSS     0x00008B0000000067ull

static void tables_put(uint8_t *block, uint64_t offset, uint64_t value)
{
    uint64_t value_le = htole64(value);

    memcpy(block + offset, &value_le, sizeof(value_le));
}

void vmm_boot_fill_tables(uint8_t *block, uint64_t gpa, bool is_long)
{
    memset(block, 0, VMM_TABLES_LEN);
    tables_put(block, 0, (gpa + TABLES_PDPT) | TABLES_PRESENT_WRITE);
    for (uint64_t i = 0; i < TABLES_N_GIB; i++)
        tables_put(block, TABLES_PDPT + i * 8,
                   (gpa + TABLES_DIRECTORY + i * 0x1000) | TABLES_PRESENT_WRITE);
    for (uint64_t i = 0; i < TABLES_N_GIB * TABLES_N_ENTRIES; i++)
        tables_put(block, TABLES_DIRECTORY + i * 8,
                   i * TABLES_LARGE_PAGE | TABLES_PRESENT_WRITE | TABLES_IS_LARGE);
    tables_put(block, VMM_TABLES_GDT + VMM_BOOT_CS, is_long ? TABLES_CODE_64 : TABLES_CODE_32);
    tables_put(block, VMM_TABLES_GDT + VMM_BOOT_DS, TABLES_DATA);
    tables_put(block, VMM_TABLES_GDT + VMM_BOOT_TSS, TABLES_TSS);
}
