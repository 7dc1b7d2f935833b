/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a bare-metal guest of the tests stands on. It begins in payload_main, on the first CPU, in
 * ring 0 and long mode, with interrupts off and the first 4 GiB mapped to themselves; there is no
 * library and nobody beneath it. It prints TAP to COM1 and ends by the ACPI sleep register, both of
 * them in any ring.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAYLOAD_MAX_CPUS 16 /* as many as stacks */

/* hvm_start_info of PVH. */
struct payload_info {
    uint32_t magic, version, flags, n_modules;
    uint64_t modules, cmdline, rsdp, ranges;
    uint32_t n_ranges, reserved;
};

struct payload_range {
    uint64_t gpa, len;
    uint32_t type, reserved;
};

/* Each payload's own. */
void payload_main(const struct payload_info *info);
/* On the other CPUs, index from 1 on in the order of their coming. */
void payload_ap_main(unsigned index);

/* --- output --- */

/* %s, %c, %u, %x (both of 64 bits), %%. */
void payload_print(const char *format, ...);
/* "ok N - what", or "not ok". Returns whether it is. */
bool payload_check(bool is_ok, const char *what);
/* The plan, at the end. */
void payload_finish(void);
void payload_power_off(void) __attribute__((noreturn));
void payload_reset(void) __attribute__((noreturn));

/* --- the machine --- */

static inline unsigned payload_ring(void)
{
    uint16_t selector;

    __asm__ volatile("mov %%cs, %0" : "=r"(selector));
    return selector & 3;
}

/* Calls what only ring 0 may do. From ring 3 (user.h) by an invalid instruction: where KVM emulates
 * ring 0 there is no `int`. */
static inline void payload_in_ring_0(void (*run)(uint64_t argument), uint64_t argument)
{
    if (payload_ring() == 0)
        run(argument);
    else
        __asm__ volatile("ud2"
                         : "+a"(run), "+D"(argument)
                         :
                         : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "cc", "memory");
}

static inline void payload_out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint8_t payload_in8(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void payload_out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint32_t payload_in32(uint16_t port)
{
    uint32_t value;

    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint64_t payload_read_msr(uint32_t index)
{
    uint32_t low, high;

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
    return (uint64_t)high << 32 | low;
}

static inline void payload_write_msr(uint32_t index, uint64_t value)
{
    __asm__ volatile("wrmsr" ::"a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(index));
}

static inline uint64_t payload_tsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static inline volatile void *payload_at(uint64_t gpa)
{
    return (volatile void *)(uintptr_t)gpa;
}
