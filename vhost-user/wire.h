/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Little-endian integers of shared memory, wrapped so that unconverted use does not compile.
 *
 * Rings, inflight regions and virtio configuration are written by another party while we read, so
 * each access here is one single load or store (relaxed unless it says otherwise) and never
 * repeated by the compiler. virtio 1.x section 1.4: multi-byte fields of modern devices are
 * little-endian.
 */
#pragma once

#include <endian.h>
#include <stdint.h>

typedef struct {
    uint16_t raw;
} le16_t;

typedef struct {
    uint32_t raw;
} le32_t;

typedef struct {
    uint64_t raw;
} le64_t;

static inline le16_t le16_from(uint16_t v)
{
    return (le16_t){htole16(v)};
}

static inline le32_t le32_from(uint32_t v)
{
    return (le32_t){htole32(v)};
}

static inline le64_t le64_from(uint64_t v)
{
    return (le64_t){htole64(v)};
}

/* Conversions of a private copy: no atomicity needed. */
static inline uint16_t le16_value(le16_t v)
{
    return le16toh(v.raw);
}

static inline uint32_t le32_value(le32_t v)
{
    return le32toh(v.raw);
}

static inline uint64_t le64_value(le64_t v)
{
    return le64toh(v.raw);
}

/* One relaxed load or store of a field in shared memory. */
static inline uint16_t le16_load(const le16_t *p)
{
    return le16toh(__atomic_load_n(&p->raw, __ATOMIC_RELAXED));
}

static inline uint32_t le32_load(const le32_t *p)
{
    return le32toh(__atomic_load_n(&p->raw, __ATOMIC_RELAXED));
}

static inline uint64_t le64_load(const le64_t *p)
{
    return le64toh(__atomic_load_n(&p->raw, __ATOMIC_RELAXED));
}

static inline void le16_store(le16_t *p, uint16_t v)
{
    __atomic_store_n(&p->raw, htole16(v), __ATOMIC_RELAXED);
}

static inline void le32_store(le32_t *p, uint32_t v)
{
    __atomic_store_n(&p->raw, htole32(v), __ATOMIC_RELAXED);
}

static inline void le64_store(le64_t *p, uint64_t v)
{
    __atomic_store_n(&p->raw, htole64(v), __ATOMIC_RELAXED);
}

/* Ordered variants: an acquire load pairs with the other side's release store of the same field. */
static inline uint16_t le16_load_acquire(const le16_t *p)
{
    return le16toh(__atomic_load_n(&p->raw, __ATOMIC_ACQUIRE));
}

static inline void le16_store_release(le16_t *p, uint16_t v)
{
    __atomic_store_n(&p->raw, htole16(v), __ATOMIC_RELEASE);
}

/*
 * A full barrier, where a store must be seen by the other side before we load what it stored: both
 * sides of a notification decision have one ("publish, barrier, look whether the other sleeps").
 * Not __atomic_thread_fence, which gcc refuses under -fsanitize=thread.
 */
static inline void vu_full_barrier(void)
{
    __sync_synchronize();
}
