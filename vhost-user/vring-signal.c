/* SPDX-License-Identifier: Apache-2.0 */
/* Raising a call or err descriptor: see vring-signal.h. */
#include "vhost-user/vring-signal.h"

#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct vu_signal {
    unsigned refs; /* atomic */
    int fd;
    bool is_socket;
    bool may_block; /* the front-end made its eventfd a blocking one, and may rely on that */
};

struct vu_signal *vu_signal_create(int fd, const char **ret_error)
{
    struct vu_signal *signal;
    struct stat st;

    if (ret_error != NULL)
        *ret_error = NULL;
    if (fd < 0)
        return NULL;
    /* An eventfd has no file type at all. A file would make us write where the peer may not. */
    if (fstat(fd, &st) < 0 || ((st.st_mode & S_IFMT) != 0 && !S_ISSOCK(st.st_mode))) {
        if (ret_error != NULL)
            *ret_error = "neither an eventfd nor a socket";
        close(fd);
        return NULL;
    }
    signal = g_new0(struct vu_signal, 1);
    signal->refs = 1;
    signal->fd = fd;
    signal->is_socket = S_ISSOCK(st.st_mode);
    signal->may_block = (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;
    return signal;
}

struct vu_signal *vu_signal_ref(struct vu_signal *signal)
{
    if (signal != NULL)
        __atomic_add_fetch(&signal->refs, 1, __ATOMIC_RELAXED);
    return signal;
}

void vu_signal_unref(struct vu_signal *signal)
{
    /* Release by each, acquire by the last: the last sees all uses of fd done before it closes. */
    if (signal == NULL || __atomic_sub_fetch(&signal->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    close(signal->fd);
    g_free(signal);
}

void vu_signal_raise(const struct vu_signal *signal)
{
    const uint64_t one = 1;
    struct pollfd poll_fd;
    ssize_t n;

    if (signal == NULL)
        return;
    if (signal->is_socket) {
        n = send(signal->fd, &one, sizeof(one), MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)n;
        return;
    }
    if (signal->may_block) {
        poll_fd = (struct pollfd){.fd = signal->fd, .events = POLLOUT};
        if (poll(&poll_fd, 1, 0) != 1)
            return;
    }
    n = write(signal->fd, &one, sizeof(one));
    (void)n;
}
