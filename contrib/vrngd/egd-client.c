/* SPDX-License-Identifier: Apache-2.0 */
/* See egd-client.h. */
#include "contrib/vrngd/egd-client.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "contrib/vrngd/egd-connector.h"
#include "contrib/vrngd/egd-wire.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"

#define CLIENT_RETRY_MS     1000 /* until a server that had too little is asked again */
#define CLIENT_MAX_PATIENCE 64   /* times the patience that was asked for */
#define CLIENT_COMMAND_LEN  2

enum client_state { CLIENT_CLOSED, CLIENT_AWAITED, CLIENT_CONNECTED };

struct egd_client {
    struct egd_client_options options;
    enum client_state state;
    bool has_asked_connector; /* its answer is to come; outlives close */
    int64_t awaited_ms;       /* AWAITED: since when */
    int fd;                   /* CONNECTED */
    bool is_proven;           /* CONNECTED: it has answered */
    int err;                  /* what the next read tells; 0: nothing yet */
    size_t wanted;
    struct egd_answers answers;
    uint8_t out[EGD_MAX_ASKED * CLIENT_COMMAND_LEN]; /* commands that are not sent yet */
    size_t out_len;
    int64_t patience_ms, heard_ms; /* the server's last byte, or the first request after it */
    bool is_drained;               /* polls: it had less than was asked for */
    int64_t retry_ms;              /* is_drained: not before */
};

struct egd_client *egd_client_create(const struct egd_client_options *options)
{
    struct egd_client *client = g_new0(struct egd_client, 1);

    client->options = *options;
    if (client->options.connect_ms == 0)
        client->options.connect_ms = EGD_CLIENT_PATIENCE_MS;
    client->patience_ms = options->patience_ms;
    client->fd = -1;
    return client;
}

void egd_client_destroy(struct egd_client *client)
{
    if (!client)
        return;
    egd_client_close(client);
    vu_clear_fd(&client->options.connector_fd);
    g_free(client);
}

/* --- the connection --- */

/* Asks for one, unless one that was asked for is still to come. */
static int client_await(struct egd_client *client)
{
    int err = client->has_asked_connector ? 0 : egd_connector_ask(client->options.connector_fd);

    if (err < 0)
        return err;
    client->has_asked_connector = true;
    client->awaited_ms = vu_now_ms();
    client->state = CLIENT_AWAITED;
    return 0;
}

int egd_client_open(struct egd_client *client)
{
    g_assert(client->state == CLIENT_CLOSED);
    return client_await(client);
}

void egd_client_close(struct egd_client *client)
{
    vu_clear_fd(&client->fd);
    client->state = CLIENT_CLOSED;
    client->err = 0;
    client->wanted = client->out_len = 0;
    client->answers = (struct egd_answers){0};
    client->is_proven = client->is_drained = false;
}

static void client_fail(struct egd_client *client, int err)
{
    if (client->err == 0)
        client->err = err;
}

/* Nothing is asked for, and something is about to be: who speaks now is no EGD server. */
static void client_check_idle(struct egd_client *client)
{
    uint8_t byte;
    ssize_t n = recv(client->fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        client_fail(client, -EPROTO);
        return;
    }
    /* It may have ended since it was last asked; but one that always does is left in peace. */
    if (!client->is_proven) {
        client_fail(client, -ECONNRESET);
        return;
    }
    egd_client_close(client);
    client_fail(client, client_await(client));
}

/* --- requests --- */

static void client_send(struct egd_client *client)
{
    ssize_t n;

    if (client->out_len == 0)
        return;
    n = send(client->fd, client->out, client->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            client_fail(client, errno == EPIPE ? -ECONNRESET : -errno);
        return;
    }
    client->out_len -= (size_t)n;
    memmove(client->out, client->out + n, client->out_len);
}

/* Whether something is expected of the server: an answer, or to read what it is asked. */
static bool client_is_owed(const struct egd_client *client)
{
    return client->answers.n_asked > 0 || client->out_len > 0;
}

/* Whether another request may be under way. A server can answer commands that it has not read: what
 * is not sent has a bound of its own. */
static bool client_may_ask(const struct egd_client *client, int64_t now_ms)
{
    if (client->out_len + CLIENT_COMMAND_LEN > sizeof(client->out))
        return false;
    if (client->is_drained)
        return client->answers.n_asked == 0 && now_ms >= client->retry_ms;
    return client->answers.n_asked < EGD_MAX_ASKED;
}

