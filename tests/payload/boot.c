/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel finds at its entry: memory map, command line, initrd, ACPI. */
#include "payload.h"

#define START_INFO_MAGIC 0x336ec578u

void payload_ap_main(unsigned index)
{
}

void payload_main(const struct payload_info *info)
{
    payload_print("entered, info at 0x%x\n", (uint64_t)(uintptr_t)info);
    payload_check(info->magic == START_INFO_MAGIC, "hvm_start_info");
    payload_finish();
}
