/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting, enabling and stopping rings, the inflight region, and starting all of it again with a
 * successor. Runs on the calling thread, under the session's lock. vhost-user: "Ring states",
 * "Inflight I/O tracking".
 */
#include <errno.h>
#include <sys/stat.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/frontend-session.h"

static int frontend_set_state(struct vu_frontend *frontend, uint32_t request, unsigned index,
                              uint32_t num)
{
    struct vu_message msg = frontend_message(request, sizeof(msg.payload.state));

    msg.payload.state = (struct vu_vring_state){.index = index, .num = num};
    return frontend_call_locked(frontend, &msg);
}

static int frontend_set_ring_fd(struct vu_frontend *frontend, uint32_t request, unsigned index,
                                int fd)
{
    struct vu_message msg = frontend_message(request, sizeof(msg.payload.u64));

    msg.payload.u64 = index | (fd < 0 ? VU_VRING_NO_FD : 0);
    if (fd >= 0)
        msg.fds[msg.n_fds++] = fd;
    return frontend_call_locked(frontend, &msg);
}

/* User address of a part of a ring, which must lie in one region. */
static int frontend_ring_uva(const struct vu_frontend *frontend, uint64_t gpa, uint64_t len,
                             uint64_t *ret_uva)
{
    const void *hva = frontend->shmem ? vu_shmem_at(frontend->shmem, gpa, len) : NULL;

    if (!hva)
        return -EINVAL;
    *ret_uva = (uintptr_t)hva;
    return 0;
}

static int frontend_set_addr(struct vu_frontend *frontend, unsigned index,
                             const struct vu_frontend_ring *ring)
{
    struct vu_message msg = frontend_message(VU_SET_VRING_ADDR, sizeof(msg.payload.addr));
    struct vu_vring_addr addr = {.index = index, .log_gpa = ring->log_gpa};
    bool packed = vu_has(frontend->features, VU_F_RING_PACKED);
    uint64_t event_len = sizeof(struct vu_packed_event);
    int rc;

    addr.flags = ring->log_used ? VU_VRING_ADDR_LOG : 0;
    rc = frontend_ring_uva(frontend, ring->desc_gpa, 16u * (uint64_t)ring->num, &addr.desc_uva);
    if (rc == 0)
        rc = frontend_ring_uva(frontend, ring->avail_gpa,
                               packed ? event_len : vu_split_avail_len(ring->num), &addr.avail_uva);
    if (rc == 0)
        rc = frontend_ring_uva(frontend, ring->used_gpa,
                               packed ? event_len : vu_split_used_len(ring->num), &addr.used_uva);
    if (rc < 0)
        return rc;
    msg.payload.addr = addr;
    return frontend_call_locked(frontend, &msg);
}

/* The kick comes last: it starts the ring. */
static int frontend_send_ring(struct vu_frontend *frontend, unsigned index,
                              const struct vu_frontend_ring *ring)
{
    int rc = frontend_set_state(frontend, VU_SET_VRING_NUM, index, ring->num);

    if (rc == 0)
        rc = frontend_set_state(frontend, VU_SET_VRING_BASE, index, ring->base);
    if (rc == 0)
        rc = frontend_set_addr(frontend, index, ring);
    if (rc == 0)
        rc = frontend_set_ring_fd(frontend, VU_SET_VRING_CALL, index, ring->call_fd);
    if (rc == 0 && ring->err_fd >= 0)
        rc = frontend_set_ring_fd(frontend, VU_SET_VRING_ERR, index, ring->err_fd);
    if (rc == 0)
        rc = frontend_set_ring_fd(frontend, VU_SET_VRING_KICK, index, ring->kick_fd);
    return rc;
}

static int frontend_enable_locked(struct vu_frontend *frontend, unsigned index, bool enable)
{
    int rc = 0;

    /* Without protocol features there is no such message, and rings are always enabled. */
    if (vu_has(frontend->features, VU_F_PROTOCOL_FEATURES))
        rc = frontend_set_state(frontend, VU_SET_VRING_ENABLE, index, enable);
    if (rc == 0)
        frontend->rings[index].enabled = enable;
    return rc;
}

static int frontend_start_locked(struct vu_frontend *frontend, unsigned index,
                                 const struct vu_frontend_ring *config, struct vu_driver *driver)
{
    struct frontend_ring *ring;
    int rc;

    if (!frontend->connected)
        return -ENOTCONN;
    if (index >= frontend->max_queues && frontend_has_locked(frontend, VU_PF_MQ))
        return -EINVAL;
    if (index >= VU_FRONTEND_MAX_QUEUES)
        return -EINVAL;
    rc = frontend_send_ring(frontend, index, config);
    if (rc < 0)
        return rc;
    ring = &frontend->rings[index];
    *ring = (struct frontend_ring){.config = *config, .driver = driver, .started = true};
    return frontend_enable_locked(frontend, index, true);
}

int vu_frontend_start_ring(struct vu_frontend *frontend, unsigned index,
                           const struct vu_frontend_ring *ring)
{
    VU_LOCK_SCOPE(&frontend->lock);

    return frontend_start_locked(frontend, index, ring, NULL);
}

