/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that has the source for its own, reads it while requests wait in the pool, and gives
 * out what it got. Also of an instant source: to requests that the limits made wait.
 *
 *   CLOSED --open--> OPEN --an error, its end--> CLOSED, for a while that grows
 *   OPEN --a health test's alarm--> CLOSED --RNG_FEEDER_ALARMS of them in a row--> STOPPED
 *   STOPPED --rng_feeder_restart--> CLOSED
 *
 * A source that can never be had again (rng_source_ops.open) ends the daemon.
 *
 * What a source has not delivered is waited for; it is never made up for. Of a source under test
 * nothing is given out before its start-up test has passed, and at an alarm all that was read is
 * thrown away; alarms are in a row where no start-up test has passed between them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "contrib/vrngd/health.h"
#include "contrib/vrngd/pool.h"
#include "contrib/vrngd/source.h"

#define RNG_FEEDER_ALARMS     3
#define RNG_FEEDER_STOP_S     5
#define RNG_FEEDER_SILENCE_MS 5000 /* until a source that says nothing is told of */

struct rng_feeder;

/* Both are borrowed. Never fails. */
struct rng_feeder *rng_feeder_create(struct rng_pool *pool, struct rng_source *source);
void rng_feeder_destroy(struct rng_feeder *feeder);
/* Tests what the source gives, which is not instant. Before the start. */
void rng_feeder_test_health(struct rng_feeder *feeder, double min_entropy);
/* 0 or -errno. */
int rng_feeder_start(struct rng_feeder *feeder);
/* Ends the thread; requests stay where they are. False where it hangs in the kernel, reading the
 * source for another second, or for RNG_FEEDER_STOP_S elsewhere: it is left behind, and the process
 * must end. */
bool rng_feeder_stop(struct rng_feeder *feeder);

struct rng_feeder_status {
    int problem;              /* the errno why requests wait for the source; 0: they do not */
    const char *problem_text; /* the same for people; NULL: none */
    uint64_t n_bytes;         /* read so far */
    uint64_t n_failures;      /* times that it failed, or was at its end */
    bool is_tested;           /* its health */
    bool is_starting_up;      /* its start-up test has not passed yet */
    bool is_stopped;
    enum rng_health_alarm alarm; /* the last there was, until it has passed its tests again */
    uint64_t n_alarms;
};
/* Any thread. */
void rng_feeder_get_status(struct rng_feeder *feeder, struct rng_feeder_status *ret_status);
/* What stands for it in one word: "good", "waiting", "testing", "alarm", "stopped". */
const char *rng_feeder_state(const struct rng_feeder_status *status);
/* Begins anew with the source, and with its tests, whether it was stopped or not. Any thread. */
void rng_feeder_restart(struct rng_feeder *feeder);
