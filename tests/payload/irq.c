/* SPDX-License-Identifier: Apache-2.0 */
/* Intel SDM volume 3, chapter 11 (local APIC); 82093AA data sheet (I/O APIC). */
#include "irq.h"

#include "acpi.h"

#define IRQ_N_VECTORS  256
#define IRQ_CODE       0x08
#define IRQ_GATE       0x8e /* present, ring 0, interrupt gate */
#define IRQ_SPURIOUS   0xff
#define IRQ_ENTRY_LEN  16

#define IO_APIC        0xfec00000u
#define IO_APIC_WINDOW 0x10
#define IO_APIC_FIRST  0x10 /* register of the first input's low half */
#define IO_APIC_LEVEL  0x8000u
#define IO_APIC_ID_AT  24

#define APIC           0xfee00000u
#define APIC_ID        0x020
#define APIC_EOI       0x0b0
#define APIC_SPURIOUS  0x0f0
#define APIC_ICR_LOW   0x300
#define APIC_ICR_HIGH  0x310
#define APIC_ICR_BUSY  0x1000u
#define APIC_ENABLED   0x100u

struct irq_gate {
    uint16_t offset_low, selector;
    uint8_t stack, flags;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};

static struct irq_gate irq_gates[IRQ_N_VECTORS];

static payload_handler irq_handlers[IRQ_N_VECTORS];

#define IRQ_AP_PAGE    0x6000u /* where other CPUs begin */
#define IRQ_AP_POINTER 0x7000u

extern const uint8_t payload_irq_entries[]; /* in start.S */
extern const uint8_t payload_ap_start[], payload_ap_end[], payload_gdt_pointer[];
void payload_irq_dispatch(uint64_t vector, uint64_t address);

void payload_irq_dispatch(uint64_t vector, uint64_t address)
{
    if (irq_handlers[vector]) {
        irq_handlers[vector]();
    } else if (vector != IRQ_SPURIOUS) {
        payload_print("not ok - vector %u at 0x%x\n", vector, address);
        payload_power_off();
    }
}

void payload_irq_set(unsigned vector, payload_handler handler)
{
    irq_handlers[vector] = handler;
}

static void irq_set_gate(unsigned vector, uint64_t at)
{
    irq_gates[vector] = (struct irq_gate){
        .offset_low = (uint16_t)at,
        .selector = IRQ_CODE,
        .flags = IRQ_GATE,
        .offset_middle = (uint16_t)(at >> 16),
        .offset_high = (uint32_t)(at >> 32),
    };
}

void payload_irq_set_entry(unsigned vector, void (*entry)(void))
{
    irq_set_gate(vector, (uintptr_t)entry);
}

void payload_irq_init(void)
{
    for (unsigned i = 0; i < IRQ_N_VECTORS; i++)
        irq_set_gate(i, (uintptr_t)payload_irq_entries + (uint64_t)i * IRQ_ENTRY_LEN);
}

void payload_irq_init_cpu(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = {sizeof(irq_gates) - 1, (uintptr_t)irq_gates};

    __asm__ volatile("lidt %0" ::"m"(pointer));
    payload_apic_write(APIC_SPURIOUS, APIC_ENABLED | IRQ_SPURIOUS);
}

uint32_t payload_apic_read(unsigned reg)
{
    return *(volatile uint32_t *)payload_at(APIC + reg);
}

void payload_apic_write(unsigned reg, uint32_t value)
{
    *(volatile uint32_t *)payload_at(APIC + reg) = value;
}

uint8_t payload_apic_id(void)
{
    return (uint8_t)(payload_apic_read(APIC_ID) >> 24);
}

void payload_irq_end(void)
{
    payload_apic_write(APIC_EOI, 0);
}

void payload_apic_send(uint8_t apic_id, uint32_t command)
{
    payload_apic_write(APIC_ICR_HIGH, (uint32_t)apic_id << 24);
    payload_apic_write(APIC_ICR_LOW, command);
    while (payload_apic_read(APIC_ICR_LOW) & APIC_ICR_BUSY)
        ;
}

static void io_apic_write(unsigned reg, uint32_t value)
{
    *(volatile uint32_t *)payload_at(IO_APIC) = reg;
    *(volatile uint32_t *)payload_at(IO_APIC + IO_APIC_WINDOW) = value;
}

void payload_irq_route(unsigned gsi, unsigned vector, uint8_t apic_id, bool is_level)
{
    io_apic_write(IO_APIC_FIRST + 2 * gsi + 1, (uint32_t)apic_id << IO_APIC_ID_AT);
    io_apic_write(IO_APIC_FIRST + 2 * gsi, vector | (is_level ? IO_APIC_LEVEL : 0));
}

void payload_start_cpus(const struct payload_cpus *cpus)
{
    uint8_t own_id = payload_apic_id();

    __builtin_memcpy((void *)(uintptr_t)IRQ_AP_PAGE, payload_ap_start,
                     (size_t)(payload_ap_end - payload_ap_start));
    __builtin_memcpy((void *)(uintptr_t)IRQ_AP_POINTER, payload_gdt_pointer, 6);
    for (unsigned i = 0; i < cpus->n; i++) {
        if (cpus->apic_ids[i] == own_id)
            continue;
        payload_apic_send(cpus->apic_ids[i], APIC_ICR_INIT);
        payload_apic_send(cpus->apic_ids[i], APIC_ICR_STARTUP | IRQ_AP_PAGE >> 12);
    }
}
