/* SPDX-License-Identifier: Apache-2.0 */
/* The tables one by one, for acpi.c, which puts them together. Each is appended to bytes. */
#pragma once

#include <glib.h>
#include <stdint.h>

struct vmm_machine;

/* Signature, length, revision, checksum, who made it: 36 bytes. Section 5.2.6. */
#define VMM_ACPI_HEADER_LEN 36

/* Begins a table; returns where, for vmm_acpi_end. */
unsigned vmm_acpi_begin(GByteArray *bytes, const char *signature, uint8_t revision);
/* Its length and checksum. */
void vmm_acpi_end(GByteArray *bytes, unsigned at);

void vmm_acpi_put_dsdt(const struct vmm_machine *machine, GByteArray *bytes);
void vmm_acpi_put_fadt(GByteArray *bytes, uint64_t dsdt_gpa);
void vmm_acpi_put_madt(const struct vmm_machine *machine, GByteArray *bytes);
void vmm_acpi_put_mcfg(const struct vmm_machine *machine, GByteArray *bytes);

/* --- acpi-numa.c --- */

void vmm_acpi_put_srat(const struct vmm_machine *machine, GByteArray *bytes);
void vmm_acpi_put_slit(const struct vmm_machine *machine, GByteArray *bytes);
/* Nothing where no -numa hmat-lb and no initiator is given. */
void vmm_acpi_put_hmat(const struct vmm_machine *machine, GByteArray *bytes);
