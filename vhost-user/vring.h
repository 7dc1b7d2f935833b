/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of one virtqueue, split or packed behind one interface: pop many, push many,
 * notify once.
 *
 * The worker thread of the queue pops; any thread may push what was popped. The session thread
 * configures, starts and stops. Everything below is guarded by `lock` unless it says otherwise; no
 * caller holds the lock while it works on a request, so pops, pushes from helpers and messages of
 * the session interleave freely.
 *
 *   CONFIGURED --start--> RUNNING --stop--> CONFIGURED      start needs num, addresses, memory
 *   RUNNING --guest error--> BROKEN --stop--> CONFIGURED    one log line, err, and no more pops
 *
 * A request that is pushed onto a ring that broke, or that was stopped without waiting for it, is
 * just freed.
 *
 * vring.c has the session's half, vring-requests.c that of the worker and of whoever pushes; the
 * two layouts are behind vring-ops.h. virtio 1.x sections 2.6 to 2.8; vhost-user "Ring states".
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vhost-user/dirty-log.h"
#include "vhost-user/inflight.h"
#include "vhost-user/memory.h"
#include "vhost-user/proto.h"
#include "vhost-user/virtio-ring.h"

#define VU_CHAIN_MAX_DESCS 1024                      /* of one chain, indirect ones included */
#define VU_CHAIN_MAX_IOV   (VU_CHAIN_MAX_DESCS + 64) /* after splitting at region borders */

struct vu_vring;

/*
 * One request popped from a ring. iov[0..n_out) are the device-readable ranges ("out" of the
 * driver), iov[n_out .. n_out + n_in) the device-writable ones. All lie in guest memory: hostile,
 * and changing under the reader. Zero-length descriptors are dropped. The element, and the memory
 * under its iovecs, live until it is pushed.
 */
struct vu_elem {
    struct vu_vring *vring;
    struct vu_memory *memory; /* reference held while in flight */
    unsigned n_out, n_in;
    uint64_t out_len, in_len; /* bytes in each part */
    struct iovec *iov;

    uint32_t written; /* the device sets it before the push: bytes written at the beginning of the
                         in part */
    void *user;       /* the device's own, NULL at pop */
    bool is_again;    /* a killed predecessor had it, and may have done it */

    /* the ring's own, guarded by its lock */
    uint16_t id;                           /* split: head index; packed: buffer id */
    uint16_t n_slots;                      /* ring entries it takes; split: 1 */
    uint16_t inflight_slot, inflight_last; /* packed: its first and last entry in the log */
    bool done;                             /* IN_ORDER: pushed, held back */
    unsigned epoch;                        /* of the ring when it was popped */
    unsigned iov_capacity;
    struct vu_memory_use *use; /* what holds the reference on memory */
    struct vu_elem *next;      /* of those kept for reuse, or of the batch being published */
    struct vu_elem *next_in_order;
};

struct vu_vring_ops;  /* split and packed, see vring-ops.h */
struct vu_memory_use; /* see vring-elem.h */
struct vu_signal;     /* see vring-signal.h */
struct vu_resubmit;   /* see inflight-log.h */

struct vu_vring_stats { /* guarded by lock */
    uint64_t n_popped, n_pushed, n_kicks, n_notifies, n_polls_won;
    uint64_t max_working; /* the most that were popped and not pushed at a time */
};

struct vu_vring {
    pthread_mutex_t lock;
    pthread_cond_t drained; /* n_in_flight reached 0 */
    /* atomic: session threads that want the lock; a spinning worker lets them in */
    unsigned waiters;

    /* set at creation */
    unsigned index;
    char *log_tag; /* "virtiofsd: queue 1" */

