/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of a vhost-user session, as a VMM, the host mount and the benchmark have it:
 * connect, negotiate, share memory, start rings; and all of it again with a successor when the
 * back-end has died.
 *
 *   NEW --connect--> NEGOTIATED --set_features, set_memory, start_ring--> RUNNING
 *   any --error, hang-up, disconnect--> GONE --reconnect--> RUNNING, with what was set before
 *
 * Any thread may call; calls are serialised by a lock. The back-end is not trusted: every wait has
 * a bound and every reply is checked. Whatever breaks the protocol, or comes too late, ends the
 * connection, and every call then returns -ENOTCONN until it is made again. What a call waits for
 * can be long (30 s for GET_VRING_BASE): vu_frontend_interrupt ends it.
 *
 * Common returns: 0; -ENOTCONN; -ENOTSUP the feature the request needs was not negotiated;
 * -EREMOTEIO the back-end answered that it failed; -EPROTO, -ETIMEDOUT, -ECONNRESET, -EPIPE the
 * connection ended in this call (one log line says why).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/driver.h"
#include "vhost-user/proto.h"
#include "vhost-user/shared-memory.h"

#define VU_FRONTEND_MAX_QUEUES 256

/*
 * What the back-end says of its own accord. Called by whatever thread is inside the front-end, with
 * its lock held: note it down and leave, do not call the front-end. All may be NULL.
 */
struct vu_frontend_ops {
    void (*config_changed)(void *opaque);
    void (*vring_call)(void *opaque, unsigned index); /* INBAND_NOTIFICATIONS */
    void (*vring_err)(void *opaque, unsigned index);
};

struct vu_frontend_config {
    const char *name;           /* for log lines */
    uint64_t features;          /* virtio features wanted, where they are offered */
    uint64_t required_features; /* of these, what must be offered */
    uint64_t protocol_features; /* wanted */
    unsigned reply_timeout_ms;  /* for one reply; 0: 5 s */
    unsigned stop_timeout_ms;   /* for GET_VRING_BASE, which waits for a disk; 0: 30 s */
    struct vu_frontend_ops ops;
    void *opaque;
};

/* A ring as messages describe it. Descriptors stay the caller's and must live while it runs. */
struct vu_frontend_ring {
    unsigned num;
    uint64_t desc_gpa, avail_gpa, used_gpa;
    bool log_used;
    uint64_t log_gpa;
    uint32_t base;
    int kick_fd, call_fd, err_fd; /* -1: none (polling, or in-band) */
};

struct vu_frontend;

/* NEW, not connected. Never fails. config is copied; its name and opaque must live as long. */
struct vu_frontend *vu_frontend_create(const struct vu_frontend_config *config);
/* Hangs up. NULL is allowed. Shared memory and drivers are the caller's. */
void vu_frontend_destroy(struct vu_frontend *frontend);

/* --- frontend.c: the connection --- */

/*
 * Connects to a listening socket, trying again for timeout_ms while it is not there or refuses, and
 * negotiates protocol features. -ENOTSUP: a required feature is missing; -errno of connect.
 */
int vu_frontend_connect(struct vu_frontend *frontend, const char *path, unsigned timeout_ms);
/* The same on a connected socket; takes over fd in any case. */
int vu_frontend_attach(struct vu_frontend *frontend, int fd);
void vu_frontend_disconnect(struct vu_frontend *frontend);
/* Ends the connection for good, before the front-end is destroyed. Does not wait, unlike all
 * others, for a call of another thread: that one returns soon, with an error. */
void vu_frontend_interrupt(struct vu_frontend *frontend);

/* Returns when the back-end has handled all that it was sent, also one without REPLY_ACK. */
int vu_frontend_sync(struct vu_frontend *frontend);

/* Virtio features: what both want; after the first set_features, what was set. */
uint64_t vu_frontend_features(struct vu_frontend *frontend);
uint64_t vu_frontend_protocol_features(struct vu_frontend *frontend);
/* Most queues the back-end has (1 where it cannot tell). */
unsigned vu_frontend_max_queues(struct vu_frontend *frontend);
/* Acknowledges virtio features: a part of vu_frontend_features, or LOG_ALL added and taken. */
int vu_frontend_set_features(struct vu_frontend *frontend, uint64_t features);
/* The driver begins anew: a successor of the back-end need not have the features that were set, nor
 * the inflight region. No ring is started. */
