/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of an EGD server, which asks for bytes as they are wanted, several requests ahead.
 *
 *   CLOSED --open--> AWAITED --the connector's answer--> CONNECTED --close--> CLOSED
 *                       |                                    |
 *                       '--------- read: -errno -------------'   then close, and open later
 *
 * After close whatever was asked for is forgotten, and asked for anew by the next want: no request
 * is lost with a connection, and no byte of an old connection counts for a new one. A server that
 * hung up while nothing was wanted is connected to again without a word.
 *
 * One thread at a time. Nothing here waits.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct egd_client;

/* A server that says nothing to a request for so long is given up; twice as long the next time,
 * since it may just be slow. */
#define EGD_CLIENT_PATIENCE_MS 60000

struct egd_client_options {
    int connector_fd; /* egd-connector.h; taken over */
    bool polls;       /* asks for what is there (01), at intervals, instead of waiting (02) */
    int64_t patience_ms;
    int64_t connect_ms; /* how long a connection may take; 0: EGD_CLIENT_PATIENCE_MS */
};

/* Never fails. */
struct egd_client *egd_client_create(const struct egd_client_options *options);
/* Closed or not; NULL is allowed. */
void egd_client_destroy(struct egd_client *client);

/* 0: a connection is on its way; -EPIPE: there is no connector any more; or another -errno. */
int egd_client_open(struct egd_client *client);
/* So many bytes are wanted in all, those asked for already included. */
void egd_client_want(struct egd_client *client, size_t size);
int egd_client_poll_fd(const struct egd_client *client, short *ret_events);
/*
 * Up to size bytes that the server sent for requests: their number, or -EAGAIN. It failed with
 * -ECONNRESET: the server hung up; -EPROTO: it sent what was not asked for; -ETIMEDOUT: nothing,
 * for too long, or no connection; -EPIPE: there is no connector any more; or what connecting failed
 * with.
 */
ssize_t egd_client_read(struct egd_client *client, void *to, size_t size);
void egd_client_close(struct egd_client *client);
