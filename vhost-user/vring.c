/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring's life: created with its back-end, configured, started and stopped by the session thread,
 * and broken by whoever finds it wrong. Requests are the business of vring-requests.c.
 */
#include "vhost-user/vring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <time.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/inflight-log.h"
#include "vhost-user/log.h"
#include "vhost-user/vring-elem.h"
#include "vhost-user/vring-ops.h"
#include "vhost-user/vring-signal.h"

#define VRING_STOP_CHECK_NS 100000000L /* how often a stop that waits looks whether to give up */
#define VRING_STOP_LONG     50         /* such looks, until it says what it waits for */

void vu_vring_init(struct vu_vring *vring, unsigned index, const char *device_name)
{
    pthread_condattr_t attr;

    *vring = (struct vu_vring){.index = index, .kick_fd = -1};
    vring->log_tag = g_strdup_printf("%s: queue %u", device_name, index);
    pthread_mutex_init(&vring->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&vring->drained, &attr);
    pthread_condattr_destroy(&attr);
}

void vu_vring_destroy(struct vu_vring *vring)
{
    assert(!vring->started && vring->n_in_flight == 0);
    vu_elem_free_all_locked(vring);
    vu_clear_fd(&vring->kick_fd);
    vu_signal_unref(vring->call);
    vu_signal_unref(vring->err);
    pthread_cond_destroy(&vring->drained);
    pthread_mutex_destroy(&vring->lock);
    g_free(vring->log_tag);
}

/* The state's invariants; for asserts. */
static bool vring_check_locked(const struct vu_vring *vring)
{
    if (!vring->started)
        return !vring->broken && !vring->poppable && vring->memory == NULL && vring->log == NULL &&
               vring->inflight_log == NULL && vring->resubmit == NULL && vring->batch == NULL &&
               vring->order_head == NULL;
    return vring->memory != NULL && vring->ops != NULL && vring->batch == NULL &&
           vring->n_slots <= vring->num && !(vring->poppable && (vring->broken || vring->draining));
}

void vu_vring_lock_session(struct vu_vring *vring)
{
    __atomic_add_fetch(&vring->waiters, 1, __ATOMIC_RELAXED);
    pthread_mutex_lock(&vring->lock);
    __atomic_sub_fetch(&vring->waiters, 1, __ATOMIC_RELAXED);
}

/* Recomputes vring->poppable after a change of state. */
static void vring_update_poppable_locked(struct vu_vring *vring)
{
    bool poppable =
        vring->started && vring->enabled && !vring->paused && !vring->broken && !vring->draining;

    __atomic_store_n(&vring->poppable, poppable, __ATOMIC_RELAXED);
}

/* --- start --- */

static int vring_begin_locked(struct vu_vring *vring, const char **ret_reason)
{
    int err;

    if (!vring->ops->num_valid(vring->num)) {
        *ret_reason = "its size is none that a ring can have";
        return -EINVAL;
    }
    err = vring->ops->map(vring, vring->memory);
    if (err < 0) {
        *ret_reason = "its addresses are misaligned or outside guest memory";
        return err;
    }
    return vring->ops->begin(vring, ret_reason);
}

int vu_vring_start(struct vu_vring *vring, struct vu_memory *memory, struct vu_dirty_log *log)
{
    const char *reason = NULL;
    int err;

    vu_vring_lock_session(vring);
    assert(vring_check_locked(vring) && !vring->started);
    vring->ops =
        vu_has(vring->features, VU_F_RING_PACKED) ? &vu_vring_packed_ops : &vu_vring_split_ops;
    vu_elem_switch_memory_locked(vring, memory);
    vring->n_slots = 0;
    vring->signalled_valid = false;
    err = vring_begin_locked(vring, &reason);
    if (err < 0) {
        vu_elem_switch_memory_locked(vring, NULL);
        pthread_mutex_unlock(&vring->lock);
        vu_error("%s: cannot start a ring of %u: %s%s", vring->log_tag, vring->num,
                 err == -EBADMSG ? "inflight log: " : "", reason);
        return err;
    }
    vring->log = log != NULL ? vu_dirty_log_ref(log) : NULL;
    vring->started = true;
    vring_update_poppable_locked(vring);
    /* A predecessor may have been killed between publishing and notifying. */
    vring->call_pending = vring->ops->has_used(vring);
    vu_vring_unlock_and_signal(vring);
    return 0;
}

