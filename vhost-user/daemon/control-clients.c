/* SPDX-License-Identifier: Apache-2.0 */
/* See control-clients.h. */
#include "vhost-user/daemon/control-clients.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"
#include "vhost-user/daemon/json-build.h"
#include "vhost-user/log.h"

#define CLIENTS_RETRY_MS 100

/* --- places --- */

void control_clients_drop_done(struct control_clients *clients)
{
    unsigned n = 0;

    for (unsigned i = 0; i < clients->n; i++)
        if (control_client_is_done(clients->list[i]))
            control_client_destroy(clients->list[i]);
        else
            clients->list[n++] = clients->list[i];
    clients->n = n;
}

/* The one that has been idle longest; NULL: none is. */
static struct control_client *clients_find_idle(const struct control_clients *clients)
{
    int64_t before_ms = vu_now_ms() - CONTROL_IDLE_MS;
    struct control_client *found = NULL;

    for (unsigned i = 0; i < clients->n; i++) {
        struct control_client *client = clients->list[i];

        if (!client->is_busy && client->active_ms <= before_ms &&
            (!found || client->active_ms < found->active_ms))
            found = client;
    }
    return found;
}

/* Where all places are taken: an idle client's. False: there is none. */
static bool clients_make_room(struct control_clients *clients, const struct control_room *room)
{
    struct control_client *idle;

    if (clients->n < CONTROL_MAX_CLIENTS)
        return true;
    idle = clients_find_idle(clients);
    if (!idle)
        return false;
    vu_info("%s: %d control clients: one that has been idle for %" G_GINT64_FORMAT
            " s makes room for another",
            room->program, CONTROL_MAX_CLIENTS, (vu_now_ms() - idle->active_ms) / 1000);
    control_client_dismiss(idle, "idle, and another client needs the place");
    control_client_send(idle);
    control_clients_drop_done(clients);
    return true;
}

/* --- those who come --- */

static char *clients_greeting(const struct control_room *room)
{
    JsonBuilder *json = vu_json_begin();

    vu_json_begin_object(json, "QMP");
    vu_json_begin_object(json, "version");
    control_add_version(json, room->program);
    json_builder_end_object(json);
    vu_json_begin_array(json, "capabilities");
    json_builder_end_array(json);
    json_builder_end_object(json);
    return vu_json_to_line(vu_json_finish(json));
}

/* Tells a client beyond the limit, as far as it can be told at once. */
static void clients_turn_away(int fd)
{
    g_autofree char *line =
        control_error_line(g_error_new(VU_CONTROL_ERROR, VU_CONTROL_ERROR_GENERIC,
                                       "%d clients are connected, which is all that "
                                       "may be",
                                       CONTROL_MAX_CLIENTS));

    (void)!send(fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);
    close(fd);
}

void control_clients_accept(struct control_clients *clients, const struct control_room *room,
                            int listen_fd)
{
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    g_autofree char *greeting = NULL;

    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
        /* The descriptor stays readable: no spinning on it. */
        vu_error("%s: cannot accept a control client yet: %s", room->program, g_strerror(errno));
        poll(NULL, 0, CLIENTS_RETRY_MS);
    }
    if (fd < 0)
        return;
    if (!clients_make_room(clients, room)) {
        clients_turn_away(fd);
        return;
    }
    greeting = clients_greeting(room);
    clients->list[clients->n] = control_client_create(fd);
    control_client_answer(clients->list[clients->n++], greeting);
}

/* --- those who are there --- */

void control_clients_prepare_poll(const struct control_clients *clients, struct pollfd *ret_fds)
{
    for (unsigned i = 0; i < clients->n; i++) {
        short events = control_client_events(clients->list[i]);

        /* Not even for the end of one that is not listened to: it would be told over and over. */
        ret_fds[i] = (struct pollfd){.fd = events ? clients->list[i]->fd : -1, .events = events};
    }
}

void control_clients_receive(struct control_clients *clients, const struct pollfd *fds)
{
    for (unsigned i = 0; i < clients->n; i++)
        if (fds[i].revents & (POLLIN | POLLHUP | POLLERR) && fds[i].events & POLLIN)
            control_client_receive(clients->list[i]);
}

void control_clients_send(struct control_clients *clients)
{
    for (unsigned i = 0; i < clients->n; i++)
        control_client_send(clients->list[i]);
}

void control_clients_clear(struct control_clients *clients)
{
    for (unsigned i = 0; i < clients->n; i++)
        control_client_destroy(clients->list[i]);
    clients->n = 0;
}
