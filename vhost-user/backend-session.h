/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of one front-end's session, shared by the backend-*.c files: what was offered, what was
 * negotiated, the queues and what they run on. All of it belongs to the session thread, except
 * `requests`, which has a lock, and the rings, which guard themselves.
 *
 *   backend.c          life: serve, tear down      backend-config.c    configuration space
 *   backend-dispatch.c checks, replies             backend-inflight.c  inflight log
 *   backend-features.c negotiation                 backend-log.c       dirty log
 *   backend-status.c   what others may know of it
 *   backend-memory.c   regions                     backend-state.c     status, reset
 *   backend-rings.c    queues                      backend-transfer.c  device state
 *   backend-request.c  requests to the front-end   backend-pause.c     pauses
 */
#pragma once

#include "vhost-user/backend.h"
#include "vhost-user/channel.h"
#include "vhost-user/dirty-log.h"
#include "vhost-user/inflight.h"
#include "vhost-user/memory.h"
#include "vhost-user/proto.h"
#include "vhost-user/vring.h"
#include "vhost-user/worker.h"

/* A peer that does not read its replies is cut off after this. */
#define BACKEND_SEND_TIMEOUT_MS 5000

/*
 * One queue. It is STOPPED (worker NULL) or STARTED. It starts when it has been kicked (a kick was
 * set, or came in-band) and has size, addresses and memory; it stops on GET_VRING_BASE, when it is
 * configured anew, and when its memory is taken away, in which case `kicked` stays and it starts
 * again when the memory is back.
 */
struct backend_queue {
    struct vu_vring vring;
    struct vu_worker *worker; /* exactly while the ring is started; changed under worker_lock */
    bool has_addr;            /* SET_VRING_ADDR came */
    bool kicked;
    bool enable; /* what SET_VRING_ENABLE asked for */
};

/* The BACKEND_REQ channel: any thread sends. */
struct backend_requests {
    pthread_mutex_t lock;
    bool connected;            /* guarded by lock, as all below */
    bool config;               /* CONFIG negotiated */
    struct vu_channel channel; /* valid while connected */
};

/* Device state on its way between the device's file and the front-end's pipe. */
struct backend_transfer {
    int peer_fd; /* the front-end's; -1: none or done */
    int file_fd; /* ours */
    bool saving;
    uint64_t n_moved;
    int result; /* 0, -errno; -EINPROGRESS while it moves */
};

struct vu_backend {
    struct vu_device device;
    void *opaque;
    struct vu_backend_options options;
    uint64_t offered, offered_protocol;
    struct backend_queue *queues; /* device.n_queues */
    struct backend_requests requests;
    pthread_mutex_t status_lock;
    struct vu_backend_status published; /* guarded by status_lock */
    pthread_mutex_t worker_lock;        /* backend-pause.c wakes workers of the session thread's */
    unsigned n_resumes;                 /* under worker_lock */

    /* of the present session */
    struct vu_channel channel;
    uint64_t features, protocol_features; /* negotiated */
    struct vu_memory *memory;             /* NULL: none yet */
    struct vu_dirty_log *log;             /* NULL: none */
    struct vu_inflight *inflight;         /* NULL: none; rings borrow it while they run */
    struct backend_transfer transfer;
    uint8_t status;   /* SET_STATUS */
    bool was_asked;   /* for features */
    unsigned n_wrong; /* messages refused and survived */
};

/* One request being handled. */
struct backend_call {
    struct vu_message msg;       /* descriptors a handler does not take are closed afterwards */
    struct backend_queue *queue; /* of messages that name one, else NULL */
    struct vu_message reply;     /* of requests with a payload to return; header.size is set by the
                                    handler, descriptors are closed after sending */
    char reason[160];            /* why it was refused */
};

/* Notes why a request is refused; returns err (negative errno), for the handler to return. */
int backend_refuse(struct backend_call *call, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The handlers, one for each row of VU_FRONTEND_REQUESTS: 0 or a negative errno. Size, number of
 * descriptors, needed protocol feature and queue index have been checked. */
#define BACKEND_DECLARE_HANDLER(number, name, handler, ...) \
    int backend_##handler(struct vu_backend *backend, struct backend_call *call);
VU_FRONTEND_REQUESTS(BACKEND_DECLARE_HANDLER)

/* backend-dispatch.c: handles the message in call->msg and answers it. 0, or a negative errno that
 * ends the session; the line about it is logged. */
int backend_dispatch(struct vu_backend *backend, struct backend_call *call);

/* backend-status.c: to be called when something of struct vu_backend_status has changed. */
void backend_publish(struct vu_backend *backend);

/* backend-rings.c */
bool backend_any_started(const struct vu_backend *backend);
/* Stops the ring if it is started: ends the worker, waits for the requests in flight. It needs
 * another kick to start. ret_base: as vu_vring_stop. */
void backend_ring_stop(struct vu_backend *backend, struct backend_queue *queue, uint32_t *ret_base);
/* Back to what it was before the first message, descriptors included; the ring is stopped. */
void backend_ring_reset(struct backend_queue *queue);
/* Moves every queue to backend->memory: running rings are remapped, those that no longer lie in it
 * are suspended, suspended and waiting ones are started where they can be. */
void backend_rings_follow_memory(struct vu_backend *backend);
/* Tells the running rings of backend->log and backend->features. */
void backend_rings_follow_log(struct vu_backend *backend);

/* backend-pause.c: a worker that began to run when n_resumes was so much is the queue's, or (NULL)
 * the queue has none any more; returns the one it had. */
struct vu_worker *backend_publish_worker(struct vu_backend *backend, struct backend_queue *queue,
                                         struct vu_worker *worker, unsigned n_resumes);
unsigned backend_n_resumes(struct vu_backend *backend);

/* backend-transfer.c */
void backend_transfer_init(struct backend_transfer *transfer);
/* What to poll for: fills ret_events, returns the descriptor or -1. */
int backend_transfer_pollfd(const struct backend_transfer *transfer, short *ret_events);
/* Moves what can be moved without waiting. */
void backend_transfer_pump(struct vu_backend *backend);
void backend_transfer_cancel(struct backend_transfer *transfer);

/* backend-request.c */
void backend_requests_init(struct backend_requests *requests);
void backend_requests_destroy(struct backend_requests *requests);
void backend_requests_disconnect(struct backend_requests *requests);
/* The in-band notifications of struct vu_vring; opaque is the struct vu_backend. */
void backend_inband_call(void *opaque, unsigned index);
void backend_inband_err(void *opaque, unsigned index);
