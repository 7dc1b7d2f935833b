/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread of one request queue.
 *
 *   harvest replies, read requests, until there is neither -> poll both while poll-policy.h says so
 *   -> ask for calls -> sleep in epoll
 *
 * The threads share the kernel's requests: each sleeps on a descriptor of its own, and one of them
 * is woken for a request (EPOLLEXCLUSIVE).
 */
#include <errno.h>
#include <glib.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "contrib/mount/bridge.h"
#include "contrib/mount/fuse-op.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"
#include "vhost-user/log.h"
#include "vhost-user/thread.h"

#define QUEUE_BATCH 16 /* requests or replies before the other side gets its turn */
#define QUEUE_LOOKS 8  /* at the ring, for each look at /dev/fuse, which is a system call */

/* Pollers of all queues leave these to the program that waits and to the back-end. */
#define QUEUE_CPUS_LEFT 2

/* Tells the main thread. */
static void bridge_report(struct bridge *bridge, unsigned event)
{
    static const uint64_t one = 1;

    __atomic_or_fetch(&bridge->events, event, __ATOMIC_RELEASE);
    if (write(bridge->event_fd, &one, sizeof(one)) < 0)
        return; /* full: it is awake */
}

void bridge_queue_wake(struct bridge_queue *queue)
{
    static const uint64_t one = 1;

    if (write(queue->wake_fd, &one, sizeof(one)) < 0)
        return; /* full: it is awake */
}

/* --- requests --- */

static int queue_submit(struct bridge_queue *queue, struct slot *slot)
{
    struct vu_sg sg[SLOT_MAX_SG];
    unsigned n_in;
    unsigned n_out = slot_describe(slot, sg, &n_in);
    int rc = vu_driver_add(queue->driver, sg, n_out, n_in, slot);

    if (rc == 0)
        vu_driver_kick(queue->driver); /* a system call only where the back-end sleeps */
    return rc;
}

/* Decides what becomes of the request in the first free slot. */
static int queue_dispatch(struct bridge_queue *queue, struct slot *slot)
{
    const struct fuse_op *op = fuse_op_find(slot->head.header.opcode);
    uint64_t reply_len;

    if (op->kind == FUSE_OP_LOCAL)
        return 0;
    if (op->kind == FUSE_OP_FORGET) {
        if (hiprio_send(&queue->bridge->hiprio, slot->base + SLOT_REQUEST_OFFSET,
                        slot->request_len))
            return 0;
    } else {
        reply_len = fuse_op_reply_len(op, slot->head.bytes, MIN(slot->request_len, SLOT_HEAD_LEN));
        if (slot_offer_reply(slot, reply_len) < 0)
            return bridge_reply_error(queue, slot, -EINVAL);
        if (op->kind == FUSE_OP_INIT)
            bridge_keep_init(queue->bridge, slot);
    }
    slot_pool_take(&queue->pool);
    return queue_submit(queue, slot);
}

/*
 * Reads and hands on requests: one, or where several are in flight, whatever is there up to a
 * batch. (A lone program sends its next request after our reply: looking for it earlier is a system
 * call in vain.) Returns how many, or -errno: the queue cannot go on.
 */
static int queue_read(struct bridge_queue *queue)
{
    int n = 0;

    queue->fuse_is_ready = false; /* epoll tells again what is left */
    while (queue->pool.free && (n == 0 || (n < QUEUE_BATCH && queue->pool.n_in_flight > 1))) {
        struct slot *slot = queue->pool.free;
        int rc = slot_read_request(slot, queue->fuse_fd);

        if (rc == -EAGAIN)
            break;
        if (rc == -EINTR || rc == -ENOENT) /* interrupted, or taken back by its caller */
            continue;
        if (rc == 0)
            rc = queue_dispatch(queue, slot);
        if (rc < 0)
            return rc;
        n++;
    }
    return n;
}

/* --- replies --- */

static int queue_harvest(struct bridge_queue *queue)
{
    struct vu_driver_used used[QUEUE_BATCH];
    int n = vu_driver_harvest(queue->driver, used, QUEUE_BATCH);

    for (int i = 0; i < n; i++) {
        struct slot *slot = used[i].token;
        int rc = slot->reply_len > 0 ? bridge_reply(queue, slot, used[i].len) : 0;

        slot_pool_give(&queue->pool, slot);
        if (rc < 0)
            return rc;
    }
    return n;
}

