/* SPDX-License-Identifier: Apache-2.0 */
/* A pool of threads that grows with what waits and shrinks when idle: see helpers.h. */
#include "vhost-user/helpers.h"

#include <glib.h>
#include <pthread.h>
#include <time.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/thread.h"

#define HELPERS_IDLE_SECONDS 1

struct vu_helpers {
    struct vu_helpers_options options;
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t work;  /* a job was queued, or stopping */
    pthread_cond_t gone;  /* a thread left */
    unsigned n_threads;   /* that take jobs */
    unsigned n_idle, n_leaving, n_waiting;
    bool stopping;
    struct vu_job *first, **last; /* waiting, oldest first */
};

static struct vu_job *helpers_take_locked(struct vu_helpers *helpers)
{
    struct vu_job *job = helpers->first;

    helpers->first = job->next;
    if (!helpers->first)
        helpers->last = &helpers->first;
    helpers->n_waiting--;
    return job;
}

/* Waits for a job. False where the thread should leave: stopping, or idle for long. */
static bool helpers_wait_locked(struct vu_helpers *helpers)
{
    struct timespec until;
    int ret = 0;

    if (helpers->first)
        return true;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += HELPERS_IDLE_SECONDS;
    helpers->n_idle++;
    while (!helpers->first && !helpers->stopping && ret == 0)
        ret = pthread_cond_timedwait(&helpers->work, &helpers->lock, &until);
    helpers->n_idle--;
    return helpers->first != NULL;
}

static void *helpers_thread(void *opaque)
{
    struct vu_helpers *helpers = opaque;
    struct vu_job *job;

    if (helpers->options.thread_start)
        helpers->options.thread_start();
    pthread_mutex_lock(&helpers->lock);
    while (helpers_wait_locked(helpers)) {
        job = helpers_take_locked(helpers);
        pthread_mutex_unlock(&helpers->lock);
        job->run(job);
        pthread_mutex_lock(&helpers->lock);
    }
    helpers->n_threads--;
    helpers->n_leaving++;
    pthread_mutex_unlock(&helpers->lock);
    if (helpers->options.thread_stop)
        helpers->options.thread_stop();
    pthread_mutex_lock(&helpers->lock);
    helpers->n_leaving--;
    pthread_cond_signal(&helpers->gone);
    pthread_mutex_unlock(&helpers->lock);
    return NULL;
}

/* Adds a thread; where none can be made those that run go on alone. */
static void helpers_spawn_locked(struct vu_helpers *helpers)
{
    pthread_t thread;

    if (vu_thread_create(helpers->options.name, helpers_thread, helpers, &thread) < 0)
        return;
    pthread_detach(thread);
    helpers->n_threads++;
}

/* False where no thread runs and none can be made. */
static bool helpers_queue(struct vu_helpers *helpers, struct vu_job *job)
{
    VU_LOCK_SCOPE(&helpers->lock);

    if (helpers->n_idle <= helpers->n_waiting && helpers->n_threads < helpers->options.max_threads)
        helpers_spawn_locked(helpers);
    if (helpers->n_threads == 0)
        return false;
    job->next = NULL;
    *helpers->last = job;
    helpers->last = &job->next;
    helpers->n_waiting++;
    return true;
}

void vu_helpers_run(struct vu_helpers *helpers, struct vu_job *job)
{
    /* Without the lock, which the thread that wakes wants at once. */
    if (helpers_queue(helpers, job))
        pthread_cond_signal(&helpers->work);
    else
        job->run(job);
}

struct vu_helpers *vu_helpers_create(const struct vu_helpers_options *options)
{
    struct vu_helpers *helpers = g_new0(struct vu_helpers, 1);
    pthread_condattr_t attr;

    helpers->options = *options;
    helpers->last = &helpers->first;
    pthread_mutex_init(&helpers->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&helpers->work, &attr);
    pthread_cond_init(&helpers->gone, NULL);
    pthread_condattr_destroy(&attr);
    return helpers;
}

void vu_helpers_destroy(struct vu_helpers *helpers)
{
    if (!helpers)
        return;
    pthread_mutex_lock(&helpers->lock);
    helpers->stopping = true;
    pthread_cond_broadcast(&helpers->work);
    while (helpers->n_threads + helpers->n_leaving > 0)
        pthread_cond_wait(&helpers->gone, &helpers->lock);
    pthread_mutex_unlock(&helpers->lock);
    pthread_cond_destroy(&helpers->gone);
    pthread_cond_destroy(&helpers->work);
    pthread_mutex_destroy(&helpers->lock);
    g_free(helpers);
}
