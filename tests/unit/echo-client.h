/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A front-end of ours with one driver, for tests of back-end sessions with the echo device. Its two
 * regions are neighbours in guest addresses only, and every request straddles them.
 */
#pragma once

#include "echo-session.h"
#include "vhost-user/frontend.h"

#define ECHO_GPA        UINT64_C(0x100000)
#define ECHO_LEN        UINT64_C(0x100000)             /* of each region */
#define ECHO_ANSWER_GPA (ECHO_GPA + ECHO_LEN - 0x4000) /* where all answers go: one page */
#define ECHO_DEPTH      16
#define ECHO_QUEUE      1 /* the queue that is used */

/* What to negotiate. */
struct echo_variant {
    uint64_t features, protocol;
    bool inband;
};

extern const struct echo_variant echo_split;     /* everything in the protocol, bare rings */
extern const struct echo_variant echo_split_all; /* INDIRECT and EVENT_IDX too */
extern const struct echo_variant echo_packed;
extern const struct echo_variant echo_packed_all;
extern const struct echo_variant echo_table_only; /* REPLY_ACK alone: SET_MEM_TABLE */
extern const struct echo_variant echo_inband;

struct echo_client {
    struct vu_shmem shmem;
    struct vu_frontend *frontend;
    struct vu_driver *driver;
    unsigned n_config_changes;
};

/* Memory, a driver, and a front-end not yet connected. */
void echo_client_init(struct echo_client *client, const struct echo_variant *variant);
void echo_client_clear(struct echo_client *client);
/* Begins a session and starts the ring. */
void echo_client_start(struct echo_client *client, struct echo_session *echo);
/* Adds one request; the number is its token. */
void echo_client_add(struct echo_client *client, unsigned number);
void echo_client_kick(struct echo_client *client);
/* Waits for n answers and checks them. */
void echo_client_harvest(struct echo_client *client, unsigned n);
/* Rounds of four requests. */
void echo_client_run(struct echo_client *client, unsigned rounds);
/* The driver's ring as a message describes it. */
struct vu_vring_addr echo_client_addr(const struct echo_client *client);
