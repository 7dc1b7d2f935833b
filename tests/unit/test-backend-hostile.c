/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of a hostile front-end: of the wrong form, in the wrong order, with numbers that mean
 * nothing, and plain garbage. What must come of each is in attack.h.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attack.h"
#include "vhost-user/log.h"

/* --- form --- */

/* A size, or a number of descriptors, that no row of the table allows. */
static void test_forms(void)
{
    struct attack attack;
    uint8_t payload[VU_PAYLOAD_MAX] = {0};

    attack_begin(&attack, true);
    for (uint32_t request = 0; request <= VU_REQUEST_MAX; request++) {
        const struct vu_request_info *info = vu_request_info(request);
        int fds[VU_MAX_FDS];

        if (!info)
            continue;
        for (unsigned i = 0; i < VU_MAX_FDS; i++)
            fds[i] = attack.event_fd;
        if (info->min_size > 0)
            attack_expect_closed(&attack, request, payload, info->min_size - 1u, fds, info->min_fds,
                                 true);
        if (info->max_size < VU_PAYLOAD_MAX)
            attack_expect_closed(&attack, request, payload, info->max_size + 1u, fds, info->min_fds,
                                 true);
        if (info->min_fds > 0)
            attack_expect_closed(&attack, request, payload, info->min_size, fds, 0, true);
        if (info->max_fds < VU_MAX_FDS)
            attack_expect_closed(&attack, request, payload, info->min_size, fds, info->max_fds + 1u,
                                 true);
        attack_expect_closed(&attack, request, payload, info->min_size, fds, VU_MAX_FDS, true);
    }
    attack_end(&attack);
}

/* What needs a protocol feature, before there are any. */
static void test_not_negotiated(void)
{
    struct attack attack;
    uint8_t payload[VU_PAYLOAD_MAX] = {0};

    attack_begin(&attack, false);
    for (uint32_t request = 0; request <= VU_REQUEST_MAX; request++) {
        const struct vu_request_info *info = vu_request_info(request);
        int fds[VU_MAX_FDS] = {attack.event_fd};

        if (info && info->needs != VU_PF_NONE)
            attack_expect_closed(&attack, request, payload, info->min_size, fds, info->min_fds,
                                 false);
    }
    attack_end(&attack);
}

static void test_unknown(void)
{
    static const uint32_t numbers[] = {0, 19, 20, 22, 23, 26, 28, 33, 41, 44, 45, UINT32_MAX};
    uint8_t payload[64] = {0};
    struct attack attack;

    attack_begin(&attack, true);
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
        attack_expect_refused(&attack, numbers[i], payload, sizeof(payload), &attack.event_fd, 1);
    attack_end(&attack);
}

static void test_flags(void)
{
    static const uint32_t flags[] = {0, 2, 3, VU_VERSION | VU_FLAG_REPLY,
                                     VU_VERSION | VU_FLAG_REPLY | VU_FLAG_NEED_REPLY};
    struct attack attack;

    attack_begin(&attack, true);
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        struct vu_message reply;

        echo_send(&attack.channel, VU_SET_OWNER, flags[i], NULL, 0, &attack.event_fd, 1);
        g_assert_cmpint(vu_channel_recv(&attack.channel, &reply, 10000), ==, -ECONNRESET);
        attack_reconnect(&attack, true);
    }
    attack_end(&attack);
}

