/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A front-end of a whole vrngd that lies in its messages: numbers of queues there are not, memory
 * that wraps, overlaps or is not there, logs of the wrong size, memory that is taken away under a
 * request. It is refused or hung up on, leaves no descriptor behind, and other devices are served.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "blk-control.h"
#include "rng-guest.h"
#include "vhost-user/channel.h"
#include "vhost-user/cleanup.h"

#define SIZE        UINT64_C(0x20000) /* of the memory that is offered */
#define UVA         UINT64_C(0x7f0000000000)
#define LAST_PAGE   (UINT64_MAX - 0xfff)
#define RING        8 /* descriptors */
#define AVAIL       UINT64_C(0x1000)
#define USED        UINT64_C(0x2000)
#define DATA        UINT64_C(0x3000)
#define PATIENCE_MS 60000
#define N_RANDOM    3000
#define STATUS      "{\"execute\":\"query-status\"}"
#define QUERY_FDS   "{\"execute\":\"query-process\"}"
#define CLOSED      UINT64_MAX /* instead of an answer */

union payload {
    uint64_t u64;
    struct vu_vring_state state;
    struct vu_vring_addr addr;
    struct vu_mem_table table;
    struct vu_inflight_desc inflight;
};

/* A daemon of two devices, of which the first is attacked. */
struct attack {
    struct rng_guest guest;
    struct rng_guest_slot other; /* of the second */
    struct vu_channel channel;
    int memory_fd, event_fd;
};

/* --- messages --- */

static void send_message(struct attack *attack, uint32_t request, uint32_t flags,
                         const void *payload, uint32_t size, const int *fds, unsigned n_fds)
{
    struct vu_message message = {.header = {request, VU_VERSION | flags, size}, .n_fds = n_fds};

    if (size > 0)
        memcpy(message.payload.bytes, payload, size);
    memcpy(message.fds, fds, n_fds * sizeof(*fds));
    (void)vu_channel_send(&attack->channel, &message, PATIENCE_MS);
}

/* The number that a message is answered with. */
static uint64_t receive(struct attack *attack)
{
    struct vu_message reply;

    if (vu_channel_recv(&attack->channel, &reply, PATIENCE_MS) != 0)
        return CLOSED;
    vu_message_close_fds(&reply);
    return reply.payload.u64;
}

static uint64_t ask(struct attack *attack, uint32_t request, const void *payload, uint32_t size,
                    const int *fd)
{
    send_message(attack, request, VU_FLAG_NEED_REPLY, payload, size, fd, fd ? 1 : 0);
    return receive(attack);
}

static void set_state(struct attack *attack, uint32_t request, uint32_t num)
{
    const struct vu_vring_state state = {0, num};

    g_assert_cmpuint(ask(attack, request, &state, sizeof(state), NULL), ==, 0);
}

/* All of it, at that guest address and so far behind UVA. */
static void share_memory(struct attack *attack, uint64_t gpa)
{
    const struct vu_mem_table table = {.n_regions = 1,
                                       .regions = {{.gpa = gpa, .size = SIZE, .uva = UVA + gpa}}};

    g_assert_cmpuint(
        ask(attack, VU_SET_MEM_TABLE, &table, 8 + sizeof(table.regions[0]), &attack->memory_fd), ==,
        0);
}

/* What a good front-end does up to its rings. */
static void negotiate(struct attack *attack)
{
    uint64_t features = VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_PROTOCOL_FEATURES), protocol;

    send_message(attack, VU_GET_FEATURES, 0, NULL, 0, NULL, 0);
    g_assert_true(vu_has(receive(attack), VU_F_VERSION_1));
    send_message(attack, VU_SET_FEATURES, 0, &features, sizeof(features), NULL, 0);
    send_message(attack, VU_GET_PROTOCOL_FEATURES, 0, NULL, 0, NULL, 0);
    protocol = receive(attack) & ~VU_BIT(VU_PF_INBAND_NOTIFICATIONS);
    send_message(attack, VU_SET_PROTOCOL_FEATURES, 0, &protocol, sizeof(protocol), NULL, 0);
    share_memory(attack, 0);
}

static void dial(struct attack *attack)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, attack->guest.devices[0].socket, sizeof(address.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    vu_channel_init(&attack->channel, fd);
    negotiate(attack);
}

static void dial_again(struct attack *attack)
{
    vu_channel_close(&attack->channel);
    dial(attack);
}

/* --- before and after --- */

