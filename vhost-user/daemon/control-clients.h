/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All clients of a control socket. They are few, and their places are for those who use them: where
 * all are taken, a new client gets that of the one which has been idle longest, which is told so.
 * Idle is who has nothing under way, and has had nothing for CONTROL_IDLE_MS. Where there is none,
 * the new one is turned away.
 *
 * The control thread alone.
 */
#pragma once

#include <poll.h>

#include "vhost-user/daemon/control-client.h"
#include "vhost-user/daemon/control-request.h"

#define CONTROL_MAX_CLIENTS 16
#define CONTROL_IDLE_MS     5000

struct control_clients {
    struct control_client *list[CONTROL_MAX_CLIENTS];
    unsigned n;
};

/* The next connection: greeted, or turned away. Waits a moment where there is no descriptor. */
void control_clients_accept(struct control_clients *clients, const struct control_room *room,
                            int listen_fd);
/* Fills n of ret_fds, in the order of the list. */
void control_clients_prepare_poll(const struct control_clients *clients, struct pollfd *ret_fds);
/* What poll said of them. The list is the same. */
void control_clients_receive(struct control_clients *clients, const struct pollfd *fds);
/* Sends to each what can be sent. */
void control_clients_send(struct control_clients *clients);
void control_clients_drop_done(struct control_clients *clients);
/* Disconnects all. */
void control_clients_clear(struct control_clients *clients);
