/* SPDX-License-Identifier: Apache-2.0 */
/* The tables by which a guest learns what machine it is on. ACPI 6.4. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct vmm_machine;

/* Writes all tables to block, len bytes that lie at gpa; the RSDP is the first. False with *error:
 * they do not fit. */
bool vmm_acpi_build(const struct vmm_machine *machine, uint8_t *block, uint64_t len, uint64_t gpa,
                    GError **error);
