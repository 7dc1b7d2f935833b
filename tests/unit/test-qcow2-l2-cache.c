/* SPDX-License-Identifier: Apache-2.0 */
/* Slices in memory: found as they were filled and changed, made room for, and never half read. */
#include "vblkd/format/qcow2-l2-cache.h"

#include <glib.h>
#include <pthread.h>
#include <string.h>

#include "vblkd/format/big-endian.h"

#define TEST_SLICE  512u
#define TEST_WORDS  (TEST_SLICE / 8)
#define TEST_ROUNDS 30000
#define TEST_FOUND  3000000

/* Every word tells which slice it is of, and which word. */
static uint64_t test_word(uint64_t slice, unsigned i)
{
    return slice << 32 | (i + 1);
}

static struct qcow2_l2_frame *test_load(struct qcow2_l2_cache *cache, uint64_t slice)
{
    struct qcow2_l2_frame *frame = qcow2_l2_cache_claim(cache, slice);
    be64_t words[TEST_WORDS];

    if (!frame)
        return NULL;
    g_assert_true(qcow2_l2_cache_is_loading(cache, slice));
    for (unsigned i = 0; i < TEST_WORDS; i++)
        words[i] = be64_from(test_word(slice, i));
    qcow2_l2_cache_fill(cache, frame, words);
    g_assert_false(qcow2_l2_cache_is_loading(cache, slice));
    return frame;
}

static void test_assert_entry(struct qcow2_l2_cache *cache, uint64_t slice, unsigned index)
{
    struct qcow2_l2_entry entry;

    g_assert_true(qcow2_l2_cache_get(cache, slice, index, &entry));
    g_assert_cmphex(entry.cluster, ==, test_word(slice, index * cache->entry_words));
    if (cache->entry_words > 1)
        g_assert_cmphex(entry.bitmap, ==, test_word(slice, index * 2 + 1));
}

static void test_filled(gconstpointer data)
{
    struct qcow2_l2_cache cache;
    struct qcow2_l2_frame *frame;
    struct qcow2_l2_entry entry;
    unsigned width = GPOINTER_TO_UINT(data);

    g_assert_cmpint(qcow2_l2_cache_init(&cache, TEST_SLICE, width, 1 << 20), ==, 0);
    for (uint64_t slice = 0; slice < 100; slice++) {
        g_assert_false(qcow2_l2_cache_get(&cache, slice, 0, &entry));
        g_assert_nonnull(test_load(&cache, slice));
    }
    for (uint64_t slice = 0; slice < 100; slice++)
        for (unsigned i = 0; i < TEST_WORDS / width; i++)
            test_assert_entry(&cache, slice, i);
    /* One that could not be read is not there. */
    frame = qcow2_l2_cache_claim(&cache, 1000);
    qcow2_l2_cache_abandon(&cache, frame);
    g_assert_false(qcow2_l2_cache_is_loading(&cache, 1000));
    g_assert_null(qcow2_l2_cache_find(&cache, 1000));
    qcow2_l2_cache_empty(&cache);
    g_assert_false(qcow2_l2_cache_get(&cache, 1, 0, &entry));
    qcow2_l2_cache_clear(&cache);
}

/* Slices that fall into the same set take each other's place, but for what is dirty, being written
 * or pinned. */
static void test_room(void)
{
    struct qcow2_l2_frame *frames[QCOW2_L2_WAYS];
    struct qcow2_l2_cache cache;
    uint64_t step, slice;
    unsigned n_found = 0;

    g_assert_cmpint(qcow2_l2_cache_init(&cache, TEST_SLICE, 1, 0), ==, 0);
    step = cache.n_sets;
    for (uint64_t i = 0; i < QCOW2_L2_WAYS; i++)
        g_assert_nonnull(test_load(&cache, i * step));
    g_assert_nonnull(test_load(&cache, 100 * step));
    for (uint64_t i = 0; i < QCOW2_L2_WAYS; i++) {
        frames[i] = qcow2_l2_cache_find(&cache, i * step);
        n_found += frames[i] != NULL;
    }
    g_assert_cmpuint(n_found, ==, QCOW2_L2_WAYS - 1);
    for (uint64_t i = 0; i < QCOW2_L2_WAYS; i++) {
        if (!frames[i])
            frames[i] = qcow2_l2_cache_find(&cache, 100 * step);
        frames[i]->n_pins++;
    }
    g_assert_null(qcow2_l2_cache_claim(&cache, 200 * step));
    frames[3]->n_pins--;
    qcow2_l2_cache_set(&cache, frames[3], 0, (struct qcow2_l2_entry){1, 0});
    g_assert_null(qcow2_l2_cache_claim(&cache, 200 * step));
    g_assert_true(qcow2_l2_cache_begin_write(&cache, &slice) == frames[3]);
    g_assert_null(qcow2_l2_cache_claim(&cache, 200 * step));
    qcow2_l2_cache_end_write(&cache, frames[3], true);
    g_assert_true(qcow2_l2_cache_claim(&cache, 200 * step) == frames[3]);
    g_assert_null(qcow2_l2_cache_claim(&cache, 300 * step));
    qcow2_l2_cache_clear(&cache);
}

/* As much as may be, and no more. */
static void test_size(void)
{
    static const uint64_t n_sets[] = {9, 100, 1000};
    struct qcow2_l2_cache cache;

    for (size_t i = 0; i < G_N_ELEMENTS(n_sets); i++) {
        uint64_t len = n_sets[i] * QCOW2_L2_WAYS * TEST_SLICE;

        g_assert_cmpint(qcow2_l2_cache_init(&cache, TEST_SLICE, 1, len + TEST_SLICE), ==, 0);
        g_assert_cmpuint(cache.words_len, ==, len);
        for (uint64_t slice = 0; slice < n_sets[i] * QCOW2_L2_WAYS; slice++)
            g_assert_nonnull(test_load(&cache, slice));
        for (uint64_t slice = 0; slice < n_sets[i] * QCOW2_L2_WAYS; slice++)
            g_assert_nonnull(qcow2_l2_cache_find(&cache, slice));
        qcow2_l2_cache_clear(&cache);
    }
}