    /* configured by messages */
    unsigned num;
    uint64_t desc_uva, avail_uva, used_uva;
    uint64_t log_gpa;
    bool log_used;                /* VU_VRING_ADDR_LOG */
    uint32_t base;                /* as SET_VRING_BASE gave it */
    int kick_fd;                  /* -1: none */
    unsigned kick_generation;     /* grows with every set_kick: the worker watches a copy */
    struct vu_signal *call, *err; /* NULL: none */
    bool enabled;                 /* SET_VRING_ENABLE; at once without PROTOCOL_FEATURES */
    bool paused;                  /* vu_vring_set_paused: lasts over runs */
    uint64_t features;            /* negotiated virtio features */
    struct vu_inflight *inflight; /* NULL: none; borrowed from the backend */
    void (*inband_call)(void *opaque, unsigned index); /* INBAND_NOTIFICATIONS; NULL otherwise */
    void (*inband_err)(void *opaque, unsigned index);
    void *inband_opaque;

    /* running */
    bool started, broken;
    bool draining; /* stop waits for requests in flight: nothing is popped any more */
    bool poppable; /* atomic: RUNNING, enabled, neither draining nor paused; spares a polling worker
                      the lock */
    unsigned epoch; /* of this run: tells requests of an earlier one that was not waited for */
    struct vu_memory *memory;         /* reference, held by memory_use */
    struct vu_memory_use *memory_use; /* counts the requests in flight on it */
    struct vu_dirty_log *log;         /* reference, NULL when not logging */
    const struct vu_vring_ops *ops;
    void *desc, *avail, *used;  /* host addresses; typed in vring-split.c and vring-packed.c */
    uint64_t desc_gpa;          /* packed: used descriptors are logged here */
    uint16_t avail_idx;         /* split: next entry of avail to look at; packed: slot */
    uint16_t used_idx;          /* split: next used index; packed: slot */
    bool avail_wrap, used_wrap; /* packed */
    unsigned n_slots;           /* ring entries in flight, at most num */
    bool signalled_valid;       /* a decision to notify was made in this run; the first is yes */
    bool call_pending, err_pending;          /* to be signalled once the lock is released */
    unsigned n_in_flight;                    /* requests; of earlier runs too */
    unsigned n_pushes;                       /* atomic: grows whenever the driver is shown some */
    unsigned n_kept;                         /* of them pushed, and held back by IN_ORDER */
    struct vu_elem *order_head, *order_tail; /* IN_ORDER: requests in flight as they were popped */
    struct vu_elem *batch; /* put into the ring and not published yet, newest first */
    unsigned n_batch_slots;
    uint16_t batch_slot, batch_flags; /* packed: first descriptor of the batch, written last */
    struct vu_elem *free_elems;       /* kept for reuse with their grown iov arrays */
    size_t free_iov;                  /* iov entries kept with them */
    void *inflight_log;               /* typed like desc; NULL: none */
    struct vu_resubmit *resubmit; /* a killed predecessor's requests, oldest first; popped first */
    struct vu_vring_stats stats;
};

/* CONFIGURED, with nothing configured. device_name begins its log lines; it is copied. */
void vu_vring_init(struct vu_vring *vring, unsigned index, const char *device_name);
/* The ring must be stopped, and all of its requests pushed. Closes its descriptors, frees its
 * elements. */
void vu_vring_destroy(struct vu_vring *vring);

/* --- session thread --- */

/* Takes the lock, before a worker that spins on it: for configuring a running ring. */
void vu_vring_lock_session(struct vu_vring *vring);

/*
 * Maps the ring addresses, decides split or packed by `features`, and makes the ring RUNNING. With
 * an inflight region, queues what the predecessor had not completed, in its order; the position is
 * then what the region says, not `base`. Takes references of memory and log (NULL: none). -EINVAL:
 * num is 0, above VU_RING_MAX_SIZE, or no power of two (split), or addresses misaligned or outside
 * memory, or `base` outside the ring; -EBADMSG: the inflight region contradicts the ring. One log
 * line each.
 */
int vu_vring_start(struct vu_vring *vring, struct vu_memory *memory, struct vu_dirty_log *log);

