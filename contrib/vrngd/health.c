/* SPDX-License-Identifier: Apache-2.0 */
/* The two tests, and where their cutoffs come from: see health.h. */
#include "contrib/vrngd/health.h"

#include <math.h>

#define HEALTH_ALPHA_LOG2 20 /* false alarms: one in 2^20 */

const char *const rng_health_alarms[] = {
    [RNG_HEALTH_GOOD] = "good",
    [RNG_HEALTH_REPETITION] = "repetition count",
    [RNG_HEALTH_PROPORTION] = "adaptive proportion",
};

/* 1 + the smallest k for which k or fewer successes in n trials of probability p have at least the
 * probability 1 - 2^-20 (section 4.4.2: 1 + CRITBINOM). */
static unsigned health_critical(unsigned n, double p)
{
    double sum = 0;

    for (unsigned k = 0; k < n; k++) {
        double log_choose = lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0);

        sum += exp(log_choose + k * log(p) + (n - k) * log1p(-p));
        if (sum >= 1 - exp2(-HEALTH_ALPHA_LOG2))
            return k + 1;
    }
    return n + 1;
}

void rng_health_init(struct rng_health *health, double min_entropy)
{
    *health = (struct rng_health){
        .max_run = 1 + (unsigned)ceil(HEALTH_ALPHA_LOG2 / min_entropy),
        .max_count = health_critical(RNG_HEALTH_WINDOW, exp2(-min_entropy)),
    };
}

void rng_health_reset(struct rng_health *health)
{
    health->run = health->seen = health->count = health->n_startup = 0;
}

static bool health_repeats(struct rng_health *health, uint8_t sample)
{
    health->run = health->run > 0 && sample == health->last ? health->run + 1 : 1;
    health->last = sample;
    return health->run >= health->max_run;
}

static bool health_prevails(struct rng_health *health, uint8_t sample)
{
    if (health->seen == 0) {
        health->first = sample;
        health->count = 0;
    }
    health->count += sample == health->first;
    health->seen = (health->seen + 1) % RNG_HEALTH_WINDOW;
    return health->count >= health->max_count;
}

enum rng_health_alarm rng_health_test(struct rng_health *health, const uint8_t *samples, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (health_repeats(health, samples[i]))
            return RNG_HEALTH_REPETITION;
        if (health_prevails(health, samples[i]))
            return RNG_HEALTH_PROPORTION;
        if (health->n_startup < RNG_HEALTH_STARTUP)
            health->n_startup++;
    }
    return RNG_HEALTH_GOOD;
}
