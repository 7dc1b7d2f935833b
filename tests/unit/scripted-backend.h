/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A back-end for tests of the front-end: it answers as a good one does, or goes wrong in a chosen
 * way at a chosen message; and a whole session to run against it.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "vhost-user/channel.h"
#include "vhost-user/frontend.h"

#define ALL_PROTOCOL_FEATURES                                                                 \
    (VU_BIT(VU_PF_MQ) | VU_BIT(VU_PF_LOG_SHMFD) | VU_BIT(VU_PF_REPLY_ACK) |                   \
     VU_BIT(VU_PF_BACKEND_REQ) | VU_BIT(VU_PF_CONFIG) | VU_BIT(VU_PF_INFLIGHT_SHMFD) |        \
     VU_BIT(VU_PF_RESET_DEVICE) | VU_BIT(VU_PF_INBAND_NOTIFICATIONS) | VU_BIT(VU_PF_STATUS) | \
     VU_BIT(VU_PF_CONFIGURE_MEM_SLOTS) | VU_BIT(VU_PF_DEVICE_STATE))
#define RING_FEATURES (VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_RING_EVENT_IDX))

enum wrong {
    BEHAVES,
    HANGS_UP,      /* instead of handling the message */
    SILENT,        /* swallows it */
    OTHER_REQUEST, /* replies to another one */
    NO_REPLY_FLAG, /* echoes a request */
    SHORT_PAYLOAD, /* eight bytes less */
    LONG_PAYLOAD,  /* more than fits any reply */
    EXTRA_FD,      /* a descriptor that nobody asked for */
    HALF_A_REPLY,  /* part of a header, then nothing */
    REFUSES,       /* an error where there is room for one */
    TWO_REPLIES,
    N_WRONG,
};
extern const char *const wrong_names[N_WRONG]; /* from HANGS_UP on */

struct backend {
    struct vu_channel channel, requests;
    bool has_requests;
    pthread_t thread;
    pthread_mutex_t lock; /* held by the thread while it handles a message or closes a channel */
    uint64_t features, protocol_features, acked_protocol;
    enum wrong wrong;
    unsigned wrong_at; /* message number */
    unsigned n_messages;
    unsigned seen[VU_REQUEST_MAX + 1]; /* how often */
    struct vu_message last[VU_REQUEST_MAX + 1];
    uint8_t config[16];
    uint64_t status;
    bool wrong_matters; /* a reply was due, and its length is not free */
    bool short_inflight;
    int patience_ms; /* without a message; 0: as long as is good for a test */
    bool asks_first; /* sends CONFIG_CHANGE and wants a reply before it replies itself */
};

struct fixture {
    struct backend backend;
    struct vu_frontend *frontend;
    struct vu_shmem shmem;
    struct vu_driver *driver;
    unsigned n_config_changes, n_calls;
};

/* Serves backend->channel until the peer goes. A thread's function. */
void *scripted_backend_run(void *backend);

/* A front-end, two neighbouring regions, the driver of queue 1, and a back-end not yet connected.
 */
void fixture_init(struct fixture *f, uint64_t protocol_features);
/* The same; patience_ms: for how long a message may be without its answer. */
void fixture_init_patient(struct fixture *f, uint64_t protocol_features, unsigned patience_ms);
void fixture_clear(struct fixture *f);
/* Starts the back-end and connects to it. */
int fixture_attach(struct fixture *f);
/* A whole session, message by message; the first error ends it. */
int fixture_run_session(struct fixture *f);
/* Makes what the back-end's thread did with the messages already answered visible to the caller,
 * and what the caller did with its channels visible to the thread: the messages themselves order
 * the two. */
void backend_sync(struct backend *backend);
