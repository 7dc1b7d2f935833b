/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests through a ring: popped by the worker, pushed by any thread. Once a ring has run for a
 * while nothing here allocates, and the only system call is the notification, made without the
 * lock.
 */
#include <glib.h>
#include <inttypes.h>
#include <sched.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/inflight-log.h"
#include "vhost-user/log.h"
#include "vhost-user/vring-elem.h"
#include "vhost-user/vring-ops.h"
#include "vhost-user/vring-signal.h"

/* --- locking --- */

/* Lets session threads in before a worker that would spin on the lock. */
static void vring_lock_worker(struct vu_vring *vring)
{
    /* A mutex is not fair: one that is released and taken in a loop is hardly ever got by others.
     * Waiters keep the lock for microseconds, and stop being counted once they have it. */
    while (__atomic_load_n(&vring->waiters, __ATOMIC_RELAXED) > 0)
        sched_yield();
    pthread_mutex_lock(&vring->lock);
}

void vu_vring_unlock_and_signal(struct vu_vring *vring)
{
    void (*inband_call)(void *, unsigned) = NULL, (*inband_err)(void *, unsigned) = NULL;
    struct vu_signal *call = NULL, *err = NULL;
    void *opaque = vring->inband_opaque;
    unsigned index = vring->index;

    if (vring->call_pending) {
        call = vu_signal_ref(vring->call);
        inband_call = call != NULL ? NULL : vring->inband_call; /* a descriptor is preferred */
        vring->stats.n_notifies += call != NULL || inband_call != NULL;
    }
    if (vring->err_pending) {
        err = vu_signal_ref(vring->err);
        inband_err = err != NULL ? NULL : vring->inband_err;
    }
    vring->call_pending = false;
    vring->err_pending = false;
    pthread_mutex_unlock(&vring->lock);

    /* From here on the ring may be stopped, changed or gone. */
    if (inband_call != NULL)
        inband_call(opaque, index);
    if (inband_err != NULL)
        inband_err(opaque, index);
    vu_signal_raise(call);
    vu_signal_raise(err);
    vu_signal_unref(call);
    vu_signal_unref(err);
}

static bool vring_is_poppable(const struct vu_vring *vring)
{
    return __atomic_load_n(&vring->poppable, __ATOMIC_RELAXED);
}

/* --- dirty log --- */

static bool vring_is_logging_locked(const struct vu_vring *vring)
{
    return vring->log != NULL && vu_has(vring->features, VU_F_LOG_ALL);
}

void vu_vring_log_used_locked(const struct vu_vring *vring, uint64_t offset, uint64_t len)
{
    if (vring_is_logging_locked(vring) && vring->log_used)
        vu_dirty_log_mark(vring->log, vring->log_gpa + offset, len);
}

void vu_vring_log_desc_locked(const struct vu_vring *vring, uint64_t offset, uint64_t len)
{
    if (vring_is_logging_locked(vring) && vring->log_used)
        vu_dirty_log_mark(vring->log, vring->desc_gpa + offset, len);
}

/* Marks the pages of the in part up to `written`. */
static void vring_log_written_locked(const struct vu_vring *vring, const struct vu_elem *elem)
{
    uint64_t left = elem->written, len, gpa;

    for (unsigned i = elem->n_out; left > 0 && i < elem->n_out + elem->n_in; i++) {
        len = MIN(left, elem->iov[i].iov_len);
        gpa = vu_memory_host_to_gpa(elem->memory, elem->iov[i].iov_base);
        vu_dirty_log_mark(vring->log, gpa, len);
        left -= len;
    }
}

/* --- pop --- */

void vu_vring_break_chain_locked(struct vu_vring *vring, const struct vu_chain *chain)
{
    g_autofree char *table = NULL;

    if (chain->bad_table_gpa != UINT64_MAX)
        table = g_strdup_printf(" of the indirect table at 0x%" PRIx64, chain->bad_table_gpa);
    vu_vring_break_locked(
        vring, "%s: descriptor %u%s: address 0x%" PRIx64 ", length %u, flags 0x%x, %s %u",
        chain->reason, chain->bad_index, table != NULL ? table : "", chain->bad.addr,
        chain->bad.len, chain->bad.flags, chain->packed ? "id" : "next", chain->bad.link);
}

void vu_vring_account_locked(struct vu_vring *vring, struct vu_elem *elem)
{
    vring->n_slots += elem->n_slots;
    vring->stats.n_popped++;
    if (vring->n_in_flight - vring->n_kept > vring->stats.max_working)
        vring->stats.max_working = vring->n_in_flight - vring->n_kept;
    if (!vu_has(vring->features, VU_F_IN_ORDER))
        return;
    if (vring->order_tail != NULL)
        vring->order_tail->next_in_order = elem;
    else
        vring->order_head = elem;
    vring->order_tail = elem;
}

static unsigned vring_pop_again_locked(struct vu_vring *vring, struct vu_elem **ret_elems,
                                       unsigned max)
{
    struct vu_resubmit *resubmit = vring->resubmit;
    struct vu_elem *elem;
    unsigned n = 0;

    while (n < max && resubmit->next < resubmit->n) {
        elem = vring->ops->pop_again(vring, &resubmit->entries[resubmit->next]);
        if (elem == NULL)
            return n;
        resubmit->next++;
        elem->is_again = true;
        ret_elems[n++] = elem;
    }
    if (resubmit->next == resubmit->n)
        g_clear_pointer(&vring->resubmit, g_free);
    return n;
}

