/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A front-end's messages to a back-end session with the echo device. The first byte of the input
 * says how far a good front-end has come before: bit 0 negotiated, bit 1 memory shared, bit 2 queue
 * 0 running, bit 3 packed rings, bit 4 with an inflight log, bit 5 leaving the worker time to
 * work. Then 64 bytes are laid over the descriptors of queue 0, and a row of records follows:
 *
 *   offset size
 *        0    1  request, modulo 48
 *        1    1  bit 7: bits 0-3 words of payload, instead of what the request has; bit 6: one
 *                descriptor more; bit 5: four bytes less; bit 4: no NEED_REPLY
 *        2    1  bits 0-1 which descriptor
 *        3       for each eight-byte word one byte: a value of the table below, or from 0x80 on the
 *                eight bytes that follow
 */
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/echo-session.h"
#include "tests/unit/open-fds.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"
#include "vhost-user/virtio-ring.h"

#define FUZZ_SIZE     UINT64_C(0x10000)
#define FUZZ_UVA      UINT64_C(0x7f0000000000)
#define FUZZ_DESC     UINT64_C(0)
#define FUZZ_AVAIL    UINT64_C(0x4000)
#define FUZZ_USED     UINT64_C(0x8000)
#define FUZZ_NUM      8
#define FUZZ_MESSAGES 64
#define FUZZ_OVERLAY  64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_input {
    const uint8_t *data;
    size_t left;
};

struct fuzz {
    struct echo_session echo;
    struct vu_channel channel;
    int fds[4]; /* guest memory, an eventfd, a socket without a peer, a pipe */
    uint8_t *memory;
};

/* Numbers that mean something: two 32-bit fields are written as one. */
static const uint64_t fuzz_values[] = {
    0,
    1,
    2,
    FUZZ_NUM,
    (uint64_t)FUZZ_NUM << 32,
    ((uint64_t)FUZZ_NUM << 32) | 1,
    UINT64_C(1) << 32,
    (UINT64_C(1) << 32) | 1,
    3 | FUZZ_NUM << 16, /* three queues in an inflight log */
    0x100,
    0x101,
    4096,
    FUZZ_SIZE,
    FUZZ_SIZE / 2,
    FUZZ_UVA,
    FUZZ_UVA + FUZZ_AVAIL,
    FUZZ_UVA + FUZZ_USED,
    FUZZ_UVA + FUZZ_SIZE,
    VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_PROTOCOL_FEATURES),
    VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_PROTOCOL_FEATURES) | VU_BIT(VU_F_LOG_ALL),
    VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_RING_PACKED),
    UINT32_MAX,
    UINT64_MAX,
    UINT64_MAX - 4095,
};

static uint8_t fuzz_byte(struct fuzz_input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->data++;
}

static uint64_t fuzz_word(struct fuzz_input *input)
{
    uint8_t selector = fuzz_byte(input);
    uint64_t value = 0;

    if (selector < 0x80)
        return fuzz_values[selector % G_N_ELEMENTS(fuzz_values)];
    for (unsigned i = 0; i < 8; i++)
        value = value << 8 | fuzz_byte(input);
    return value;
}

static void fuzz_record(struct fuzz *fuzz, struct fuzz_input *input)
{
    uint32_t request = fuzz_byte(input) % 48;
    uint8_t form = fuzz_byte(input), which = fuzz_byte(input);
    const struct vu_request_info *info = vu_request_info(request);
    uint32_t flags = VU_VERSION | ((form & 0x10) != 0 ? 0 : VU_FLAG_NEED_REPLY);
    uint32_t size = info && (form & 0x80) == 0 ? info->min_size : (form & 0xfu) * 8;
    unsigned n_fds = (info ? info->min_fds : 0) + ((form & 0x40) != 0 ? 1 : 0);
    uint64_t words[16];
    int fds[2];

    /* The requests that take a descriptor or say that they do not; one region is the least. */
    if (request == VU_SET_MEM_TABLE && size == info->min_size)
        size += (uint32_t)sizeof(struct vu_region_desc);
    for (unsigned i = 0; i < G_N_ELEMENTS(words) && i * 8 < size; i++)
        words[i] = fuzz_word(input);
    if ((form & 0x20) != 0 && size > 0)
        size -= 4;
    fds[0] = fds[1] = fuzz->fds[which & 3];
    echo_send(&fuzz->channel, request, flags, words, size, fds, n_fds);
}

