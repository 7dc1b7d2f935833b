/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serves the daemon's random bytes to others by the EGD protocol (egd-wire.h), --egd-listen. All of
 * its clients together are one more device to the pool, with a turn and a limit as the others have;
 * among them they are served in turns, each within a limit of its own.
 *
 * Clients are hostile: they can only use up the places of the socket they came by, and over a
 * network no host has more than half of them.
 *
 * A thread of its own, "egd".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "contrib/vrngd/egd-sockets.h"
#include "contrib/vrngd/pool.h"
#include "contrib/vrngd/source.h"

#define EGD_SERVER_PLACES 256 /* for each listening socket */

struct egd_server;

struct egd_server_options {
    struct rng_pool *pool;
    struct rng_source *instant;    /* NULL: the pool's source is not */
    uint64_t max_bytes, period_ms; /* limit of each client; 0: none */
    uint64_t grace_ms, stall_ms;   /* 0: the defaults */
};

/* The sockets are taken over. NULL where none listens, which is allowed below. */
struct egd_server *egd_server_create(const struct egd_server_options *options,
                                     struct egd_sockets *sockets);
/* 0 or -errno. */
int egd_server_start(struct egd_server *server);
/* Ends the thread and the connections. */
void egd_server_stop(struct egd_server *server);
/* Stopped before. */
void egd_server_destroy(struct egd_server *server);

/* The limit of each client, also of those there are. Any thread. */
void egd_server_set_limit(struct egd_server *server, uint64_t max_bytes, uint64_t period_ms);
void egd_server_get_limit(const struct egd_server *server, uint64_t *ret_max_bytes,
                          uint64_t *ret_period_ms);

struct egd_server_status {
    unsigned n_clients;
    uint64_t n_accepted, n_refused, n_bytes; /* refused: there was no place */
};
/* Any thread. */
void egd_server_get_status(const struct egd_server *server, struct egd_server_status *ret_status);
