/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AML. The length of a block stands at its beginning, in as few bytes as it takes, and counts them:
 * it is put in when the block ends.
 */
#include "vmm/x86/aml.h"

#include <string.h>

#include "vmm/x86/acpi-bytes.h"

#define AML_NAME_LEN 4

/* Section 20.3, AML byte stream. */
#define AML_NAME              0x08
#define AML_BYTE              0x0a
#define AML_WORD              0x0b
#define AML_DWORD             0x0c
#define AML_STRING            0x0d
#define AML_QWORD             0x0e
#define AML_SCOPE             0x10
#define AML_BUFFER            0x11
#define AML_PACKAGE           0x12
#define AML_METHOD            0x14
#define AML_DUAL_NAME         0x2e
#define AML_MULTI_NAME        0x2f
#define AML_EXTENDED          0x5b
#define AML_LOCAL_0           0x60
#define AML_STORE             0x70
#define AML_AND               0x7b
#define AML_NOTIFY            0x86
#define AML_IF                0xa0
#define AML_EXT_REGION        0x80
#define AML_EXT_FIELD         0x81
#define AML_EXT_DEVICE        0x82

#define AML_REGION_PORTS      1
#define AML_FIELD_DWORD       3 /* of that width; not locked; other bits are preserved */
#define AML_METHOD_SERIALIZED 0x08

/* Resources, section 6.4. */
#define AML_RESOURCE_PORTS     0x47
#define AML_RESOURCE_END       0x79
#define AML_RESOURCE_MEMORY    0x86
#define AML_RESOURCE_WORD      0x88
#define AML_RESOURCE_INTERRUPT 0x89
#define AML_RESOURCE_QWORD     0x8a
#define AML_WINDOW_MEMORY      0
#define AML_WINDOW_BUSES       2
#define AML_WINDOW_FIXED       0x0c /* minimum and maximum are as they are; decodes positively */
#define AML_MEMORY_WRITABLE    0x01
#define AML_MEMORY_PREFETCH    0x06

void vmm_aml_init(struct vmm_aml *aml, GByteArray *bytes)
{
    *aml = (struct vmm_aml){.bytes = bytes};
}

static void aml_put(struct vmm_aml *aml, uint8_t byte)
{
    acpi_put_u8(aml->bytes, byte);
}

/* Roots, then one segment, two, or more. Section 20.2.2. */
static void aml_put_path(struct vmm_aml *aml, const char *path)
{
    unsigned n;

    if (*path == '\\')
        aml_put(aml, (uint8_t)*path++);
    n = (unsigned)(strlen(path) + 1) / (AML_NAME_LEN + 1);
    g_assert(strlen(path) + 1 == n * (AML_NAME_LEN + 1));
    if (n == 2) {
        aml_put(aml, AML_DUAL_NAME);
    } else if (n > 2) {
        aml_put(aml, AML_MULTI_NAME);
        aml_put(aml, (uint8_t)n);
    }
    for (unsigned i = 0; i < n; i++)
        acpi_put_text(aml->bytes, path + i * (AML_NAME_LEN + 1), AML_NAME_LEN);
}

/* --- blocks --- */

static void aml_begin(struct vmm_aml *aml)
{
    g_assert(aml->depth < VMM_AML_MAX_DEPTH);
    aml->blocks[aml->depth].is_resources = false;
    aml->blocks[aml->depth++].at = aml->bytes->len;
}

static void aml_insert(struct vmm_aml *aml, unsigned at, const uint8_t *bytes, unsigned n)
{
    unsigned tail = aml->bytes->len - at;

    g_byte_array_set_size(aml->bytes, aml->bytes->len + n);
    memmove(aml->bytes->data + at + n, aml->bytes->data + at, tail);
    memcpy(aml->bytes->data + at, bytes, n);
}

/* Section 20.2.4: 6 bits in one byte, or 4 and whole bytes behind it. */
static void aml_insert_length(struct vmm_aml *aml, unsigned at)
{
    unsigned len = aml->bytes->len - at, n = 1;
    uint8_t bytes[4];

    if (len + 1 > 0x3f)
        for (n = 2; len + n >= 1u << (4 + 8 * (n - 1)); n++)
            ;
    len += n;
    bytes[0] = (uint8_t)(n == 1 ? len : (n - 1) << 6 | (len & 0xf));
    for (unsigned i = 1; i < n; i++)
        bytes[i] = (uint8_t)(len >> (4 + 8 * (i - 1)));
    aml_insert(aml, at, bytes, n);
}