/* --- the good front-end --- */

static void fuzz_send(struct fuzz *fuzz, uint32_t request, const void *payload, uint32_t size,
                      int fd)
{
    echo_send(&fuzz->channel, request, VU_VERSION, payload, size, &fd, fd >= 0 ? 1 : 0);
}

static void fuzz_negotiate(struct fuzz *fuzz, bool packed)
{
    uint64_t features = VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_PROTOCOL_FEATURES) |
                        VU_BIT(VU_F_RING_INDIRECT_DESC) | (packed ? VU_BIT(VU_F_RING_PACKED) : 0);

    const uint64_t protocol = VU_BIT(VU_PF_MQ) | VU_BIT(VU_PF_LOG_SHMFD) | VU_BIT(VU_PF_REPLY_ACK) |
                              VU_BIT(VU_PF_BACKEND_REQ) | VU_BIT(VU_PF_CONFIG) |
                              VU_BIT(VU_PF_BACKEND_SEND_FD) | VU_BIT(VU_PF_INFLIGHT_SHMFD) |
                              VU_BIT(VU_PF_RESET_DEVICE) | VU_BIT(VU_PF_INBAND_NOTIFICATIONS) |
                              VU_BIT(VU_PF_CONFIGURE_MEM_SLOTS) | VU_BIT(VU_PF_STATUS) |
                              VU_BIT(VU_PF_DEVICE_STATE);

    fuzz_send(fuzz, VU_SET_PROTOCOL_FEATURES, &protocol, 8, -1);
    fuzz_send(fuzz, VU_SET_FEATURES, &features, 8, -1);
}

static void fuzz_share(struct fuzz *fuzz)
{
    struct vu_mem_table table = {.n_regions = 1, .regions = {{0, FUZZ_SIZE, FUZZ_UVA, 0}}};

    fuzz_send(fuzz, VU_SET_MEM_TABLE, &table, 40, fuzz->fds[0]);
}

static void fuzz_start_ring(struct fuzz *fuzz)
{
    struct vu_vring_state num = {0, FUZZ_NUM}, enable = {0, 1};
    struct vu_vring_addr addr = {.desc_uva = FUZZ_UVA + FUZZ_DESC,
                                 .avail_uva = FUZZ_UVA + FUZZ_AVAIL,
                                 .used_uva = FUZZ_UVA + FUZZ_USED};
    uint64_t index = 0;

    fuzz_send(fuzz, VU_SET_VRING_NUM, &num, 8, -1);
    fuzz_send(fuzz, VU_SET_VRING_CALL, &index, 8, fuzz->fds[1]);
    fuzz_send(fuzz, VU_SET_VRING_ADDR, &addr, sizeof(addr), -1);
    fuzz_send(fuzz, VU_SET_VRING_ENABLE, &enable, 8, -1);
    fuzz_send(fuzz, VU_SET_VRING_KICK, &index, 8, fuzz->fds[1]);
}

/* Four chains of two descriptors, before the overlay. */
static void fuzz_fill_split(struct fuzz *fuzz)
{
    struct vu_split_desc *desc = (void *)(fuzz->memory + FUZZ_DESC);
    struct vu_split_avail *avail = (void *)(fuzz->memory + FUZZ_AVAIL);

    for (unsigned i = 0; i < FUZZ_NUM; i++) {
        desc[i].addr = le64_from(0xc000 + i * UINT64_C(64));
        desc[i].len = le32_from(64);
        desc[i].flags = le16_from(i % 2 == 0 ? VU_DESC_F_NEXT : VU_DESC_F_WRITE);
        desc[i].next = le16_from((uint16_t)(i + 1));
        avail->ring[i] = le16_from((uint16_t)(i * 2 % FUZZ_NUM));
    }
    avail->idx = le16_from(4);
}

