/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bits. All orders are relaxed: whoever writes them to a file has waited for those who set them.
 */
#include "vblkd/format/qcow2-bits.h"

#include <glib.h>
#include <stdlib.h>
#include <sys/mman.h>

#define BITS_PER_WORD 64

static uint64_t bits_n_words(const struct qcow2_bits *bits)
{
    return bits->n / BITS_PER_WORD + (bits->n % BITS_PER_WORD != 0);
}

struct qcow2_bits *qcow2_bits_create(uint64_t n)
{
    struct qcow2_bits *bits = g_new0(struct qcow2_bits, 1);

    bits->n = n;
    /* Zeros from the kernel take no memory before they are set. */
    bits->words = calloc(bits_n_words(bits) + 1, sizeof(uint64_t));
    if (bits->words)
        return bits;
    g_free(bits);
    return NULL;
}

struct qcow2_bits *qcow2_bits_adopt(uint64_t n, uint64_t *words, size_t map_len)
{
    struct qcow2_bits *bits = g_new0(struct qcow2_bits, 1);

    bits->n = n;
    bits->words = words;
    bits->map_len = map_len;
    return bits;
}

void qcow2_bits_destroy(struct qcow2_bits *bits)
{
    while (bits) {
        struct qcow2_bits *smaller = bits->smaller;

        if (bits->map_len > 0)
            munmap(bits->words, bits->map_len);
        else
            free(bits->words);
        g_free(bits);
        bits = smaller;
    }
}

static uint64_t bits_load(const struct qcow2_bits *bits, uint64_t word)
{
    return __atomic_load_n(&bits->words[word], __ATOMIC_RELAXED);
}

/* Bits [from, to) of a word, to at most 64. */
static uint64_t bits_mask(unsigned from, unsigned to)
{
    return (UINT64_MAX << from) & (UINT64_MAX >> (BITS_PER_WORD - to));
}

static void bits_set_word(struct qcow2_bits *bits, uint64_t word, uint64_t mask)
{
    if ((bits_load(bits, word) & mask) != mask)
        __atomic_fetch_or(&bits->words[word], mask, __ATOMIC_RELAXED);
}

void qcow2_bits_set(struct qcow2_bits *bits, uint64_t first, uint64_t n)
{
    uint64_t end = first < bits->n ? first + MIN(n, bits->n - first) : first;

    while (first < end) {
        uint64_t word = first / BITS_PER_WORD;
        uint64_t to = MIN(end, (word + 1) * BITS_PER_WORD);

        bits_set_word(bits, word,
                      bits_mask(first % BITS_PER_WORD, (unsigned)(to - word * BITS_PER_WORD)));
        first = to;
    }
}

void qcow2_bits_merge(struct qcow2_bits *bits, const struct qcow2_bits *from)
{
    uint64_t n = MIN(bits->n, from->n), last = n / BITS_PER_WORD;

    for (uint64_t i = 0; i < last; i++) {
        if (bits_load(from, i))
            bits_set_word(bits, i, bits_load(from, i));
    }
    if (n % BITS_PER_WORD)
        bits_set_word(bits, last, bits_load(from, last) & bits_mask(0, n % BITS_PER_WORD));
    if (from->smaller)
        qcow2_bits_merge(bits, from->smaller);
}

void qcow2_bits_clear_from(struct qcow2_bits *bits, uint64_t first)
{
    for (; bits; bits = bits->smaller) {
        for (uint64_t word = first / BITS_PER_WORD; word < bits_n_words(bits); word++) {
            unsigned keep = word == first / BITS_PER_WORD ? first % BITS_PER_WORD : 0;

            __atomic_fetch_and(&bits->words[word], ~bits_mask(keep, BITS_PER_WORD),
                               __ATOMIC_RELAXED);
        }
    }
}

bool qcow2_bits_test(const struct qcow2_bits *bits, uint64_t index)
{
    for (; bits; bits = bits->smaller) {
        if (index < bits->n && bits_load(bits, index / BITS_PER_WORD) >> index % BITS_PER_WORD & 1)
            return true;
    }
    return false;
}

/* Those of `smaller` are in the larger ones, too. */
static void bits_fold(struct qcow2_bits *bits)
{
    if (!bits->smaller)
        return;
    qcow2_bits_merge(bits, bits->smaller);
    qcow2_bits_destroy(g_steal_pointer(&bits->smaller));
}

uint64_t qcow2_bits_count(const struct qcow2_bits *bits)
{
    uint64_t n = 0;

    for (uint64_t i = 0; i < bits_n_words(bits); i++) {
        uint64_t word = bits_load(bits, i);

        for (const struct qcow2_bits *smaller = bits->smaller; smaller; smaller = smaller->smaller)
            word |= i < bits_n_words(smaller) ? bits_load(smaller, i) : 0;
        n += (unsigned)__builtin_popcountll(word);
    }
    return n;
}

bool qcow2_bits_encode(struct qcow2_bits *bits, uint64_t at, uint64_t len, uint8_t *bytes)
{
    uint8_t any = 0;

    bits_fold(bits);
    for (uint64_t i = 0; i < len; i++) {
        uint64_t word = (at + i) / 8;

        bytes[i] = 0;
        if (word < bits_n_words(bits))
            bytes[i] = (uint8_t)(bits_load(bits, word) >> (at + i) % 8 * 8);
        any |= bytes[i];
    }
    return any != 0;
}

void qcow2_bits_decode(struct qcow2_bits *bits, uint64_t at, uint64_t len, const uint8_t *bytes)
{
    for (uint64_t i = 0; i < len; i++) {
        uint64_t first = (at + i) * 8;
        uint8_t byte = bytes[i];

        if (first >= bits->n)
            return;
        if (bits->n - first < 8)
            byte &= (uint8_t)bits_mask(0, (unsigned)(bits->n - first));
        if (byte)
            bits_set_word(bits, first / BITS_PER_WORD, (uint64_t)byte << first % BITS_PER_WORD);
    }
}