/* What was read from a file that is gone by now is not the guest's word. */
static bool vring_is_faulted_locked(const struct vu_vring *vring)
{
    return vu_memory_faulted(vring->memory) ||
           (vring->inflight != NULL && vu_inflight_faulted(vring->inflight));
}

/* Ends requests that were popped and shall not be seen by the device. */
static void vring_unpop_locked(struct vu_vring *vring, struct vu_elem *const *elems, unsigned n)
{
    vu_vring_break_locked(vring, "fault"); /* finds the reason itself, and drops the order */
    for (unsigned i = 0; i < n; i++)
        vu_elem_release_locked(elems[i]);
}

unsigned vu_vring_pop(struct vu_vring *vring, struct vu_elem **ret_elems, unsigned max)
{
    unsigned n = 0;

    if (!vring_is_poppable(vring))
        return 0;
    vring_lock_worker(vring);
    if (vring->poppable && vring->resubmit != NULL)
        n = vring_pop_again_locked(vring, ret_elems, max);
    if (vring->poppable && n < max)
        n += vring->ops->pop(vring, ret_elems + n, max - n);
    if (n > 0 && vring_is_faulted_locked(vring)) {
        vring_unpop_locked(vring, ret_elems, n);
        n = 0;
    }
    vu_vring_unlock_and_signal(vring);
    /* The device is about to read what the driver wrote at the beginning of each. */
    for (unsigned i = 0; i < n; i++)
        if (ret_elems[i]->n_out > 0)
            __builtin_prefetch(ret_elems[i]->iov[0].iov_base);
    return n;
}

static bool vring_has_work_locked(const struct vu_vring *vring)
{
    return vring->poppable && (vring->resubmit != NULL || vring->ops->available(vring));
}

bool vu_vring_has_work(struct vu_vring *vring)
{
    bool has_work;

    if (!vring_is_poppable(vring))
        return false;
    vring_lock_worker(vring);
    has_work = vring_has_work_locked(vring);
    pthread_mutex_unlock(&vring->lock);
    return has_work;
}

bool vu_vring_arm_kick(struct vu_vring *vring)
{
    bool has_work = false;

    vring_lock_worker(vring);
    if (vring->poppable) {
        vring->ops->set_kicks(vring, true);
        /* Pairs with the driver's full barrier between making a request available and looking
         * whether a kick is wanted: either we see the request, or it sees that we want a kick. */
        vu_full_barrier();
        has_work = vring_has_work_locked(vring);
        if (vring_is_faulted_locked(vring))
            vu_vring_break_locked(vring, "fault");
    }
    vu_vring_unlock_and_signal(vring);
    return has_work;
}

void vu_vring_disarm_kick(struct vu_vring *vring)
{
    if (!vring_is_poppable(vring))
        return;
    vring_lock_worker(vring);
    if (vring->poppable)
        vring->ops->set_kicks(vring, false);
    pthread_mutex_unlock(&vring->lock);
}

/* --- push --- */

/* Puts one request, or, IN_ORDER, what is complete at the beginning of the order. */
static void vring_complete_locked(struct vu_vring *vring, struct vu_elem *elem)
{
    /* A device that claims more than there was room for has nobody deceived but the driver. */
    elem->written = (uint32_t)MIN(elem->written, elem->in_len);
    if (vring_is_logging_locked(vring))
        vring_log_written_locked(vring, elem);
    vring->stats.n_pushed++;
    if (!vu_has(vring->features, VU_F_IN_ORDER)) {
        vring->ops->put(vring, elem);
        return;
    }
    elem->done = true;
    vring->n_kept++;
    while ((elem = vring->order_head) != NULL && elem->done) {
        vring->n_kept--;
        vring->order_head = elem->next_in_order;
        if (vring->order_head == NULL)
            vring->order_tail = NULL;
        vring->ops->put(vring, elem);
    }
}

/* Shows the batch to the driver and ends its requests. */
static void vring_publish_locked(struct vu_vring *vring)
{
    struct vu_elem *elem;

    if (vring->batch == NULL)
        return;
    if (vring->ops->publish(vring) || !vring->signalled_valid)
        vring->call_pending = true;
    vring->signalled_valid = true;
    while ((elem = vring->batch) != NULL) {
        vring->batch = elem->next;
        vu_elem_release_locked(elem);
    }
    vring->n_batch_slots = 0;
    __atomic_add_fetch(&vring->n_pushes, 1, __ATOMIC_RELAXED);
}

void vu_vring_push(struct vu_vring *vring, struct vu_elem *const *elems, unsigned n)
{
    pthread_mutex_lock(&vring->lock);
    for (unsigned i = 0; i < n; i++) {
        if (vring->started && !vring->broken && elems[i]->epoch == vring->epoch)
            vring_complete_locked(vring, elems[i]);
        else
            vu_elem_release_locked(elems[i]);
    }
    vring_publish_locked(vring);
    vu_vring_unlock_and_signal(vring);
}

bool vu_vring_give_back(struct vu_elem *elem)
{
    struct vu_vring *vring = elem->vring;
    bool is_back = true;

    VU_LOCK_SCOPE(&vring->lock);
    /* Of a ring that is broken, or not running any more, the position is no matter. */
    if (vring->started && !vring->broken && elem->epoch == vring->epoch)
        is_back = !vu_has(vring->features, VU_F_IN_ORDER) && vring->ops->take_back(vring, elem);
    if (is_back)
        vu_elem_release_locked(elem);
    return is_back;
}
