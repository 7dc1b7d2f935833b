/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A back-end with a make-believe device for tests: it copies what a request carries into the room
 * for its answer. Sessions run on a thread, over a socketpair; the other end is a front-end of
 * ours, or a bare channel for messages as a test wants them.
 */
#pragma once

#include <glib.h>
#include <pthread.h>
#include <stdbool.h>

#include "vhost-user/backend.h"
#include "vhost-user/channel.h"

#define ECHO_QUEUES     3
#define ECHO_CONFIG_LEN 24

struct echo_session {
    struct vu_backend *backend;
    int stop_fd;
    int conn_fd; /* the session's end, for its thread */
    pthread_t thread;
    bool running;
    int result;

    pthread_mutex_t lock; /* guards the rest: workers and the session call the device */
    bool hold;            /* requests are kept in `held` until echo_release */
    GPtrArray *held;
    unsigned n_processed, n_resets, n_quiesced;
    uint64_t features;
    uint8_t config[ECHO_CONFIG_LEN];
    char state[64]; /* what save_state writes and load_state reads */
    int state_error;
};

/* inband: as the option of that name. */
void echo_init(struct echo_session *echo, bool inband);
/* A device that serves front-ends which go on without negotiating again. */
void echo_init_resumed(struct echo_session *echo);
/* Stops a running session too. */
void echo_clear(struct echo_session *echo);
/* Begins a session; returns the front-end's end of its socket. */
int echo_connect(struct echo_session *echo);
/* Waits for the end of the session, at most 10 s; what vu_backend_serve returned. */
int echo_join(struct echo_session *echo);
/* Waits for n held requests. */
void echo_wait_held(struct echo_session *echo, unsigned n);
/* Completes held requests, and holds no more. */
void echo_release(struct echo_session *echo);

/* --- messages as the test wants them --- */

/* Sends a request with size bytes of payload and n_fds copies of fds. */
void echo_send(struct vu_channel *channel, uint32_t request, uint32_t flags, const void *payload,
               uint32_t size, const int *fds, unsigned n_fds);
/* The same with NEED_REPLY; the value of the answer, or UINT64_MAX where the connection ended. */
uint64_t echo_ask(struct vu_channel *channel, uint32_t request, const void *payload, uint32_t size,
                  const int *fds, unsigned n_fds);
/* A request whose answer is a payload; false where the connection ended. */
bool echo_get(struct vu_channel *channel, uint32_t request, const void *payload, uint32_t size,
              struct vu_message *ret_reply);
/* Acknowledges virtio features (and PROTOCOL_FEATURES) and all protocol features offered. */
void echo_negotiate(struct vu_channel *channel, uint64_t features);
