/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker does when the session has woken it: its ring has another kick descriptor, or lies
 * in other memory. All of this file runs on the worker's thread.
 */
#include "vhost-user/worker-thread.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

/* Of 512 bytes: more than a socket buffer that holds kicks back. */
#define WORKER_DRAIN_ROUNDS 256

int vu_worker_watch(struct vu_worker *worker, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.fd = fd}};

    return epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void vu_worker_follow_kick_locked(struct vu_worker *worker)
{
    const struct vu_vring *vring = worker->vring;
    struct stat st;
    int err = 0;

    worker->kick_is_needed = vring->inband_call == NULL;
    if (worker->kick_generation == vring->kick_generation)
        return;
    worker->kick_generation = vring->kick_generation;
    vu_clear_fd(&worker->kick_fd); /* nobody else has this copy, so the epoll entry goes with it */
    worker->kick_is_stream = false;
    if (vring->kick_fd < 0)
        return;
    worker->kick_fd = fcntl(vring->kick_fd, F_DUPFD_CLOEXEC, 0);
    if (worker->kick_fd < 0)
        err = -errno;
    else
        err = vu_worker_watch(worker, worker->kick_fd);
    if (err != 0) {
        vu_error("%s: cannot wait for kicks: %s", vring->log_tag, g_strerror(-err));
        vu_clear_fd(&worker->kick_fd);
        return;
    }
    if (fstat(worker->kick_fd, &st) == 0)
        worker->kick_is_stream = S_ISSOCK(st.st_mode) || S_ISFIFO(st.st_mode);
}

void vu_worker_follow_memory(struct vu_worker *worker)
{
    struct vu_vring *vring = worker->vring;
    struct vu_memory *memory = NULL, *old = worker->memory;

    if (worker->ops->use_memory == NULL)
        return;
    pthread_mutex_lock(&vring->lock);
    if (vring->memory != NULL && vring->memory != old)
        memory = vu_memory_ref(vring->memory);
    pthread_mutex_unlock(&vring->lock);
    if (memory == NULL)
        return;
    /* What was used so far is let go after that: until then nothing else may come to lie there. */
    worker->ops->use_memory(worker->device, vring->index, memory);
    worker->memory = memory;
    vu_memory_unref(old);
}

void vu_worker_see_to_wake(struct vu_worker *worker)
{
    /* Cleared before anything is looked at: what is woken later is seen. */
    __atomic_store_n(&worker->woken, false, __ATOMIC_SEQ_CST);
    pthread_mutex_lock(&worker->vring->lock);
    vu_worker_follow_kick_locked(worker);
    pthread_mutex_unlock(&worker->vring->lock);
    vu_worker_follow_memory(worker);
}

/* Empties a kick that is a stream, so that its writer never meets a full buffer. */
static void worker_drain_kick(const struct vu_worker *worker)
{
    char buf[512];
    ssize_t n;

    for (int i = 0; i < WORKER_DRAIN_ROUNDS; i++) {
        n = recv(worker->kick_fd, buf, sizeof(buf), MSG_DONTWAIT);
        if (n < 0 && errno == ENOTSOCK)
            n = read(worker->kick_fd, buf, sizeof(buf)); /* set_kick made it non-blocking */
        if (n <= 0)
            break;
    }
}

bool vu_worker_take_events(struct vu_worker *worker, const struct epoll_event *events, int n)
{
    bool kicked = false;

    for (int i = 0; i < n; i++)
        kicked = kicked || events[i].data.fd == worker->kick_fd;
    if (kicked && worker->kick_is_stream)
        worker_drain_kick(worker);
    if (kicked) {
        VU_LOCK_SCOPE(&worker->vring->lock);
        worker->vring->stats.n_kicks++;
    }
    return kicked;
}