/* --- stop --- */

static struct timespec vring_next_check(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_nsec += VRING_STOP_CHECK_NS;
    if (ts.tv_nsec >= 1000000000L) {
        ts.tv_nsec -= 1000000000L;
        ts.tv_sec++;
    }
    return ts;
}

static int vring_drain_locked(struct vu_vring *vring, const bool *stop)
{
    struct timespec until;
    unsigned n_checks = 0;

    vring->draining = true;
    vring_update_poppable_locked(vring);
    while (vring->n_in_flight > 0) {
        if (stop != NULL && __atomic_load_n(stop, __ATOMIC_ACQUIRE))
            return -ECANCELED;
        until = vring_next_check();
        pthread_cond_timedwait(&vring->drained, &vring->lock, &until);
        if (vring->n_in_flight > 0 && ++n_checks == VRING_STOP_LONG)
            vu_warning("%s: stopping, and still waiting for %u requests", vring->log_tag,
                       vring->n_in_flight);
    }
    return 0;
}

/* Gives up what IN_ORDER holds back, and forgets the order: nothing is put any more. */
static void vring_drop_order_locked(struct vu_vring *vring)
{
    struct vu_elem *elem, *next;

    for (elem = vring->order_head; elem != NULL; elem = next) {
        next = elem->next_in_order;
        if (elem->done)
            vu_elem_release_locked(elem);
    }
    vring->n_kept = 0;
    vring->order_head = NULL;
    vring->order_tail = NULL;
}

static void vring_end_locked(struct vu_vring *vring, bool idle)
{
    if (!vring->broken)
        vring->ops->set_kicks(vring, true); /* as the next to run it expects to find it */
    vring_drop_order_locked(vring);
    vring->ops->end(vring, idle && !vring->broken && vring->resubmit == NULL);
    vring->inflight_log = NULL;
    g_clear_pointer(&vring->resubmit, g_free);
    vu_elem_switch_memory_locked(vring, NULL);
    g_clear_pointer(&vring->log, vu_dirty_log_unref);
    vring->desc = vring->avail = vring->used = NULL;
    vring->epoch++;
    vring->n_slots = 0;
    vring->started = vring->broken = vring->draining = false;
    vring_update_poppable_locked(vring);
}

int vu_vring_stop(struct vu_vring *vring, const bool *stop, uint32_t *ret_base)
{
    int err = 0;

    vu_vring_lock_session(vring);
    if (vring->started) {
        err = vring_drain_locked(vring, stop);
        vring->base = vring->ops->base(vring);
        vring_end_locked(vring, err == 0 && ret_base != NULL);
    }
    if (ret_base != NULL)
        *ret_base = vring->base;
    assert(vring_check_locked(vring));
    pthread_mutex_unlock(&vring->lock);
    return err;
}

/* --- breaking --- */

__attribute__((format(printf, 2, 0))) static void vring_break_va_locked(struct vu_vring *vring,
                                                                        const char *format,
                                                                        va_list args)
{
    g_autofree char *reason = NULL;

    if (!vring->started || vring->broken)
        return;
    if (vu_memory_faulted(vring->memory))
        reason = g_strdup("guest memory was truncated by its owner");
    else if (vring->inflight != NULL && vu_inflight_faulted(vring->inflight))
        reason = g_strdup("the inflight file was truncated by its owner");
    else
        reason = g_strdup_vprintf(format, args);
    vu_error("%s: %s; it is stopped", vring->log_tag, reason);
    vring->broken = true;
    vring->err_pending = true;
    vring_update_poppable_locked(vring);
    vring_drop_order_locked(vring);
}

