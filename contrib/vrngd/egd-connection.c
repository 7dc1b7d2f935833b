/* SPDX-License-Identifier: Apache-2.0 */
/* See egd-connection.h. */
#include "contrib/vrngd/egd-connection.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost-user/cpu.h"
#include "vhost-user/log.h"

struct egd_connection *egd_connection_create(const struct egd_connection_options *options, int fd)
{
    struct egd_connection *connection = g_new0(struct egd_connection, 1);

    connection->options = options;
    connection->fd = fd;
    rng_limit_set(&connection->limit, options->max_bytes, MAX(options->period_ms, 1));
    return connection;
}

void egd_connection_destroy(struct egd_connection *connection)
{
    close(connection->fd);
    explicit_bzero(connection, sizeof(*connection));
    g_free(connection);
}

/* --- the socket --- */

short egd_connection_events(const struct egd_connection *connection)
{
    bool wants_in =
        !connection->at_end && !connection->has_command && connection->in_at == connection->in_len;

    return (short)((wants_in ? POLLIN : 0) | (connection->out_len > 0 ? POLLOUT : 0));
}

void egd_connection_receive(struct egd_connection *connection, short revents)
{
    ssize_t n;

    if (revents & (POLLERR | POLLNVAL) || (revents & POLLHUP && !(revents & POLLIN)))
        connection->is_bad = true;
    if (!(revents & POLLIN) || connection->is_bad)
        return;
    n = recv(connection->fd, connection->in, sizeof(connection->in), MSG_DONTWAIT);
    if (n < 0) {
        connection->is_bad = errno != EAGAIN && errno != EINTR;
        return;
    }
    connection->at_end = n == 0;
    connection->in_at = 0;
    connection->in_len = (unsigned)n;
}

static void connection_send(struct egd_connection *connection)
{
    ssize_t n;

    if (connection->out_len == 0 || connection->is_bad)
        return;
    n = send(connection->fd, connection->out, connection->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) {
        connection->is_bad = errno != EAGAIN && errno != EINTR;
        return;
    }
    connection->out_len -= (unsigned)n;
    memmove(connection->out, connection->out + n, connection->out_len);
    explicit_bzero(connection->out + connection->out_len, (size_t)n);
    if (n > 0)
        connection->stall_ns = 0;
}

/* --- answers --- */

/* Random bytes of the reserve to the end of what is sent. */
static void connection_append(struct egd_connection *connection, unsigned n)
{
    memcpy(connection->out + connection->out_len, connection->reserve, n);
    connection->out_len += n;
    connection->n_reserve -= n;
    memmove(connection->reserve, connection->reserve + n, connection->n_reserve);
    explicit_bzero(connection->reserve + connection->n_reserve, n);
    connection->n_given += n;
}

/* Each answers, or returns false while it waits for more of a reserve. */

static bool connection_answer_level(struct egd_connection *connection, uint64_t now_ns)
{
    connection->target = EGD_CONNECTION_RESERVE;
    if (connection->n_reserve == 0 && now_ns < connection->grace_ns)
        return false;
    connection->out_len +=
        (unsigned)egd_level_write(8 * connection->n_reserve, connection->out + connection->out_len);
    return true;
}

static bool connection_answer_read(struct egd_connection *connection, uint64_t now_ns)
{
    unsigned n = connection->parser.command.n, given = MIN(n, connection->n_reserve);

    connection->target = MAX(connection->target, n);
    if (given < n && now_ns < connection->grace_ns)
        return false;
    connection->out[connection->out_len++] = (uint8_t)given;
    connection_append(connection, given);
    return true;
}

static bool connection_answer_read_blocking(struct egd_connection *connection, uint64_t now_ns)
{
    unsigned n = connection->parser.command.n;

    if (connection->n_reserve < n)
        return false;
    connection_append(connection, n);
    return true;
}

/* What a client says that it is worth is not believed, and the kernel credits nothing. */
static bool connection_answer_write(struct egd_connection *connection, uint64_t now_ns)
{
    const struct egd_command *command = &connection->parser.command;

    if (connection->options->mix_fd >= 0 && command->n > 0)
        (void)!write(connection->options->mix_fd, command->data, command->n);
    return true;
}