int vu_frontend_start_driver(struct vu_frontend *frontend, struct vu_driver *driver)
{
    struct vu_frontend_ring ring = {
        .num = driver->num,
        .desc_gpa = driver->desc_gpa,
        .avail_gpa = driver->avail_gpa,
        .used_gpa = driver->used_gpa,
        .base = vu_driver_base(driver),
        .kick_fd = driver->inband_kick ? -1 : driver->kick_fd,
        .call_fd = driver->inband_kick ? -1 : driver->call_fd,
        .err_fd = -1,
    };

    VU_LOCK_SCOPE(&frontend->lock);

    return frontend_start_locked(frontend, driver->index, &ring, driver);
}

int vu_frontend_enable_ring(struct vu_frontend *frontend, unsigned index, bool enable)
{
    VU_LOCK_SCOPE(&frontend->lock);

    if (index >= VU_FRONTEND_MAX_QUEUES || !frontend->rings[index].started)
        return -EINVAL;
    return frontend_enable_locked(frontend, index, enable);
}

int vu_frontend_stop_ring(struct vu_frontend *frontend, unsigned index, uint32_t *ret_base)
{
    struct vu_message msg = frontend_message(VU_GET_VRING_BASE, sizeof(msg.payload.state));
    int rc;

    VU_LOCK_SCOPE(&frontend->lock);

    if (index >= VU_FRONTEND_MAX_QUEUES || !frontend->rings[index].started)
        return -EINVAL;
    msg.payload.state = (struct vu_vring_state){.index = index};
    frontend->rings[index].started = false;
    rc = frontend_call_for_locked(frontend, &msg, frontend->config.stop_timeout_ms);
    if (rc < 0)
        return rc;
    if (msg.payload.state.index != index)
        return frontend_fail_locked(frontend, -EPROTO, "GET_VRING_BASE");
    if (ret_base)
        *ret_base = msg.payload.state.num;
    return 0;
}

int vu_frontend_kick(struct vu_frontend *frontend, unsigned index)
{
    struct vu_message msg = frontend_message(VU_VRING_KICK, sizeof(msg.payload.state));

    VU_LOCK_SCOPE(&frontend->lock);

    msg.payload.state = (struct vu_vring_state){.index = index};
    return frontend_call_locked(frontend, &msg);
}

/* --- the inflight region --- */

static int frontend_send_inflight(struct vu_frontend *frontend)
{
    struct vu_message msg = frontend_message(VU_SET_INFLIGHT_FD, sizeof(msg.payload.inflight));

    msg.payload.inflight = frontend->inflight;
    msg.fds[msg.n_fds++] = frontend->inflight_fd;
    return frontend_call_locked(frontend, &msg);
}

/* Whether the file is as long as the description says: we pass it on, but never touch it. */
static bool frontend_check_inflight(const struct vu_inflight_desc *desc, int fd)
{
    struct stat st;
    uint64_t end;

    return fd >= 0 && desc->mmap_size > 0 &&
           !__builtin_add_overflow(desc->mmap_offset, desc->mmap_size, &end) &&
           fstat(fd, &st) == 0 && (!S_ISREG(st.st_mode) || (uint64_t)st.st_size >= end);
}

int vu_frontend_setup_inflight(struct vu_frontend *frontend, unsigned n_queues, unsigned queue_size)
{
    struct vu_message msg = frontend_message(VU_GET_INFLIGHT_FD, sizeof(msg.payload.inflight));
    struct vu_inflight_desc desc = {.n_queues = (uint16_t)n_queues,
                                    .queue_size = (uint16_t)queue_size};
    vu_autofd int fd = -1;
    int rc;

    VU_LOCK_SCOPE(&frontend->lock);

    msg.payload.inflight = desc;
    rc = frontend_call_locked(frontend, &msg);
    if (rc < 0)
        return rc;
    fd = vu_message_take_fd(&msg, 0);
    desc.mmap_size = msg.payload.inflight.mmap_size;
    desc.mmap_offset = msg.payload.inflight.mmap_offset;
    if (!frontend_check_inflight(&desc, fd))
        return frontend_fail_locked(frontend, -EPROTO, "GET_INFLIGHT_FD");
    vu_clear_fd(&frontend->inflight_fd);
    frontend->inflight = desc;
    frontend->inflight_fd = vu_steal_fd(&fd);
    return frontend_send_inflight(frontend);
}

/* --- a successor --- */

static void frontend_find_base(struct vu_frontend *frontend, struct frontend_ring *ring)
{
    const struct vu_split_used *used;

    if (ring->driver) {
        ring->config.base = vu_driver_base(ring->driver);
    } else if (!vu_has(frontend->features, VU_F_RING_PACKED)) {
        used = vu_shmem_at(frontend->shmem, ring->config.used_gpa, sizeof(*used));
        if (used)
            ring->config.base = le16_load_acquire(&used->idx);
    }
}

int frontend_resume_rings_locked(struct vu_frontend *frontend)
{
    int rc = frontend->inflight_fd >= 0 ? frontend_send_inflight(frontend) : 0;

    for (unsigned i = 0; rc == 0 && i < VU_FRONTEND_MAX_QUEUES; i++) {
        struct frontend_ring *ring = &frontend->rings[i];

        if (!ring->started)
            continue;
        frontend_find_base(frontend, ring);
        rc = frontend_send_ring(frontend, i, &ring->config);
        if (rc == 0)
            rc = frontend_enable_locked(frontend, i, ring->enabled);
    }
    return rc;
}
