/* SPDX-License-Identifier: Apache-2.0 */
/* Printing, checking and ending, for payloads. One CPU at a time prints. */
#include "payload.h"

#include <stdarg.h>

#define COM1           0x3f8
#define ACPI_PORT      0x600
#define ACPI_SLEEP_OFF (5 << 2 | 0x20)

static unsigned payload_n_checks;

void *memcpy(void *to, const void *from, size_t len);
void *memset(void *to, int value, size_t len);

void *memcpy(void *to, const void *from, size_t len)
{
    uint8_t *t = to;
    const uint8_t *f = from;

    while (len-- > 0)
        *t++ = *f++;
    return to;
}

void *memset(void *to, int value, size_t len)
{
    uint8_t *t = to;

    while (len-- > 0)
        *t++ = (uint8_t)value;
    return to;
}

static void send_char(uint64_t c)
{
    while (!(payload_in8(COM1 + 5) & 0x20))
        ;
    payload_out8(COM1, (uint8_t)c);
}

static void print_char(char c)
{
    payload_in_ring_0(send_char, (uint8_t)c);
}

static void print_number(uint64_t value, unsigned base)
{
    char digits[24];
    unsigned n = 0;

    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    while (n > 0)
        print_char(digits[--n]);
}

static void print_one(char kind, va_list *args)
{
    switch (kind) {
    case 's':
        for (const char *s = va_arg(*args, const char *); *s != '\0'; s++)
            print_char(*s);
        break;
    case 'c':
        print_char((char)va_arg(*args, int));
        break;
    case 'u':
        print_number(va_arg(*args, uint64_t), 10);
        break;
    case 'x':
        print_number(va_arg(*args, uint64_t), 16);
        break;
    default:
        print_char(kind);
        break;
    }
}

void payload_print(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    for (; *format != '\0'; format++)
        if (*format == '%' && format[1] != '\0')
            print_one(*++format, &args);
        else
            print_char(*format);
    va_end(args);
}

bool payload_check(bool is_ok, const char *what)
{
    payload_print("%s %u - %s\n", is_ok ? "ok" : "not ok", (uint64_t)++payload_n_checks, what);
    return is_ok;
}

void payload_finish(void)
{
    payload_print("1..%u\n", (uint64_t)payload_n_checks);
}

static void sleep_for_good(uint64_t type)
{
    payload_out8(ACPI_PORT + 1, (uint8_t)type);
    for (;;)
        __asm__ volatile("cli; hlt");
}

void payload_power_off(void)
{
    payload_in_ring_0(sleep_for_good, ACPI_SLEEP_OFF);
    __builtin_unreachable();
}

void payload_reset(void)
{
    payload_out8(ACPI_PORT, 1);
    for (;;)
        __asm__ volatile("cli; hlt");
}
