/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bits of a bitmap in memory: a bit for each granule of the disk. Any thread sets some at any time,
 * without a lock; a bit that is set already costs one load.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct qcow2_bits {
    uint64_t n;
    uint64_t *words; /* atomic; (n + 63) / 64 of them */
    size_t map_len;  /* they are mapped, so many bytes; 0: allocated */
    /* What they were before the disk grew; owned. Who had found them may still set some there. */
    struct qcow2_bits *smaller;
};

/* All 0. NULL: no memory. */
struct qcow2_bits *qcow2_bits_create(uint64_t n);
/* In words that are mapped, all 0, and are unmapped in the end. */
struct qcow2_bits *qcow2_bits_adopt(uint64_t n, uint64_t *words, size_t map_len);
void qcow2_bits_destroy(struct qcow2_bits *bits); /* NULL is allowed */

/* Bits [first, first + n), what of them there is. Any thread. */
void qcow2_bits_set(struct qcow2_bits *bits, uint64_t first, uint64_t n);
/* Of `from`, as many as there are in both. */
void qcow2_bits_merge(struct qcow2_bits *bits, const struct qcow2_bits *from);
/* All from `first` on become 0. Nobody sets any of them meanwhile. */
void qcow2_bits_clear_from(struct qcow2_bits *bits, uint64_t first);
bool qcow2_bits_test(const struct qcow2_bits *bits, uint64_t index);
uint64_t qcow2_bits_count(const struct qcow2_bits *bits);

/*
 * Bytes [at, at + len) as a file has them: bit i is bit i % 8 of byte i / 8; zeros behind the last.
 * Nobody sets any meanwhile; those of `smaller` are in it. True: some are set.
 */
bool qcow2_bits_encode(struct qcow2_bits *bits, uint64_t at, uint64_t len, uint8_t *bytes);
/* Sets what is set in the bytes. */
void qcow2_bits_decode(struct qcow2_bits *bits, uint64_t at, uint64_t len, const uint8_t *bytes);