void vu_frontend_forget(struct vu_frontend *frontend);

/*
 * Descriptors to wait on (POLLIN): the connection's, for a hang-up, and the back-end's channel.
 * Returns how many, 0 when there is no connection. Call vu_frontend_dispatch when one is readable.
 */
unsigned vu_frontend_get_poll_fds(struct vu_frontend *frontend, int ret_fds[2]);
/* Handles what the back-end has sent of its own accord; notices when it has gone. Never blocks. */
int vu_frontend_dispatch(struct vu_frontend *frontend);

/*
 * After the back-end has died: connects to its successor and hands over features, memory, inflight
 * region and all started rings. Rings of a struct vu_driver go on where it stands (harvest it
 * first); other split rings at their used index; other packed rings where they were started. With
 * an inflight region the successor completes what was in flight; without, the caller has reset its
 * drivers. Kick every queue afterwards. -ENOTSUP: the successor lacks what is in use.
 */
int vu_frontend_reconnect(struct vu_frontend *frontend, const char *path, unsigned timeout_ms);

/* --- frontend-memory.c --- */

/*
 * Shares all regions, or tells what has changed since the last call. shmem must live until the
 * session ends; regions that left it may be unmapped only after this returns. -E2BIG: more than the
 * back-end takes.
 */
int vu_frontend_set_memory(struct vu_frontend *frontend, const struct vu_shmem *shmem);

/* Dirty log of a migration (LOG_SHMFD): pages are marked in fd from offset on. */
int vu_frontend_set_log(struct vu_frontend *frontend, int fd, uint64_t size, uint64_t offset);

/* --- frontend-rings.c --- */

/* Sets up a ring and starts it; enabled too, unless the back-end enables rings by itself. */
int vu_frontend_start_ring(struct vu_frontend *frontend, unsigned index,
                           const struct vu_frontend_ring *ring);
/* The same for a driver's queue, which must live until the ring is stopped. */
int vu_frontend_start_driver(struct vu_frontend *frontend, struct vu_driver *driver);
int vu_frontend_enable_ring(struct vu_frontend *frontend, unsigned index, bool enable);
/* Stops a ring; *ret_base (may be NULL) is where it stands. Waits for requests in flight. Where
 * that fails, a successor of the back-end is not given the ring any more. */
int vu_frontend_stop_ring(struct vu_frontend *frontend, unsigned index, uint32_t *ret_base);
/* A kick by message (INBAND_NOTIFICATIONS). */
int vu_frontend_kick(struct vu_frontend *frontend, unsigned index);

/*
 * Gets an inflight region for n_queues rings of queue_size descriptors from the back-end, hands it
 * back to it and keeps it for successors. Before the rings start. -EPROTO: an impossible region.
 */
int vu_frontend_setup_inflight(struct vu_frontend *frontend, unsigned n_queues,
                               unsigned queue_size);

/* --- frontend-device.c --- */

/* Reads or writes len bytes (up to VU_CONFIG_MAX) of the configuration space. */
int vu_frontend_get_config(struct vu_frontend *frontend, uint32_t offset, void *ret_data,
                           uint32_t len);
int vu_frontend_set_config(struct vu_frontend *frontend, uint32_t offset, const void *data,
                           uint32_t len);
int vu_frontend_set_status(struct vu_frontend *frontend, uint8_t status);
int vu_frontend_get_status(struct vu_frontend *frontend, uint8_t *ret_status);
/* Resets the device (RESET_DEVICE); its rings are stopped. */
int vu_frontend_reset_device(struct vu_frontend *frontend);

/*
 * Begins to transfer the device's state through fd (one end of a pipe, which stays the caller's);
 * *ret_fd is the descriptor to use instead where the back-end prefers its own, else -1.
 */
int vu_frontend_set_device_state_fd(struct vu_frontend *frontend, uint32_t direction, int fd,
                                    int *ret_fd);
/* After the transfer: -EREMOTEIO where the back-end says that it failed. */
int vu_frontend_check_device_state(struct vu_frontend *frontend);
