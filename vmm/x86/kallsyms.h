/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names and addresses that a Linux kernel carries of itself (CONFIG_KALLSYMS), found in its
 * unpacked image, which has no other symbols. Linux scripts/kallsyms.c, of 6.1 and newer: tables,
 * each aligned to 8 bytes,
 *
 *   num_syms      4 bytes
 *   names         for each symbol a length of one or two bytes, and so many tokens of one byte;
 *                 they spell the symbol's type and its name
 *   markers       4 bytes for each 256 symbols
 *   token_table   256 strings
 *   token_index   256 times 2 bytes: where in token_table they begin
 *   offsets       4 bytes for each symbol: address - base, or base - 1 - address
 *   base          8 bytes
 *
 * the last two of which stood before the first until 6.4.
 */
#pragma once

#include <stdint.h>

/* address: as the kernel is linked. */
typedef void vmm_kallsyms_fn(void *opaque, const char *name, uint64_t address);

/* Calls fn for each symbol, in the order of addresses. 0, or -ENOENT: no such tables here. */
int vmm_kallsyms_foreach(const uint8_t *bytes, uint64_t len, vmm_kallsyms_fn *fn, void *opaque);
