/* SPDX-License-Identifier: Apache-2.0 */
/* The feeder's loop: see feeder.h. */
#include "contrib/vrngd/feeder.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"
#include "vhost-user/daemon/daemon.h"
#include "vhost-user/log.h"
#include "vhost-user/thread.h"

#define FEEDER_BUFFER         65536
#define FEEDER_MS_NS          UINT64_C(1000000)
#define FEEDER_TICK_NS        (RNG_SOURCE_TICK_MS * FEEDER_MS_NS)
#define FEEDER_SILENCE_NS     (RNG_FEEDER_SILENCE_MS * FEEDER_MS_NS)
#define FEEDER_BACKOFF_MS     50
#define FEEDER_BACKOFF_MAX_MS 2000
#define FEEDER_IDLE_MS        1 /* after a source that says it has something, and has not */
#define FEEDER_IDLE_MAX_MS    64
#define FEEDER_ALARM_MS       1000 /* until the next start-up test */

struct rng_feeder {
    struct rng_pool *pool;
    struct rng_source *source;
    pthread_t thread;
    bool is_running;
    bool is_stopping, is_restarting; /* atomic */
    bool is_reading;                 /* atomic */
    uint64_t back_ns;                /* atomic: it hangs in the source if it is not back by then */
    bool has_health;

    /* the thread's */
    bool is_open;
    uint64_t retry_ns;            /* not to be opened, or asked, before */
    uint64_t tick_ns;             /* to be read then at the latest; 0: nothing is wanted */
    uint64_t silent_ns;           /* silence is told of then; UINT64_MAX: it has been */
    unsigned backoff_ms, idle_ms; /* for the next time; 0: it goes well */
    struct rng_health health;
    unsigned n_alarms; /* in a row */
    bool is_stopped;
    int told; /* the problem that the log knows of */
    uint64_t next_warning_ns, next_info_ns;
    size_t n_have; /* bytes read and not given out */
    uint8_t buffer[FEEDER_BUFFER];

    pthread_mutex_t lock; /* guards what follows */
    struct rng_feeder_status status;
};

/* --- what is told --- */

/* What is no error of the system has words of its own. */
static const char *feeder_problem_text(int problem)
{
    if (problem == ENODATA)
        return "at its end for now";
    return problem == EAGAIN ? "silent" : g_strerror(problem);
}

/* A source that fails again and again says so once; one that fails and delivers in turns, once a
 * second. */
static void feeder_tell_problem(struct rng_feeder *feeder, int problem)
{
    if (problem == feeder->told ||
        !vu_log_is_due(problem != 0 ? &feeder->next_warning_ns : &feeder->next_info_ns))
        return;
    feeder->told = problem;
    if (problem != 0)
        vu_warning("vrngd: %s: %s; requests wait for it", feeder->source->name,
                   feeder_problem_text(problem));
    else
        vu_info("vrngd: %s: delivers again", feeder->source->name);
}

static void feeder_set_problem(struct rng_feeder *feeder, int problem)
{
    pthread_mutex_lock(&feeder->lock);
    feeder->status.problem = problem;
    feeder->status.n_failures += problem != 0;
    pthread_mutex_unlock(&feeder->lock);
    feeder_tell_problem(feeder, problem);
}

void rng_feeder_get_status(struct rng_feeder *feeder, struct rng_feeder_status *ret_status)
{
    pthread_mutex_lock(&feeder->lock);
    *ret_status = feeder->status;
    pthread_mutex_unlock(&feeder->lock);
    /* Its thread cannot tell while it hangs. */
    if (vu_now_ns() >= __atomic_load_n(&feeder->back_ns, __ATOMIC_RELAXED))
        ret_status->problem = EAGAIN;
    if (ret_status->problem != 0)
        ret_status->problem_text = feeder_problem_text(ret_status->problem);
}

const char *rng_feeder_state(const struct rng_feeder_status *status)
{
    if (status->is_stopped)
        return "stopped";
    if (status->alarm != RNG_HEALTH_GOOD)
        return "alarm";
    if (status->problem != 0)
        return "waiting";
    return status->is_starting_up ? "testing" : "good";
}

/* --- the source --- */

static void feeder_close(struct rng_feeder *feeder)
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

/* --- health --- */

/* Throws away what was read, and begins anew with the source. */
static void feeder_reset(struct rng_feeder *feeder, uint64_t retry_ns)
{
    explicit_bzero(feeder->buffer, sizeof(feeder->buffer));
    feeder->n_have = 0;
    feeder_close(feeder);
    feeder->retry_ns = retry_ns;
    feeder->backoff_ms = feeder->idle_ms = 0;
    rng_health_reset(&feeder->health);
    VU_LOCK_SCOPE(&feeder->lock);
    feeder->status.is_starting_up = feeder->has_health;
}

static void feeder_alarm(struct rng_feeder *feeder, enum rng_health_alarm alarm, uint64_t now_ns)
{
    feeder->n_alarms++;
    feeder->is_stopped = feeder->n_alarms >= RNG_FEEDER_ALARMS;
    vu_error("vrngd: %s: ALARM of the %s test: it does not deliver what was claimed, and %s",
             feeder->source->name, rng_health_alarms[alarm],
             feeder->is_stopped ? "is stopped until it is restarted"
                                : "is not used until it has passed its tests");
    feeder_reset(feeder, now_ns + FEEDER_ALARM_MS * FEEDER_MS_NS);
    VU_LOCK_SCOPE(&feeder->lock);
    feeder->status.alarm = alarm;
    feeder->status.n_alarms++;
    feeder->status.is_stopped = feeder->is_stopped;
}

