/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound descriptors and locks, beside glib's g_autofree and g_autoptr.
 *
 *   vu_autofd int fd = open(...);      closed when fd goes out of scope, unless vu_steal_fd(&fd)
 *   VU_LOCK_SCOPE(&x->lock);           unlocked when the enclosing block ends
 */
#pragma once

#include <pthread.h>
#include <unistd.h>

static inline void vu_cleanup_fd(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#define vu_autofd __attribute__((cleanup(vu_cleanup_fd), unused))

/* Returns *fd and leaves -1 behind, so that the scope no longer closes it. */
static inline int vu_steal_fd(int *fd)
{
    int stolen = *fd;

    *fd = -1;
    return stolen;
}

/* Closes *fd unless it is -1, and leaves -1 behind. close is never retried. */
static inline void vu_clear_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static inline pthread_mutex_t *vu_lock_scope_enter(pthread_mutex_t *lock)
{
    pthread_mutex_lock(lock);
    return lock;
}

static inline void vu_lock_scope_leave(pthread_mutex_t **lock)
{
    pthread_mutex_unlock(*lock);
}

#define VU_LOCK_SCOPE_NAME_2(line) vu_scoped_lock_##line
#define VU_LOCK_SCOPE_NAME_1(line) VU_LOCK_SCOPE_NAME_2(line)
#define VU_LOCK_SCOPE(lock)                                                                      \
    __attribute__((cleanup(vu_lock_scope_leave), unused)) pthread_mutex_t *VU_LOCK_SCOPE_NAME_1( \
        __LINE__) = vu_lock_scope_enter(lock)
