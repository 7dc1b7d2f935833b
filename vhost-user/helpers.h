/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers: threads that run what would make another thread sleep. One is added for a job that finds
 * none idle, up to the limit: as many as jobs sleep at the same time. The one that became idle last
 * is called first, and one that was not called for a second leaves: a trickle of jobs keeps one
 * thread, and what nobody uses none.
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
    unsigned max_threads; /* 0: no job is ever taken */
    /* Both optional, on the new thread. */
    void (*thread_start)(void);
    void (*thread_stop)(void);
};

/* Never fails; the options are copied. */
struct vu_helpers *vu_helpers_create(const struct vu_helpers_options *options);
/* Runs what waits, ends the threads, and waits for those that are lent. NULL is allowed. */
void vu_helpers_destroy(struct vu_helpers *helpers);
/* Any thread. False where no helper runs and none can be made: the job is the caller's still. */
bool vu_helpers_take(struct vu_helpers *helpers, struct vu_job *job);
/* The same, but what no helper takes is run here. */
void vu_helpers_run(struct vu_helpers *helpers, struct vu_job *job);

/*
 * The caller's thread will wait as a helper does, and counts as one until it is taken back. False
 * where there are as many as there may be, and for NULL.
 */
bool vu_helpers_lend(struct vu_helpers *helpers);
void vu_helpers_take_back(struct vu_helpers *helpers);
