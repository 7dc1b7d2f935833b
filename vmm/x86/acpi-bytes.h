/* SPDX-License-Identifier: Apache-2.0 */
/* Little-endian numbers at the end of a GByteArray, of which ACPI's tables consist. */
#pragma once

#include <glib.h>
#include <stdint.h>
#include <string.h>

static inline void acpi_put(GByteArray *bytes, uint64_t value, unsigned len)
{
    uint64_t value_le = GUINT64_TO_LE(value);

    g_byte_array_append(bytes, (const uint8_t *)&value_le, len);
}

static inline void acpi_put_u8(GByteArray *bytes, uint8_t value)
{
    acpi_put(bytes, value, 1);
}

static inline void acpi_put_u16(GByteArray *bytes, uint16_t value)
{
    acpi_put(bytes, value, 2);
}

static inline void acpi_put_u32(GByteArray *bytes, uint32_t value)
{
    acpi_put(bytes, value, 4);
}

static inline void acpi_put_u64(GByteArray *bytes, uint64_t value)
{
    acpi_put(bytes, value, 8);
}

static inline void acpi_put_zeros(GByteArray *bytes, unsigned n)
{
    while (n-- > 0)
        acpi_put_u8(bytes, 0);
}

static inline void acpi_put_text(GByteArray *bytes, const char *text, unsigned len)
{
    g_byte_array_append(bytes, (const uint8_t *)text, len);
}

/* Overwrites what is there. */
static inline void acpi_set(GByteArray *bytes, unsigned at, uint64_t value, unsigned len)
{
    uint64_t value_le = GUINT64_TO_LE(value);

    memcpy(bytes->data + at, &value_le, len);
}

/* So that the sum of [at, at + len) is 0; the byte at checksum_at makes it so. */
static inline void acpi_set_checksum(GByteArray *bytes, unsigned at, unsigned len,
                                     unsigned checksum_at)
{
    uint8_t sum = 0;

    bytes->data[checksum_at] = 0;
    for (unsigned i = 0; i < len; i++)
        sum = (uint8_t)(sum + bytes->data[at + i]);
    bytes->data[checksum_at] = (uint8_t)-sum;
}
