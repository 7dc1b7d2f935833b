/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers: threads that run what would make another thread sleep. One is added when more jobs wait
 * than helpers idle, up to the limit, and leaves after a second without work, so that what nobody
 * uses costs none.
 */
#pragma once

#include <stdbool.h>

/* The first field of whatever a job is about. The caller's until it is run, and from then on again.
 */
struct vu_job {
    void (*run)(struct vu_job *job);
    struct vu_job *next; /* the pool's */
};

struct vu_helpers;

struct vu_helpers_options {
    const char *name;     /* of the threads */
    unsigned max_threads; /* at least 1 */
    /* Both optional, on the new thread. */
    void (*thread_start)(void);
    void (*thread_stop)(void);
};

/* Never fails; the options are copied. */
struct vu_helpers *vu_helpers_create(const struct vu_helpers_options *options);
/* Runs what waits, and ends the threads. NULL is allowed. */
void vu_helpers_destroy(struct vu_helpers *helpers);
/* Any thread. Where no helper runs and none can be made, the caller runs the job here. */
void vu_helpers_run(struct vu_helpers *helpers, struct vu_job *job);
