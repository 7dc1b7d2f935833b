/* SPDX-License-Identifier: Apache-2.0 */
/*
 * health.h: cutoffs as SP 800-90B has them in its examples; sequences that are one sample short of
 * an alarm, and those that are not; samples as good as claimed, and worse.
 */
#include <glib.h>
#include <string.h>

#include "contrib/vrngd/health.h"

/* The repetition count's are 1 + 20 / H, rounded up; the adaptive proportion's are those of the
 * examples of section 4.4.2 for windows of 512. */
static const struct {
    double min_entropy;
    unsigned max_run, max_count;
} cutoffs[] = {{0.5, 41, 410}, {1, 21, 311}, {2, 11, 177}, {4, 6, 62}, {8, 4, 13}};

static void test_cutoffs(void)
{
    struct rng_health health;

    for (size_t i = 0; i < G_N_ELEMENTS(cutoffs); i++) {
        rng_health_init(&health, cutoffs[i].min_entropy);
        g_assert_cmpuint(health.max_run, ==, cutoffs[i].max_run);
        g_assert_cmpuint(health.max_count, ==, cutoffs[i].max_count);
    }
}

/* Bytes of a generator that every run of the test has alike. */
static uint8_t next_byte(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return (uint8_t)(*state >> 24);
}

static void test_repetition(void)
{
    uint8_t samples[64];
    struct rng_health health;

    rng_health_init(&health, 1);
    for (unsigned i = 0; i < sizeof(samples); i++)
        samples[i] = (uint8_t)(3 * i);
    memset(samples + 10, 0xaa, 20);
    for (unsigned round = 0; round < 100; round++)
        g_assert_cmpint(rng_health_test(&health, samples, sizeof(samples)), ==, RNG_HEALTH_GOOD);
    /* The last of them comes with the next read. */
    memset(samples, 0xaa, 21);
    g_assert_cmpint(rng_health_test(&health, samples, 20), ==, RNG_HEALTH_GOOD);
    g_assert_cmpint(rng_health_test(&health, samples, 1), ==, RNG_HEALTH_REPETITION);
    /* Which is forgotten. */
    rng_health_reset(&health);
    g_assert_cmpuint(rng_health_left(&health), ==, RNG_HEALTH_STARTUP);
    g_assert_cmpint(rng_health_test(&health, samples, 20), ==, RNG_HEALTH_GOOD);
    g_assert_cmpuint(rng_health_left(&health), ==, RNG_HEALTH_STARTUP - 20);
}

/* Every other sample is the window's first: 256 of 512, and with some more it is too many. */
static void fill_window(uint8_t *window, unsigned n_equal)
{
    for (unsigned i = 0; i < RNG_HEALTH_WINDOW; i++)
        window[i] = (uint8_t)(1 + i % 250);
    for (unsigned i = 0, n = 0; n < n_equal; i++) {
        /* Not more than 19 in a row. */
        if (i % 20 == 19)
            continue;
        window[i] = 0;
        n++;
    }
}

static void test_proportion(void)
{
    uint8_t window[RNG_HEALTH_WINDOW];
    struct rng_health health;

    rng_health_init(&health, 1);
    fill_window(window, 310);
    for (unsigned round = 0; round < 10; round++)
        g_assert_cmpint(rng_health_test(&health, window, sizeof(window)), ==, RNG_HEALTH_GOOD);
    fill_window(window, 311);
    g_assert_cmpint(rng_health_test(&health, window, sizeof(window)), ==, RNG_HEALTH_PROPORTION);
}

/* A window begins where the last has ended: the first sample counts, wherever reads are cut. */
static void test_windows(void)
{
    uint8_t window[RNG_HEALTH_WINDOW];
    struct rng_health health;

    rng_health_init(&health, 1);
    fill_window(window, 311);
    g_assert_cmpint(rng_health_test(&health, window + 39, 1), ==, RNG_HEALTH_GOOD);
    /* Of this window another sample is the first. */
    g_assert_cmpint(rng_health_test(&health, window, sizeof(window) - 1), ==, RNG_HEALTH_GOOD);
    for (unsigned i = 0; i < 200; i += 10)
        g_assert_cmpint(rng_health_test(&health, window + i, 10), ==, RNG_HEALTH_GOOD);
    g_assert_cmpint(rng_health_test(&health, window + 200, 312), ==, RNG_HEALTH_PROPORTION);
}

static void test_startup(void)
{
    struct rng_health health;
    uint32_t state = 1;

    rng_health_init(&health, 4);
    for (unsigned i = 0; i < 2 * RNG_HEALTH_STARTUP; i++) {
        uint8_t sample = next_byte(&state);

        g_assert_cmpuint(rng_health_left(&health), ==,
                         i < RNG_HEALTH_STARTUP ? RNG_HEALTH_STARTUP - i : 0);
        g_assert_cmpint(rng_health_test(&health, &sample, 1), ==, RNG_HEALTH_GOOD);
    }
}

/* Samples of `bits` good bits keep a claim of as many, and not one of four times as many. */
static void test_claims(void)
{
    static const unsigned all_bits[] = {1, 2};

    for (size_t i = 0; i < G_N_ELEMENTS(all_bits); i++) {
        struct rng_health kept, broken;
        bool is_alarmed = false;
        uint32_t state = 7;

        rng_health_init(&kept, all_bits[i] * 0.9);
        rng_health_init(&broken, 4 * all_bits[i]);
        for (unsigned n = 0; n < 200000; n++) {
            uint8_t sample = next_byte(&state) >> (8 - all_bits[i]);

            g_assert_cmpint(rng_health_test(&kept, &sample, 1), ==, RNG_HEALTH_GOOD);
            if (!is_alarmed)
                is_alarmed = rng_health_test(&broken, &sample, 1) != RNG_HEALTH_GOOD;
        }
        g_assert_true(is_alarmed);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rng-health/cutoffs", test_cutoffs);
    g_test_add_func("/rng-health/repetition", test_repetition);
    g_test_add_func("/rng-health/proportion", test_proportion);
    g_test_add_func("/rng-health/windows", test_windows);
    g_test_add_func("/rng-health/startup", test_startup);
    g_test_add_func("/rng-health/claims", test_claims);
    return g_test_run();
}
