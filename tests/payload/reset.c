/* SPDX-License-Identifier: Apache-2.0 */
/* Resets the machine, by each of the ways there are. After each reset the devices are as after
 * power-on. */
#include "irq.h"
#include "payload.h"
#include "resets.h"

#define COM1 0x3f8

void payload_ap_main(unsigned index)
{
}

static void dirty_devices(void)
{
    payload_out8(COM1 + 7, 0x5a);
    payload_out8(COM1 + 1, 0x02);
    payload_irq_route(4, 0x42, 0, false);
    payload_write_msr(0xc0000082, 0x1234);
}

void payload_main(const struct payload_info *info)
{
    unsigned n = resets_count();

    if (n > 0) {
        if (payload_in8(COM1 + 7) != 0 || payload_in8(COM1 + 1) != 0 ||
            payload_read_msr(0xc0000082) != 0)
            payload_print("not ok - something has survived reset %u\n", (uint64_t)n);
        else
            payload_print("# reset %u\n", (uint64_t)n);
    }
    dirty_devices();
    if (n < RESETS_N_WAYS)
        resets_go(n);
    payload_check(n == RESETS_N_WAYS, "resets by its register, by a triple fault, by the BIOS");
    payload_finish();
}
