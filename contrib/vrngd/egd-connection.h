/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client of the EGD server. It costs what this structure holds, whatever it sends: a command is
 * only looked at when the one before it has been answered, and bytes are only received when there
 * is room for their answers. Random bytes are set aside for it first, then given.
 *
 *   IDLE --a command--> WAITING for random bytes (01, 00: a moment; 02: as long as it takes)
 *     ^                    |
 *     '-- the answer is on its way --'
 *
 * The server's thread alone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "contrib/vrngd/egd-wire.h"
#include "contrib/vrngd/limit.h"

#define EGD_CONNECTION_IN      512
#define EGD_CONNECTION_OUT     (4 * EGD_MAX_ANSWER)
#define EGD_CONNECTION_RESERVE 256

/* What all connections of a server have in common. */
struct egd_connection_options {
    const char *pid;    /* the answer to 04 */
    int mix_fd;         /* where what clients write (03) goes; -1: nowhere */
    uint64_t grace_ns;  /* how long 00 and 01 wait for a source that takes its time */
    uint64_t stall_ns;  /* how long half a command, or an answer not taken, is put up with */
    uint64_t max_bytes; /* of each client in a period; 0: no limit */
    uint64_t period_ms;
};

struct egd_connection {
    const struct egd_connection_options *options;
    int fd;
    struct rng_limit limit;
    struct egd_command_parser parser;
    bool has_command;  /* parser.command is to be answered */
    uint64_t grace_ns; /* has_command: 00 and 01 are answered then */
    uint64_t stall_ns; /* it is given up then; 0: nothing is expected of it */
    bool at_end;       /* it sends no more */
    bool is_bad;
    uint8_t in[EGD_CONNECTION_IN];
    unsigned in_at, in_len;
    uint8_t out[EGD_CONNECTION_OUT];
    unsigned out_len;
    uint8_t reserve[EGD_CONNECTION_RESERVE]; /* random bytes for this client */
    unsigned n_reserve, target;              /* there are, there should be */
    uint64_t n_given;                        /* bytes that it was sent */
};

/* fd is taken over. Never fails. */
struct egd_connection *egd_connection_create(const struct egd_connection_options *options, int fd);
void egd_connection_destroy(struct egd_connection *connection);

/* What to poll for. */
short egd_connection_events(const struct egd_connection *connection);
/* revents: what poll said. Receives, once. */
void egd_connection_receive(struct egd_connection *connection, short revents);
/* Looks at what was received and answers, as far as that goes. */
void egd_connection_work(struct egd_connection *connection, uint64_t now_ns);
/* Random bytes that it could do with now, within its limit. */
size_t egd_connection_wanted(struct egd_connection *connection, uint64_t now_ns);
/* Sets random bytes aside for it: no more than it wants. */
void egd_connection_give(struct egd_connection *connection, const uint8_t *data, size_t len);
/* When to work at the latest, with nothing else happening; UINT64_MAX: never. */
uint64_t egd_connection_due_ns(struct egd_connection *connection, uint64_t now_ns);
/* It is to be destroyed. */
bool egd_connection_is_done(const struct egd_connection *connection);
