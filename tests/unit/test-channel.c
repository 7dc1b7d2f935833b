/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages over a socketpair: whole, in pieces, with descriptors, truncated, from a silent peer,
 * and to a peer that does not read. No descriptor is leaked in any of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/open-fds.h"
#include "vhost-user/channel.h"

struct fixture {
    unsigned n_fds_before;
    int peer;
    struct vu_channel channel;
};

static void fixture_set_up(struct fixture *f, gconstpointer data)
{
    int pair[2];

    f->n_fds_before = count_open_fds();
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    f->peer = pair[0];
    vu_channel_init(&f->channel, pair[1]);
}

static void fixture_tear_down(struct fixture *f, gconstpointer data)
{
    vu_channel_close(&f->channel);
    vu_channel_close(&f->channel); /* idempotent */
    if (f->peer >= 0)
        close(f->peer);
    g_assert_cmpuint(count_open_fds(), ==, f->n_fds_before);
}

/* Sends len bytes and n_fds copies of /dev/null's descriptor in one piece. */
static void peer_send(int peer, const void *bytes, size_t len, unsigned n_fds)
{
    union {
        char bytes[CMSG_SPACE(64 * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
    struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    g_assert_cmpint(null_fd, >=, 0);
    if (n_fds > 0) {
        struct cmsghdr *c;

        hdr.msg_control = control.bytes;
        hdr.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        c = CMSG_FIRSTHDR(&hdr);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        for (unsigned i = 0; i < n_fds; i++)
            memcpy(CMSG_DATA(c) + i * sizeof(int), &null_fd, sizeof(int));
    }
    g_assert_cmpint(sendmsg(peer, &hdr, MSG_NOSIGNAL), ==, (gssize)len);
    close(null_fd);
}

static const struct vu_header u64_header = {
    .request = VU_SET_FEATURES, .flags = VU_VERSION, .size = 8};

struct wire_u64 {
    struct vu_header header;
    uint8_t payload[8];
};

static void test_whole(struct fixture *f, gconstpointer data)
{
    struct wire_u64 wire = {u64_header, {1, 2, 3}};
    struct vu_message msg;

    g_assert_cmpint(vu_channel_recv(&f->channel, &msg, 0), ==, -EAGAIN);
    peer_send(f->peer, &wire, sizeof(wire), 2);
    peer_send(f->peer, &wire, sizeof(wire), 0);
    g_assert_cmpint(vu_channel_recv(&f->channel, &msg, 0), ==, 0);
    g_assert_cmpuint(msg.header.request, ==, VU_SET_FEATURES);
    g_assert_cmpint(memcmp(msg.payload.bytes, wire.payload, 8), ==, 0);
    g_assert_cmpuint(msg.n_fds, ==, 2);
    g_assert_cmpint(fcntl(msg.fds[0], F_GETFD), ==, FD_CLOEXEC);
    close(vu_message_take_fd(&msg, 0));
    g_assert_cmpint(vu_message_take_fd(&msg, 0), ==, -1);
    g_assert_cmpint(vu_message_take_fd(&msg, 7), ==, -1);
    vu_message_close_fds(&msg);
    g_assert_cmpint(vu_channel_recv(&f->channel, &msg, 0), ==, 0);
    g_assert_cmpuint(msg.n_fds, ==, 0);
}

static void test_pieces(struct fixture *f, gconstpointer data)
{
    struct wire_u64 wire = {u64_header, {7}};
    const uint8_t *bytes = (const uint8_t *)&wire;
    struct vu_message msg;

    for (size_t i = 0; i < sizeof(wire); i++) {
        g_assert_cmpint(vu_channel_recv(&f->channel, &msg, 0), ==, -EAGAIN);
        peer_send(f->peer, bytes + i, 1, i == 0 ? 1 : 0);
    }
    g_assert_cmpint(vu_channel_recv(&f->channel, &msg, 0), ==, 0);
    g_assert_cmpuint(msg.payload.u64, ==, 7);
    g_assert_cmpuint(msg.n_fds, ==, 1);
    vu_message_close_fds(&msg);
}

static void test_descriptor_on_every_byte(struct fixture *f, gconstpointer data)
{
    struct wire_u64 wire = {u64_header, {7}};
    const uint8_t *bytes = (const uint8_t *)&wire;
    struct vu_message msg;

    for (size_t i = 0; i < sizeof(wire); i++)
        peer_send(f->peer, bytes + i, 1, 1);
    g_assert_cmpint(vu_channel_recv(&f->channel, &msg, 0), ==, -EPROTO);
}

static void test_truncated_control(struct fixture *f, gconstpointer data)
{
    struct wire_u64 wire = {u64_header, {7}};
    unsigned before = count_open_fds();
    struct vu_message msg;

    peer_send(f->peer, &wire, sizeof(wire), 60);
    g_assert_cmpint(vu_channel_recv(&f->channel, &msg, 0), ==, -EPROTO);
    g_assert_cmpuint(count_open_fds(), ==, before);
}

static void test_half_then_closed(struct fixture *f, gconstpointer data)
{
    struct wire_u64 wire = {u64_header, {7}};
    struct vu_message msg;

    peer_send(f->peer, &wire, 15, 3);
    g_assert_cmpint(vu_channel_recv(&f->channel, &msg, 0), ==, -EAGAIN);
    close(f->peer);
    f->peer = -1;
    g_assert_cmpint(vu_channel_recv(&f->channel, &msg, 0), ==, -ECONNRESET);
}

static void test_half_then_given_up(struct fixture *f, gconstpointer data)
{
    struct wire_u64 wire = {u64_header, {7}};
    struct vu_message msg;

    peer_send(f->peer, &wire, 5, 3);
    g_assert_cmpint(vu_channel_recv(&f->channel, &msg, 30), ==, -ETIMEDOUT);
    /* the tear-down finds the three descriptors closed */
}

static void test_bad_headers(struct fixture *f, gconstpointer data)
{
    static const struct vu_header headers[] = {
        {.request = 1, .flags = 0, .size = 0},
        {.request = 1, .flags = 2, .size = 0},
        {.request = 1, .flags = VU_VERSION, .size = VU_PAYLOAD_MAX + 1},
        {.request = 1, .flags = VU_VERSION, .size = UINT32_MAX},
    };
    struct vu_message msg;

    for (size_t i = 0; i < G_N_ELEMENTS(headers); i++) {
        peer_send(f->peer, &headers[i], sizeof(headers[i]), 1);
        g_assert_cmpint(vu_channel_recv(&f->channel, &msg, 0), ==, -EPROTO);
        g_assert_cmpuint(f->channel.pending.n_fds, ==, 0);
    }
}

static void test_largest_payload(struct fixture *f, gconstpointer data)
{
    struct vu_message sent = {.header = {1, VU_VERSION, VU_PAYLOAD_MAX}, .n_fds = VU_MAX_FDS};
    struct vu_channel sender;
    struct vu_message got;

    memset(sent.payload.bytes, 0x5a, VU_PAYLOAD_MAX);
    for (unsigned i = 0; i < VU_MAX_FDS; i++)
        sent.fds[i] = f->channel.fd;
    vu_channel_init(&sender, f->peer);
    f->peer = -1;
    g_assert_cmpint(vu_channel_send(&sender, &sent, 1000), ==, 0);
    g_assert_cmpint(vu_channel_recv(&f->channel, &got, 1000), ==, 0);
    g_assert_cmpint(memcmp(got.payload.bytes, sent.payload.bytes, VU_PAYLOAD_MAX), ==, 0);
    g_assert_cmpuint(got.n_fds, ==, VU_MAX_FDS);
    vu_message_close_fds(&got);
    vu_channel_close(&sender);
}

static void test_send_to_nobody(struct fixture *f, gconstpointer data)
{
    struct vu_message msg = {.header = {1, VU_VERSION, 8}};

    close(f->peer);
    f->peer = -1;
    g_assert_cmpint(vu_channel_send(&f->channel, &msg, 1000), ==, -EPIPE);
}

static void test_send_full(struct fixture *f, gconstpointer data)
{
    struct vu_message msg = {.header = {1, VU_VERSION, VU_PAYLOAD_MAX}};
    int r;

    do
        r = vu_channel_send(&f->channel, &msg, 30);
    while (r == 0);
    g_assert_cmpint(r, ==, -ETIMEDOUT);
}

#define N_STREAMED 2000

static void *stream_reader(void *opaque)
{
    struct vu_channel channel;

    vu_channel_init(&channel, *(int *)opaque);
    for (uint64_t i = 0; i < N_STREAMED; i++) {
        struct vu_message msg;

        g_assert_cmpint(vu_channel_recv(&channel, &msg, 10000), ==, 0);
        g_assert_cmpuint(msg.payload.u64, ==, i);
        g_assert_cmpuint(msg.n_fds, ==, i % 3);
        vu_message_close_fds(&msg);
    }
    vu_channel_close(&channel);
    return NULL;
}

/* More than the socket holds: partial sends and their descriptors arrive in order. */
static void test_stream(struct fixture *f, gconstpointer data)
{
    pthread_t thread;

    g_assert_cmpint(pthread_create(&thread, NULL, stream_reader, &f->peer), ==, 0);
    for (uint64_t i = 0; i < N_STREAMED; i++) {
        struct vu_message msg = {.header = {1, VU_VERSION, 8 + (uint32_t)i},
                                 .payload.u64 = i,
                                 .n_fds = (unsigned)(i % 3),
                                 .fds = {f->channel.fd, f->channel.fd}};

        g_assert_cmpint(vu_channel_send(&f->channel, &msg, 10000), ==, 0);
    }
    pthread_join(thread, NULL);
    f->peer = -1;
}

#define ADD(name, func) \
    g_test_add("/channel/" name, struct fixture, NULL, fixture_set_up, func, fixture_tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("whole", test_whole);
    ADD("pieces", test_pieces);
    ADD("descriptor-on-every-byte", test_descriptor_on_every_byte);
    ADD("truncated-control", test_truncated_control);
    ADD("half-then-closed", test_half_then_closed);
    ADD("half-then-given-up", test_half_then_given_up);
    ADD("bad-headers", test_bad_headers);
    ADD("largest-payload", test_largest_payload);
    ADD("send-to-nobody", test_send_to_nobody);
    ADD("send-full", test_send_full);
    ADD("stream", test_stream);
    return g_test_run();
}