static gint64 count_fds(struct attack *attack)
{
    g_autofree char *answer = blk_control_ask(attack->guest.control, QUERY_FDS);
    const char *number = strstr(answer, "\"descriptors\":");

    return number ? g_ascii_strtoll(strchr(number, ':') + 1, NULL, 10) : -1;
}

/* Who is served well leaves as much behind. */
static void serve_well(struct attack *attack)
{
    g_assert_cmpuint(rng_guest_read(&attack->guest, 1, 0, &attack->other, 64), >, 0);
    dial(attack);
    vu_channel_close(&attack->channel);
    rng_guest_expect_answer(&attack->guest, STATUS,
                            "\"device\":0,\"waiting\":0,\"front-end\":{"
                            "\"connected\":false");
}

static bool begin(struct attack *attack, const char *options)
{
    const struct rng_guest_setup setup = {.options = options, .n_devices = 2, .n_queues = 1};

    if (!rng_guest_start(&attack->guest, &setup))
        return false;
    attack->memory_fd = memfd_create("memory", MFD_CLOEXEC);
    attack->event_fd = eventfd(0, EFD_CLOEXEC);
    g_assert_cmpint(ftruncate(attack->memory_fd, (off_t)SIZE), ==, 0);
    vu_frontend_disconnect(attack->guest.devices[0].frontend);
    rng_guest_slot_init(&attack->guest, 1, &attack->other);
    return true;
}

static void end(struct attack *attack)
{
    vu_clear_fd(&attack->memory_fd);
    vu_clear_fd(&attack->event_fd);
    rng_guest_stop(&attack->guest);
}

/* --- lies --- */

enum lie_fd { MEMORY_FD, EVENT_FD };

static const struct lie {
    const char *name;
    uint32_t request;
    union payload payload;
    uint32_t size;
    enum lie_fd fd;
    unsigned n_fds;
} lies[] = {
/* clang-format off */
#define STATE(index, num) {.state = {(index), (num)}}, sizeof(struct vu_vring_state)
#define ADDR(...)         {.addr = {__VA_ARGS__}}, sizeof(struct vu_vring_addr)
#define REGIONS(n, ...)   {.table = {.n_regions = (n), .regions = {__VA_ARGS__}}}, \
                          8 + (n) * sizeof(struct vu_region_desc), MEMORY_FD, (n)
#define GOOD              {.size = SIZE, .uva = UVA}
#define INFLIGHT(...)     {.inflight = {__VA_ARGS__}}, sizeof(struct vu_inflight_desc), MEMORY_FD, 1
    {"num of queue 1", VU_SET_VRING_NUM, STATE(1, RING)},
    {"num of queue 2^32-1", VU_SET_VRING_NUM, STATE(UINT32_MAX, RING)},
    {"num 0", VU_SET_VRING_NUM, STATE(0, 0)},
    {"num 65536", VU_SET_VRING_NUM, STATE(0, 65536)},
    {"base of queue 1", VU_SET_VRING_BASE, STATE(1, 0)},
    {"base of queue 256", VU_SET_VRING_BASE, STATE(256, 0)},
    {"enable of queue 1", VU_SET_VRING_ENABLE, STATE(1, 1)},
    {"enable 2", VU_SET_VRING_ENABLE, STATE(0, 2)},
    {"position of queue 1", VU_GET_VRING_BASE, STATE(1, 0)},
    {"addresses of queue 1", VU_SET_VRING_ADDR, ADDR(.index = 1, .desc_uva = UVA)},
    {"kick of queue 1", VU_SET_VRING_KICK, {.u64 = 1}, 8, EVENT_FD, 1},
    {"call of queue 255", VU_SET_VRING_CALL, {.u64 = 255}, 8, EVENT_FD, 1},
    {"err of queue 2^32", VU_SET_VRING_ERR, {.u64 = UINT64_C(1) << 32}, 8, EVENT_FD, 1},
    {"memory that overlaps", VU_SET_MEM_TABLE,
     REGIONS(2, GOOD, {.gpa = SIZE - 0x1000, .size = SIZE, .uva = UVA + SIZE})},
    {"memory that overlaps for the front-end", VU_SET_MEM_TABLE,
     REGIONS(2, GOOD, {.gpa = SIZE, .size = SIZE, .uva = UVA + SIZE - 0x1000})},
    {"memory that wraps", VU_SET_MEM_TABLE,
     REGIONS(1, {.gpa = LAST_PAGE, .size = SIZE, .uva = UVA})},
    {"memory that wraps for the front-end", VU_SET_MEM_TABLE,
     REGIONS(1, {.size = SIZE, .uva = LAST_PAGE})},
    {"no memory", VU_SET_MEM_TABLE, REGIONS(1, {.uva = UVA})},
    {"more memory than the file has", VU_SET_MEM_TABLE,
     REGIONS(1, {.size = 2 * SIZE, .uva = UVA})},
    {"memory behind the file's end", VU_SET_MEM_TABLE,
     REGIONS(1, {.size = SIZE, .uva = UVA, .mmap_offset = 0x1000})},
    {"memory at an offset that wraps", VU_SET_MEM_TABLE,
     REGIONS(1, {.size = SIZE, .uva = UVA, .mmap_offset = LAST_PAGE})},
    {"all memory there can be", VU_SET_MEM_TABLE, REGIONS(1, {.size = LAST_PAGE, .uva = UVA})},
    {"2 regions with 1 file", VU_SET_MEM_TABLE,
     {.table = {2, 0, {GOOD, {.gpa = SIZE, .size = SIZE, .uva = UVA + SIZE}}}}, 8 + 64, MEMORY_FD, 1},
    {"9 regions", VU_SET_MEM_TABLE, {.table = {.n_regions = 9}}, sizeof(struct vu_mem_table), MEMORY_FD,
     VU_MAX_FDS},
    {"a region that is cut off", VU_SET_MEM_TABLE, {.table = {1, 0, {GOOD}}}, 8 + 31, MEMORY_FD, 1},
    {"a log without room", VU_SET_INFLIGHT_FD,
     INFLIGHT(.mmap_size = 64, .n_queues = 1, .queue_size = 1024)},
    {"a log of nothing", VU_SET_INFLIGHT_FD, INFLIGHT(.n_queues = 1, .queue_size = RING)},
    {"a log longer than its file", VU_SET_INFLIGHT_FD,
     INFLIGHT(.mmap_size = 16 * SIZE, .n_queues = 1, .queue_size = 32768)},
    {"a log that wraps", VU_SET_INFLIGHT_FD,
     INFLIGHT(.mmap_size = SIZE, .mmap_offset = LAST_PAGE, .n_queues = 1, .queue_size = RING)},
    {"a log for all queues of the world", VU_SET_INFLIGHT_FD,
     INFLIGHT(.mmap_size = SIZE, .n_queues = 65535, .queue_size = 65535)},
    {"a number that is cut off", VU_SET_FEATURES, {.u64 = 0}, 7},
    {"no such request", 1000, {.u64 = 0}, 8, MEMORY_FD, VU_MAX_FDS},
    /* clang-format on */
};

