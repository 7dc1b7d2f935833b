/* SPDX-License-Identifier: Apache-2.0 */
/* The ways in which a guest resets its machine, and what it remembers of that: it lies in the CMOS.
 */
#pragma once

#include "payload.h"

/* The register of ACPI, a triple fault, a jump to where a BIOS begins. */
#define RESETS_N_WAYS 3

/* How often this has been called before, since power-on. */
unsigned resets_count(void);
void resets_go(unsigned way) __attribute__((noreturn));
/* By the register, over and over, as long as the machine lets it. */
void resets_go_wildly(void) __attribute__((noreturn));