/* Tests the last n bytes that were read. */
static void feeder_test(struct rng_feeder *feeder, size_t n, uint64_t now_ns)
{
    bool was_starting_up = rng_health_left(&feeder->health) > 0;
    enum rng_health_alarm alarm =
        rng_health_test(&feeder->health, feeder->buffer + feeder->n_have - n, n);

    if (alarm != RNG_HEALTH_GOOD) {
        feeder_alarm(feeder, alarm, now_ns);
    } else if (was_starting_up && rng_health_left(&feeder->health) == 0) {
        vu_info("vrngd: %s: has passed its start-up test", feeder->source->name);
        feeder->n_alarms = 0;
        VU_LOCK_SCOPE(&feeder->lock);
        feeder->status.is_starting_up = false;
        feeder->status.alarm = RNG_HEALTH_GOOD;
    }
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

/* --- the loop --- */

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

/* Waits for the source to have something, and takes it: at most `size` bytes, which are wanted. */
static void feeder_fetch(struct rng_feeder *feeder, size_t size, uint64_t now_ns, uint64_t until_ns)
{
    const struct rng_source_ops *ops = feeder->source->ops;
    bool is_ready = true;
    short events = 0;
    int fd;

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

/* Gives out what there is. */
static void feeder_give(struct rng_feeder *feeder, uint64_t now_ns)
{
    size_t n = rng_pool_give(feeder->pool, feeder->buffer, feeder->n_have, now_ns);

    feeder->n_have -= n;
    memmove(feeder->buffer, feeder->buffer + n, feeder->n_have);
    explicit_bzero(feeder->buffer + feeder->n_have, n);
}

static void feeder_restart(struct rng_feeder *feeder)
{
    feeder_reset(feeder, 0);
    feeder->n_alarms = 0;
    feeder->is_stopped = false;
    VU_LOCK_SCOPE(&feeder->lock);
    feeder->status.is_stopped = false;
    feeder->status.alarm = RNG_HEALTH_GOOD;
    feeder->status.problem = 0;
}

static void feeder_turn(struct rng_feeder *feeder)
{
    uint64_t now_ns = vu_now_ns(), until_ns;
    size_t wanted = rng_pool_wanted(feeder->pool, FEEDER_BUFFER, now_ns, &until_ns);
    size_t untested;

    if (__atomic_exchange_n(&feeder->is_restarting, false, __ATOMIC_ACQ_REL))
        feeder_restart(feeder);
    untested = feeder->has_health ? rng_health_left(&feeder->health) : 0;
    if (feeder->is_stopped) {
        feeder_poll(feeder, -1, 0, UINT64_MAX);
    } else if (wanted > 0 && feeder->n_have > 0 && untested == 0) {
        feeder_give(feeder, now_ns);
    } else if (wanted > 0 || untested > 0) {
        /* Behind what is kept until the start-up test has passed. */
        wanted = MIN(MAX(wanted, untested), FEEDER_BUFFER - feeder->n_have);
        if (feeder->tick_ns == 0) {
            feeder->tick_ns = now_ns + FEEDER_TICK_NS;
            feeder->silent_ns = now_ns + FEEDER_SILENCE_NS;
        }
        feeder_fetch(feeder, wanted, now_ns, until_ns);
    } else {
        feeder->tick_ns = 0;
        if (feeder->is_open && feeder->source->ops->want)
            feeder->source->ops->want(feeder->source, 0);
        feeder_poll(feeder, -1, 0, until_ns);
    }
}

static void *feeder_run(void *opaque)
{
    struct rng_feeder *feeder = opaque;

    while (!__atomic_load_n(&feeder->is_stopping, __ATOMIC_ACQUIRE))
        feeder_turn(feeder);
    feeder_close(feeder);
    return NULL;
}

/* --- for main --- */

struct rng_feeder *rng_feeder_create(struct rng_pool *pool, struct rng_source *source)
{
    struct rng_feeder *feeder = g_new0(struct rng_feeder, 1);

    feeder->pool = pool;
    feeder->source = source;
    feeder->back_ns = UINT64_MAX;
    pthread_mutex_init(&feeder->lock, NULL);
    return feeder;
}

void rng_feeder_destroy(struct rng_feeder *feeder)
{
    explicit_bzero(feeder->buffer, sizeof(feeder->buffer));
    pthread_mutex_destroy(&feeder->lock);
    g_free(feeder);
}

void rng_feeder_test_health(struct rng_feeder *feeder, double min_entropy)
{
    g_assert(!feeder->source->ops->is_instant);
    rng_health_init(&feeder->health, min_entropy);
    feeder->has_health = true;
    feeder->status.is_tested = feeder->status.is_starting_up = true;
}

void rng_feeder_restart(struct rng_feeder *feeder)
{
    __atomic_store_n(&feeder->is_restarting, true, __ATOMIC_RELEASE);
    (void)eventfd_write(feeder->pool->wake_fd, 1);
}

int rng_feeder_start(struct rng_feeder *feeder)
{
    int err = vu_thread_create("feeder", feeder_run, feeder, &feeder->thread);

    feeder->is_running = err == 0;
    return err;
}

bool rng_feeder_stop(struct rng_feeder *feeder)
{
    struct timespec until;
    bool was_reading = false;

    if (!feeder->is_running)
        return true;
    __atomic_store_n(&feeder->is_stopping, true, __ATOMIC_RELEASE);
    (void)eventfd_write(feeder->pool->wake_fd, 1);
    /* Without a read on its way it is likelier that the machine is busy. */
    for (unsigned i = 0; i < RNG_FEEDER_STOP_S && !was_reading; i++) {
        was_reading = __atomic_load_n(&feeder->is_reading, __ATOMIC_RELAXED);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        feeder->is_running = pthread_timedjoin_np(feeder->thread, NULL, &until) != 0;
        if (!feeder->is_running)
            return true;
    }
    return false;
}
