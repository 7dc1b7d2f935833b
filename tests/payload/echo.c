/* SPDX-License-Identifier: Apache-2.0 */
/* Says what comes over COM1: "got 0xNN", or "break". For ever. */
#include "payload.h"

#define COM1  0x3f8
#define READY 0x01
#define BREAK 0x10

void payload_ap_main(unsigned index)
{
}

void payload_main(const struct payload_info *info)
{
    payload_out8(COM1 + 2, 0x01); /* FIFO */
    payload_print("listening\n");
    for (;;) {
        uint8_t status = payload_in8(COM1 + 5);

        if (!(status & READY))
            continue;
        if (status & BREAK)
            payload_print("break, 0x%x\n", (uint64_t)payload_in8(COM1));
        else
            payload_print("got 0x%x\n", (uint64_t)payload_in8(COM1));
    }
}
