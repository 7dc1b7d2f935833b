/* SPDX-License-Identifier: Apache-2.0 */
/* See control-client.h. */
#include "vhost-user/daemon/control-client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"
#include "vhost-user/daemon/control-request.h"

#define CLIENT_CHUNK 4096 /* bytes received at a time */

struct control_client *control_client_create(int fd)
{
    struct control_client *client = g_new0(struct control_client, 1);

    client->fd = fd;
    client->in = g_string_new(NULL);
    client->out = g_string_new(NULL);
    control_client_note(client);
    return client;
}

void control_client_note(struct control_client *client)
{
    client->active_ms = vu_now_ms();
}

void control_client_destroy(struct control_client *client)
{
    close(client->fd);
    for (unsigned i = 0; i < client->n_fds; i++)
        close(client->fds[i]);
    g_string_free(client->in, TRUE);
    g_string_free(client->out, TRUE);
    g_free(client);
}

static bool client_may_go_on(const struct control_client *client)
{
    return !client->is_busy && !client->is_bad && client->out->len < CONTROL_MUCH_OUT;
}

short control_client_events(const struct control_client *client)
{
    bool wants_in =
        client_may_go_on(client) && !client->at_end && client->in->len < CONTROL_MAX_LINE;

    return (short)((wants_in ? POLLIN : 0) | (client->out->len > 0 ? POLLOUT : 0));
}

void control_client_dismiss(struct control_client *client, const char *why)
{
    g_autofree char *line =
        control_error_line(g_error_new_literal(VU_CONTROL_ERROR, VU_CONTROL_ERROR_GENERIC, why));

    client->is_bad = true;
    control_client_answer(client, line);
}

/* Keeps the descriptors that came with a message. */
static void client_keep_fds(struct control_client *client, struct msghdr *message)
{
    bool is_lost = message->msg_flags & MSG_CTRUNC;

    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        size_t n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(header) + i * sizeof(fd), sizeof(fd));
            if (client->n_fds < CONTROL_MAX_FDS) {
                client->fds[client->n_fds++] = fd;
            } else {
                close(fd);
                is_lost = true;
            }
        }
    }
    if (is_lost)
        control_client_dismiss(client, "too many descriptors that no command has taken");
}

void control_client_receive(struct control_client *client)
{
    union {
        char bytes[CMSG_SPACE(CONTROL_MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control;
    char data[CLIENT_CHUNK];
    struct iovec iov = {data, MIN(sizeof(data), CONTROL_MAX_LINE - client->in->len)};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    ssize_t n = recvmsg(client->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n < 0) {
        client->is_bad = errno != EAGAIN && errno != EINTR;
        return;
    }
    control_client_note(client);
    client->at_end = n == 0;
    client_keep_fds(client, &message);
    g_string_append_len(client->in, data, n);
}

bool control_client_next_line(struct control_client *client, size_t *ret_len)
{
    const GString *in = client->in;
    const char *end;

    if (!client_may_go_on(client))
        return false;
    end = memchr(in->str + client->in_scanned, '\n', in->len - client->in_scanned);
    if (end) {
        *ret_len = (size_t)(end - in->str);
        client->in_scanned = *ret_len;
        return true;
    }
    client->in_scanned = in->len;
    if (in->len >= CONTROL_MAX_LINE)
        control_client_dismiss(client, "a line of more than 65536 bytes");
    return false;
}

void control_client_drop_line(struct control_client *client, size_t len)
{
    g_string_erase(client->in, 0, (gssize)len + 1);
    client->in_scanned = 0;
}

bool control_client_take_fds(struct control_client *client, int *ret_fds, unsigned n)
{
    if (client->n_fds < n)
        return false;
    for (unsigned i = 0; i < n; i++)
        ret_fds[i] = client->fds[i];
    client->n_fds -= n;
    memmove(client->fds, client->fds + n, client->n_fds * sizeof(int));
    return true;
}

void control_client_answer(struct control_client *client, const char *line)
{
    g_string_append(client->out, line);
}

void control_client_send(struct control_client *client)
{
    ssize_t n;

    while (client->out->len > 0) {
        n = send(client->fd, client->out->str, client->out->len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            client->is_bad = client->is_bad || errno != EAGAIN;
            return;
        }
        control_client_note(client);
        g_string_erase(client->out, 0, n);
    }
}

bool control_client_is_done(const struct control_client *client)
{
    bool has_line = memchr(client->in->str, '\n', client->in->len) != NULL;

    if (client->is_busy)
        return false;
    return client->is_bad || (client->at_end && !has_line && client->out->len == 0);
}
