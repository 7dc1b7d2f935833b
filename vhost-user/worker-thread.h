/* SPDX-License-Identifier: Apache-2.0 */
/* A worker and its thread, as worker.c and worker-replace.c see them. */
#pragma once

#include <pthread.h>

#include "vhost-user/poll-policy.h"
#include "vhost-user/turn.h"
#include "vhost-user/watch.h"
#include "vhost-user/worker.h"

/* One thread of a worker; its own memory, which a thread that was replaced frees itself. */
struct vu_worker_run {
    struct vu_worker *worker; /* gone for a thread that was replaced */
    pthread_t thread;
    struct vu_turn turn;
    unsigned seen; /* the watch's: vu_turn_look a tick ago */
    /* inherited */
    struct vu_elem *todo[VU_WORKER_BATCH], *done[VU_WORKER_BATCH];
    unsigned n_todo, n_done;
};

struct vu_worker {
    struct vu_vring *vring;
    const struct vu_worker_ops *ops;
    void *device;
    struct vu_worker_run *run; /* the watch's, from vu_watch_add to vu_watch_remove */
    struct vu_watched watched;
    bool is_watched;
    int epoll_fd;
    int wake_fd;
    unsigned n_cpus; /* that the process may use */
    bool stopping;   /* atomic: vu_worker_destroy -> worker */
    bool woken;      /* atomic: vu_worker_wake -> a polling worker */

    /* the worker thread's own */
    /* For waits that begin with something pushed since the last, and for those that do not. */
    struct vu_poll_policy answered, unanswered;
    unsigned n_pushes;        /* of the ring, at the last wait */
    int kick_fd;              /* our copy, -1: none */
    bool kick_is_stream;      /* a socket or a pipe, to be drained */
    bool kick_is_needed;      /* no in-band kicks come instead */
    unsigned kick_generation; /* of the ring, when the copy was made */
    bool armed;
    bool worked;              /* since it looked the last time */
    unsigned linger_ms;       /* see vu_worker_ops */
    struct vu_memory *memory; /* reference: what the device was told to use; NULL: nothing yet */
};

/* Starts a thread of run->worker, which does first what run has inherited. 0 or -errno. */
int vu_worker_make_thread(struct vu_worker_run *run);
/* On the watch's thread: has the worker's been at one request since the last tick? Then another one
 * gets its queue, where the device allows it. */
void vu_worker_look(struct vu_watched *watched);

/* --- worker-poll.c: the worker's thread --- */

/* Lets the device push what it has finished; whether that was anything. */
bool vu_worker_complete(struct vu_worker *worker);
/* Of the wait that begins. */
struct vu_poll_policy *vu_worker_choose_policy(struct vu_worker *worker);
/*
 * Polls where the policy wants it and a CPU is left. True when that brought work, or something to
 * see to; then for how long, since dry_ns, does not matter.
 */
bool vu_worker_poll(struct vu_worker *worker, struct vu_poll_policy *policy, uint64_t dry_ns,
                    uint64_t *ret_polled_ns);

/* --- worker-wake.c: the worker's thread --- */

#define VU_WORKER_EVENTS 3 /* that one look at epoll gives: kick, completion, wake-up */
struct epoll_event;
/* Of epoll's answer (n below 1: none): whether a kick is among them, which is counted, and drained.
 */
bool vu_worker_take_events(struct vu_worker *worker, const struct epoll_event *events, int n);

/* Has the worker woken by edges of fd. 0 or -errno. */
int vu_worker_watch(struct vu_worker *worker, int fd);
/* Follows a change of the ring's kick descriptor. Called with the ring's lock held. */
void vu_worker_follow_kick_locked(struct vu_worker *worker);
/* Tells the device of the memory that the ring lies in now. */
void vu_worker_follow_memory(struct vu_worker *worker);
/* Sees to what the worker was woken for: both of these. */
void vu_worker_see_to_wake(struct vu_worker *worker);
