/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bridge's life: setting up, watching over the back-end and the mount, and ending in order.
 * Everything here runs on the main thread.
 */
#include "contrib/mount/bridge.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"
#include "vhost-user/log.h"

#define BRIDGE_GPA             UINT64_C(0x40000000)
#define BRIDGE_DESCS_EACH      SLOT_MAX_SG /* of a request, without indirect tables */
#define BRIDGE_RETRY_MS        200
#define BRIDGE_UNMOUNT_SECONDS 10
#define BRIDGE_DRAIN_MS        1000
#define BRIDGE_PAGE            4096u

#define BRIDGE_FEATURES        (VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_RING_EVENT_IDX))
#define BRIDGE_PROTOCOL_FEATURES                                                      \
    (VU_BIT(VU_PF_MQ) | VU_BIT(VU_PF_REPLY_ACK) | VU_BIT(VU_PF_CONFIGURE_MEM_SLOTS) | \
     VU_BIT(VU_PF_INFLIGHT_SHMFD))

/* --- setting up --- */

static struct vu_frontend *bridge_new_frontend(const struct bridge_config *config)
{
    struct vu_frontend_config frontend = {
        .name = "vhost-user-mount",
        .features = BRIDGE_FEATURES | (config->packed ? VU_BIT(VU_F_RING_PACKED) : 0),
        .required_features = VU_BIT(VU_F_VERSION_1),
        .protocol_features = BRIDGE_PROTOCOL_FEATURES,
    };

    return vu_frontend_create(&frontend);
}

/* Request queues to use: a back-end that cannot tell has the two that every virtiofsd has. */
static unsigned bridge_count_queues(struct bridge *bridge)
{
    unsigned n = vu_frontend_max_queues(bridge->frontend);

    if (!vu_has(vu_frontend_protocol_features(bridge->frontend), VU_PF_MQ))
        n = 2;
    return n < 2 ? 0 : MIN(n - 1, bridge->config.n_queues);
}

static int bridge_make_queue(struct bridge *bridge, unsigned i)
{
    struct bridge_queue *queue = &bridge->queues[i];
    struct vu_driver_config config = {.index = i + 1, .features = bridge->features};
    int rc;

    config.num = 1;
    while (config.num < bridge->config.depth * BRIDGE_DESCS_EACH)
        config.num *= 2;
    *queue = (struct bridge_queue){.bridge = bridge,
                                   .index = i + 1,
                                   .fuse_fd = -1,
                                   .wake_fd = -1,
                                   .epoll_fd = -1,
                                   .epoll_without_fuse_fd = -1};
    vu_poll_policy_init(&queue->policy, (uint64_t)bridge->config.poll_us * 1000);
    rc = vu_driver_create(&bridge->shmem, &config, &queue->driver);
    if (rc < 0)
        return rc;
    vu_driver_disarm_call(queue->driver);
    return slot_pool_init(&queue->pool, &bridge->shmem, bridge->config.depth);
}

/* Memory is sparse: a page costs something once a request has used it. */
static int bridge_make_memory(struct bridge *bridge)
{
    uint64_t each = (uint64_t)bridge->config.depth * (SLOT_LEN + 1024) + (1u << 20);
    uint64_t len = bridge->n_queues * each + (4u << 20);
    int rc = vu_shmem_add(&bridge->shmem, BRIDGE_GPA, len / BRIDGE_PAGE * BRIDGE_PAGE);

    if (rc == 0)
        rc = hiprio_init(&bridge->hiprio, &bridge->shmem, bridge->features);
    for (unsigned i = 0; rc == 0 && i < bridge->n_queues; i++)
        rc = bridge_make_queue(bridge, i);
    return rc;
}

static int bridge_start_rings(struct bridge *bridge)
{
    int rc = vu_frontend_set_features(bridge->frontend, bridge->features);

    if (rc == 0)
        rc = vu_frontend_set_memory(bridge->frontend, &bridge->shmem);
    if (rc == 0)
        rc = vu_frontend_start_driver(bridge->frontend, bridge->hiprio.driver);
    for (unsigned i = 0; rc == 0 && i < bridge->n_queues; i++)
        rc = vu_frontend_start_driver(bridge->frontend, bridge->queues[i].driver);
    return rc;
}

