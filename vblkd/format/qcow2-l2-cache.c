/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of L2 slices. Why readers see either a whole entry of the slice they asked for, or
 * nothing:
 *
 *   changing:  seq odd | slice NO_SLICE (release) | words (release) ... | slice | seq even
 * (release) reading:   seq (acquire) | slice (acquire) | words (acquire) | seq again
 *
 * A reader that got a word of another slice synchronized with its store, so it sees the sequence
 * number that was stored before.
 */
#include "vblkd/format/qcow2-l2-cache.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>

#include "vblkd/format/big-endian.h"

#define L2_CACHE_MIN_SETS 8
#define L2_CACHE_MAX_SETS (1u << 20)
#define L2_CACHE_SPINS    100 /* for an entry of two words that is being changed */

int qcow2_l2_cache_init(struct qcow2_l2_cache *cache, unsigned slice_len, unsigned entry_words,
                        uint64_t max_len)
{
    uint64_t n_sets = max_len / slice_len / QCOW2_L2_WAYS;
    void *words;

    memset(cache, 0, sizeof(*cache));
    cache->n_sets = (uint32_t)CLAMP(n_sets, L2_CACHE_MIN_SETS, L2_CACHE_MAX_SETS);
    cache->slice_words = slice_len / 8;
    cache->entry_words = entry_words;
    cache->words_len = (size_t)qcow2_l2_cache_n_frames(cache) * slice_len;
    words = mmap(NULL, cache->words_len, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (words == MAP_FAILED)
        return -errno;
    cache->words = words;
    cache->frames = g_new0(struct qcow2_l2_frame, qcow2_l2_cache_n_frames(cache));
    cache->dirty = g_new(uint32_t, qcow2_l2_cache_n_frames(cache));
    for (uint32_t i = 0; i < qcow2_l2_cache_n_frames(cache); i++)
        cache->frames[i].slice = cache->frames[i].loading = QCOW2_L2_NO_SLICE;
    return 0;
}

void qcow2_l2_cache_clear(struct qcow2_l2_cache *cache)
{
    if (cache->words)
        munmap(cache->words, cache->words_len);
    g_free(cache->frames);
    g_free(cache->dirty);
    memset(cache, 0, sizeof(*cache));
}

static struct qcow2_l2_frame *l2_cache_set_of(const struct qcow2_l2_cache *cache, uint64_t slice)
{
    /* Of 32 bits, since that is the faster division; there are less than 2^32 of them. */
    return &cache->frames[(uint64_t)((uint32_t)slice % cache->n_sets) * QCOW2_L2_WAYS];
}

static uint64_t *l2_cache_words(const struct qcow2_l2_cache *cache,
                                const struct qcow2_l2_frame *frame)
{
    return cache->words + (size_t)(frame - cache->frames) * cache->slice_words;
}

/* --- readers --- */

enum l2_cache_look { L2_CACHE_OTHER, L2_CACHE_CHANGING, L2_CACHE_GOT };

static enum l2_cache_look l2_cache_look(struct qcow2_l2_cache *cache, struct qcow2_l2_frame *frame,
                                        uint64_t slice, unsigned index,
                                        struct qcow2_l2_entry *ret_entry)
{
    const uint64_t *word = l2_cache_words(cache, frame) + (size_t)index * cache->entry_words;
    uint32_t seq = __atomic_load_n(&frame->seq, __ATOMIC_ACQUIRE);
    struct qcow2_l2_entry entry = {0, 0};

    if (__atomic_load_n(&frame->slice, __ATOMIC_ACQUIRE) != slice)
        return L2_CACHE_OTHER;
    entry.cluster = __atomic_load_n(&word[0], __ATOMIC_ACQUIRE);
    if (cache->entry_words > 1)
        entry.bitmap = __atomic_load_n(&word[1], __ATOMIC_ACQUIRE);
    if (seq % 2 != 0 || __atomic_load_n(&frame->seq, __ATOMIC_RELAXED) != seq)
        return L2_CACHE_CHANGING;
    if (!__atomic_load_n(&frame->was_used, __ATOMIC_RELAXED))
        __atomic_store_n(&frame->was_used, true, __ATOMIC_RELAXED);
    *ret_entry = entry;
    return L2_CACHE_GOT;
}

bool qcow2_l2_cache_get(struct qcow2_l2_cache *cache, uint64_t slice, unsigned index,
                        struct qcow2_l2_entry *ret_entry)
{
    struct qcow2_l2_frame *set = l2_cache_set_of(cache, slice);
    unsigned spins = 0;

    for (unsigned way = 0; way < QCOW2_L2_WAYS; way++) {
        enum l2_cache_look look;

        if (__atomic_load_n(&set[way].slice, __ATOMIC_RELAXED) != slice)
            continue;
        do {
            look = l2_cache_look(cache, &set[way], slice, index, ret_entry);
        } while (look == L2_CACHE_CHANGING && ++spins < L2_CACHE_SPINS);
        if (look == L2_CACHE_GOT)
            return true;
    }
    return false;
}

/* --- the owner --- */

struct qcow2_l2_frame *qcow2_l2_cache_find(struct qcow2_l2_cache *cache, uint64_t slice)
{
    struct qcow2_l2_frame *set = l2_cache_set_of(cache, slice);

    for (unsigned way = 0; way < QCOW2_L2_WAYS; way++) {
        if (set[way].slice == slice) {
            __atomic_store_n(&set[way].was_used, true, __ATOMIC_RELAXED);
            return &set[way];
        }
    }
    return NULL;
}

bool qcow2_l2_cache_is_loading(struct qcow2_l2_cache *cache, uint64_t slice)
{
    struct qcow2_l2_frame *set = l2_cache_set_of(cache, slice);

    for (unsigned way = 0; way < QCOW2_L2_WAYS; way++) {
        if (set[way].loading == slice)
            return true;
    }
    return false;
}

static bool l2_cache_is_free(const struct qcow2_l2_frame *frame)
{
    return frame->n_pins == 0 && !frame->is_dirty && !frame->is_writing &&
           frame->loading == QCOW2_L2_NO_SLICE;
}

/* An empty one, else one that was not used since it was last looked at, else any. */
static struct qcow2_l2_frame *l2_cache_choose(struct qcow2_l2_frame *set)
{
    struct qcow2_l2_frame *any = NULL, *idle = NULL;

    for (unsigned way = 0; way < QCOW2_L2_WAYS; way++) {
        if (!l2_cache_is_free(&set[way]))
            continue;
        if (set[way].slice == QCOW2_L2_NO_SLICE)
            return &set[way];
        if (!idle && !__atomic_load_n(&set[way].was_used, __ATOMIC_RELAXED))
            idle = &set[way];
        any = &set[way];
    }
    if (idle)
        return idle;
    for (unsigned way = 0; way < QCOW2_L2_WAYS; way++)
        __atomic_store_n(&set[way].was_used, false, __ATOMIC_RELAXED);
    return any;
}

struct qcow2_l2_frame *qcow2_l2_cache_claim(struct qcow2_l2_cache *cache, uint64_t slice)
{
    struct qcow2_l2_frame *frame = l2_cache_choose(l2_cache_set_of(cache, slice));

    if (!frame)
        return NULL;
    __atomic_store_n(&frame->seq, frame->seq + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&frame->slice, QCOW2_L2_NO_SLICE, __ATOMIC_RELEASE);
    frame->loading = slice;
    return frame;
}

void qcow2_l2_cache_fill(struct qcow2_l2_cache *cache, struct qcow2_l2_frame *frame,
                         const void *bytes)
{
    uint64_t *words = l2_cache_words(cache, frame);
    be64_t word;

    for (unsigned i = 0; i < cache->slice_words; i++) {
        memcpy(&word, (const uint8_t *)bytes + i * sizeof(word), sizeof(word));
        __atomic_store_n(&words[i], be64_value(word), __ATOMIC_RELEASE);
    }
    __atomic_store_n(&frame->was_used, true, __ATOMIC_RELAXED);
    __atomic_store_n(&frame->slice, frame->loading, __ATOMIC_RELEASE);
    frame->loading = QCOW2_L2_NO_SLICE;
    __atomic_store_n(&frame->seq, frame->seq + 1, __ATOMIC_RELEASE);
}

void qcow2_l2_cache_abandon(struct qcow2_l2_cache *cache, struct qcow2_l2_frame *frame)
{
    frame->loading = QCOW2_L2_NO_SLICE;
    __atomic_store_n(&frame->seq, frame->seq + 1, __ATOMIC_RELEASE);
}

struct qcow2_l2_entry qcow2_l2_cache_peek(const struct qcow2_l2_cache *cache,
                                          const struct qcow2_l2_frame *frame, unsigned index)
{
    const uint64_t *word = l2_cache_words(cache, frame) + (size_t)index * cache->entry_words;

    return (struct qcow2_l2_entry){word[0], cache->entry_words > 1 ? word[1] : 0};
}

static void l2_cache_mark_dirty(struct qcow2_l2_cache *cache, struct qcow2_l2_frame *frame)
{
    if (frame->is_dirty)
        return;
    frame->is_dirty = true;
    cache->dirty[cache->n_dirty++] = (uint32_t)(frame - cache->frames);
}

void qcow2_l2_cache_set(struct qcow2_l2_cache *cache, struct qcow2_l2_frame *frame, unsigned index,
                        struct qcow2_l2_entry entry)
{
    uint64_t *word = l2_cache_words(cache, frame) + (size_t)index * cache->entry_words;

    if (cache->entry_words > 1) {
        __atomic_store_n(&frame->seq, frame->seq + 1, __ATOMIC_RELAXED);
        __atomic_store_n(&word[0], entry.cluster, __ATOMIC_RELEASE);
        __atomic_store_n(&word[1], entry.bitmap, __ATOMIC_RELEASE);
        __atomic_store_n(&frame->seq, frame->seq + 1, __ATOMIC_RELEASE);
    } else {
        __atomic_store_n(&word[0], entry.cluster, __ATOMIC_RELEASE);
    }
    l2_cache_mark_dirty(cache, frame);
}

struct qcow2_l2_frame *qcow2_l2_cache_begin_write(struct qcow2_l2_cache *cache, uint64_t *ret_slice)
{
    struct qcow2_l2_frame *frame;

    if (cache->n_dirty == 0)
        return NULL;
    frame = &cache->frames[cache->dirty[--cache->n_dirty]];
    frame->is_writing = true;
    frame->is_dirty = false;
    *ret_slice = frame->slice;
    return frame;
}

void qcow2_l2_cache_encode(const struct qcow2_l2_cache *cache, const struct qcow2_l2_frame *frame,
                           void *bytes)
{
    const uint64_t *words = l2_cache_words(cache, frame);

    for (unsigned i = 0; i < cache->slice_words; i++) {
        be64_t word = be64_from(words[i]);

        memcpy((uint8_t *)bytes + i * sizeof(word), &word, sizeof(word));
    }
}

void qcow2_l2_cache_end_write(struct qcow2_l2_cache *cache, struct qcow2_l2_frame *frame,
                              bool succeeded)
{
    frame->is_writing = false;
    if (!succeeded)
        l2_cache_mark_dirty(cache, frame);
}

void qcow2_l2_cache_empty(struct qcow2_l2_cache *cache)
{
    for (uint32_t i = 0; i < qcow2_l2_cache_n_frames(cache); i++) {
        struct qcow2_l2_frame *frame = &cache->frames[i];

        g_assert(l2_cache_is_free(frame));
        __atomic_store_n(&frame->seq, frame->seq + 1, __ATOMIC_RELAXED);
        __atomic_store_n(&frame->slice, QCOW2_L2_NO_SLICE, __ATOMIC_RELEASE);
        __atomic_store_n(&frame->seq, frame->seq + 1, __ATOMIC_RELEASE);
    }
}
