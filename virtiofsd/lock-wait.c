/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread for each wait. It takes one signal, whose handler does nothing: that ends the system
 * call it sleeps in. One that has not begun to sleep would miss the signal, so a cancellation sends
 * it again until the thread is through.
 *
 * A wait that was cancelled is answered ENOLCK. At EINTR the guest's kernel means to restart the
 * call, which it does for processes that have a signal, too; all others would see a number that is
 * no errno.
 *
 * Any thread. The lock is never held while anything waits for a file's lock.
 */
#include "virtiofsd/lock-wait.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/thread.h"

#define LOCK_WAIT_RESEND_NS 2000000L

struct lock_wait {
    struct lock_wait *next, **link;
    struct fs_lock_waits *waits;
    pthread_t thread; /* waits->lock */
    unsigned queue;   /* its own copy: the element is gone before the wait is */
    fs_handler handler;
    struct fs_request request;
};

struct fs_lock_waits {
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t gone;  /* a wait is over */
    unsigned max_waits, n_waits;
    struct lock_wait *first;
    /* By queue: what its helpers still bring must not wait. */
    bool stopped[1 + FS_MAX_REQUEST_QUEUES];
};

static void lock_wait_on_signal(int signal)
{
}

static void lock_wait_set_mask(int how)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    pthread_sigmask(how, &set, NULL);
}

static void lock_wait_add_locked(struct fs_lock_waits *waits, struct lock_wait *wait)
{
    wait->next = waits->first;
    wait->link = &waits->first;
    if (wait->next)
        wait->next->link = &wait->next;
    waits->first = wait;
    waits->n_waits++;
}

static void lock_wait_remove_locked(struct fs_lock_waits *waits, struct lock_wait *wait)
{
    *wait->link = wait->next;
    if (wait->next)
        wait->next->link = wait->link;
    waits->n_waits--;
}

static void *lock_wait_run(void *opaque)
{
    struct lock_wait *wait = opaque;
    struct fs_lock_waits *waits = wait->waits;
    int result;

    pthread_detach(pthread_self());
    lock_wait_set_mask(SIG_UNBLOCK);
    result = wait->handler(&wait->request);
    if (result == -EINTR)
        result = -ENOLCK;
    lock_wait_set_mask(SIG_BLOCK);
    fs_request_complete(&wait->request, result);

    {
        VU_LOCK_SCOPE(&waits->lock);
        lock_wait_remove_locked(waits, wait);
        pthread_cond_broadcast(&waits->gone);
    }
    g_free(wait);
    return NULL;
}

int fs_lock_wait_start(struct fs_lock_waits *waits, struct fs_request *request, fs_handler handler)
{
    g_autofree struct lock_wait *wait = g_try_new(struct lock_wait, 1);
    unsigned queue = request->elem->vring->index;
    VU_LOCK_SCOPE(&waits->lock);

    if (queue < G_N_ELEMENTS(waits->stopped) && waits->stopped[queue])
        return -ENOLCK;
    if (!wait || waits->n_waits >= waits->max_waits)
        return -ENOLCK;
    wait->waits = waits;
    wait->handler = handler;
    wait->request = *request;
    wait->queue = queue;
    lock_wait_add_locked(waits, wait);
    /* Under the lock: whoever finds the wait in the list finds its thread too. */
    if (vu_thread_create("lock-wait", lock_wait_run, wait, &wait->thread) < 0) {
        lock_wait_remove_locked(waits, wait);
        return -ENOLCK;
    }
    g_steal_pointer(&wait);
    return FS_LATER;
}

static unsigned lock_wait_signal_locked(struct fs_lock_waits *waits, int queue)
{
    unsigned n = 0;

    for (struct lock_wait *wait = waits->first; wait; wait = wait->next)
        if (queue == FS_LOCK_WAIT_ALL || wait->queue == (unsigned)queue) {
            pthread_kill(wait->thread, SIGRTMIN);
            n++;
        }
    return n;
}

void fs_lock_waits_cancel(struct fs_lock_waits *waits, int queue)
{
    VU_LOCK_SCOPE(&waits->lock);

    if (queue >= 0 && queue < (int)G_N_ELEMENTS(waits->stopped))
        waits->stopped[queue] = true;
    while (lock_wait_signal_locked(waits, queue) > 0) {
        struct timespec until;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += LOCK_WAIT_RESEND_NS;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&waits->gone, &waits->lock, &until);
    }
}

void fs_lock_waits_allow(struct fs_lock_waits *waits, unsigned queue)
{
    VU_LOCK_SCOPE(&waits->lock);

    if (queue < G_N_ELEMENTS(waits->stopped))
        waits->stopped[queue] = false;
}

int fs_lock_waits_create(unsigned max_waits, struct fs_lock_waits **ret_waits)
{
    struct sigaction action = {.sa_handler = lock_wait_on_signal}; /* no SA_RESTART */
    g_autofree struct fs_lock_waits *waits = g_try_new0(struct fs_lock_waits, 1);
    pthread_condattr_t attr;

    if (!waits)
        return -ENOMEM;
    if (sigaction(SIGRTMIN, &action, NULL) < 0)
        return -errno;
    waits->max_waits = max_waits;
    pthread_mutex_init(&waits->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&waits->gone, &attr);
    pthread_condattr_destroy(&attr);
    *ret_waits = g_steal_pointer(&waits);
    return 0;
}

void fs_lock_waits_destroy(struct fs_lock_waits *waits)
{
    if (!waits)
        return;
    fs_lock_waits_cancel(waits, FS_LOCK_WAIT_ALL);
    pthread_cond_destroy(&waits->gone);
    pthread_mutex_destroy(&waits->lock);
    g_free(waits);
}