/* The template's end, and its size before it. */
static void aml_end_resources(struct vmm_aml *aml, unsigned at)
{
    unsigned len;
    uint8_t size[3] = {AML_WORD};

    aml_put(aml, AML_RESOURCE_END);
    aml_put(aml, 0); /* no checksum */
    len = aml->bytes->len - at;
    size[1] = (uint8_t)len;
    size[2] = (uint8_t)(len >> 8);
    aml_insert(aml, at, size, sizeof(size));
}

void vmm_aml_end(struct vmm_aml *aml)
{
    g_assert(aml->depth > 0);
    aml->depth--;
    if (aml->blocks[aml->depth].is_resources)
        aml_end_resources(aml, aml->blocks[aml->depth].at);
    aml_insert_length(aml, aml->blocks[aml->depth].at);
}

void vmm_aml_begin_scope(struct vmm_aml *aml, const char *path)
{
    aml_put(aml, AML_SCOPE);
    aml_begin(aml);
    aml_put_path(aml, path);
}

void vmm_aml_begin_device(struct vmm_aml *aml, const char *name)
{
    aml_put(aml, AML_EXTENDED);
    aml_put(aml, AML_EXT_DEVICE);
    aml_begin(aml);
    aml_put_path(aml, name);
}

void vmm_aml_begin_method(struct vmm_aml *aml, const char *name, unsigned n_args)
{
    aml_put(aml, AML_METHOD);
    aml_begin(aml);
    aml_put_path(aml, name);
    aml_put(aml, (uint8_t)(n_args | AML_METHOD_SERIALIZED));
}

void vmm_aml_begin_package(struct vmm_aml *aml, unsigned n_elements)
{
    aml_put(aml, AML_PACKAGE);
    aml_begin(aml);
    aml_put(aml, (uint8_t)n_elements);
}

void vmm_aml_begin_if_bit(struct vmm_aml *aml, unsigned local, uint64_t mask)
{
    aml_put(aml, AML_IF);
    aml_begin(aml);
    aml_put(aml, AML_AND);
    aml_put(aml, (uint8_t)(AML_LOCAL_0 + local));
    vmm_aml_integer(aml, mask);
    aml_put(aml, 0); /* the result goes nowhere else */
}

void vmm_aml_begin_resources(struct vmm_aml *aml)
{
    aml_put(aml, AML_BUFFER);
    aml_begin(aml);
    aml->blocks[aml->depth - 1].is_resources = true;
}

void vmm_aml_begin_fields(struct vmm_aml *aml, const char *region)
{
    aml_put(aml, AML_EXTENDED);
    aml_put(aml, AML_EXT_FIELD);
    aml_begin(aml);
    aml_put_path(aml, region);
    aml_put(aml, AML_FIELD_DWORD);
}

/* --- objects --- */

void vmm_aml_name(struct vmm_aml *aml, const char *name)
{
    aml_put(aml, AML_NAME);
    aml_put_path(aml, name);
}

void vmm_aml_integer(struct vmm_aml *aml, uint64_t value)
{
    if (value <= 1) {
        aml_put(aml, (uint8_t)value);
    } else if (value <= UINT8_MAX) {
        aml_put(aml, AML_BYTE);
        acpi_put_u8(aml->bytes, (uint8_t)value);
    } else if (value <= UINT16_MAX) {
        aml_put(aml, AML_WORD);
        acpi_put_u16(aml->bytes, (uint16_t)value);
    } else if (value <= UINT32_MAX) {
        aml_put(aml, AML_DWORD);
        acpi_put_u32(aml->bytes, (uint32_t)value);
    } else {
        aml_put(aml, AML_QWORD);
        acpi_put_u64(aml->bytes, value);
    }
}

void vmm_aml_string(struct vmm_aml *aml, const char *string)
{
    aml_put(aml, AML_STRING);
    acpi_put_text(aml->bytes, string, (unsigned)strlen(string) + 1);
}

/* Three letters of five bits, four digits of four, the highest first. Section 19.3.4. */
void vmm_aml_eisa_id(struct vmm_aml *aml, const char *id)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < 3; i++)
        value = value << 5 | ((uint32_t)id[i] - '@');
    for (unsigned i = 3; i < 7; i++)
        value = value << 4 | (uint32_t)g_ascii_xdigit_value(id[i]);
    aml_put(aml, AML_DWORD);
    acpi_put_u32(aml->bytes, GUINT32_SWAP_LE_BE(value));
}

