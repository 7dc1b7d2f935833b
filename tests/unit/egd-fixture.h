/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An EGD server with its pool, on a unix socket and on a port, and what its clients do: shared by
 * the tests of its answers and of hostile clients. Its bytes are the kernel's, or those that the
 * test feeds it.
 */
#pragma once

#include <glib.h>
#include <stdint.h>

#include "contrib/vrngd/egd-server.h"
#include "contrib/vrngd/feeder.h"

#define EGD_PATIENCE_S 60
#define EGD_STALL_MS   300
#define EGD_GRACE_MS   500

/* Where bytes come from, and the limit of a client. */
struct egd_setting {
    bool is_slow; /* a FIFO that the test writes to */
    uint64_t max_bytes, period_ms;
    int max_client_fd; /* 0: as it comes */
};

struct egd_fixture {
    char *dir, *path, *fifo;
    int fifo_fd;
    struct egd_sockets sockets;
    uint16_t port;
    struct rng_source *source;
    struct rng_pool *pool;
    struct rng_feeder *feeder;
    struct egd_server *server;
};

void egd_set_up(struct egd_fixture *f, gconstpointer setting);
void egd_tear_down(struct egd_fixture *f, gconstpointer setting);

/* Connected clients; by a socket that there is already. */
int egd_dial(const struct egd_fixture *f);
int egd_dial_port(const struct egd_fixture *f);
int egd_dial_by(const struct egd_fixture *f, int fd);

void egd_say(int fd, const char *bytes, size_t len);
void egd_hear(int fd, void *ret_bytes, size_t len);
/* Hears these bytes; nothing for now; whatever comes up to the end, and closes. */
void egd_expect(int fd, const char *bytes, size_t len);
void egd_expect_nothing(int fd);
void egd_expect_end(int fd);
uint32_t egd_ask_level(int fd);
/* How many bytes an 01 n gets; they go to ret_bytes. */
unsigned egd_ask_read(int fd, uint8_t n, void *ret_bytes);

/* Bytes for a slow source. */
void egd_feed(const struct egd_fixture *f, const char *bytes, size_t len);

struct egd_server_status egd_status_of(const struct egd_fixture *f);
void egd_wait_for_clients(const struct egd_fixture *f, unsigned n);

/* One of each command, and more, for a source that is not slow; and what is answered. */
#define EGD_ALL_COMMANDS_LEN 21
extern const char egd_all_commands[];
void egd_expect_all_answers(int fd);
/* A client of its own gets that. */
void egd_expect_served(const struct egd_fixture *f);