/* --- waiting --- */

static bool queue_is_wanted(const struct bridge_queue *queue)
{
    return __atomic_load_n(&queue->bridge->pausing, __ATOMIC_ACQUIRE) ||
           __atomic_load_n(&queue->bridge->stopping, __ATOMIC_ACQUIRE);
}

/* Looks at the ring and at /dev/fuse until one has something. Returns what queue_read did. */
static int queue_spin(struct bridge_queue *queue, uint64_t until_ns, uint64_t *ret_now_ns,
                      bool *ret_won)
{
    int n = 0;

    *ret_won = false;
    do {
        for (int i = 0; i < QUEUE_LOOKS && !*ret_won; i++) {
            vu_cpu_relax();
            *ret_won = queue->pool.n_in_flight > 0 && vu_driver_has_used(queue->driver);
        }
        if (!*ret_won)
            n = queue_read(queue);
        *ret_won |= n != 0;
        *ret_now_ns = vu_now_ns();
    } while (!*ret_won && *ret_now_ns < until_ns && !queue_is_wanted(queue));
    return n;
}

/* Polls where the policy wants it and a CPU is left. Returns whether that brought something. */
static bool queue_poll(struct bridge_queue *queue, uint64_t dry_ns, uint64_t *ret_polled_ns,
                       int *ret_n)
{
    struct bridge *bridge = queue->bridge;
    uint64_t now_ns = dry_ns;
    bool won = false;

    *ret_polled_ns = 0;
    *ret_n = 0;
    if (queue->policy.window_ns == 0)
        return false;
    if (__atomic_add_fetch(&bridge->n_polling, 1, __ATOMIC_RELAXED) + QUEUE_CPUS_LEFT <=
        bridge->n_cpus)
        *ret_n = queue_spin(queue, dry_ns + queue->policy.window_ns, &now_ns, &won);
    __atomic_sub_fetch(&bridge->n_polling, 1, __ATOMIC_RELAXED);
    *ret_polled_ns = now_ns - dry_ns;
    if (won)
        vu_poll_policy_won(&queue->policy, *ret_polled_ns);
    return won;
}

static void queue_sleep(struct bridge_queue *queue)
{
    struct epoll_event events[4];
    int fd = queue->pool.free ? queue->epoll_fd : queue->epoll_without_fuse_fd;
    int n = epoll_wait(fd, events, G_N_ELEMENTS(events), -1);

    if (n < 0 && errno != EINTR)
        vu_error("queue %u: epoll_wait: %s", queue->index, g_strerror(errno));
    for (int i = 0; i < n; i++)
        queue->fuse_is_ready |= events[i].data.fd == queue->fuse_fd;
}

/* There is nothing to do: polls, then sleeps. 0 or more, or -errno of a read that polling did. */
static int queue_wait(struct bridge_queue *queue)
{
    uint64_t dry_ns = vu_now_ns(), polled_ns;
    int n;

    if (queue_poll(queue, dry_ns, &polled_ns, &n))
        return n;
    if (!vu_driver_arm_call(queue->driver) && !queue_is_wanted(queue)) {
        queue_sleep(queue);
        vu_poll_policy_slept(&queue->policy, polled_ns, vu_now_ns() - dry_ns);
    }
    vu_driver_disarm_call(queue->driver);
    return n;
}

/* Stands still until the main thread is done with the ring. */
static void queue_park(struct bridge_queue *queue)
{
    struct bridge *bridge = queue->bridge;

    VU_LOCK_SCOPE(&bridge->lock);

    bridge->n_parked++;
    pthread_cond_broadcast(&bridge->changed);
    while (bridge->pausing && !__atomic_load_n(&bridge->stopping, __ATOMIC_ACQUIRE))
        pthread_cond_wait(&bridge->changed, &bridge->lock);
    bridge->n_parked--;
}

/* Tells the main thread why it cannot go on, and waits for its decision. */
static void queue_give_up(struct bridge_queue *queue, int rc)
{
    struct bridge *bridge = queue->bridge;

    if (rc != -ENODEV)
        vu_error("queue %u: %s", queue->index, g_strerror(-rc));
    bridge_report(bridge, rc == -ENODEV ? BRIDGE_UNMOUNTED : BRIDGE_BROKEN);
    VU_LOCK_SCOPE(&bridge->lock);

    while (!bridge->pausing && !__atomic_load_n(&bridge->stopping, __ATOMIC_ACQUIRE))
        pthread_cond_wait(&bridge->changed, &bridge->lock);
}

