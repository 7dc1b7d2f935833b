/* SPDX-License-Identifier: Apache-2.0 */
/* Big-endian integers of files, wrapped so that unconverted use does not compile. */
#pragma once

#include <endian.h>
#include <stdint.h>

typedef struct {
    uint16_t raw;
} be16_t;

typedef struct {
    uint32_t raw;
} be32_t;

typedef struct {
    uint64_t raw;
} be64_t;

static inline be16_t be16_from(uint16_t v)
{
    return (be16_t){htobe16(v)};
}

static inline be32_t be32_from(uint32_t v)
{
    return (be32_t){htobe32(v)};
}

static inline be64_t be64_from(uint64_t v)
{
    return (be64_t){htobe64(v)};
}

static inline uint16_t be16_value(be16_t v)
{
    return be16toh(v.raw);
}

static inline uint32_t be32_value(be32_t v)
{
    return be32toh(v.raw);
}

static inline uint64_t be64_value(be64_t v)
{
    return be64toh(v.raw);
}