static bool connection_answer_pid(struct egd_connection *connection, uint64_t now_ns)
{
    connection->out_len +=
        (unsigned)egd_pid_write(connection->options->pid, connection->out + connection->out_len);
    return true;
}

static bool (*const connection_answers[])(struct egd_connection *connection, uint64_t now_ns) = {
    [EGD_LEVEL] = connection_answer_level,
    [EGD_READ] = connection_answer_read,
    [EGD_READ_BLOCKING] = connection_answer_read_blocking,
    [EGD_WRITE] = connection_answer_write,
    [EGD_PID] = connection_answer_pid,
};

/* --- commands --- */

/* Whether there is one. */
static bool connection_next_command(struct egd_connection *connection, uint64_t now_ns)
{
    static uint64_t next_line_ns;
    size_t n;
    int ret = egd_command_take(&connection->parser, connection->in + connection->in_at,
                               connection->in_len - connection->in_at, &n);

    if (ret < 0) {
        connection->is_bad = true;
        if (vu_log_is_due(&next_line_ns))
            vu_warning("vrngd: egd: a client sent what is no command, and is disconnected");
        return false;
    }
    connection->in_at += (unsigned)n;
    connection->has_command = ret == 1;
    if (connection->has_command && connection->out_len == 0)
        connection->stall_ns = 0; /* what it began then, it has gone on with */
    connection->grace_ns = now_ns + connection->options->grace_ns;
    return connection->has_command;
}

/* A client must go on with what it began, and take what it asked for. */
static void connection_watch(struct egd_connection *connection, uint64_t now_ns)
{
    static uint64_t next_line_ns;
    bool is_expected =
        connection->out_len > 0 || (!connection->has_command && connection->parser.n_taken > 0);

    if (!is_expected) {
        connection->stall_ns = 0;
    } else if (connection->stall_ns == 0) {
        connection->stall_ns = now_ns + connection->options->stall_ns;
    } else if (now_ns >= connection->stall_ns) {
        connection->is_bad = true;
        if (vu_log_is_due(&next_line_ns))
            vu_warning("vrngd: egd: a client takes no answers or sends half commands, and is "
                       "disconnected");
    }
}

void egd_connection_work(struct egd_connection *connection, uint64_t now_ns)
{
    while (!connection->is_bad && sizeof(connection->out) - connection->out_len >= EGD_MAX_ANSWER) {
        if (!connection->has_command && !connection_next_command(connection, now_ns))
            break;
        if (!connection_answers[connection->parser.command.op](connection, now_ns))
            break;
        connection->has_command = false;
    }
    connection_send(connection);
    connection_watch(connection, now_ns);
}

/* --- random bytes --- */

size_t egd_connection_wanted(struct egd_connection *connection, uint64_t now_ns)
{
    const struct egd_command *command = &connection->parser.command;
    unsigned target = connection->target;

    if (connection->has_command && command->op == EGD_READ_BLOCKING)
        target = MAX(target, command->n);
    if (target <= connection->n_reserve || connection->is_bad)
        return 0;
    return (size_t)MIN(target - connection->n_reserve, rng_limit_left(&connection->limit, now_ns));
}

void egd_connection_give(struct egd_connection *connection, const uint8_t *data, size_t len)
{
    g_assert(len <= sizeof(connection->reserve) - connection->n_reserve);
    memcpy(connection->reserve + connection->n_reserve, data, len);
    connection->n_reserve += (unsigned)len;
    rng_limit_spend(&connection->limit, len);
}

uint64_t egd_connection_due_ns(struct egd_connection *connection, uint64_t now_ns)
{
    uint64_t due_ns = connection->stall_ns > 0 ? connection->stall_ns : UINT64_MAX;
    bool is_limited = rng_limit_left(&connection->limit, now_ns) == 0;

    if (connection->has_command && connection->parser.command.op != EGD_READ_BLOCKING)
        due_ns = MIN(due_ns, connection->grace_ns);
    if (is_limited && (connection->has_command || connection->target > connection->n_reserve))
        due_ns = MIN(due_ns, rng_limit_end_ns(&connection->limit));
    return due_ns;
}

bool egd_connection_is_done(const struct egd_connection *connection)
{
    return connection->is_bad ||
           (connection->at_end && !connection->has_command && connection->out_len == 0 &&
            connection->in_at == connection->in_len);
}