void vmm_aml_port_region(struct vmm_aml *aml, const char *name, uint16_t port, uint8_t len)
{
    aml_put(aml, AML_EXTENDED);
    aml_put(aml, AML_EXT_REGION);
    aml_put_path(aml, name);
    aml_put(aml, AML_REGION_PORTS);
    vmm_aml_integer(aml, port);
    vmm_aml_integer(aml, len);
}

void vmm_aml_field(struct vmm_aml *aml, const char *name)
{
    acpi_put_text(aml->bytes, name, AML_NAME_LEN);
    aml_put(aml, 32);
}

/* --- statements --- */

void vmm_aml_call(struct vmm_aml *aml, const char *path)
{
    aml_put_path(aml, path);
}

void vmm_aml_load(struct vmm_aml *aml, unsigned local, const char *path)
{
    aml_put(aml, AML_STORE);
    aml_put_path(aml, path);
    aml_put(aml, (uint8_t)(AML_LOCAL_0 + local));
}

void vmm_aml_store(struct vmm_aml *aml, const char *path, unsigned local)
{
    aml_put(aml, AML_STORE);
    aml_put(aml, (uint8_t)(AML_LOCAL_0 + local));
    aml_put_path(aml, path);
}

void vmm_aml_store_integer(struct vmm_aml *aml, const char *path, uint64_t value)
{
    aml_put(aml, AML_STORE);
    vmm_aml_integer(aml, value);
    aml_put_path(aml, path);
}

void vmm_aml_notify(struct vmm_aml *aml, const char *path, uint8_t value)
{
    aml_put(aml, AML_NOTIFY);
    aml_put_path(aml, path);
    vmm_aml_integer(aml, value);
}

/* --- resources --- */

void vmm_aml_resource_ports(struct vmm_aml *aml, uint16_t port, uint8_t len)
{
    aml_put(aml, AML_RESOURCE_PORTS);
    aml_put(aml, 1); /* decodes 16 bits */
    acpi_put_u16(aml->bytes, port);
    acpi_put_u16(aml->bytes, port);
    aml_put(aml, 1); /* alignment */
    aml_put(aml, len);
}

void vmm_aml_resource_interrupt(struct vmm_aml *aml, uint32_t gsi, bool is_edge)
{
    aml_put(aml, AML_RESOURCE_INTERRUPT);
    acpi_put_u16(aml->bytes, 6);
    aml_put(aml, (uint8_t)(1 | is_edge << 1)); /* consumer; high; exclusive */
    aml_put(aml, 1);
    acpi_put_u32(aml->bytes, gsi);
}

void vmm_aml_resource_memory_fixed(struct vmm_aml *aml, uint32_t gpa, uint32_t len)
{
    aml_put(aml, AML_RESOURCE_MEMORY);
    acpi_put_u16(aml->bytes, 9);
    aml_put(aml, AML_MEMORY_WRITABLE);
    acpi_put_u32(aml->bytes, gpa);
    acpi_put_u32(aml->bytes, len);
}

void vmm_aml_resource_buses(struct vmm_aml *aml, uint16_t first, uint16_t n)
{
    aml_put(aml, AML_RESOURCE_WORD);
    acpi_put_u16(aml->bytes, 13);
    aml_put(aml, AML_WINDOW_BUSES);
    aml_put(aml, AML_WINDOW_FIXED);
    aml_put(aml, 0);
    acpi_put_u16(aml->bytes, 0); /* granularity */
    acpi_put_u16(aml->bytes, first);
    acpi_put_u16(aml->bytes, (uint16_t)(first + n - 1));
    acpi_put_u16(aml->bytes, 0); /* translation */
    acpi_put_u16(aml->bytes, n);
}

void vmm_aml_resource_window(struct vmm_aml *aml, uint64_t gpa, uint64_t len, bool is_prefetchable)
{
    aml_put(aml, AML_RESOURCE_QWORD);
    acpi_put_u16(aml->bytes, 43);
    aml_put(aml, AML_WINDOW_MEMORY);
    aml_put(aml, AML_WINDOW_FIXED);
    aml_put(aml, (uint8_t)(AML_MEMORY_WRITABLE | (is_prefetchable ? AML_MEMORY_PREFETCH : 0)));
    acpi_put_u64(aml->bytes, 0); /* granularity */
    acpi_put_u64(aml->bytes, gpa);
    acpi_put_u64(aml->bytes, gpa + len - 1);
    acpi_put_u64(aml->bytes, 0); /* translation */
    acpi_put_u64(aml->bytes, len);
}