static int bridge_set_up(struct bridge *bridge)
{
    const struct bridge_config *config = &bridge->config;
    int rc;

    bridge->n_cpus = vu_cpu_count();
    bridge->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bridge->event_fd < 0)
        return -errno;
    rc = vu_frontend_connect(bridge->frontend, config->socket_path, config->connect_timeout_ms);
    if (rc < 0)
        return rc;
    bridge->features = vu_frontend_features(bridge->frontend);
    bridge->n_queues = bridge_count_queues(bridge);
    if (bridge->n_queues == 0)
        return -ENOTSUP;
    bridge->queues = g_new0(struct bridge_queue, bridge->n_queues);
    rc = bridge_make_memory(bridge);
    return rc < 0 ? rc : bridge_start_rings(bridge);
}

struct bridge *bridge_create(const struct bridge_config *config, GError **error)
{
    struct bridge *bridge = g_new0(struct bridge, 1);
    int rc;

    bridge->config = *config;
    bridge->frontend = bridge_new_frontend(config);
    pthread_mutex_init(&bridge->lock, NULL);
    pthread_cond_init(&bridge->changed, NULL);
    vu_shmem_init(&bridge->shmem);
    rc = bridge_set_up(bridge);
    if (rc < 0) {
        g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(-rc), "%s: %s",
                    config->socket_path, g_strerror(-rc));
        bridge_destroy(bridge);
        return NULL;
    }
    return bridge;
}

void bridge_destroy(struct bridge *bridge)
{
    vu_frontend_destroy(bridge->frontend);
    for (unsigned i = 0; i < bridge->n_queues && bridge->queues; i++) {
        vu_driver_destroy(bridge->queues[i].driver);
        slot_pool_clear(&bridge->queues[i].pool);
    }
    g_free(bridge->queues);
    if (bridge->hiprio.driver)
        hiprio_clear(&bridge->hiprio);
    vu_shmem_clear(&bridge->shmem);
    vu_clear_fd(&bridge->event_fd);
    pthread_cond_destroy(&bridge->changed);
    pthread_mutex_destroy(&bridge->lock);
    g_free(bridge);
}

/* --- the back-end is gone --- */

static void bridge_set_pausing(struct bridge *bridge, bool pausing)
{
    VU_LOCK_SCOPE(&bridge->lock);

    __atomic_store_n(&bridge->pausing, pausing, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&bridge->changed);
    if (!pausing)
        return;
    for (unsigned i = 0; i < bridge->n_queues; i++)
        bridge_queue_wake(&bridge->queues[i]);
    while (bridge->n_parked < bridge->n_queues)
        pthread_cond_wait(&bridge->changed, &bridge->lock);
}

/* Whether the user or somebody who unmounts ends the wait for a successor. */
static bool bridge_is_ended(struct bridge *bridge, int stop_fd)
{
    struct pollfd pfds[2] = {{.fd = stop_fd, .events = POLLIN},
                             {.fd = fuse_mount_fd(bridge->mount), .events = 0}};

    return poll(pfds, 2, 0) > 0;
}

/*
 * One attempt. The rings begin afresh: all that was in flight is still in its slots, and is sent
 * again behind INIT, as a resubmission by the back-end itself could not be.
 */
static int bridge_try_successor(struct bridge *bridge)
{
    int rc;

    hiprio_reset(&bridge->hiprio);
    for (unsigned i = 0; i < bridge->n_queues; i++) {
        vu_driver_reset(bridge->queues[i].driver);
        vu_driver_disarm_call(bridge->queues[i].driver);
    }
    rc = vu_frontend_reconnect(bridge->frontend, bridge->config.socket_path, BRIDGE_RETRY_MS);
    if (rc == 0)
        rc = bridge_introduce(bridge);
    if (rc < 0)
        vu_frontend_disconnect(bridge->frontend);
    return rc;
}

static bool bridge_may_reconnect(struct bridge *bridge)
{
    if (bridge->config.reconnect_timeout_ms == 0)
        return false;
    /* Nodeids of a back-end that is not made for this may mean other files to its successor. */
    return vu_has(vu_frontend_protocol_features(bridge->frontend), VU_PF_INFLIGHT_SHMFD);
}

/* Waits for a successor with the queue threads parked. 0; 1: ended meanwhile; -errno: there is
 * none. */
static int bridge_recover(struct bridge *bridge, int stop_fd)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)bridge->config.reconnect_timeout_ms * 1000;
    int rc = -ENOTCONN;

    if (!bridge_may_reconnect(bridge))
        return rc;
    vu_info("waiting for a new back-end at %s", bridge->config.socket_path);
    bridge_set_pausing(bridge, true);
    __atomic_store_n(&bridge->events, 0, __ATOMIC_RELEASE);
    while (g_get_monotonic_time() < deadline) {
        if (bridge_is_ended(bridge, stop_fd))
            return 1;
        rc = bridge_try_successor(bridge);
        if (rc == 0)
            break;
        g_usleep(BRIDGE_RETRY_MS * 1000 / 10);
    }
    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < bridge->n_queues; i++)
        bridge_queue_resubmit(&bridge->queues[i]);
    bridge_set_pausing(bridge, false);
    vu_info("connected to the new back-end");
    return 0;
}

