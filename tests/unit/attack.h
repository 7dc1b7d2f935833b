/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile front-end of an echo session. Whatever it sends: with NEED_REPLY it is answered with an
 * error and the session goes on; without, the session ends; and afterwards no descriptor is left,
 * and a good front-end is served.
 */
#pragma once

#include "echo-client.h"

#define ATTACK_SIZE UINT64_C(0x20000) /* of the memory it has to offer */
#define ATTACK_UVA  UINT64_C(0x7f0000000000)

struct attack {
    struct echo_session echo;
    struct vu_channel channel;
    unsigned n_fds_before;
    int memory_fd; /* ATTACK_SIZE bytes */
    int event_fd;
};

/* Starts a back-end and connects to it; negotiate: with all features. */
void attack_begin(struct attack *attack, bool negotiate);
/* Disconnects; a good front-end must be served, and no descriptor be left. */
void attack_end(struct attack *attack);
/* Disconnects and connects again. */
void attack_reconnect(struct attack *attack, bool negotiate);
/* Whether the session still answers. */
bool attack_is_alive(struct attack *attack);
/* Sends a request that must end the session, without NEED_REPLY; connects again. */
void attack_expect_closed(struct attack *attack, uint32_t request, const void *payload,
                          uint32_t size, const int *fds, unsigned n_fds, bool negotiate);
/* The same after having sent it with NEED_REPLY, which must be answered with an error. Only for
 * requests that are not answered with a payload. */
void attack_expect_refused(struct attack *attack, uint32_t request, const void *payload,
                           uint32_t size, const int *fds, unsigned n_fds);
