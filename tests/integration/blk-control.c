/* SPDX-License-Identifier: Apache-2.0 */
/* See blk-control.h. */
#include "blk-control.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONTROL_PATIENCE_MS 60000

int blk_control_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autofree char *greeting = NULL;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpuint(g_strlcpy(address.sun_path, path, sizeof(address.sun_path)), <,
                     sizeof(address.sun_path));
    for (unsigned i = 0; connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0; i++) {
        g_assert_true(errno == ENOENT || errno == ECONNREFUSED);
        g_assert_cmpuint(i, <, CONTROL_PATIENCE_MS);
        g_usleep(1000);
    }
    greeting = blk_control_answer(fd, CONTROL_PATIENCE_MS);
    g_assert_nonnull(greeting);
    g_assert_nonnull(strstr(greeting, "QMP"));
    return fd;
}

void blk_control_send(int control, int fd, const char *format, ...)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } room = {0};
    g_autofree char *text = NULL, *line = NULL;
    struct msghdr msg = {0};
    struct iovec iov;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    line = g_strconcat(text, "\n", NULL);
    iov = (struct iovec){.iov_base = line, .iov_len = strlen(line)};
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    if (fd >= 0) {
        msg.msg_control = room.bytes;
        msg.msg_controllen = sizeof(room.bytes);
        room.align = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
        memcpy(CMSG_DATA(&room.align), &fd, sizeof(fd));
    }
    g_assert_cmpint(sendmsg(control, &msg, MSG_NOSIGNAL), ==, (ssize_t)iov.iov_len);
}

char *blk_control_answer(int control, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = control, .events = POLLIN};
    GString *line;
    char c = 0;

    if (poll(&poll_fd, 1, timeout_ms) != 1)
        return NULL;
    line = g_string_new(NULL);
    while (c != '\n') {
        g_assert_cmpint(read(control, &c, 1), ==, 1);
        g_string_append_c(line, c);
    }
    return g_string_free(line, FALSE);
}

char *blk_control_ask(const char *path, const char *line)
{
    int control = blk_control_connect(path);
    char *answer;

    blk_control_send(control, -1, "%s", line);
    answer = blk_control_answer(control, CONTROL_PATIENCE_MS);
    close(control);
    g_assert_nonnull(answer);
    return answer;
}
