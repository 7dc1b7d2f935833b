/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI's tables, in the order in which they lie: RSDP (ACPI 6.4 section 5.2.5), XSDT (5.2.8), and
 * those that the XSDT points to. On the main thread, before a kernel is entered.
 */
#include "vmm/x86/acpi.h"

#include "vmm/machine.h"
#include "vmm/x86/acpi-bytes.h"
#include "vmm/x86/acpi-tables.h"

#define ACPI_OEM         "OUTBRD"
#define ACPI_OEM_TABLE   "OUTBOARD"
#define ACPI_CREATOR     "OTBD"
#define ACPI_LENGTH_AT   4
#define ACPI_CHECKSUM_AT 9
#define ACPI_MAX_TABLES  8
#define ACPI_ALIGN       16

#define RSDP_REVISION    2
#define RSDP_LEN         36
#define RSDP_V1_LEN      20
#define RSDP_CHECKSUM    8
#define RSDP_XSDT        24
#define RSDP_X_CHECKSUM  32

unsigned vmm_acpi_begin(GByteArray *bytes, const char *signature, uint8_t revision)
{
    unsigned at;

    acpi_put_zeros(bytes, -bytes->len % ACPI_ALIGN);
    at = bytes->len;
    acpi_put_text(bytes, signature, 4);
    acpi_put_u32(bytes, 0);
    acpi_put_u8(bytes, revision);
    acpi_put_u8(bytes, 0);
    acpi_put_text(bytes, ACPI_OEM, 6);
    acpi_put_text(bytes, ACPI_OEM_TABLE, 8);
    acpi_put_u32(bytes, 1);
    acpi_put_text(bytes, ACPI_CREATOR, 4);
    acpi_put_u32(bytes, 1);
    return at;
}

void vmm_acpi_end(GByteArray *bytes, unsigned at)
{
    unsigned len = bytes->len - at;

    acpi_set(bytes, at + ACPI_LENGTH_AT, len, 4);
    acpi_set_checksum(bytes, at, len, at + ACPI_CHECKSUM_AT);
}

static void acpi_put_rsdp(GByteArray *bytes)
{
    acpi_put_text(bytes, "RSD PTR ", 8);
    acpi_put_u8(bytes, 0);
    acpi_put_text(bytes, ACPI_OEM, 6);
    acpi_put_u8(bytes, RSDP_REVISION);
    acpi_put_u32(bytes, 0); /* no RSDT */
    acpi_put_u32(bytes, RSDP_LEN);
    acpi_put_zeros(bytes, RSDP_LEN - RSDP_XSDT);
}

/* Addresses of the tables that the XSDT lists. */
struct acpi_list {
    uint64_t gpas[ACPI_MAX_TABLES];
    unsigned n;
};

/* Where the table lies that is put next, if there is one. */
static unsigned acpi_next_at(const GByteArray *bytes)
{
    return (bytes->len + ACPI_ALIGN - 1) & ~(ACPI_ALIGN - 1u);
}

static void acpi_put_listed(const struct vmm_machine *machine, GByteArray *bytes, uint64_t gpa,
                            struct acpi_list *list)
{
    static void (*const putters[])(const struct vmm_machine *machine, GByteArray *bytes) = {
        vmm_acpi_put_mcfg, vmm_acpi_put_madt, vmm_acpi_put_srat, vmm_acpi_put_slit,
        vmm_acpi_put_hmat};
    uint64_t dsdt_gpa = gpa + acpi_next_at(bytes);

    vmm_acpi_put_dsdt(machine, bytes);
    list->gpas[list->n++] = gpa + acpi_next_at(bytes);
    vmm_acpi_put_fadt(bytes, dsdt_gpa);
    for (size_t i = 0; i < G_N_ELEMENTS(putters); i++) {
        unsigned at = acpi_next_at(bytes), len = bytes->len;

        putters[i](machine, bytes);
        if (bytes->len > len)
            list->gpas[list->n++] = gpa + at;
    }
}

bool vmm_acpi_build(const struct vmm_machine *machine, uint8_t *block, uint64_t len, uint64_t gpa,
                    GError **error)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    struct acpi_list list = {.n = 0};
    unsigned xsdt;

    acpi_put_rsdp(bytes);
    acpi_put_listed(machine, bytes, gpa, &list);
    xsdt = vmm_acpi_begin(bytes, "XSDT", 1);
    for (unsigned i = 0; i < list.n; i++)
        acpi_put_u64(bytes, list.gpas[i]);
    vmm_acpi_end(bytes, xsdt);
    acpi_set(bytes, RSDP_XSDT, gpa + xsdt, 8);
    acpi_set_checksum(bytes, 0, RSDP_V1_LEN, RSDP_CHECKSUM);
    acpi_set_checksum(bytes, 0, RSDP_LEN, RSDP_X_CHECKSUM);
    if (bytes->len > len) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOSPC,
                    "the ACPI tables take %u bytes of %" G_GUINT64_FORMAT
                    ": fewer nodes, vCPUs or -numa hmat-lb are needed",
                    bytes->len, len);
        return false;
    }
    memcpy(block, bytes->data, bytes->len);
    return true;
}
