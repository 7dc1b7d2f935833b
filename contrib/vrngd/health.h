/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Continuous tests of a raw noise source (NIST SP 800-90B section 4.4): whether it still is as
 * unpredictable as was claimed, far enough to notice that it has failed. A sample is a byte.
 *
 *   repetition count     as many equal samples in a row as the claim makes a miracle
 *   adaptive proportion  one sample too often among RNG_HEALTH_WINDOW
 *
 * Cutoffs come from the claim, H bits of min-entropy for each sample, such that a source which
 * keeps it raises an alarm with a probability of 2^-20 for each sample, or window. Bytes are for
 * use when RNG_HEALTH_STARTUP in a row have passed, these included (section 4.3). After an alarm
 * that begins anew.
 *
 * No lock: the feeder's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RNG_HEALTH_WINDOW  512
#define RNG_HEALTH_STARTUP 1024

/* What a test says. */
enum rng_health_alarm { RNG_HEALTH_GOOD, RNG_HEALTH_REPETITION, RNG_HEALTH_PROPORTION };
extern const char *const rng_health_alarms[]; /* "good", "repetition count", ... */

struct rng_health {
    unsigned max_run, max_count; /* the cutoffs: as many are an alarm */
    uint8_t last;                /* sample */
    unsigned run;                /* of it; 0: there was none */
    uint8_t first;               /* of the window */
    unsigned seen, count;        /* samples of the window; of them, the first's equals */
    unsigned n_startup;          /* passed, at most RNG_HEALTH_STARTUP */
};

/* min_entropy: H, more than 0 and at most 8. */
void rng_health_init(struct rng_health *health, double min_entropy);
/* Forgets all samples: the next are the first. */
void rng_health_reset(struct rng_health *health);
/* Tests samples; at an alarm the rest of them is not looked at. */
enum rng_health_alarm rng_health_test(struct rng_health *health, const uint8_t *samples, size_t n);
/* Samples that must pass before any may be used. */
static inline unsigned rng_health_left(const struct rng_health *health)
{
    return RNG_HEALTH_STARTUP - health->n_startup;
}