/* Whether it was taken for the truth. */
static bool is_believed(struct attack *attack, const struct lie *lie)
{
    int fds[VU_MAX_FDS];

    for (unsigned i = 0; i < lie->n_fds; i++)
        fds[i] = lie->fd == MEMORY_FD ? attack->memory_fd : attack->event_fd;
    send_message(attack, lie->request, VU_FLAG_NEED_REPLY, &lie->payload, lie->size, fds,
                 lie->n_fds);
    return receive(attack) == 0;
}

static void test_lies(void)
{
    struct attack attack;
    gint64 n_fds;

    if (!begin(&attack, ""))
        return;
    serve_well(&attack);
    n_fds = count_fds(&attack);
    for (size_t i = 0; i < G_N_ELEMENTS(lies); i++) {
        const struct lie *lie = &lies[i];

        dial(&attack);
        if (is_believed(&attack, lie))
            g_error("taken for the truth: %s", lie->name);
        vu_channel_close(&attack.channel);
        serve_well(&attack);
    }
    g_assert_cmpint(count_fds(&attack), ==, n_fds);
    end(&attack);
}

/* Requests of the right form with numbers that mean something now and then, in any order. */
static void test_random(void)
{
    static const uint64_t values[] = {0,    1,   8,          0x100,      AVAIL,
                                      SIZE, UVA, UVA + USED, UINT32_MAX, UINT64_MAX};
    struct attack attack;
    gint64 n_fds;

    if (!begin(&attack, ""))
        return;
    serve_well(&attack);
    n_fds = count_fds(&attack);
    dial(&attack);
    for (unsigned round = 0; round < N_RANDOM; round++) {
        uint32_t request = (uint32_t)g_test_rand_int_range(1, VU_REQUEST_MAX + 1);
        const struct vu_request_info *info = vu_request_info(request);
        const int fds[] = {attack.memory_fd, attack.event_fd};
        uint64_t words[VU_PAYLOAD_MAX / 8] = {0};
        struct vu_message reply;

        if (!info)
            continue;
        for (unsigned i = 0; i < 8; i++)
            words[i] = values[g_test_rand_int_range(0, G_N_ELEMENTS(values))];
        send_message(&attack, request, VU_FLAG_NEED_REPLY, words, info->min_size,
                     &fds[g_test_rand_bit()],
                     MAX(info->min_fds, MIN(info->max_fds, g_test_rand_bit() ? 1u : 0u)) > 0);
        while (vu_channel_recv(&attack.channel, &reply, 0) == 0)
            vu_message_close_fds(&reply);
        if (round % 50 == 49)
            dial_again(&attack);
    }
    vu_channel_close(&attack.channel);
    serve_well(&attack);
    g_assert_cmpint(count_fds(&attack), ==, n_fds);
    end(&attack);
}

