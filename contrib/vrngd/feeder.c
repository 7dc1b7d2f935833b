/* SPDX-License-Identifier: Apache-2.0 */
/* The feeder's loop, and its life: see feeder.h. */
#include "contrib/vrngd/feeder.h"

#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "contrib/vrngd/feeder-parts.h"
#include "vhost-user/cpu.h"
#include "vhost-user/thread.h"

/* --- the loop --- */

/* Gives out what there is. */
static void feeder_give(struct rng_feeder *feeder, uint64_t now_ns)
{
    size_t n = rng_pool_give(feeder->pool, feeder->buffer, feeder->n_have, now_ns);

    feeder->n_have -= n;
    memmove(feeder->buffer, feeder->buffer + n, feeder->n_have);
    explicit_bzero(feeder->buffer + feeder->n_have, n);
}

static void feeder_turn(struct rng_feeder *feeder)
{
    uint64_t now_ns = vu_now_ns(), until_ns;
    size_t wanted = rng_pool_wanted(feeder->pool, FEEDER_BUFFER, now_ns, &until_ns);
    size_t untested;

    if (__atomic_exchange_n(&feeder->is_restarting, false, __ATOMIC_ACQ_REL))
        feeder_begin_anew(feeder);
    untested = feeder->has_health ? rng_health_left(&feeder->health) : 0;
    if (feeder->is_stopped)
        feeder_rest(feeder, UINT64_MAX);
    else if (wanted > 0 && feeder->n_have > 0 && untested == 0)
        feeder_give(feeder, now_ns);
    else if (wanted > 0 || untested > 0)
        /* Behind what is kept until the start-up test has passed. */
        feeder_fetch(feeder, MIN(MAX(wanted, untested), FEEDER_BUFFER - feeder->n_have), now_ns,
                     until_ns);
    else
        feeder_rest(feeder, until_ns);
}

static void *feeder_run(void *opaque)
{
    struct rng_feeder *feeder = opaque;

    while (!__atomic_load_n(&feeder->is_stopping, __ATOMIC_ACQUIRE))
        feeder_turn(feeder);
    feeder_close(feeder);
    return NULL;
}

/* --- for main --- */

struct rng_feeder *rng_feeder_create(struct rng_pool *pool, struct rng_source *source)
{
    struct rng_feeder *feeder = g_new0(struct rng_feeder, 1);

    feeder->pool = pool;
    feeder->source = source;
    feeder->back_ns = UINT64_MAX;
    pthread_mutex_init(&feeder->lock, NULL);
    return feeder;
}

void rng_feeder_destroy(struct rng_feeder *feeder)
{
    explicit_bzero(feeder->buffer, sizeof(feeder->buffer));
    pthread_mutex_destroy(&feeder->lock);
    g_free(feeder);
}

void rng_feeder_test_health(struct rng_feeder *feeder, double min_entropy)
{
    g_assert(!feeder->source->ops->is_instant);
    rng_health_init(&feeder->health, min_entropy);
    feeder->has_health = true;
    feeder->status.is_tested = feeder->status.is_starting_up = true;
}

void rng_feeder_restart(struct rng_feeder *feeder)
{
    __atomic_store_n(&feeder->is_restarting, true, __ATOMIC_RELEASE);
    (void)eventfd_write(feeder->pool->wake_fd, 1);
}

int rng_feeder_start(struct rng_feeder *feeder)
{
    int err = vu_thread_create("feeder", feeder_run, feeder, &feeder->thread);

    feeder->is_running = err == 0;
    return err;
}

bool rng_feeder_stop(struct rng_feeder *feeder)
{
    struct timespec until;
    bool was_reading = false;

    if (!feeder->is_running)
        return true;
    __atomic_store_n(&feeder->is_stopping, true, __ATOMIC_RELEASE);
    (void)eventfd_write(feeder->pool->wake_fd, 1);
    /* Without a read on its way it is likelier that the machine is busy. */
    for (unsigned i = 0; i < RNG_FEEDER_STOP_S && !was_reading; i++) {
        was_reading = __atomic_load_n(&feeder->is_reading, __ATOMIC_RELAXED);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        feeder->is_running = pthread_timedjoin_np(feeder->thread, NULL, &until) != 0;
        if (!feeder->is_running)
            return true;
    }
    return false;
}