/* --- the end --- */

static void *bridge_unmount(void *mount)
{
    fuse_mount_close(mount);
    return NULL;
}

static unsigned bridge_n_in_flight(const struct bridge *bridge)
{
    unsigned n = 0;

    for (unsigned i = 0; i < bridge->n_queues; i++)
        n += __atomic_load_n(&bridge->queues[i].pool.n_in_flight, __ATOMIC_RELAXED);
    return n;
}

static void bridge_stop_queues(struct bridge *bridge)
{
    {
        VU_LOCK_SCOPE(&bridge->lock);

        __atomic_store_n(&bridge->stopping, true, __ATOMIC_RELEASE);
        pthread_cond_broadcast(&bridge->changed);
    }
    for (unsigned i = 0; i < bridge->n_queues; i++)
        if (bridge->queues[i].has_thread)
            bridge_queue_wake(&bridge->queues[i]);
    for (unsigned i = 0; i < bridge->n_queues; i++)
        bridge_queue_stop(&bridge->queues[i]);
}

/*
 * Unmounts while requests are still served, since the kernel may have some to send. Whatever takes
 * too long is cut off: without its descriptors the mount fails every request.
 */
static void bridge_end(struct bridge *bridge, bool is_lost)
{
    struct timespec deadline;
    pthread_t thread;
    bool joined = false;

    if (is_lost) {
        bridge_stop_queues(bridge);
        fuse_mount_close(bridge->mount);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += BRIDGE_UNMOUNT_SECONDS;
    if (pthread_create(&thread, NULL, bridge_unmount, bridge->mount) != 0) {
        bridge_stop_queues(bridge);
        fuse_mount_close(bridge->mount);
        return;
    }
    joined = pthread_timedjoin_np(thread, NULL, &deadline) == 0;
    for (int i = 0; joined && i < BRIDGE_DRAIN_MS / 10 && bridge_n_in_flight(bridge) > 0; i++)
        g_usleep(10000);
    bridge_stop_queues(bridge);
    if (!joined)
        pthread_join(thread, NULL);
}

/* --- running --- */

/* Waits for the next event. 1: ended in order; 0: go on; -errno: the back-end is lost. */
static int bridge_wait(struct bridge *bridge, int stop_fd)
{
    struct pollfd pfds[4] = {{.fd = stop_fd, .events = POLLIN},
                             {.fd = bridge->event_fd, .events = POLLIN}};
    int fds[2];
    unsigned n_fds = vu_frontend_get_poll_fds(bridge->frontend, fds);
    uint64_t count;
    unsigned events;

    for (unsigned i = 0; i < n_fds; i++)
        pfds[2 + i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    if (poll(pfds, 2 + n_fds, -1) < 0)
        return errno == EINTR ? 0 : -errno;
    if (pfds[0].revents)
        return 1;
    if (pfds[1].revents && read(bridge->event_fd, &count, sizeof(count)) < 0)
        return 0;
    events = __atomic_load_n(&bridge->events, __ATOMIC_ACQUIRE);
    if (events & BRIDGE_UNMOUNTED)
        return 1;
    if (events & BRIDGE_BROKEN) {
        vu_frontend_disconnect(bridge->frontend);
        return -EPROTO;
    }
    return vu_frontend_dispatch(bridge->frontend);
}

int bridge_run(struct bridge *bridge, struct fuse_mount *mount, int stop_fd)
{
    int rc = 0;

    bridge->mount = mount;
    for (unsigned i = 0; rc == 0 && i < bridge->n_queues; i++)
        rc = bridge_queue_start(&bridge->queues[i], mount);
    if (rc < 0)
        vu_error("cannot serve the mount: %s", g_strerror(-rc));
    while (rc == 0) {
        rc = bridge_wait(bridge, stop_fd);
        if (rc < 0)
            rc = bridge_recover(bridge, stop_fd);
    }
    bridge_end(bridge, vu_frontend_get_poll_fds(bridge->frontend, (int[2]){0}) == 0);
    fuse_mount_free(mount);
    return rc < 0 ? rc : 0;
}