/* --- memory that is taken away --- */

/* A ring with one request, for 64 bytes, in the memory that is shared; kicked. */
static void start_ring(struct attack *attack, uint8_t *memory)
{
    const struct vu_vring_addr addr = {
        .desc_uva = UVA, .avail_uva = UVA + AVAIL, .used_uva = UVA + USED};
    struct vu_split_avail *avail = (struct vu_split_avail *)(memory + AVAIL);
    const uint64_t queue = 0;

    *(struct vu_split_desc *)memory = (struct vu_split_desc){
        .addr = le64_from(DATA), .len = le32_from(64), .flags = le16_from(VU_DESC_F_WRITE)};
    avail->ring[0] = le16_from(0);
    le16_store_release(&avail->idx, 1);
    set_state(attack, VU_SET_VRING_NUM, RING);
    set_state(attack, VU_SET_VRING_BASE, 0);
    g_assert_cmpuint(ask(attack, VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL), ==, 0);
    g_assert_cmpuint(ask(attack, VU_SET_VRING_KICK, &queue, 8, &attack->event_fd), ==, 0);
    set_state(attack, VU_SET_VRING_ENABLE, 1);
    g_assert_cmpint(eventfd_write(attack->event_fd, 1), ==, 0);
}

/* A request waits in the pool while the memory of its ring and of itself goes: what comes then is
 * for others. */
static void take_away(struct attack *attack, const char *fifo)
{
    uint8_t *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, attack->memory_fd, 0);
    int fd = open(fifo, O_RDWR | O_CLOEXEC);
    const uint32_t len = 64;
    char bytes[128];

    g_assert_true(memory != MAP_FAILED);
    memset(bytes, 'x', sizeof(bytes));
    dial(attack);
    start_ring(attack, memory);
    rng_guest_expect_answer(&attack->guest, STATUS, "\"device\":0,\"waiting\":1");
    share_memory(attack, 16 * SIZE);
    rng_guest_expect_answer(&attack->guest, STATUS, "\"device\":0,\"waiting\":0");
    rng_guest_ask(&attack->guest, 1, 0, &attack->other, &len, 1);
    g_assert_cmpint(write(fd, bytes, sizeof(bytes)), ==, sizeof(bytes));
    g_assert_true(rng_guest_take(&attack->guest, 1, 0) == &attack->other);
    g_assert_cmpint(write(fd, bytes, sizeof(bytes)), ==, sizeof(bytes));
    g_assert_cmpuint(le16_value(((struct vu_split_used *)(memory + USED))->idx), ==, 0);
    vu_channel_close(&attack->channel);
    serve_well(attack);
    munmap(memory, SIZE);
    close(fd);
}

static void test_taken_away(void)
{
    g_autofree char *dir = g_dir_make_tmp("rng-messages-XXXXXX", NULL);
    g_autofree char *fifo = g_build_filename(dir, "fifo", NULL);
    g_autofree char *options = g_strconcat("--source=", fifo, NULL);
    struct attack attack;

    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    if (begin(&attack, options)) {
        take_away(&attack, fifo);
        end(&attack);
    }
    g_unlink(fifo);
    g_rmdir(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rng-messages/lies", test_lies);
    g_test_add_func("/rng-messages/random", test_random);
    g_test_add_func("/rng-messages/taken-away", test_taken_away);
    return g_test_run();
}
