/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers: threads that run requests which would make a queue sleep. A worker copies the request
 * into a job and goes on with its queue; a helper runs the handler and pushes the element itself.
 *
 * A thread is added for a job that finds none idle, up to the limit: as many as requests sleep at
 * the same time, whatever the disk is like. The one that became idle last is called first, and one
 * that was not called for HELPER_IDLE_NS leaves: a trickle keeps one, and a share nobody uses none.
 */
#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/thread.h"
#include "virtiofsd/request.h"
#include "virtiofsd/thread.h"

#define HELPER_IDLE_NS   1000000000L
#define HELPER_MAX_SPARE 64 /* jobs kept for reuse */

struct helper_job {
    struct helper_job *next;
    fs_handler handler;
    struct fs_request request; /* a copy: the worker's is reused at once */
};

/* A thread without work, on its own stack. */
struct helper_idle {
    struct helper_idle *next; /* idle for longer */
    pthread_cond_t call;      /* called, or stopping */
    bool called;              /* and off the list */
};

struct fs_helpers {
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t gone;  /* a thread left, or was taken back */
    unsigned max_threads;
    unsigned n_threads;
    unsigned n_lent; /* threads of queues that wait as helpers do */
    bool stopping;
    struct helper_idle *idle;         /* the last one first */
    struct helper_job *first, **last; /* waiting, oldest first */
    struct helper_job *spare;
    unsigned n_spare;
};

static void helper_run_job(struct helper_job *job)
{
    struct vu_elem *elem = job->request.elem;
    int result = job->handler(&job->request);

    if (result == FS_LATER)
        return;
    fs_request_finish(&job->request, result);
    vu_elem_complete(elem, elem->written);
}

static struct helper_job *helper_take_locked(struct fs_helpers *helpers)
{
    struct helper_job *job = helpers->first;

    helpers->first = job->next;
    if (!helpers->first)
        helpers->last = &helpers->first;
    return job;
}

static void helper_keep_spare_locked(struct fs_helpers *helpers, struct helper_job *job)
{
    if (helpers->n_spare >= HELPER_MAX_SPARE) {
        g_free(job);
        return;
    }
    job->next = helpers->spare;
    helpers->spare = job;
    helpers->n_spare++;
}

static void helper_call_locked(struct fs_helpers *helpers)
{
    struct helper_idle *idle = helpers->idle;

    helpers->idle = idle->next;
    idle->called = true;
    pthread_cond_signal(&idle->call);
}

/* Takes an idle thread that was not called off the list. */
static void helper_unlist_locked(struct fs_helpers *helpers, const struct helper_idle *idle)
{
    struct helper_idle **at = &helpers->idle;

    while (*at != idle)
        at = &(*at)->next;
    *at = idle->next;
}

static void helper_init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

/* Waits to be called: whoever was finds a job, or that another thread was quicker. False where none
 * came for long. */
static bool helper_sleep_locked(struct fs_helpers *helpers)
{
    struct helper_idle idle = {.next = helpers->idle};
    struct timespec until;
    int ret = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += HELPER_IDLE_NS % 1000000000L;
    until.tv_sec += HELPER_IDLE_NS / 1000000000L + until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;

    helper_init_cond(&idle.call);
    helpers->idle = &idle;
    while (!idle.called && !helpers->stopping && ret == 0)
        ret = pthread_cond_timedwait(&idle.call, &helpers->lock, &until);
    if (!idle.called)
        helper_unlist_locked(helpers, &idle);
    pthread_cond_destroy(&idle.call);
    return idle.called;
}

/* Waits for a job. False where the thread should leave: stopping, or idle for long. */
static bool helper_wait_locked(struct fs_helpers *helpers)
{
    while (!helpers->first)
        if (helpers->stopping || !helper_sleep_locked(helpers))
            return helpers->first != NULL;
    return true;
}