/*
 * Stops popping, waits until all requests in flight are pushed (checking every 100 ms *stop, an
 * atomic the caller may set to give up: -ECANCELED; NULL: never), and returns the ring's position
 * for GET_VRING_BASE in *ret_base: split: avail index; packed: bits 0-14 avail slot, 15 its wrap,
 * 16-30 used slot, 31 its wrap. ret_base NULL: the front-end is not told, so that the inflight log
 * must keep the position. A ring that is not running returns its base at once.
 */
int vu_vring_stop(struct vu_vring *vring, const bool *stop, uint32_t *ret_base);

/*
 * Replaces the memory under a running ring (also after its addresses changed: the same memory
 * again); requests in flight finish on the old one. -EINVAL: the ring no longer lies in memory, and
 * is broken.
 */
int vu_vring_set_memory(struct vu_vring *vring, struct vu_memory *memory);
/* Replaces the dirty log (NULL: none) and the negotiated features: VU_F_LOG_ALL switches logging.
 */
void vu_vring_set_log(struct vu_vring *vring, struct vu_dirty_log *log, uint64_t features);
void vu_vring_set_enabled(struct vu_vring *vring, bool enabled);
/*
 * Each takes over fd (-1: none); kick is made non-blocking. A call set on a running ring with used
 * entries is signalled once. Call and err may be eventfds or, for UML, stream sockets; anything
 * else is refused with a log line.
 */
void vu_vring_set_kick(struct vu_vring *vring, int fd);
void vu_vring_set_call(struct vu_vring *vring, int fd);
void vu_vring_set_err(struct vu_vring *vring, int fd);

/* --- worker thread --- */

/*
 * Pops up to max requests. 0: nothing there, not enabled, paused, stopped or broken. Guest memory
 * is read once per field. A guest error breaks the ring: chains popped before it in the same call
 * are returned.
 */
unsigned vu_vring_pop(struct vu_vring *vring, struct vu_elem **ret_elems, unsigned max);

/* Cheap look: whether a pop would find something, or break the ring. */
bool vu_vring_has_work(struct vu_vring *vring);

/* Asks the guest for kicks (before sleeping) or to be spared them (while polling). arm returns true
 * when work arrived in between, so that the worker must not sleep. */
bool vu_vring_arm_kick(struct vu_vring *vring);
void vu_vring_disarm_kick(struct vu_vring *vring);

/* --- any thread --- */

/*
 * Returns n requests of one ring to the guest, each with its `written`, in this order; publishes
 * them together and notifies at most once, and not where the guest asked for none. The elements are
 * gone afterwards. With IN_ORDER negotiated the ring itself holds back what is completed early.
 */
void vu_vring_push(struct vu_vring *vring, struct vu_elem *const *elems, unsigned n);
static inline void vu_elem_complete(struct vu_elem *elem, uint32_t written)
{
    elem->written = written;
    vu_vring_push(elem->vring, &elem, 1);
}

/*
 * For a device that has nothing to answer with while its queue stops (vu_device.quiesce): the
 * request was never popped, and comes again where the ring, or a successor's, goes on. Only the
 * last that was popped of those in flight, so the youngest first. False: it is not that one, or the
 * driver has changed the ring since, or IN_ORDER was negotiated; it is still to be pushed.
 */
bool vu_vring_give_back(struct vu_elem *elem);

/* Breaks the ring from outside (a device that found nonsense in a request): one log line "TAG:
 * reason", err signalled. */
void vu_vring_break(struct vu_vring *vring, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Pops nothing while it is paused, started or not; requests in flight go on. Its worker must be
 * woken afterwards. */
void vu_vring_set_paused(struct vu_vring *vring, bool paused);
/* Requests that were popped and are not pushed yet. */
unsigned vu_vring_n_working(struct vu_vring *vring);

/* What it has done since it was made. Any thread. */
void vu_vring_get_stats(struct vu_vring *vring, struct vu_vring_stats *ret_stats);
