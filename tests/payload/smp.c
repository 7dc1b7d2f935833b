/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several CPUs: each that the MADT names comes up by INIT and a startup message, is on the node
 * that the SRAT says, and answers messages. Then the timer of the local APIC, by count and by
 * deadline, and the interrupt of COM1. The command line is "cpus=N".
 */
#include "acpi.h"
#include "irq.h"
#include "payload.h"

#define VECTOR_CALL    0x40
#define VECTOR_TIMER   0x41
#define VECTOR_COM1    0x42

#define TURNS          100000000ull /* of waiting: far more than it takes */
#define COM1           0x3f8
#define COM1_GSI       4
#define MSR_DEADLINE   0x6e0
#define TIMER_DEADLINE (2u << 17)

static volatile unsigned n_up, n_calls, n_timers, n_com1;
static volatile uint8_t up_ids[PAYLOAD_MAX_CPUS];

static void on_call(void)
{
    __atomic_fetch_add(&n_calls, 1, __ATOMIC_SEQ_CST);
    payload_irq_end();
}

static void on_timer(void)
{
    n_timers++;
    payload_irq_end();
}

static void on_com1(void)
{
    payload_in8(COM1 + 2); /* what it was, which ends it */
    n_com1++;
    payload_irq_end();
}

void payload_ap_main(unsigned index)
{
    payload_irq_init_cpu();
    up_ids[index] = payload_apic_id();
    __atomic_fetch_add(&n_up, 1, __ATOMIC_SEQ_CST);
    for (;;)
        payload_irq_wait();
}

static bool reaches(const volatile unsigned *count, unsigned wanted)
{
    for (uint64_t i = 0; i < TURNS && *count < wanted; i++)
        __asm__ volatile("pause");
    return *count == wanted;
}

static void test_cpus(const struct payload_info *info, uint8_t own_id)
{
    unsigned wanted = payload_argument(info, "cpus=");
    struct payload_cpus cpus;
    uint64_t named = 0, seen = 1ull << own_id;

    payload_acpi_cpus(info, &cpus);
    payload_check(cpus.n == wanted, "the MADT names as many CPUs as there are");
    payload_start_cpus(&cpus);
    payload_check(reaches(&n_up, wanted - 1), "the other CPUs come up");
    for (unsigned i = 0; i < cpus.n; i++)
        named |= 1ull << cpus.apic_ids[i];
    for (unsigned i = 1; i < wanted; i++)
        seen |= 1ull << up_ids[i];
    payload_check(named == seen, "each by its own number");
    for (unsigned i = 0; i < cpus.n; i++)
        if (cpus.apic_ids[i] != own_id)
            payload_apic_send(cpus.apic_ids[i], APIC_ICR_FIXED | VECTOR_CALL);
    payload_check(reaches(&n_calls, wanted - 1), "each answers a message");
}

static void test_timer(void)
{
    payload_apic_write(APIC_TIMER_DIVIDE, 0xb); /* by 1 */
    payload_apic_write(APIC_TIMER_LVT, VECTOR_TIMER);
    payload_apic_write(APIC_TIMER_START, 100000);
    while (n_timers == 0)
        payload_irq_wait();
    payload_check(n_timers == 1, "the timer counts down");
    payload_apic_write(APIC_TIMER_LVT, TIMER_DEADLINE | VECTOR_TIMER);
    payload_write_msr(MSR_DEADLINE, payload_tsc() + 1000000);
    while (n_timers == 1)
        payload_irq_wait();
    payload_check(n_timers == 2, "the timer has a deadline");
}

static void test_com1(uint8_t own_id)
{
    uint8_t heard, lines;

    payload_irq_route(COM1_GSI, VECTOR_COM1, own_id, false);
    payload_out8(COM1 + 4, 0x0b); /* DTR, RTS, OUT2 */
    payload_out8(COM1 + 1, 0x02); /* room to send: there is */
    while (n_com1 == 0)
        payload_irq_wait();
    payload_out8(COM1 + 1, 0);
    payload_check(n_com1 == 1, "COM1 interrupts");
    payload_out8(COM1 + 4, 0x1b); /* loop: nothing may be printed meanwhile */
    payload_out8(COM1, 'x');
    heard = payload_in8(COM1 + 5) & 1 ? payload_in8(COM1) : 0;
    lines = payload_in8(COM1 + 6) & 0xf0;
    payload_out8(COM1 + 4, 0x03);
    payload_check(heard == 'x', "COM1 hears itself");
    payload_check(lines == 0xb0, "and sees its own modem lines");
}

void payload_main(const struct payload_info *info)
{
    uint8_t own_id;

    payload_irq_init();
    payload_irq_set(VECTOR_CALL, on_call);
    payload_irq_set(VECTOR_TIMER, on_timer);
    payload_irq_set(VECTOR_COM1, on_com1);
    payload_irq_init_cpu();
    own_id = payload_apic_id();
    test_cpus(info, own_id);
    test_timer();
    test_com1(own_id);
    payload_finish();
}