static void *helper_thread(void *opaque)
{
    struct fs_helpers *helpers = opaque;

    /* Working directory and umask of its own: some handlers may change them. */
    fs_thread_init();

    pthread_mutex_lock(&helpers->lock);
    while (helper_wait_locked(helpers)) {
        struct helper_job *job = helper_take_locked(helpers);

        pthread_mutex_unlock(&helpers->lock);
        helper_run_job(job);
        pthread_mutex_lock(&helpers->lock);
        helper_keep_spare_locked(helpers, job);
    }
    helpers->n_threads--;
    pthread_cond_signal(&helpers->gone);
    pthread_mutex_unlock(&helpers->lock);
    return NULL;
}

/* Adds a thread; where none can be made those that run go on alone. */
static void helper_spawn_locked(struct fs_helpers *helpers)
{
    pthread_t thread;

    if (vu_thread_create("helper", helper_thread, helpers, &thread) < 0)
        return;
    pthread_detach(thread);
    helpers->n_threads++;
}

static struct helper_job *helper_new_job(struct fs_helpers *helpers)
{
    VU_LOCK_SCOPE(&helpers->lock);
    struct helper_job *job = helpers->spare;

    if (!job)
        return g_try_new(struct helper_job, 1);
    helpers->spare = job->next;
    helpers->n_spare--;
    return job;
}

/* False where no thread runs and none can be made. */
static bool helper_queue_job(struct fs_helpers *helpers, struct helper_job *job)
{
    VU_LOCK_SCOPE(&helpers->lock);

    if (helpers->idle)
        helper_call_locked(helpers);
    else if (helpers->n_threads + helpers->n_lent < helpers->max_threads)
        helper_spawn_locked(helpers);
    if (helpers->n_threads == 0) {
        helper_keep_spare_locked(helpers, job);
        return false;
    }
    job->next = NULL;
    *helpers->last = job;
    helpers->last = &job->next;
    return true;
}

int fs_request_hand_on(struct fs_request *request, fs_handler handler)
{
    struct fs_helpers *helpers = request->share->helpers;
    struct helper_job *job = helpers ? helper_new_job(helpers) : NULL;

    if (!job)
        return handler(request);
    job->handler = handler;
    job->request = *request;
    return helper_queue_job(helpers, job) ? FS_LATER : handler(request);
}

bool fs_helpers_lend(struct fs_helpers *helpers)
{
    if (!helpers)
        return false;
    VU_LOCK_SCOPE(&helpers->lock);
    if (helpers->n_threads + helpers->n_lent >= helpers->max_threads)
        return false;
    helpers->n_lent++;
    return true;
}

void fs_helpers_take_back(struct fs_helpers *helpers)
{
    VU_LOCK_SCOPE(&helpers->lock);

    helpers->n_lent--;
    pthread_cond_signal(&helpers->gone);
}

int fs_helpers_create(unsigned max_threads, struct fs_helpers **ret_helpers)
{
    struct fs_helpers *helpers = g_try_new0(struct fs_helpers, 1);

    if (!helpers)
        return -ENOMEM;
    helpers->max_threads = max_threads;
    helpers->last = &helpers->first;
    pthread_mutex_init(&helpers->lock, NULL);
    pthread_cond_init(&helpers->gone, NULL);
    *ret_helpers = helpers;
    return 0;
}

void fs_helpers_destroy(struct fs_helpers *helpers)
{
    if (!helpers)
        return;
    pthread_mutex_lock(&helpers->lock);
    helpers->stopping = true;
    for (struct helper_idle *idle = helpers->idle; idle; idle = idle->next)
        pthread_cond_signal(&idle->call);
    while (helpers->n_threads + helpers->n_lent > 0)
        pthread_cond_wait(&helpers->gone, &helpers->lock);
    pthread_mutex_unlock(&helpers->lock);

    while (helpers->spare) {
        struct helper_job *job = helpers->spare;

        helpers->spare = job->next;
        g_free(job);
    }
    pthread_cond_destroy(&helpers->gone);
    pthread_mutex_destroy(&helpers->lock);
    g_free(helpers);
}
