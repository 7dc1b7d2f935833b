/* SPDX-License-Identifier: Apache-2.0 */
/* See resets.h. Ring 0. */
#include "resets.h"

#define CMOS      0x70
#define BYTE      0x40 /* of the CMOS */
#define ACPI_PORT 0x600

void payload_enter_bios(void) __attribute__((noreturn)); /* start.S */

unsigned resets_count(void)
{
    uint8_t n;

    payload_out8(CMOS, BYTE);
    n = payload_in8(CMOS + 1);
    payload_out8(CMOS + 1, (uint8_t)(n + 1));
    return n;
}

static void by_triple_fault(void)
{
    static const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) nothing;

    __asm__ volatile("lidt %0; ud2" ::"m"(nothing));
}

void resets_go(unsigned way)
{
    if (way == 0)
        payload_reset();
    if (way == 1)
        by_triple_fault();
    payload_enter_bios();
}

void resets_go_wildly(void)
{
    for (;;)
        payload_out8(ACPI_PORT, 1);
}
