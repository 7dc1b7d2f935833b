/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a front-end session, and one request at a time over it. Only frontend*.c include
 * this file; all functions here want the session's lock.
 */
#pragma once

#include <pthread.h>

#include "vhost-user/channel.h"
#include "vhost-user/frontend.h"

struct frontend_ring {
    struct vu_frontend_ring config;
    struct vu_driver *driver; /* NULL: the ring is somebody else's */
    bool started, enabled;
};

struct vu_frontend {
    pthread_mutex_t lock; /* guards everything below */
    /* Innermost, and never held for long: the connection's socket comes and goes with both. */
    pthread_mutex_t socket_lock;
    bool is_interrupted; /* under socket_lock alone */
    struct vu_frontend_config config;

    struct vu_channel channel; /* valid while connected */
    struct vu_channel backend; /* the back-end's requests; valid while has_backend */
    bool connected, has_backend;

    uint64_t offered;           /* virtio features of the back-end */
    uint64_t features;          /* what is, or will be, acknowledged */
    bool features_set;          /* set_features was called: a successor must offer the same */
    uint64_t protocol_features; /* acknowledged */
    unsigned max_queues;

    const struct vu_shmem *shmem; /* NULL: none shared yet */
    unsigned n_shared;            /* regions the back-end has */
    struct vu_region_desc shared[VU_SHMEM_MAX_REGIONS];

    int inflight_fd; /* -1: none */
    struct vu_inflight_desc inflight;

    struct frontend_ring rings[VU_FRONTEND_MAX_QUEUES];
};

/* Starts a message with n_fds descriptors, which stay the caller's. */
static inline struct vu_message frontend_message(uint32_t request, uint32_t payload_len)
{
    struct vu_message msg;

    msg.header = (struct vu_header){.request = request, .flags = VU_VERSION, .size = payload_len};
    msg.n_fds = 0;
    return msg;
}

/*
 * Sends *msg and waits for what its row says: its reply, which then replaces *msg (descriptors are
 * the caller's to close), or with REPLY_ACK the acknowledgement, or nothing. The common returns of
 * frontend.h.
 */
int frontend_call_locked(struct vu_frontend *frontend, struct vu_message *msg);
int frontend_call_for_locked(struct vu_frontend *frontend, struct vu_message *msg,
                             unsigned timeout_ms);
/* A request whose only payload is, or whose reply is, one u64. */
int frontend_set_u64_locked(struct vu_frontend *frontend, uint32_t request, uint64_t value);
int frontend_get_u64_locked(struct vu_frontend *frontend, uint32_t request, uint64_t *ret_value);
/* Makes sure that the back-end has handled all that was sent, also without REPLY_ACK. */
int frontend_sync_locked(struct vu_frontend *frontend);

/* Handles one request of the back-end, if there is a whole one: 0, -EAGAIN, or the connection
 * ended. */
int frontend_serve_backend_locked(struct vu_frontend *frontend);

/* Ends the connection with one log line; returns rc. */
int frontend_fail_locked(struct vu_frontend *frontend, int rc, const char *doing);
void frontend_hang_up_locked(struct vu_frontend *frontend);
/* Any thread, with or without the lock. */
bool frontend_is_interrupted(struct vu_frontend *frontend);

/* Steps of a reconnection. */
int frontend_share_memory_locked(struct vu_frontend *frontend);
int frontend_resume_rings_locked(struct vu_frontend *frontend);

static inline bool frontend_has_locked(const struct vu_frontend *frontend, unsigned protocol_bit)
{
    return vu_has(frontend->protocol_features, protocol_bit);
}