static void fuzz_fill_packed(struct fuzz *fuzz)
{
    struct vu_packed_desc *desc = (void *)(fuzz->memory + FUZZ_DESC);

    for (unsigned i = 0; i < FUZZ_NUM; i++) {
        desc[i].addr = le64_from(0xc000 + i * UINT64_C(64));
        desc[i].len = le32_from(64);
        desc[i].id = le16_from((uint16_t)(i / 2));
        desc[i].flags = le16_from(
            (uint16_t)(VU_DESC_F_AVAIL | (i % 2 == 0 ? VU_DESC_F_NEXT : VU_DESC_F_WRITE)));
    }
}

static void fuzz_fill_ring(struct fuzz *fuzz, bool packed, struct fuzz_input *input)
{
    if (packed)
        fuzz_fill_packed(fuzz);
    else
        fuzz_fill_split(fuzz);
    for (unsigned i = 0; i < FUZZ_OVERLAY; i++)
        fuzz->memory[FUZZ_DESC + i] ^= fuzz_byte(input);
}

static void fuzz_begin(struct fuzz *fuzz)
{
    int pair[2], unused[2];

    signal(SIGPIPE, SIG_IGN);
    vu_log_set_level(VU_LOG_OFF);
    echo_init(&fuzz->echo, true);
    fuzz->fds[0] = memfd_create("memory", MFD_CLOEXEC);
    g_assert_cmpint(ftruncate(fuzz->fds[0], (off_t)FUZZ_SIZE), ==, 0);
    fuzz->memory = mmap(NULL, FUZZ_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fuzz->fds[0], 0);
    g_assert_true(fuzz->memory != MAP_FAILED);
    fuzz->fds[1] = eventfd(1, EFD_NONBLOCK);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, unused), ==, 0);
    close(unused[1]);
    fuzz->fds[2] = unused[0];
    g_assert_cmpint(pipe(pair), ==, 0);
    close(pair[1]);
    fuzz->fds[3] = pair[0];
}

static void fuzz_end(struct fuzz *fuzz)
{
    vu_channel_close(&fuzz->channel);
    munmap(fuzz->memory, FUZZ_SIZE);
    for (unsigned i = 0; i < G_N_ELEMENTS(fuzz->fds); i++)
        close(fuzz->fds[i]);
    echo_clear(&fuzz->echo);
}

/* What must be true of a back-end without a session. */
static void fuzz_check_idle(struct fuzz *fuzz)
{
    for (unsigned i = 0; i < ECHO_QUEUES; i++) {
        struct vu_vring *vring = vu_backend_vring(fuzz->echo.backend, i);

        g_assert_true(!vring->started && vring->n_in_flight == 0 && !vring->memory);
        g_assert_true(vring->num == 0 && vring->kick_fd < 0 && !vring->call && !vring->inflight);
    }
    g_assert_cmpuint(fuzz->echo.n_resets, >, 0);
}

static void fuzz_set_up(struct fuzz *fuzz, uint8_t stage)
{
    const struct vu_inflight_desc inflight = {FUZZ_SIZE / 4, FUZZ_SIZE / 4 * 3, 3, FUZZ_NUM, 0};

    if ((stage & 1) != 0)
        fuzz_negotiate(fuzz, (stage & 8) != 0);
    if ((stage & 2) != 0)
        fuzz_share(fuzz);
    if ((stage & 16) != 0)
        fuzz_send(fuzz, VU_SET_INFLIGHT_FD, &inflight, sizeof(inflight), fuzz->fds[0]);
    if ((stage & 4) != 0)
        fuzz_start_ring(fuzz);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    uint8_t stage = fuzz_byte(&input);
    unsigned n_fds = count_open_fds();
    struct fuzz fuzz = {0};

    fuzz_begin(&fuzz);
    fuzz_fill_ring(&fuzz, (stage & 8) != 0, &input);
    vu_channel_init(&fuzz.channel, echo_connect(&fuzz.echo));
    fuzz_set_up(&fuzz, stage);
    for (unsigned i = 0; i < FUZZ_MESSAGES && input.left > 0; i++) {
        fuzz_record(&fuzz, &input);
        if ((stage & 32) != 0)
            g_usleep(50);
    }
    shutdown(fuzz.channel.fd, SHUT_WR);
    echo_join(&fuzz.echo);
    fuzz_check_idle(&fuzz);
    fuzz_end(&fuzz);
    g_assert_cmpuint(count_open_fds(), ==, n_fds);
    return 0;
}
