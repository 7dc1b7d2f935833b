/* SPDX-License-Identifier: Apache-2.0 */
/* The tests of health.h over what the feeder reads, and what an alarm means: see feeder.h. */
#include <string.h>

#include "contrib/vrngd/feeder-parts.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

#define FEEDER_ALARM_MS 1000 /* until the next start-up test */

/* Throws away what was read, and begins anew with the source. */
static void feeder_reset(struct rng_feeder *feeder, uint64_t retry_ns)
{
    explicit_bzero(feeder->buffer, sizeof(feeder->buffer));
    feeder->n_have = 0;
    feeder_close(feeder);
    feeder->retry_ns = retry_ns;
    feeder->backoff_ms = feeder->idle_ms = 0;
    rng_health_reset(&feeder->health);
    VU_LOCK_SCOPE(&feeder->lock);
    feeder->status.is_starting_up = feeder->has_health;
}

static void feeder_alarm(struct rng_feeder *feeder, enum rng_health_alarm alarm, uint64_t now_ns)
{
    feeder->n_alarms++;
    feeder->is_stopped = feeder->n_alarms >= RNG_FEEDER_ALARMS;
    vu_error("vrngd: %s: ALARM of the %s test: it does not deliver what was claimed, and %s",
             feeder->source->name, rng_health_alarms[alarm],
             feeder->is_stopped ? "is stopped until it is restarted"
                                : "is not used until it has passed its tests");
    feeder_reset(feeder, now_ns + FEEDER_ALARM_MS * FEEDER_MS_NS);
    VU_LOCK_SCOPE(&feeder->lock);
    feeder->status.alarm = alarm;
    feeder->status.n_alarms++;
    feeder->status.is_stopped = feeder->is_stopped;
}

void feeder_test(struct rng_feeder *feeder, size_t n, uint64_t now_ns)
{
    bool was_starting_up = rng_health_left(&feeder->health) > 0;
    enum rng_health_alarm alarm =
        rng_health_test(&feeder->health, feeder->buffer + feeder->n_have - n, n);

    if (alarm != RNG_HEALTH_GOOD) {
        feeder_alarm(feeder, alarm, now_ns);
    } else if (was_starting_up && rng_health_left(&feeder->health) == 0) {
        vu_info("vrngd: %s: has passed its start-up test", feeder->source->name);
        feeder->n_alarms = 0;
        VU_LOCK_SCOPE(&feeder->lock);
        feeder->status.is_starting_up = false;
        feeder->status.alarm = RNG_HEALTH_GOOD;
    }
}

void feeder_begin_anew(struct rng_feeder *feeder)
{
    feeder_reset(feeder, 0);
    feeder->n_alarms = 0;
    feeder->is_stopped = false;
    VU_LOCK_SCOPE(&feeder->lock);
    feeder->status.is_stopped = false;
    feeder->status.alarm = RNG_HEALTH_GOOD;
    feeder->status.problem = 0;
}
