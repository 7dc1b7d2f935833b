/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resets the machine, by each of the ways there are; what is to be remembered lies in the CMOS.
 * After each reset the devices are as after power-on.
 */
#include "irq.h"
#include "payload.h"

#define CMOS  0x70
#define BYTE  0x40 /* of the CMOS: which reset was the last */
#define COM1  0x3f8
#define NEVER 0xffffffffu

void payload_ap_main(unsigned index)
{
}

static uint8_t read_byte(void)
{
    payload_out8(CMOS, BYTE);
    return payload_in8(CMOS + 1);
}

static void write_byte(uint8_t value)
{
    payload_out8(CMOS, BYTE);
    payload_out8(CMOS + 1, value);
}

static void by_triple_fault(void)
{
    static const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) nothing;

    __asm__ volatile("lidt %0; ud2" ::"m"(nothing));
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
    uint8_t n = read_byte();

    if (n > 0) {
        if (payload_in8(COM1 + 7) != 0 || payload_in8(COM1 + 1) != 0 ||
            payload_read_msr(0xc0000082) != 0)
            payload_print("not ok - something has survived reset %u\n", (uint64_t)n);
        else
            payload_print("# reset %u\n", (uint64_t)n);
    }
    dirty_devices();
    write_byte((uint8_t)(n + 1));
    if (n == 0)
        payload_reset();
    if (n == 1)
        by_triple_fault();
    payload_check(n == 2, "two resets, by its register and by a triple fault");
    payload_finish();
}