/* Asks for what is wanted and not under way yet. */
static void client_ask(struct egd_client *client)
{
    enum egd_op op = client->options.polls ? EGD_READ : EGD_READ_BLOCKING;
    size_t pending = egd_answers_pending(&client->answers);
    int64_t now_ms = vu_now_ms();

    if (!client_is_owed(client))
        client->heard_ms = now_ms;
    while (pending < client->wanted && client_may_ask(client, now_ms)) {
        struct egd_command command = {
            .op = (uint8_t)op,
            .n = (uint8_t)MIN(client->wanted - pending, EGD_MAX_DATA),
        };

        egd_answers_expect(&client->answers, op, command.n);
        client->out_len += egd_command_write(&command, client->out + client->out_len);
        pending += command.n;
    }
    client_send(client);
}

void egd_client_want(struct egd_client *client, size_t size)
{
    if (client->state == CLIENT_CONNECTED && client->err == 0 && size > 0 &&
        client->answers.n_asked == 0)
        client_check_idle(client);
    client->wanted = size;
    if (client->state == CLIENT_CONNECTED && client->err == 0)
        client_ask(client);
}

int egd_client_poll_fd(const struct egd_client *client, short *ret_events)
{
    *ret_events = POLLIN;
    if (client->state == CLIENT_AWAITED)
        return client->options.connector_fd;
    if (client->out_len > 0)
        *ret_events |= POLLOUT;
    return client->fd;
}

/* --- answers --- */

/* The connector's, which has patience of its own with each of a host's addresses. */
static int client_connected(struct egd_client *client)
{
    int err = egd_connector_answer(client->options.connector_fd, &client->fd);

    if (err == -EAGAIN)
        return vu_now_ms() - client->awaited_ms < client->options.connect_ms ? err : -ETIMEDOUT;
    client->has_asked_connector = false;
    if (err < 0)
        return err;
    client->state = CLIENT_CONNECTED;
    egd_client_want(client, client->wanted);
    return client->err < 0 ? client->err : -EAGAIN;
}

static void client_finish_answer(struct egd_client *client, const struct egd_piece *piece)
{
    if (piece->op != EGD_READ)
        return;
    client->is_drained = piece->value < piece->n;
    client->retry_ms = vu_now_ms() + CLIENT_RETRY_MS;
}

/* Keeps what of the received bytes is random: size of them, from data to its beginning. */
static size_t client_take(struct egd_client *client, uint8_t *data, size_t size)
{
    size_t at = 0, kept = 0, n;
    struct egd_piece piece;

    while (at < size && client->err == 0) {
        int ret = egd_answers_take(&client->answers, data + at, size - at, &n, &piece);

        at += n;
        if (ret < 0)
            client_fail(client, ret);
        if (ret <= 0)
            continue;
        memmove(data + kept, piece.data, piece.data_len);
        kept += piece.data_len;
        if (piece.is_last)
            client_finish_answer(client, &piece);
    }
    explicit_bzero(data + kept, size - kept);
    return kept;
}

static bool client_is_silent(const struct egd_client *client)
{
    return client_is_owed(client) && vu_now_ms() - client->heard_ms >= client->patience_ms;
}

static ssize_t client_receive(struct egd_client *client, void *to, size_t size)
{
    ssize_t n = recv(client->fd, to, size, MSG_DONTWAIT);

    if (n == 0)
        return -ECONNRESET;
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return -errno;
    if (n < 0 && client_is_silent(client)) {
        client->patience_ms =
            MIN(2 * client->patience_ms, CLIENT_MAX_PATIENCE * client->options.patience_ms);
        return -ETIMEDOUT;
    }
    return n < 0 ? -EAGAIN : n;
}

ssize_t egd_client_read(struct egd_client *client, void *to, size_t size)
{
    ssize_t n;

    if (client->err < 0)
        return client->err;
    if (client->state == CLIENT_AWAITED)
        return client_connected(client);
    client_ask(client);
    n = client_receive(client, to, size);
    if (n < 0)
        return n;
    client->is_proven = true;
    client->heard_ms = vu_now_ms();
    client->patience_ms = client->options.patience_ms;
    n = (ssize_t)client_take(client, to, (size_t)n);
    if (n > 0)
        return n;
    return client->err < 0 ? client->err : -EAGAIN;
}
