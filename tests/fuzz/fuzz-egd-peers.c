/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the EGD server's, and a server of the EGD client's: the input says what they send,
 * how much of what they are sent they read, and when. No more random bytes go out than were set
 * aside, and no more are taken from a server than were asked of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "contrib/vrngd/egd-client.h"
#include "contrib/vrngd/egd-connection.h"
#include "vhost-user/log.h"

#define FUZZ_STEP_NS 7000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the input has left. */
struct fuzz_input {
    const uint8_t *data;
    size_t size;
};

static uint8_t fuzz_byte(struct fuzz_input *input)
{
    if (input->size == 0)
        return 0;
    input->size--;
    return *input->data++;
}

/* Some of it to a peer. */
static void fuzz_send(struct fuzz_input *input, int fd, size_t len)
{
    len = MIN(len, input->size);
    if (send(fd, input->data, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return;
    input->data += len;
    input->size -= len;
}

static size_t fuzz_drain(int fd, size_t len)
{
    uint8_t bytes[256];
    ssize_t n = recv(fd, bytes, MIN(len, sizeof(bytes)), MSG_DONTWAIT);

    return n > 0 ? (size_t)n : 0;
}

/* --- a client --- */

static void fuzz_check(const struct egd_connection *connection)
{
    g_assert(connection->in_at <= connection->in_len &&
             connection->in_len <= sizeof(connection->in) &&
             connection->out_len <= sizeof(connection->out) &&
             connection->n_reserve <= sizeof(connection->reserve) &&
             connection->target <= sizeof(connection->reserve));
}

static size_t fuzz_give(struct egd_connection *connection, size_t max, uint64_t now_ns)
{
    static const uint8_t random[EGD_CONNECTION_RESERVE];
    size_t n = MIN(max, egd_connection_wanted(connection, now_ns));

    g_assert(n <= sizeof(random));
    egd_connection_give(connection, random, n);
    return n;
}

static void fuzz_client(struct fuzz_input input)
{
    const struct egd_connection_options options = {.pid = "12345",
                                                   .mix_fd = -1,
                                                   .grace_ns = 20000000,
                                                   .stall_ns = 300000000,
                                                   .max_bytes = fuzz_byte(&input),
                                                   .period_ms = 50};
    struct egd_connection *connection;
    uint64_t now_ns = 1, n_given = 0;
    int ends[2];

    g_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    connection = egd_connection_create(&options, ends[0]);
    while (input.size > 0 && !egd_connection_is_done(connection)) {
        uint8_t what = fuzz_byte(&input);

        if (what % 4 == 0)
            fuzz_send(&input, ends[1], what / 4);
        else if (what % 4 == 1)
            fuzz_drain(ends[1], what);
        else if (what % 4 == 2)
            n_given += fuzz_give(connection, what, now_ns);
        else
            now_ns += what * (uint64_t)FUZZ_STEP_NS;
        egd_connection_receive(connection, egd_connection_events(connection) & POLLIN);
        egd_connection_work(connection, now_ns);
        fuzz_check(connection);
        (void)egd_connection_due_ns(connection, now_ns);
        g_assert(connection->n_given + connection->n_reserve == n_given);
    }
    egd_connection_destroy(connection);
    close(ends[1]);
}

/* --- a server --- */

/* Answers as a connector that has a connection. */
static void fuzz_connect(int connector, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    int err = 0;
    struct iovec iov = {&err, sizeof(err)};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    g_assert(sendmsg(connector, &message, 0) == sizeof(err));
}

static void fuzz_server(struct fuzz_input input)
{
    int connector[2], ends[2];
    size_t wanted = 0, n_wanted = 0, n_got = 0;
    struct egd_client *client;

    g_assert(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, connector) == 0);
    g_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    client = egd_client_create(&(struct egd_client_options){.connector_fd = connector[0],
                                                            .polls = fuzz_byte(&input) & 1,
                                                            .patience_ms = EGD_CLIENT_PATIENCE_MS});
    g_assert(egd_client_open(client) == 0);
    fuzz_connect(connector[1], ends[0]);
    close(ends[0]);
    while (input.size > 0) {
        uint8_t what = fuzz_byte(&input), bytes[300];
        ssize_t n;

        if (what % 4 == 0)
            fuzz_send(&input, ends[1], what / 4);
        else if (what % 4 == 1)
            fuzz_drain(ends[1], what);
        else if (what % 4 == 2) {
            wanted += what * 16u;
            n_wanted += what * 16u;
        }
        egd_client_want(client, wanted);
        n = egd_client_read(client, bytes, MIN(what + 1u, sizeof(bytes)));
        if (n < 0 && n != -EAGAIN)
            break;
        if (n <= 0)
            continue;
        n_got += (size_t)n;
        g_assert((size_t)n <= wanted && n_got <= n_wanted);
        wanted -= (size_t)n;
    }
    egd_client_destroy(client);
    close(ends[1]);
    close(connector[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vu_log_set_level(VU_LOG_OFF);
    fuzz_client((struct fuzz_input){data, size});
    fuzz_server((struct fuzz_input){data, size});
    return 0;
}
