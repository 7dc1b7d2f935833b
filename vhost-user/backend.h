/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a vhost-user session: features, memory, rings, configuration space, inflight
 * log, migration log, device state. A device fills in a struct vu_device and is called back; it
 * never sees a message.
 *
 * Threads: vu_backend_serve runs on the session thread and calls the device there; `process` runs
 * on the workers.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/worker.h"

#define VU_BACKEND_MAX_QUEUES 256

struct vu_backend;
struct vu_control_table;
struct vu_stats;

struct vu_device {
    const char *name;           /* for log lines: "virtiofsd" */
    uint64_t features;          /* virtio device features offered, beside those of the rings */
    uint64_t protocol_features; /* beside those the library always has (MQ, REPLY_ACK, ...) */
    unsigned n_queues;          /* most queues a front-end may use */
    unsigned config_len;        /* bytes of configuration space; 0: CONFIG is not offered */
    bool in_order;              /* offer VIRTIO_F_IN_ORDER */
    /*
     * Serve front-ends that connect again without negotiating again, as QEMU's vhost-user-rng did
     * before 8.1: what such a one begins with stands for all protocol features. CONFIGURE_MEM_SLOTS
     * is then not offered, for it would not tell its memory again.
     */
    bool serves_resumed;
    struct vu_worker_ops worker;

    /* Optional. Which back-end it is, before any other call; NULL when that goes. By who creates
     * and destroys it. */
    void (*attach)(void *device, struct vu_backend *backend);

    /* All optional, on the session thread. Sizes are checked before they are called. */
    void (*get_config)(void *device, uint8_t *ret_config /* config_len bytes */);
    /* 0, or -EINVAL where the bytes may not be written. */
    int (*set_config)(void *device, uint32_t offset, const uint8_t *data, uint32_t len);
    void (*set_features)(void *device, uint64_t features);
    /* The queue is about to stop and its requests are waited for: those that may last for ever (the
     * wait for a lock) must now be completed, by an error where need be. Its worker has ended. */
    void (*quiesce)(void *device, unsigned queue);
    /* Back to the state before the driver's first request (RESET_DEVICE, or the front-end is gone);
     * all rings are stopped. */
    void (*reset)(void *device);
    /* Optional, in place of reset: the daemon ends while the front-end is there, which may go on
     * with a successor. All rings are stopped. */
    void (*leave)(void *device);
    /* Its commands on the daemon's control socket, called with the device (daemon/control.h). */
    const struct vu_control_table *commands;
    /* What its queues count (daemon/stats.h), which every daemon tells in the same ways. */
    const struct vu_stats *stats;
    /* Appends what else there is to know, as daemon/metrics.h says; any thread. */
    void (*collect_metrics)(void *device, struct vu_backend *backend, GString *text);
    /* A driver begins (a new inflight log, RESET_DEVICE); or goes on, where the front-end has
     * brought the log of an earlier session, of this process or of one that is gone. Before rings
     * start. */
    void (*meet_driver)(void *device, bool goes_on);
    /* Logs what else the device has done so far, in a few lines, for SIGUSR1; on the main thread.
     */
    void (*log_summary)(void *device);
    /* Writes the state of a stopped device to fd, or reads it from there to the end: a file of the
     * session's own, which is moved over the front-end's pipe without blocking anything. 0 or
     * -errno, which the front-end is told. Both or neither (not offered). */
    int (*save_state)(void *device, int fd);
    int (*load_state)(void *device, int fd);
};

struct vu_backend_options {
    unsigned poll_us;
    bool inband_notifications; /* off unless asked for: QEMU acknowledges what it does not implement
                                */
};

/* Copies *device's table; `opaque` is handed to its callbacks and must outlive the back-end. Never
 * fails. */
struct vu_backend *vu_backend_create(const struct vu_device *device, void *opaque,
                                     const struct vu_backend_options *options);
void vu_backend_destroy(struct vu_backend *backend);

/*
 * Serves one front-end until it goes or stop_fd becomes readable. Takes over conn_fd. On return all
 * rings are stopped, no request is in flight, guest memory is released, and the device was reset:
 * another front-end may be served. 0 the peer closed;  -ECANCELED stop_fd;  -EPROTO and others: it
 * was cut off for what the log line says.
 */
int vu_backend_serve(struct vu_backend *backend, int conn_fd, int stop_fd);

/* Tells the front-end that the configuration space changed (any thread). -ENOTCONN where it cannot
 * be told. */
int vu_backend_config_changed(struct vu_backend *backend);

/*
 * For changes under a running device (any thread). From pause on no queue gets a request, also one
 * that starts later, until resume; those that the device has go on (vu_backend_n_working). Neither
 * waits, and a second pause changes nothing.
 */
void vu_backend_pause(struct vu_backend *backend);
void vu_backend_resume(struct vu_backend *backend);
/* Requests of a queue that the device was given and has not pushed yet. */
unsigned vu_backend_n_working(struct vu_backend *backend, unsigned queue);
/* Whether the driver has any ring running. In a pause, one that starts gets nothing before its end.
 */
bool vu_backend_is_running(struct vu_backend *backend);

/* What was negotiated, and with whom (0 where that is not known). Any thread. */
struct vu_backend_status {
    bool is_connected;
    int peer_pid;
    unsigned peer_uid;
    uint64_t n_sessions; /* so far, with this one */
    uint64_t features, protocol_features;
};
void vu_backend_get_status(struct vu_backend *backend, struct vu_backend_status *ret_status);

/* A queue at this moment. Any thread; false beyond n_queues. */
struct vu_queue_status {
    bool is_started, is_enabled, is_broken;
    unsigned size;      /* entries of its ring */
    unsigned n_working; /* requests that the device has */
    struct vu_vring_stats stats;
};
bool vu_backend_get_queue(struct vu_backend *backend, unsigned queue,
                          struct vu_queue_status *ret_status);

/* The ring of a queue, for counters; NULL beyond n_queues. Lives as long as the back-end. */
struct vu_vring *vu_backend_vring(struct vu_backend *backend, unsigned queue);

/* The device as it was given, and (may be NULL) what its callbacks take. */
const struct vu_device *vu_backend_device(const struct vu_backend *backend, void **ret_opaque);
