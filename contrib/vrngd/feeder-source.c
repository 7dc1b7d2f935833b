/* SPDX-License-Identifier: Apache-2.0 */
/* The source as the feeder has it: opened when it is wanted, polled, read, and left alone for a
 * while where it fails or has nothing. */
#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "contrib/vrngd/feeder-parts.h"
#include "vhost-user/cpu.h"
#include "vhost-user/daemon/daemon.h"
#include "vhost-user/log.h"

#define FEEDER_TICK_NS        (RNG_SOURCE_TICK_MS * FEEDER_MS_NS)
#define FEEDER_SILENCE_NS     (RNG_FEEDER_SILENCE_MS * FEEDER_MS_NS)
#define FEEDER_BACKOFF_MS     50
#define FEEDER_BACKOFF_MAX_MS 2000
#define FEEDER_IDLE_MS        1 /* after a source that says it has something, and has not */
#define FEEDER_IDLE_MAX_MS    64

void feeder_close(struct rng_feeder *feeder)
{
    if (feeder->is_open && feeder->source->ops->close)
        feeder->source->ops->close(feeder->source);
    feeder->is_open = false;
}

static void feeder_fail(struct rng_feeder *feeder, int problem, uint64_t now_ns)
{
    feeder_close(feeder);
    feeder->backoff_ms = feeder->backoff_ms == 0
                             ? FEEDER_BACKOFF_MS
                             : MIN(2 * feeder->backoff_ms, FEEDER_BACKOFF_MAX_MS);
    feeder->retry_ns = now_ns + feeder->backoff_ms * FEEDER_MS_NS;
    feeder->silent_ns = now_ns + FEEDER_SILENCE_NS;
    feeder_set_problem(feeder, problem);
}

/* It never can be had again here: whoever starts the daemon anew has it again. */
static void feeder_lose(struct rng_feeder *feeder)
{
    feeder->is_stopped = true;
    pthread_mutex_lock(&feeder->lock);
    feeder->status.problem = EPIPE;
    feeder->status.is_stopped = true;
    pthread_mutex_unlock(&feeder->lock);
    vu_error("vrngd: %s: the process that connects to it has ended, and so does vrngd",
             feeder->source->name);
    vu_daemon_fail();
}

/* False where it is not to be had now. */
static bool feeder_open(struct rng_feeder *feeder, uint64_t now_ns)
{
    int err = 0;

    if (feeder->is_open)
        return true;
    if (now_ns < feeder->retry_ns)
        return false;
    if (feeder->source->ops->open)
        err = feeder->source->ops->open(feeder->source);
    feeder->is_open = err == 0;
    if (err == -EPIPE)
        feeder_lose(feeder);
    else if (err != 0)
        feeder_fail(feeder, -err, now_ns);
    return err == 0;
}

/* It has nothing now. */
static void feeder_idle(struct rng_feeder *feeder, uint64_t now_ns)
{
    feeder->idle_ms =
        feeder->idle_ms == 0 ? FEEDER_IDLE_MS : MIN(2 * feeder->idle_ms, FEEDER_IDLE_MAX_MS);
    feeder->retry_ns = now_ns + feeder->idle_ms * FEEDER_MS_NS;
    if (now_ns < feeder->silent_ns)
        return;
    feeder->silent_ns = UINT64_MAX;
    feeder_set_problem(feeder, EAGAIN);
}

static void feeder_promise_back(struct rng_feeder *feeder, uint64_t until_ns)
{
    uint64_t back_ns = until_ns == UINT64_MAX ? UINT64_MAX : until_ns + FEEDER_SILENCE_NS;

    __atomic_store_n(&feeder->back_ns, back_ns, __ATOMIC_RELAXED);
}

