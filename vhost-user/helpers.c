/* SPDX-License-Identifier: Apache-2.0 */
/* A pool of threads that grows with what waits and shrinks when idle: see helpers.h. */
#include "vhost-user/helpers.h"

#include <glib.h>
#include <pthread.h>
#include <time.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/thread.h"

#define HELPERS_IDLE_SECONDS 1

/* A thread without work, on its own stack. */
struct helper_idle {
    struct helper_idle *next; /* idle for longer */
    pthread_cond_t call;      /* called, or stopping */
    bool called;              /* and off the list */
};

struct vu_helpers {
    struct vu_helpers_options options;
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t gone;  /* a thread left, or was taken back */
    unsigned n_threads;   /* that take jobs */
    unsigned n_leaving;
    unsigned n_lent;
    bool stopping;
    struct helper_idle *idle;     /* the last one first */
    struct vu_job *first, **last; /* waiting, oldest first */
};

static struct vu_job *helpers_take_locked(struct vu_helpers *helpers)
{
    struct vu_job *job = helpers->first;

    helpers->first = job->next;
    if (!helpers->first)
        helpers->last = &helpers->first;
    return job;
}

static void helpers_call_locked(struct vu_helpers *helpers)
{
    struct helper_idle *idle = helpers->idle;

    helpers->idle = idle->next;
    idle->called = true;
    pthread_cond_signal(&idle->call);
}

/* Takes an idle thread that was not called off the list. */
static void helpers_unlist_locked(struct vu_helpers *helpers, const struct helper_idle *idle)
{
    struct helper_idle **at = &helpers->idle;

    while (*at != idle)
        at = &(*at)->next;
    *at = idle->next;
}

static void helpers_init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

/* Waits to be called: whoever was finds a job, or that another thread was quicker. False where none
 * came for long. */
static bool helpers_sleep_locked(struct vu_helpers *helpers)
{
    struct helper_idle idle = {.next = helpers->idle};
    struct timespec until;
    int ret = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += HELPERS_IDLE_SECONDS;
    helpers_init_cond(&idle.call);
    helpers->idle = &idle;
    while (!idle.called && !helpers->stopping && ret == 0)
        ret = pthread_cond_timedwait(&idle.call, &helpers->lock, &until);
    if (!idle.called)
        helpers_unlist_locked(helpers, &idle);
    pthread_cond_destroy(&idle.call);
    return idle.called;
}

/* Waits for a job. False where the thread should leave: stopping, or idle for long. */
static bool helpers_wait_locked(struct vu_helpers *helpers)
{
    while (!helpers->first)
        if (helpers->stopping || !helpers_sleep_locked(helpers))
            return helpers->first != NULL;
    return true;
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

bool vu_helpers_take(struct vu_helpers *helpers, struct vu_job *job)
{
    VU_LOCK_SCOPE(&helpers->lock);

    if (helpers->idle)
        helpers_call_locked(helpers);
    else if (helpers->n_threads + helpers->n_lent < helpers->options.max_threads)
        helpers_spawn_locked(helpers);
    if (helpers->n_threads == 0)
        return false;
    job->next = NULL;
    *helpers->last = job;
    helpers->last = &job->next;
    return true;
}

void vu_helpers_run(struct vu_helpers *helpers, struct vu_job *job)
{
    if (!vu_helpers_take(helpers, job))
        job->run(job);
}

bool vu_helpers_lend(struct vu_helpers *helpers)
{
    if (!helpers)
        return false;
    VU_LOCK_SCOPE(&helpers->lock);

    if (helpers->n_threads + helpers->n_lent >= helpers->options.max_threads)
        return false;
    helpers->n_lent++;
    return true;
}

void vu_helpers_take_back(struct vu_helpers *helpers)
{
    VU_LOCK_SCOPE(&helpers->lock);

    helpers->n_lent--;
    pthread_cond_signal(&helpers->gone);
}

struct vu_helpers *vu_helpers_create(const struct vu_helpers_options *options)
{
    struct vu_helpers *helpers = g_new0(struct vu_helpers, 1);

    helpers->options = *options;
    helpers->last = &helpers->first;
    pthread_mutex_init(&helpers->lock, NULL);
    pthread_cond_init(&helpers->gone, NULL);
    return helpers;
}

void vu_helpers_destroy(struct vu_helpers *helpers)
{
    if (!helpers)
        return;
    pthread_mutex_lock(&helpers->lock);
    helpers->stopping = true;
    for (struct helper_idle *idle = helpers->idle; idle; idle = idle->next)
        pthread_cond_signal(&idle->call);
    while (helpers->n_threads + helpers->n_leaving + helpers->n_lent > 0)
        pthread_cond_wait(&helpers->gone, &helpers->lock);
    pthread_mutex_unlock(&helpers->lock);
    pthread_cond_destroy(&helpers->gone);
    pthread_mutex_destroy(&helpers->lock);
    g_free(helpers);
}
