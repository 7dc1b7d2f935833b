/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of a ring's elements, and their hold on memory: see vring-elem.h. */
#include "vhost-user/vring-elem.h"

#include <assert.h>
#include <glib.h>

#define ELEM_FIRST_IOV 16
/* A guest that once had many large requests in flight does not keep that memory taken for ever. */
#define ELEM_KEPT_IOV_MAX 65536u

static void elem_leave_memory(const struct vu_vring *vring, struct vu_memory_use *use)
{
    if (use->n_elems > 0 || use == vring->memory_use)
        return;
    vu_memory_unref(use->memory);
    g_free(use);
}

void vu_elem_switch_memory_locked(struct vu_vring *vring, struct vu_memory *memory)
{
    struct vu_memory_use *old = vring->memory_use;

    if (old != NULL && old->memory == memory)
        return;
    vring->memory = memory;
    vring->memory_use = NULL;
    if (memory != NULL) {
        vring->memory_use = g_new0(struct vu_memory_use, 1);
        vring->memory_use->memory = vu_memory_ref(memory);
    }
    if (old != NULL)
        elem_leave_memory(vring, old);
}

static void elem_free(struct vu_elem *elem)
{
    g_free(elem->iov);
    g_free(elem);
}

struct vu_elem *vu_elem_take_locked(struct vu_vring *vring)
{
    struct vu_elem *elem = vring->free_elems;

    assert(vring->memory_use != NULL);
    if (elem != NULL) {
        vring->free_elems = elem->next;
        vring->free_iov -= elem->iov_capacity;
    } else {
        elem = g_new0(struct vu_elem, 1);
        elem->vring = vring;
        elem->iov_capacity = ELEM_FIRST_IOV;
        elem->iov = g_new(struct iovec, ELEM_FIRST_IOV);
    }
    elem->use = vring->memory_use;
    elem->use->n_elems++;
    elem->memory = elem->use->memory;
    elem->n_out = 0;
    elem->n_in = 0;
    elem->out_len = 0;
    elem->in_len = 0;
    elem->written = 0;
    elem->user = NULL;
    elem->is_again = false;
    elem->n_slots = 0;
    elem->done = false;
    elem->epoch = vring->epoch;
    elem->next = NULL;
    elem->next_in_order = NULL;
    vring->n_in_flight++;
    return elem;
}

void vu_elem_release_locked(struct vu_elem *elem)
{
    struct vu_vring *vring = elem->vring;

    if (elem->epoch == vring->epoch) {
        assert(vring->n_slots >= elem->n_slots);
        vring->n_slots -= elem->n_slots;
    }
    elem->use->n_elems--;
    elem_leave_memory(vring, elem->use);
    elem->use = NULL;
    elem->memory = NULL;
    assert(vring->n_in_flight > 0);
    vring->n_in_flight--;
    if (vring->n_in_flight == 0)
        pthread_cond_broadcast(&vring->drained);
    if (elem->iov_capacity > ELEM_FIRST_IOV &&
        vring->free_iov + elem->iov_capacity > ELEM_KEPT_IOV_MAX) {
        elem_free(elem);
        return;
    }
    vring->free_iov += elem->iov_capacity;
    elem->next = vring->free_elems;
    vring->free_elems = elem;
}

bool vu_elem_grow(struct vu_elem *elem)
{
    unsigned capacity = MIN(2 * elem->iov_capacity, VU_CHAIN_MAX_IOV);

    if (capacity == elem->iov_capacity)
        return false;
    elem->iov = g_renew(struct iovec, elem->iov, capacity);
    elem->iov_capacity = capacity;
    return true;
}

void vu_elem_free_all_locked(struct vu_vring *vring)
{
    struct vu_elem *elem;

    while ((elem = vring->free_elems) != NULL) {
        vring->free_elems = elem->next;
        elem_free(elem);
    }
    vring->free_iov = 0;
}
