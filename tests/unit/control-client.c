/* SPDX-License-Identifier: Apache-2.0 */
/* See control-client.h. */
#include "control-client.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENT_PATIENCE_S 60
#define CLIENT_MAX_FDS    16

int client_open(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = CLIENT_PATIENCE_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return fd;
}

int client_connect(const char *path)
{
    int fd = client_open(path);

    g_assert_cmpint(fd, >=, 0);
    client_expect(fd, "{\"QMP\":*}");
    return fd;
}

void client_send_bytes(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;

    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

        g_assert_cmpint(n, >, 0);
        at += n;
        len -= (size_t)n;
    }
}

void client_send(int fd, const char *text)
{
    client_send_bytes(fd, text, strlen(text));
}

void client_send_fds(int fd, const char *text, const int *fds, unsigned n_fds)
{
    g_autofree char *copy = g_strdup(text);
    union {
        char bytes[CMSG_SPACE(CLIENT_MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {copy, strlen(text)};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = CMSG_SPACE(n_fds * sizeof(int)),
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
    memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
    g_assert_cmpint(sendmsg(fd, &message, MSG_NOSIGNAL), ==, (ssize_t)strlen(text));
}

/* What is there up to the end of a line, and no byte behind it. */
static ssize_t client_receive_part(int fd, GString *line, bool *ret_is_whole)
{
    char part[4096];
    ssize_t n = recv(fd, part, sizeof(part), MSG_PEEK);
    const char *end = n > 0 ? memchr(part, '\n', (size_t)n) : NULL;

    *ret_is_whole = end != NULL;
    if (n <= 0)
        return n;
    n = recv(fd, part, end ? (size_t)(end - part) + 1 : (size_t)n, 0);
    g_string_append_len(line, part, n - *ret_is_whole);
    return n;
}

char *client_receive(int fd)
{
    GString *line = g_string_new(NULL);
    bool is_whole;
    ssize_t n;

    do {
        n = client_receive_part(fd, line, &is_whole);
    } while (n > 0 && !is_whole);
    if (n < 0 && errno == EAGAIN)
        g_error("no answer within %d seconds, after \"%s\"", CLIENT_PATIENCE_S, line->str);
    return g_string_free(line, !is_whole);
}

void client_expect(int fd, const char *pattern)
{
    g_autofree char *line = client_receive(fd);

    if (!line || !g_pattern_match_simple(pattern, line))
        g_error("expected %s, got %s", pattern, line ? line : "the end");
}

void client_ask(int fd, const char *line, const char *pattern)
{
    g_autofree char *whole = g_strconcat(line, "\n", NULL);

    client_send(fd, whole);
    client_expect(fd, pattern);
}

void client_expect_end(int fd)
{
    char *line;

    while ((line = client_receive(fd)) != NULL)
        g_free(line);
}
