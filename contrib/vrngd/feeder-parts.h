/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the feeder share: what its thread knows, and what each does for the loop in
 * feeder.c. The thread alone, but for what says otherwise.
 */
#pragma once

#include <pthread.h>

#include "contrib/vrngd/feeder.h"

#define FEEDER_BUFFER 65536
#define FEEDER_MS_NS  UINT64_C(1000000)

struct rng_feeder {
    struct rng_pool *pool;
    struct rng_source *source;
    pthread_t thread;
    bool is_running;
    bool is_stopping, is_restarting; /* atomic */
    bool is_reading;                 /* atomic */
    uint64_t back_ns;                /* atomic: it hangs in the source if it is not back by then */
    bool has_health;

    /* the thread's */
    bool is_open;
    uint64_t retry_ns;            /* not to be opened, or asked, before */
    uint64_t tick_ns;             /* to be read then at the latest; 0: nothing is wanted */
    uint64_t silent_ns;           /* silence is told of then; UINT64_MAX: it has been */
    unsigned backoff_ms, idle_ms; /* for the next time; 0: it goes well */
    struct rng_health health;
    unsigned n_alarms; /* in a row */
    bool is_stopped;
    int told; /* the problem that the log knows of */
    uint64_t next_warning_ns, next_info_ns;
    size_t n_have; /* bytes read and not given out */
    uint8_t buffer[FEEDER_BUFFER];

    pthread_mutex_t lock; /* guards what follows */
    struct rng_feeder_status status;
};

/* --- feeder-source.c: the source is opened, waited for, read --- */

/* Waits for the source to have something, and takes it: at most `size` bytes, which are wanted; or
 * until then, or for news in the pool. */
void feeder_fetch(struct rng_feeder *feeder, size_t size, uint64_t now_ns, uint64_t until_ns);
/* Nothing is wanted of it: waits for news in the pool, or until then. */
void feeder_rest(struct rng_feeder *feeder, uint64_t until_ns);
/* Its connection is given up. */
void feeder_close(struct rng_feeder *feeder);

/* --- feeder-health.c: what it gave is tested --- */

/* The last n bytes that were read. At an alarm all are thrown away. */
void feeder_test(struct rng_feeder *feeder, size_t n, uint64_t now_ns);
/* Begins anew with the source, and with its tests; also where it was stopped. */
void feeder_begin_anew(struct rng_feeder *feeder);

/* --- feeder-status.c: what is told of it, in the log and to whoever asks --- */

/* An errno: why requests wait now; 0: they do not. */
void feeder_set_problem(struct rng_feeder *feeder, int problem);