static void *queue_run(void *opaque)
{
    struct bridge_queue *queue = opaque;
    struct bridge *bridge = queue->bridge;

    while (!__atomic_load_n(&bridge->stopping, __ATOMIC_ACQUIRE)) {
        int n_replies, n = 0;

        if (__atomic_load_n(&bridge->pausing, __ATOMIC_ACQUIRE)) {
            queue_park(queue);
            continue;
        }
        n_replies = queue_harvest(queue);
        if (n_replies >= 0 &&
            (queue->fuse_is_ready || (n_replies > 0 && queue->pool.n_in_flight > 0)))
            n = queue_read(queue);
        if (n_replies >= 0 && n == 0 && !vu_driver_has_used(queue->driver))
            n = queue_wait(queue);
        if (n_replies < 0 || n < 0)
            queue_give_up(queue, n_replies < 0 ? n_replies : n);
    }
    return NULL;
}

/* --- main thread --- */

static int queue_sort(const void *a, const void *b)
{
    const struct slot *const *left = a, *const *right = b;

    return (*left)->sequence < (*right)->sequence ? -1 : (*left)->sequence > (*right)->sequence;
}

void bridge_queue_resubmit(struct bridge_queue *queue)
{
    g_autofree struct slot **slots = g_new(struct slot *, queue->pool.n_slots);
    unsigned n = 0;

    for (unsigned i = 0; i < queue->pool.n_slots; i++)
        if (queue->pool.slots[i].in_flight)
            slots[n++] = &queue->pool.slots[i];
    qsort(slots, n, sizeof(slots[0]), queue_sort);
    for (unsigned i = 0; i < n; i++) {
        /* Where the dead one wrote over the head of the request, ours is the true one. */
        memcpy(slots[i]->base + SLOT_REQUEST_OFFSET, slots[i]->head.bytes,
               MIN(slots[i]->request_len, SLOT_HEAD_LEN));
        if (queue_submit(queue, slots[i]) < 0)
            bridge_report(queue->bridge, BRIDGE_BROKEN);
    }
}

static int queue_watch(int epoll_fd, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data = {.fd = fd}};

    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* Eventfds are watched edge-triggered and never read: every write is a new edge. */
static int queue_open_epolls(struct bridge_queue *queue)
{
    int fds[2];
    int rc = 0;

    for (unsigned i = 0; i < 2 && rc == 0; i++) {
        fds[i] = epoll_create1(EPOLL_CLOEXEC);
        if (fds[i] < 0)
            return -errno;
        *(i == 0 ? &queue->epoll_fd : &queue->epoll_without_fuse_fd) = fds[i];
        rc = queue_watch(fds[i], queue->wake_fd, EPOLLIN | EPOLLET);
        if (rc == 0)
            rc = queue_watch(fds[i], queue->driver->call_fd, EPOLLIN | EPOLLET);
    }
    return rc < 0 ? rc : queue_watch(queue->epoll_fd, queue->fuse_fd, EPOLLIN | EPOLLEXCLUSIVE);
}

int bridge_queue_start(struct bridge_queue *queue, struct fuse_mount *mount)
{
    g_autofree char *name = g_strdup_printf("queue-%u", queue->index);
    int rc;

    queue->fuse_fd = fuse_mount_clone_fd(mount);
    if (queue->fuse_fd < 0)
        return queue->fuse_fd;
    queue->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (queue->wake_fd < 0)
        return -errno;
    rc = queue_open_epolls(queue);
    if (rc == 0)
        rc = vu_thread_create(name, queue_run, queue, &queue->thread);
    queue->has_thread = rc == 0;
    return rc;
}

void bridge_queue_stop(struct bridge_queue *queue)
{
    if (queue->has_thread)
        pthread_join(queue->thread, NULL);
    queue->has_thread = false;
    for (unsigned i = 0; i < queue->pool.n_slots; i++) {
        struct slot *slot = &queue->pool.slots[i];

        if (slot->in_flight && slot->reply_len > 0)
            bridge_reply_error(queue, slot, -ENOTCONN);
    }
    vu_clear_fd(&queue->fuse_fd);
    vu_clear_fd(&queue->wake_fd);
    vu_clear_fd(&queue->epoll_fd);
    vu_clear_fd(&queue->epoll_without_fuse_fd);
}
