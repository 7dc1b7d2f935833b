/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupts in a payload: its table of handlers, the local APIC of each CPU, the I/O APIC. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef void (*payload_handler)(void); /* says payload_irq_end where it has to */

/* Once, on the first CPU. */
void payload_irq_init(void);
/* On each CPU: its table of handlers and its APIC, with a spurious vector. */
void payload_irq_init_cpu(void);
void payload_irq_set(unsigned vector, payload_handler handler);
/* An entry of its own, in assembly. */
void payload_irq_set_entry(unsigned vector, void (*entry)(void));
void payload_irq_end(void);

/* An input of the I/O APIC, as a vector to the CPU with that APIC id. */
void payload_irq_route(unsigned gsi, unsigned vector, uint8_t apic_id, bool is_level);

/* Registers of the local APIC, by their offsets. */
uint32_t payload_apic_read(unsigned reg);
void payload_apic_write(unsigned reg, uint32_t value);
uint8_t payload_apic_id(void);
/* A message to another CPU: command is the low half of the ICR. */
void payload_apic_send(uint8_t apic_id, uint32_t command);

#define APIC_TIMER_LVT    0x320
#define APIC_TIMER_START  0x380
#define APIC_TIMER_DIVIDE 0x3e0

#define APIC_ICR_FIXED    0x4000u /* or the vector */
#define APIC_ICR_INIT     0x4500u
#define APIC_ICR_STARTUP  0x4600u /* or the page */

/* Waits for the next interrupt; they are off again afterwards. */
static inline void payload_irq_wait(void)
{
    __asm__ volatile("sti; hlt; cli" ::: "memory");
}