void vu_vring_break_locked(struct vu_vring *vring, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vring_break_va_locked(vring, format, args);
    va_end(args);
}

void vu_vring_break(struct vu_vring *vring, const char *format, ...)
{
    va_list args;

    pthread_mutex_lock(&vring->lock);
    va_start(args, format);
    vring_break_va_locked(vring, format, args);
    va_end(args);
    vu_vring_unlock_and_signal(vring);
}

/* --- changes while running --- */

int vu_vring_set_memory(struct vu_vring *vring, struct vu_memory *memory)
{
    int err = 0;

    vu_vring_lock_session(vring);
    if (vring->started && !vring->broken)
        err = vring->ops->map(vring, memory);
    if (err < 0)
        vu_vring_break_locked(vring, "the ring does not lie in the new guest memory");
    if (vring->started) /* a broken one does not keep the old memory either */
        vu_elem_switch_memory_locked(vring, memory);
    vu_vring_unlock_and_signal(vring);
    return err;
}

void vu_vring_set_log(struct vu_vring *vring, struct vu_dirty_log *log, uint64_t features)
{
    struct vu_dirty_log *old = NULL;

    vu_vring_lock_session(vring);
    vring->features = features;
    if (vring->started) {
        old = vring->log;
        vring->log = log != NULL ? vu_dirty_log_ref(log) : NULL;
    }
    pthread_mutex_unlock(&vring->lock);
    vu_dirty_log_unref(old);
}

void vu_vring_set_enabled(struct vu_vring *vring, bool enabled)
{
    vu_vring_lock_session(vring);
    vring->enabled = enabled;
    vring_update_poppable_locked(vring);
    pthread_mutex_unlock(&vring->lock);
}

void vu_vring_set_paused(struct vu_vring *vring, bool paused)
{
    vu_vring_lock_session(vring);
    vring->paused = paused;
    vring_update_poppable_locked(vring);
    pthread_mutex_unlock(&vring->lock);
}

unsigned vu_vring_n_working(struct vu_vring *vring)
{
    VU_LOCK_SCOPE(&vring->lock);
    return vring->n_in_flight - vring->n_kept;
}

void vu_vring_set_kick(struct vu_vring *vring, int fd)
{
    int old, flags;

    if (fd >= 0) {
        flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
            vu_warning("%s: kick cannot be made non-blocking", vring->log_tag);
    }
    vu_vring_lock_session(vring);
    old = vring->kick_fd;
    vring->kick_fd = fd;
    vring->kick_generation++;
    pthread_mutex_unlock(&vring->lock);
    vu_clear_fd(&old);
}

static struct vu_signal *vring_create_signal(const struct vu_vring *vring, const char *name, int fd)
{
    const char *error;
    struct vu_signal *signal = vu_signal_create(fd, &error);

    if (error != NULL)
        vu_error("%s: %s is %s and not used", vring->log_tag, name, error);
    return signal;
}

void vu_vring_set_call(struct vu_vring *vring, int fd)
{
    struct vu_signal *signal = vring_create_signal(vring, "call", fd), *old;

    vu_vring_lock_session(vring);
    old = vring->call;
    vring->call = signal;
    /* What was signalled on the old one may not have been heard. */
    if (signal != NULL && vring->started && !vring->broken)
        vring->call_pending = vring->ops->has_used(vring);
    vu_vring_unlock_and_signal(vring);
    vu_signal_unref(old);
}

void vu_vring_set_err(struct vu_vring *vring, int fd)
{
    struct vu_signal *signal = vring_create_signal(vring, "err", fd), *old;

    vu_vring_lock_session(vring);
    old = vring->err;
    vring->err = signal;
    pthread_mutex_unlock(&vring->lock);
    vu_signal_unref(old);
}

void vu_vring_get_stats(struct vu_vring *vring, struct vu_vring_stats *ret_stats)
{
    vu_vring_lock_session(vring);
    *ret_stats = vring->stats;
    pthread_mutex_unlock(&vring->lock);
}
