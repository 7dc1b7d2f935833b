/* SPDX-License-Identifier: Apache-2.0 */
/* The man page, vmm(1). */
#pragma once

/* Prints it (roff) to stdout. */
void vmm_manual_print(void);
