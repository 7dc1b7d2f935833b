/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See watch.h. Everything is under watch_lock but `asleep` and watch_parked, by which workers and
 * the watch agree without it on who has to wake whom: each writes its own and then reads the
 * other's.
 */
#include "vhost-user/watch.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <time.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/thread.h"

#define WATCH_QUIET_TICKS 25 /* with all asleep: a quarter of a second, then the watch is, too */

static pthread_mutex_t watch_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t watch_changed = PTHREAD_COND_INITIALIZER;
static struct vu_watched *watch_first;
static bool watch_running;
static bool watch_parked; /* atomic */

static bool watch_all_asleep_locked(void)
{
    for (const struct vu_watched *w = watch_first; w != NULL; w = w->next)
        if (!__atomic_load_n(&w->asleep, __ATOMIC_SEQ_CST))
            return false;
    return true;
}

static void watch_tick_locked(void)
{
    struct timespec until;
    int ret = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += VU_WATCH_TICK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    while (watch_first != NULL && ret != ETIMEDOUT)
        ret = pthread_cond_clockwait(&watch_changed, &watch_lock, CLOCK_MONOTONIC, &until);
    for (struct vu_watched *w = watch_first; w != NULL; w = w->next)
        w->look(w);
}

/* Until a worker wakes up, or is removed. */
static void watch_park_locked(void)
{
    __atomic_store_n(&watch_parked, true, __ATOMIC_SEQ_CST);
    while (watch_first != NULL && watch_all_asleep_locked())
        pthread_cond_wait(&watch_changed, &watch_lock);
    __atomic_store_n(&watch_parked, false, __ATOMIC_SEQ_CST);
}

static void *watch_run(void *arg)
{
    unsigned n_quiet = 0;

    VU_LOCK_SCOPE(&watch_lock);
    while (watch_first != NULL) {
        watch_tick_locked();
        n_quiet = watch_all_asleep_locked() ? n_quiet + 1 : 0;
        if (n_quiet < WATCH_QUIET_TICKS)
            continue;
        watch_park_locked();
        n_quiet = 0;
    }
    watch_running = false;
    return NULL;
}

int vu_watch_add(struct vu_watched *watched)
{
    pthread_t thread;
    int ret = 0;

    VU_LOCK_SCOPE(&watch_lock);
    if (!watch_running)
        ret = vu_thread_create("watch", watch_run, NULL, &thread);
    if (ret < 0)
        return ret;
    if (!watch_running)
        pthread_detach(thread);
    watch_running = true;
    watched->next = watch_first;
    watch_first = watched;
    pthread_cond_signal(&watch_changed);
    return 0;
}

void vu_watch_remove(struct vu_watched *watched)
{
    VU_LOCK_SCOPE(&watch_lock);
    struct vu_watched **at = &watch_first;

    while (*at != watched)
        at = &(*at)->next;
    *at = watched->next;
    pthread_cond_signal(&watch_changed);
}

void vu_watch_asleep(struct vu_watched *watched)
{
    __atomic_store_n(&watched->asleep, true, __ATOMIC_RELEASE);
}

void vu_watch_awake(struct vu_watched *watched)
{
    __atomic_store_n(&watched->asleep, false, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&watch_parked, __ATOMIC_SEQ_CST))
        return;
    VU_LOCK_SCOPE(&watch_lock);
    pthread_cond_signal(&watch_changed);
}