static ssize_t feeder_call_read(struct rng_feeder *feeder, size_t size, uint64_t now_ns)
{
    ssize_t n;

    feeder_promise_back(feeder, now_ns);
    __atomic_store_n(&feeder->is_reading, true, __ATOMIC_RELAXED);
    n = feeder->source->ops->read(feeder->source, feeder->buffer + feeder->n_have, size);
    __atomic_store_n(&feeder->is_reading, false, __ATOMIC_RELAXED);
    g_assert(n <= (ssize_t)size);
    return n;
}

static void feeder_read(struct rng_feeder *feeder, size_t size, uint64_t now_ns)
{
    ssize_t n = feeder_call_read(feeder, size, now_ns);

    feeder->tick_ns = now_ns + FEEDER_TICK_NS;
    if (n == 0 || n == -EAGAIN) {
        feeder_idle(feeder, now_ns);
        return;
    }
    if (n < 0) {
        feeder_fail(feeder, (int)-n, now_ns);
        return;
    }
    feeder->idle_ms = feeder->backoff_ms = 0;
    feeder->silent_ns = now_ns + FEEDER_SILENCE_NS;
    feeder->n_have += (size_t)n;
    feeder_set_problem(feeder, 0);
    pthread_mutex_lock(&feeder->lock);
    feeder->status.n_bytes += (uint64_t)n;
    pthread_mutex_unlock(&feeder->lock);
    if (feeder->has_health)
        feeder_test(feeder, (size_t)n, now_ns);
}

/* Waits for news in the pool, for the source's descriptor (-1: none), or until then. Whether the
 * descriptor is ready. */
static bool feeder_poll(struct rng_feeder *feeder, int fd, short events, uint64_t until_ns)
{
    struct pollfd fds[] = {{.fd = feeder->pool->wake_fd, .events = POLLIN},
                           {.fd = fd, .events = events}};
    uint64_t now_ns = vu_now_ns(), wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    const struct timespec wait = {.tv_sec = (time_t)(wait_ns / (1000 * FEEDER_MS_NS)),
                                  .tv_nsec = (long)(wait_ns % (1000 * FEEDER_MS_NS))};
    eventfd_t ignored;

    feeder_promise_back(feeder, MAX(until_ns, now_ns));
    if (ppoll(fds, fd < 0 ? 1 : 2, until_ns == UINT64_MAX ? NULL : &wait, NULL) <= 0)
        return false;
    if (fds[0].revents)
        (void)eventfd_read(feeder->pool->wake_fd, &ignored);
    return fd >= 0 && fds[1].revents;
}

void feeder_rest(struct rng_feeder *feeder, uint64_t until_ns)
{
    feeder->tick_ns = 0;
    if (feeder->is_open && feeder->source->ops->want)
        feeder->source->ops->want(feeder->source, 0);
    feeder_poll(feeder, -1, 0, until_ns);
}

void feeder_fetch(struct rng_feeder *feeder, size_t size, uint64_t now_ns, uint64_t until_ns)
{
    const struct rng_source_ops *ops = feeder->source->ops;
    bool is_ready = true;
    short events = 0;
    int fd;

    if (feeder->tick_ns == 0) {
        feeder->tick_ns = now_ns + FEEDER_TICK_NS;
        feeder->silent_ns = now_ns + FEEDER_SILENCE_NS;
    }
    if (!feeder_open(feeder, now_ns)) {
        feeder_poll(feeder, -1, 0, MIN(until_ns, feeder->retry_ns));
        return;
    }
    if (ops->want)
        ops->want(feeder->source, size);
    until_ns = MIN(until_ns, feeder->tick_ns);
    if (now_ns < feeder->retry_ns) {
        /* It has nothing, whatever its descriptor says. */
        feeder_poll(feeder, -1, 0, MIN(until_ns, feeder->retry_ns));
        is_ready = false;
    } else if (ops->poll_fd) {
        fd = ops->poll_fd(feeder->source, &events);
        is_ready = feeder_poll(feeder, fd, events, until_ns);
    }
    now_ns = vu_now_ns();
    if (is_ready || now_ns >= feeder->tick_ns)
        feeder_read(feeder, size, now_ns);
}
