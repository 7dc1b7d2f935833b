/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signal mask is set in the creating thread round pthread_create, so that the new thread never
 * runs an instruction with signals open. It names itself before it does anything else.
 */
#include "vhost-user/thread.h"

#include <glib.h>
#include <signal.h>

struct thread_start {
    char name[16]; /* the kernel's limit, its end included */
    void *(*run)(void *arg);
    void *arg;
};

/* Raised by what the thread itself does; blocked, they would kill the process. */
static const int thread_own_signals[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};

static void *thread_run(void *opaque)
{
    struct thread_start *given = opaque, start = *given;

    g_free(given);
    pthread_setname_np(pthread_self(), start.name);
    return start.run(start.arg);
}

int vu_thread_create(const char *name, void *(*run)(void *arg), void *arg, pthread_t *ret_thread)
{
    struct thread_start *start = g_new0(struct thread_start, 1);
    sigset_t blocked, saved;
    pthread_t thread;
    int err;

    g_strlcpy(start->name, name, sizeof(start->name));
    start->run = run;
    start->arg = arg;
    sigfillset(&blocked);
    for (size_t i = 0; i < G_N_ELEMENTS(thread_own_signals); i++)
        sigdelset(&blocked, thread_own_signals[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &saved);
    err = pthread_create(&thread, NULL, thread_run, start);
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
    if (err != 0) {
        g_free(start);
        return -err;
    }
    *ret_thread = thread;
    return 0;
}
