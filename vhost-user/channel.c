/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole messages over a stream socket. The header is read first and checked at once, then exactly
 * its payload, so that nothing of the next message, and none of its descriptors, is ever taken.
 * One thread at a time.
 */
#include "vhost-user/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"

#define CHANNEL_HEADER_LEN sizeof(struct vu_header)

void vu_message_close_fds(struct vu_message *msg)
{
    for (unsigned i = 0; i < msg->n_fds; i++)
        vu_clear_fd(&msg->fds[i]);
    msg->n_fds = 0;
}

int vu_message_take_fd(struct vu_message *msg, unsigned i)
{
    return i < msg->n_fds ? vu_steal_fd(&msg->fds[i]) : -1;
}

void vu_channel_init(struct vu_channel *channel, int fd)
{
    int flags = fcntl(fd, F_GETFL);

    memset(channel, 0, sizeof(*channel));
    channel->fd = fd;
    if (flags >= 0)
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

void vu_channel_close(struct vu_channel *channel)
{
    vu_message_close_fds(&channel->pending);
    vu_clear_fd(&channel->fd);
    channel->n_received = 0;
}

/* Waits for `events` until deadline_ms (-1: for ever). 0, -ETIMEDOUT or -errno. */
static int channel_wait(const struct vu_channel *channel, short events, int64_t deadline_ms)
{
    struct pollfd pollfd = {.fd = channel->fd, .events = events};
    int64_t left = -1;
    int n;

    do {
        if (deadline_ms >= 0) {
            left = deadline_ms - vu_now_ms();
            if (left <= 0)
                return -ETIMEDOUT;
        }
        n = poll(&pollfd, 1, (int)left);
    } while (n == 0 || (n < 0 && errno == EINTR));
    return n < 0 ? -errno : 0;
}

static int64_t channel_deadline(int timeout_ms)
{
    return timeout_ms < 0 ? -1 : vu_now_ms() + timeout_ms;
}

/* Moves the descriptors of one recvmsg into the pending message. -EPROTO where the message would
 * have more than VU_MAX_FDS; the surplus is closed. */
static int channel_keep_fds(struct vu_message *pending, struct msghdr *received)
{
    bool too_many = (received->msg_flags & MSG_CTRUNC) != 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(received); c; c = CMSG_NXTHDR(received, c)) {
        size_t n;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (pending->n_fds < VU_MAX_FDS) {
                pending->fds[pending->n_fds++] = fd;
            } else {
                close(fd);
                too_many = true;
            }
        }
    }
    return too_many ? -EPROTO : 0;
}

/* Receives up to len bytes at buf, and the descriptors that come with them. The number of bytes,
 * -EAGAIN, -ECONNRESET at the end of the stream, -EPROTO or -errno. */
static ssize_t channel_recv_some(struct vu_channel *channel, void *buf, size_t len)
{
    union {
        char bytes[CMSG_SPACE(VU_MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = buf, .iov_len = len};
    struct msghdr hdr = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    ssize_t n;
    int r;

    do
        n = recvmsg(channel->fd, &hdr, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    r = channel_keep_fds(&channel->pending, &hdr);
    if (r < 0)
        return r;
    return n == 0 ? -ECONNRESET : n;
}

static int channel_check_header(const struct vu_header *header)
{
    if ((header->flags & VU_VERSION_MASK) != VU_VERSION || header->size > VU_PAYLOAD_MAX)
        return -EPROTO;
    return 0;
}

/* Receives what is there. 0 when the pending message is whole. */
static int channel_recv_pending(struct vu_channel *channel)
{
    struct vu_message *pending = &channel->pending;

    for (;;) {
        uint8_t *at;
        size_t want;
        ssize_t n;

        if (channel->n_received < CHANNEL_HEADER_LEN) {
            at = (uint8_t *)&pending->header + channel->n_received;
            want = CHANNEL_HEADER_LEN - channel->n_received;
        } else {
            size_t have = channel->n_received - CHANNEL_HEADER_LEN;

            if (channel_check_header(&pending->header) < 0)
                return -EPROTO;
            if (have == pending->header.size)
                return 0;
            at = pending->payload.bytes + have;
            want = pending->header.size - have;
        }
        n = channel_recv_some(channel, at, want);
        if (n < 0)
            return (int)n;
        channel->n_received += (size_t)n;
    }
}

int vu_channel_recv(struct vu_channel *channel, struct vu_message *ret_msg, int timeout_ms)
{
    int64_t deadline = timeout_ms == 0 ? 0 : channel_deadline(timeout_ms);
    int r;

    while ((r = channel_recv_pending(channel)) == -EAGAIN && timeout_ms != 0) {
        r = channel_wait(channel, POLLIN, deadline);
        if (r < 0)
            return r;
    }
    if (r == -EAGAIN)
        return r;
    channel->n_received = 0;
    if (r < 0) {
        vu_message_close_fds(&channel->pending);
        return r;
    }
    *ret_msg = channel->pending;
    channel->pending.n_fds = 0; /* they are the caller's now */
    return 0;
}

static void channel_attach_fds(struct msghdr *hdr, const struct vu_message *msg)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(hdr);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(msg->n_fds * sizeof(int));
    memcpy(CMSG_DATA(c), msg->fds, msg->n_fds * sizeof(int));
    hdr->msg_controllen = CMSG_SPACE(msg->n_fds * sizeof(int));
}

/* Sends what is left of msg after n_sent bytes. Bytes sent, or -errno. */
static ssize_t channel_send_some(const struct vu_channel *channel, const struct vu_message *msg,
                                 size_t n_sent)
{
    union {
        char bytes[CMSG_SPACE(VU_MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    uint8_t whole[CHANNEL_HEADER_LEN + VU_PAYLOAD_MAX];
    struct iovec iov = {.iov_base = whole + n_sent,
                        .iov_len = CHANNEL_HEADER_LEN + msg->header.size - n_sent};
    struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    memcpy(whole, &msg->header, CHANNEL_HEADER_LEN);
    memcpy(whole + CHANNEL_HEADER_LEN, &msg->payload, msg->header.size);
    if (n_sent == 0 && msg->n_fds > 0) { /* descriptors ride with the first byte */
        hdr.msg_control = control.bytes;
        hdr.msg_controllen = sizeof(control.bytes);
        channel_attach_fds(&hdr, msg);
    }
    do
        n = sendmsg(channel->fd, &hdr, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int vu_channel_send(struct vu_channel *channel, const struct vu_message *msg, int timeout_ms)
{
    int64_t deadline = channel_deadline(timeout_ms);
    size_t n_sent = 0, len = CHANNEL_HEADER_LEN + msg->header.size;

    assert(msg->header.size <= VU_PAYLOAD_MAX && msg->n_fds <= VU_MAX_FDS);
    while (n_sent < len) {
        ssize_t n = channel_send_some(channel, msg, n_sent);

        if (n == -EAGAIN) {
            int r = channel_wait(channel, POLLOUT, deadline);

            if (r < 0)
                return r;
        } else if (n < 0) {
            return (int)n;
        } else {
            n_sent += (size_t)n;
        }
    }
    return 0;
}