static void test_dirty(void)
{
    struct qcow2_l2_cache cache;
    struct qcow2_l2_frame *frame;
    be64_t words[TEST_WORDS];
    uint64_t slice;

    g_assert_cmpint(qcow2_l2_cache_init(&cache, TEST_SLICE, 1, 0), ==, 0);
    g_assert_null(qcow2_l2_cache_begin_write(&cache, &slice));
    frame = test_load(&cache, 7);
    qcow2_l2_cache_set(&cache, frame, 3, (struct qcow2_l2_entry){42, 0});
    qcow2_l2_cache_set(&cache, frame, 4, (struct qcow2_l2_entry){43, 0});
    g_assert_cmpuint(cache.n_dirty, ==, 1);
    g_assert_true(qcow2_l2_cache_begin_write(&cache, &slice) == frame);
    g_assert_cmpuint(slice, ==, 7);
    g_assert_null(qcow2_l2_cache_begin_write(&cache, &slice));
    qcow2_l2_cache_encode(&cache, frame, words);
    g_assert_cmphex(be64_value(words[3]), ==, 42);
    g_assert_cmphex(be64_value(words[5]), ==, test_word(7, 5));
    /* Changed while it is written: dirty again, however that ends. */
    qcow2_l2_cache_set(&cache, frame, 5, (struct qcow2_l2_entry){44, 0});
    qcow2_l2_cache_end_write(&cache, frame, true);
    g_assert_true(qcow2_l2_cache_begin_write(&cache, &slice) == frame);
    qcow2_l2_cache_end_write(&cache, frame, false);
    g_assert_true(qcow2_l2_cache_begin_write(&cache, &slice) == frame);
    qcow2_l2_cache_end_write(&cache, frame, true);
    g_assert_cmpuint(cache.n_dirty, ==, 0);
    qcow2_l2_cache_clear(&cache);
}

/* --- threads --- */

static struct {
    struct qcow2_l2_cache cache;
    bool is_over; /* atomic */
    uint64_t n_found;
} test_shared;

static uint64_t test_n_found(void)
{
    return __atomic_load_n(&test_shared.n_found, __ATOMIC_RELAXED);
}

/* Whatever is found is of the slice that was asked for, and both words of one moment. */
static void *test_reader(void *opaque)
{
    while (!__atomic_load_n(&test_shared.is_over, __ATOMIC_RELAXED)) {
        for (uint64_t slice = 0; slice < 40; slice++) {
            unsigned index = (unsigned)slice % (TEST_WORDS / 2);
            struct qcow2_l2_entry entry;

            if (!qcow2_l2_cache_get(&test_shared.cache, slice * 8, index, &entry))
                continue;
            g_assert_cmphex(entry.cluster >> 32, ==, slice * 8);
            g_assert_cmphex(entry.bitmap >> 32, ==, slice * 8);
            g_assert_cmphex((uint32_t)entry.cluster + 1, ==, (uint32_t)entry.bitmap);
            __atomic_fetch_add(&test_shared.n_found, 1, __ATOMIC_RELAXED);
        }
    }
    return NULL;
}

static void test_threads(void)
{
    struct qcow2_l2_cache *cache = &test_shared.cache;
    pthread_t threads[2];
    uint64_t slice;

    /* 40 slices in one set of 8 frames. */
    g_assert_cmpint(qcow2_l2_cache_init(cache, TEST_SLICE, 2, 0), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        g_assert_cmpint(pthread_create(&threads[i], NULL, test_reader, NULL), ==, 0);
    /* Until enough was found: on a busy machine that takes a while. */
    for (uint32_t i = 0; i < TEST_ROUNDS || test_n_found() < TEST_FOUND; i++) {
        uint64_t which = (i * 7 % 40) * 8;
        unsigned index = (unsigned)(which / 8) % (TEST_WORDS / 2);
        struct qcow2_l2_frame *frame = qcow2_l2_cache_find(cache, which);

        if (!frame)
            frame = test_load(cache, which);
        qcow2_l2_cache_set(
            cache, frame, index,
            (struct qcow2_l2_entry){which << 32 | (2 * i + 1), which << 32 | (2 * i + 2)});
        /* The two words of an entry change together. */
        for (uint32_t j = 0; j < 40; j++)
            qcow2_l2_cache_set(
                cache, frame, index,
                (struct qcow2_l2_entry){which << 32 | (2 * j + 1), which << 32 | (2 * j + 2)});
        while ((frame = qcow2_l2_cache_begin_write(cache, &slice)) != NULL)
            qcow2_l2_cache_end_write(cache, frame, true);
    }
    __atomic_store_n(&test_shared.is_over, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        pthread_join(threads[i], NULL);
    qcow2_l2_cache_clear(cache);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/qcow2/l2-cache/filled", GUINT_TO_POINTER(1), test_filled);
    g_test_add_data_func("/qcow2/l2-cache/filled-extended", GUINT_TO_POINTER(2), test_filled);
    g_test_add_func("/qcow2/l2-cache/room", test_room);
    g_test_add_func("/qcow2/l2-cache/size", test_size);
    g_test_add_func("/qcow2/l2-cache/dirty", test_dirty);
    g_test_add_func("/qcow2/l2-cache/threads", test_threads);
    return g_test_run();
}
