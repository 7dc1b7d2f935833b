/* SPDX-License-Identifier: Apache-2.0 */
/* A socket where scripted back-ends come one after the other, for tests of vmm's devices. */
#pragma once

#include <glib.h>

#include "scripted-backend.h"

#define PLACE_N_QUEUES 2
#define PLACE_PATIENCE (30 * G_USEC_PER_SEC)

/* Back-ends one after the other at a socket. One goes wrong, the others behave. */
struct place {
    char *folder, *path;
    int listen_fd;
    enum wrong wrong;
    unsigned wrong_at;
    int patience_ms;         /* of a back-end */
    unsigned wrong_session;  /* the one that goes wrong; 0: the first */
    bool bad_from_the_start; /* all of them go wrong */
    uint64_t protocol_features;
    uint64_t later_lacks, later_lacks_protocol; /* features of all but the first */
    GThread *thread;
    pthread_mutex_t lock;
    unsigned n_sessions, n_messages; /* under lock; messages of the first */
    struct backend *current;         /* under lock */
    bool is_running;                 /* under lock: the queues of the current one are started */
    bool is_ending;                  /* under lock */
};

/* It listens, and answers nobody until it is started. */
void place_init(struct place *place);
void place_start(struct place *place);
void place_clear(struct place *place);

/* Ends the session that is there. */
void place_hang_up(struct place *place);
/* How often the current back-end has seen a message. */
unsigned place_n_seen(struct place *place, unsigned request);
/* How many queues the current back-end was told to start. */
unsigned place_n_started(struct place *place);
unsigned place_n_sessions(struct place *place);
/* Until so many have been there, and the current one has seen a message. */
void place_wait_seen(struct place *place, unsigned n_sessions, unsigned request);
/* Until so many have been there, and the queues are started. */
void place_wait_started(struct place *place, unsigned n_sessions);