/* More descriptors than fit into the control data: those that came through are closed. */
static void test_too_many_descriptors(void)
{
    union {
        char bytes[CMSG_SPACE(100 * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct vu_header header = {VU_SET_MEM_TABLE, VU_VERSION, 8};
    struct iovec iov = {.iov_base = &header, .iov_len = sizeof(header)};
    struct msghdr hdr = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&hdr);
    struct vu_message reply;
    struct attack attack;

    attack_begin(&attack, true);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(100 * sizeof(int));
    for (unsigned i = 0; i < 100; i++)
        memcpy(CMSG_DATA(c) + i * sizeof(int), &attack.memory_fd, sizeof(int));
    g_assert_cmpint(sendmsg(attack.channel.fd, &hdr, MSG_NOSIGNAL), ==, sizeof(header));
    g_assert_cmpint(vu_channel_recv(&attack.channel, &reply, 10000), ==, -ECONNRESET);
    attack_end(&attack);
}

/* A front-end that wants every refusal answered does not fill the log. */
static void test_flood(void)
{
    struct attack attack;
    unsigned n = 0;

    attack_begin(&attack, true);
    while (echo_ask(&attack.channel, 1000, NULL, 0, NULL, 0) != UINT64_MAX)
        g_assert_cmpuint(++n, <, 100);
    g_assert_cmpuint(n, >=, 10);
    attack_end(&attack);
}

/* What nobody knows, from one who wants an answer and does not read, while the log tells of all. */
static void test_unread_answer(void)
{
    const struct vu_header header = {1000, VU_VERSION | VU_FLAG_NEED_REPLY, 0};
    enum vu_log_level level = vu_log_get_level();
    struct attack attack;

    attack_begin(&attack, true);
    vu_log_set_level(VU_LOG_DEBUG);
    g_assert_cmpint(shutdown(attack.channel.fd, SHUT_RD), ==, 0);
    g_assert_cmpint(send(attack.channel.fd, &header, sizeof(header), MSG_NOSIGNAL), ==,
                    sizeof(header));
    g_assert_cmpint(echo_join(&attack.echo), ==, 0);
    vu_log_set_level(level);
    attack_end(&attack);
}

/* Neither end waits for the other for ever: half a message, then nothing. */
static void test_half_message(void)
{
    struct attack attack;

    attack_begin(&attack, true);
    g_assert_cmpint(send(attack.channel.fd, "\5\0\0\0\1", 5, MSG_NOSIGNAL), ==, 5);
    g_usleep(10000);
    g_assert_cmpint(eventfd_write(attack.echo.stop_fd, 1), ==, 0);
    g_assert_cmpint(echo_join(&attack.echo), ==, -ECANCELED);
    eventfd_read(attack.echo.stop_fd, &(eventfd_t){0});
    attack_end(&attack);
}

/* --- negotiation --- */

static void test_features(void)
{
    struct attack attack;
    uint64_t features = VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_ACCESS_PLATFORM);
    uint64_t protocol = VU_BIT(VU_PF_REPLY_ACK) | VU_BIT(VU_PF_INBAND_NOTIFICATIONS);

    attack_begin(&attack, true);
    attack_expect_refused(&attack, VU_SET_FEATURES, &features, 8, NULL, 0);
    features = UINT64_MAX;
    attack_expect_refused(&attack, VU_SET_FEATURES, &features, 8, NULL, 0);
    attack_expect_refused(&attack, VU_SET_PROTOCOL_FEATURES, &protocol, 8, NULL, 0);
    protocol = UINT64_MAX;
    attack_expect_refused(&attack, VU_SET_PROTOCOL_FEATURES, &protocol, 8, NULL, 0);
    attack_end(&attack);
}

static void test_config(void)
{
    static const struct vu_config_header bad[] = {
        {0, 0, 0},   {0, 257, 0},        {256, 1, 0},        {255, 2, 0},
        {1, 256, 0}, {8, UINT32_MAX, 0}, {UINT32_MAX, 8, 0}, {UINT32_MAX, UINT32_MAX, 0}};
    struct vu_config config = {{0}};
    struct vu_message reply;
    struct attack attack;

    attack_begin(&attack, true);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        config.header = bad[i];
        g_assert_true(echo_get(&attack.channel, VU_GET_CONFIG, &config, sizeof(config), &reply));
        g_assert_cmpuint(reply.header.size, ==, 0);
        if (bad[i].size > 0)
            attack_expect_refused(&attack, VU_SET_CONFIG, &config, sizeof(config), NULL, 0);
    }
    config.header = (struct vu_config_header){4, 8, 0};
    attack_expect_refused(&attack, VU_SET_CONFIG, &config, 12 + 7, NULL, 0);
    attack_end(&attack);
}

