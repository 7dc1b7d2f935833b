/* SPDX-License-Identifier: Apache-2.0 */
/* vhost-user/helpers.h: every job is run once, by as few threads as that takes. */
#include "vhost-user/helpers.h"

#include <glib.h>
#include <pthread.h>

#include "vhost-user/cleanup.h"

#define N_JOBS    2000u
#define N_THREADS 4u

struct job {
    struct vu_job job; /* first */
    unsigned n_runs;
    bool waits;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned n_done, n_inside, n_most, n_started, n_stopped;
static bool gate_open;

static void run(struct vu_job *opaque)
{
    struct job *job = (struct job *)opaque;
    VU_LOCK_SCOPE(&lock);

    n_inside++;
    n_most = MAX(n_most, n_inside);
    pthread_cond_broadcast(&changed);
    while (job->waits && !gate_open)
        pthread_cond_wait(&changed, &lock);
    job->n_runs++;
    n_inside--;
    n_done++;
    pthread_cond_broadcast(&changed);
}

static void thread_start(void)
{
    VU_LOCK_SCOPE(&lock);
    n_started++;
}

static void thread_stop(void)
{
    VU_LOCK_SCOPE(&lock);
    n_stopped++;
}

static struct vu_helpers *create(unsigned max_threads)
{
    const struct vu_helpers_options options = {.name = "test",
                                               .max_threads = max_threads,
                                               .thread_start = thread_start,
                                               .thread_stop = thread_stop};

    n_done = n_inside = n_most = n_started = n_stopped = 0;
    gate_open = false;
    return vu_helpers_create(&options);
}

static void wait_done(unsigned n)
{
    VU_LOCK_SCOPE(&lock);

    while (n_done < n)
        pthread_cond_wait(&changed, &lock);
}

static void test_all_run(void)
{
    g_autofree struct job *jobs = g_new0(struct job, N_JOBS);
    struct vu_helpers *helpers = create(N_THREADS);

    for (unsigned i = 0; i < N_JOBS; i++) {
        jobs[i].job.run = run;
        vu_helpers_run(helpers, &jobs[i].job);
        if (i % 100 == 0)
            wait_done(i / 2);
    }
    vu_helpers_destroy(helpers); /* runs what waits */
    for (unsigned i = 0; i < N_JOBS; i++)
        g_assert_cmpuint(jobs[i].n_runs, ==, 1);
    g_assert_cmpuint(n_most, <=, N_THREADS);
    g_assert_cmpuint(n_started, ==, n_stopped);
}

/* Jobs that sleep have as many threads as there are; the others wait behind them. */
static void test_sleepers(void)
{
    struct job sleepers[N_THREADS], last = {.job.run = run};
    struct vu_helpers *helpers = create(N_THREADS);

    for (unsigned i = 0; i < N_THREADS; i++) {
        sleepers[i] = (struct job){.job.run = run, .waits = true};
        vu_helpers_run(helpers, &sleepers[i].job);
    }
    vu_helpers_run(helpers, &last.job);
    pthread_mutex_lock(&lock);
    while (n_inside < N_THREADS)
        pthread_cond_wait(&changed, &lock);
    g_assert_cmpuint(last.n_runs, ==, 0);
    gate_open = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    wait_done(N_THREADS + 1);
    g_assert_cmpuint(last.n_runs, ==, 1);
    vu_helpers_destroy(helpers);
}

/* Idle threads leave, and come back when there is work: also one that comes as the last leaves. */
static void test_idle(void)
{
    struct vu_helpers *helpers = create(1);
    struct job job = {.job.run = run};
    gint64 deadline = g_get_monotonic_time() + 30 * G_USEC_PER_SEC;
    bool is_gone = false;

    vu_helpers_run(helpers, &job.job);
    while (!is_gone && g_get_monotonic_time() < deadline) {
        g_usleep(10000);
        VU_LOCK_SCOPE(&lock);
        is_gone = n_stopped == 1;
    }
    g_assert_true(is_gone);
    vu_helpers_run(helpers, &job.job);
    wait_done(2);
    g_assert_cmpuint(n_started, ==, 2);
    vu_helpers_destroy(helpers);
    vu_helpers_destroy(NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/helper-pool/all-run", test_all_run);
    g_test_add_func("/helper-pool/sleepers", test_sleepers);
    g_test_add_func("/helper-pool/idle", test_idle);
    return g_test_run();
}
