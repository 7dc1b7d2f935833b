/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon behind its control socket, asked once a round. Nothing here waits for it: one that hangs
 * is shown as such, and asked no more until it has answered.
 *
 *   DOWN --connect--> GREETING --it greets--> IDLE --ask--> ASKED --all is answered--> IDLE
 *    ^------ it closes, or says what it should not, or cannot be reached: `why` -------'
 *
 * One that does not greet for a while need not be a control socket at all: it is let go, and only
 * looked at again now and then.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "contrib/top/sample.h"

enum top_state { TOP_DOWN, TOP_GREETING, TOP_IDLE, TOP_ASKED };

struct top_daemon {
    char *path, *name; /* of its socket */
    bool is_found;     /* in this round */

    enum top_state state;
    int fd; /* -1: DOWN */
    GString *in;
    unsigned n_answers;
    uint64_t asked_ns; /* ASKED, GREETING: since when */
    bool is_late;      /* ... and that was in an earlier round */
    char why[128];     /* DOWN */
    uint64_t retry_ns; /* DOWN: not to be connected to before */

    char program[32], version[32]; /* as it greets */
    struct top_sample coming, now;
    struct top_rates rates;
    bool has_now, has_rates;
};

/* path: taken over. */
struct top_daemon *top_daemon_create(char *path);
void top_daemon_destroy(struct top_daemon *daemon);

/* Begins a round: connects, or asks, unless it owes an answer. */
void top_daemon_ask(struct top_daemon *daemon);
/* fd is readable. */
void top_daemon_read(struct top_daemon *daemon);
/* It owes an answer to this round's questions: who is late is not waited for. */
bool top_daemon_is_pending(const struct top_daemon *daemon);