static void test_device_state(void)
{
    struct vu_transfer_state bad[] = {{2, 0}, {0, 1}, {UINT32_MAX, UINT32_MAX}};
    struct vu_transfer_state load = {VU_TRANSFER_LOAD, 0}, save = {VU_TRANSFER_SAVE, 0};
    struct attack attack;
    struct vu_message reply;
    int pipe_fds[2];

    attack_begin(&attack, true);
    strcpy(attack.echo.state, "state");
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        echo_send(&attack.channel, VU_SET_DEVICE_STATE_FD, VU_VERSION, &bad[i], 8, &attack.event_fd,
                  1);
        g_assert_cmpint(vu_channel_recv(&attack.channel, &reply, 10000), ==, 0);
        g_assert_cmpuint(reply.payload.u64, ==, 0x101);
    }
    g_assert_cmpint(pipe(pipe_fds), ==, 0);
    for (unsigned i = 0; i < 3; i++) { /* the wrong end of a pipe, and one that nobody reads */
        echo_send(&attack.channel, VU_SET_DEVICE_STATE_FD, VU_VERSION, i == 0 ? &load : &save, 8,
                  &pipe_fds[i == 0 ? 1 : 0], 1);
        g_assert_cmpint(vu_channel_recv(&attack.channel, &reply, 10000), ==, 0);
        g_assert_true(attack_is_alive(&attack));
    }
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    g_assert_true(echo_get(&attack.channel, VU_CHECK_DEVICE_STATE, NULL, 0, &reply));
    g_assert_cmpuint(reply.payload.u64, !=, 0);
    attack_end(&attack);
}

/* --- anything --- */

static void test_garbage(void)
{
    struct attack attack;

    attack_begin(&attack, true);
    for (unsigned round = 0; round < 50; round++) {
        uint8_t bytes[512];

        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (uint8_t)g_test_rand_int();
        send(attack.channel.fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
        attack_reconnect(&attack, true);
    }
    attack_end(&attack);
}

/* Well-formed requests in no order with numbers that mean something now and then. */
static void test_random_requests(void)
{
    struct attack attack;

    attack_begin(&attack, true);
    for (unsigned round = 0; round < 3000; round++) {
        uint32_t request = (uint32_t)g_test_rand_int_range(1, VU_REQUEST_MAX + 1);
        const struct vu_request_info *info = vu_request_info(request);
        uint64_t words[VU_PAYLOAD_MAX / 8] = {0};
        struct vu_message reply;
        int fds[2] = {attack.memory_fd, attack.event_fd};
        unsigned n_fds;

        if (!info)
            continue;
        for (unsigned i = 0; i < 8; i++) {
            static const uint64_t values[] = {0,       1,           2,          8,
                                              4096,    ATTACK_SIZE, ATTACK_UVA, ATTACK_UVA + 0x8000,
                                              1 << 30, 0x100,       UINT32_MAX, UINT64_MAX};

            words[i] = values[g_test_rand_int_range(0, G_N_ELEMENTS(values))];
        }
        n_fds = info->min_fds;
        if (n_fds < MIN(info->max_fds, 1) && g_test_rand_bit())
            n_fds = 1;
        echo_send(&attack.channel, request, VU_VERSION | VU_FLAG_NEED_REPLY, words, info->min_size,
                  &fds[g_test_rand_bit()], n_fds);
        while (vu_channel_recv(&attack.channel, &reply, 0) == 0)
            vu_message_close_fds(&reply);
        if (round % 100 == 99) {
            attack_reconnect(&attack, true);
        }
    }
    attack_end(&attack);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_ERROR);
    g_test_add_func("/backend-hostile/forms", test_forms);
    g_test_add_func("/backend-hostile/not-negotiated", test_not_negotiated);
    g_test_add_func("/backend-hostile/unknown", test_unknown);
    g_test_add_func("/backend-hostile/flags", test_flags);
    g_test_add_func("/backend-hostile/too-many-descriptors", test_too_many_descriptors);
    g_test_add_func("/backend-hostile/flood", test_flood);
    g_test_add_func("/backend-hostile/unread-answer", test_unread_answer);
    g_test_add_func("/backend-hostile/half-message", test_half_message);
    g_test_add_func("/backend-hostile/features", test_features);
    g_test_add_func("/backend-hostile/config", test_config);
    g_test_add_func("/backend-hostile/device-state", test_device_state);
    g_test_add_func("/backend-hostile/garbage", test_garbage);
    g_test_add_func("/backend-hostile/random-requests", test_random_requests);
    return g_test_run();
}
