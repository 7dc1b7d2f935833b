/* SPDX-License-Identifier: Apache-2.0 */
/* See connection.h. Everything waits. */
#include "vblkd/ctl/connection.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"

#define CONNECTION_CHUNK      4096
#define CONNECTION_MAX_LINE   (16u << 20) /* more comes from no daemon of ours */
#define CONNECTION_GREETING_S 10

static void connection_fail(GError **error, int err, const char *what)
{
    g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(err), "%s: %s", what,
                g_strerror(err));
}

/* How long to wait for the other side; 0: for ever. */
static void connection_set_patience(int fd, time_t seconds)
{
    const struct timeval patience = {.tv_sec = seconds};

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

static int connection_open(const char *path, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    vu_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) >= sizeof(address.sun_path)) {
        connection_fail(error, ENAMETOOLONG, path);
        return -1;
    }
    /* Connecting may wait, too: for a place in the queue of connections. */
    connection_set_patience(fd, CONNECTION_GREETING_S);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        connection_fail(error, errno == EAGAIN ? ETIMEDOUT : errno, path);
        return -1;
    }
    return vu_steal_fd(&fd);
}

/* Another daemon's socket, one for front-ends say, waits for us to speak. */
static bool connection_await_greeting(struct ctl_connection *connection, const char *path,
                                      GError **error)
{
    GError *why = NULL;
    g_autoptr(JsonNode) greeting = ctl_receive_answer(connection, &why);

    if (greeting && json_object_has_member(json_node_get_object(greeting), "QMP")) {
        connection_set_patience(connection->fd, 0);
        return true;
    }
    if (greeting)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s: not a control socket, or busy",
                    path);
    else if (g_error_matches(why, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                    "%s: no greeting for %d s: not a control socket, or it hangs", path,
                    CONNECTION_GREETING_S);
    else
        g_propagate_error(error, g_steal_pointer(&why));
    g_clear_error(&why);
    return false;
}

struct ctl_connection *ctl_connect(const char *path, GError **error)
{
    int fd = connection_open(path, error);
    struct ctl_connection *connection;

    if (fd < 0)
        return NULL;
    connection = g_new0(struct ctl_connection, 1);
    connection->fd = fd;
    connection->in = g_string_new(NULL);
    if (connection_await_greeting(connection, path, error))
        return connection;
    ctl_disconnect(connection);
    return NULL;
}

void ctl_disconnect(struct ctl_connection *connection)
{
    if (!connection)
        return;
    close(connection->fd);
    g_string_free(connection->in, TRUE);
    g_free(connection);
}

/* The descriptors go with the first bytes. */
static ssize_t connection_send(int fd, const char *data, size_t len, const int *fds, unsigned n_fds)
{
    union {
        char bytes[CMSG_SPACE(CTL_MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {g_memdup2(data, len), len};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    struct cmsghdr *header;
    ssize_t n;

    if (n_fds > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
    }
    n = sendmsg(fd, &message, MSG_NOSIGNAL);
    g_free(iov.iov_base);
    return n;
}

bool ctl_send(struct ctl_connection *connection, const char *line, const int *fds, unsigned n_fds,
              GError **error)
{
    g_autofree char *data = g_strconcat(line, "\n", NULL);
    size_t len = strlen(data), sent = 0;
    ssize_t n;

    g_assert(n_fds <= CTL_MAX_FDS);
    while (sent < len) {
        n = connection_send(connection->fd, data + sent, len - sent, fds, n_fds);
        if (n < 0 && errno != EINTR) {
            connection_fail(error, errno, "the daemon does not listen");
            return false;
        }
        if (n > 0) {
            sent += (size_t)n;
            n_fds = 0;
        }
    }
    return true;
}

char *ctl_receive(struct ctl_connection *connection, GError **error)
{
    GString *in = connection->in;
    char data[CONNECTION_CHUNK];
    const char *end;
    char *line;
    ssize_t n;

    while (!(end = memchr(in->str, '\n', in->len))) {
        n = recv(connection->fd, data, sizeof(data), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || in->len > CONNECTION_MAX_LINE) {
            connection_fail(error, n < 0 ? errno : ECONNRESET, "the daemon does not answer");
            return NULL;
        }
        g_string_append_len(in, data, n);
    }
    line = g_strndup(in->str, (size_t)(end - in->str));
    g_string_erase(in, 0, end - in->str + 1);
    return line;
}

JsonNode *ctl_receive_answer(struct ctl_connection *connection, GError **error)
{
    for (;;) {
        g_autofree char *line = ctl_receive(connection, error);
        g_autoptr(JsonNode) node = line ? json_from_string(line, error) : NULL;

        if (line && (!node || !JSON_NODE_HOLDS_OBJECT(node))) {
            g_clear_error(error);
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "not an answer: %s", line);
            return NULL;
        }
        if (!line || !json_object_has_member(json_node_get_object(node), "event"))
            return g_steal_pointer(&node);
    }
}

/* "return" of an answer, or its error. */
static JsonNode *connection_unwrap(JsonNode *answer, GError **error)
{
    JsonObject *object = json_node_get_object(answer), *failed;
    const char *why = NULL;

    if (json_object_has_member(object, "return"))
        return json_node_copy(json_object_get_member(object, "return"));
    if (json_object_has_member(object, "error") &&
        JSON_NODE_HOLDS_OBJECT(json_object_get_member(object, "error"))) {
        failed = json_object_get_object_member(object, "error");
        why = json_object_get_string_member_with_default(failed, "desc", NULL);
    }
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_FAILED, why ? why : "not an answer");
    return NULL;
}

JsonNode *ctl_execute(struct ctl_connection *connection, const char *command, JsonNode *arguments,
                      const int *fds, unsigned n_fds, GError **error)
{
    g_autoptr(JsonNode) request = json_node_new(JSON_NODE_OBJECT), answer = NULL;
    JsonObject *object = json_object_new();
    g_autofree char *line = NULL;

    json_object_set_string_member(object, "execute", command);
    if (arguments)
        json_object_set_member(object, "arguments", arguments);
    json_node_take_object(request, object);
    line = json_to_string(request, FALSE);
    if (!ctl_send(connection, line, fds, n_fds, error))
        return NULL;
    answer = ctl_receive_answer(connection, error);
    return answer ? connection_unwrap(answer, error) : NULL;
}
