/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of a hostile front-end about queues, memory and the files it shares. What must come of
 * each is in attack.h.
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "attack.h"
#include "vhost-user/log.h"

/* --- queues --- */

static void test_queue_index(void)
{
    static const uint32_t by_state[] = {VU_SET_VRING_NUM, VU_SET_VRING_BASE, VU_SET_VRING_ENABLE,
                                        VU_VRING_KICK};
    static const uint32_t by_value[] = {VU_SET_VRING_KICK, VU_SET_VRING_CALL, VU_SET_VRING_ERR};
    static const uint32_t indices[] = {ECHO_QUEUES, 255, 256, INT32_MAX, UINT32_MAX};
    struct attack attack;

    attack_begin(&attack, true);
    for (size_t k = 0; k < G_N_ELEMENTS(indices); k++) {
        struct vu_vring_state state = {indices[k], 1};
        struct vu_vring_addr addr = {.index = indices[k]};
        uint64_t value = indices[k];

        for (size_t i = 0; i < G_N_ELEMENTS(by_state); i++)
            attack_expect_refused(&attack, by_state[i], &state, sizeof(state), NULL, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(by_value); i++)
            attack_expect_refused(&attack, by_value[i], &value, 8, &attack.event_fd, 1);
        attack_expect_refused(&attack, VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
        attack_expect_closed(&attack, VU_GET_VRING_BASE, &state, sizeof(state), NULL, 0, true);
    }
    attack_end(&attack);
}

static void test_queue_descriptors(void)
{
    struct attack attack;
    uint64_t with = 0, without = VU_VRING_NO_FD, unknown = 0x200, high = UINT64_C(1) << 32;

    attack_begin(&attack, true);
    for (uint32_t request = VU_SET_VRING_KICK; request <= VU_SET_VRING_ERR; request++) {
        attack_expect_refused(&attack, request, &with, 8, NULL, 0);
        attack_expect_refused(&attack, request, &without, 8, &attack.event_fd, 1);
        attack_expect_refused(&attack, request, &unknown, 8, &attack.event_fd, 1);
        attack_expect_refused(&attack, request, &high, 8, &attack.event_fd, 1);
    }
    attack_end(&attack);
}

static void attack_share_memory(struct attack *attack)
{
    struct vu_mem_reg reg = {.region = {.gpa = 0, .size = ATTACK_SIZE, .uva = ATTACK_UVA}};

    g_assert_cmpuint(
        echo_ask(&attack->channel, VU_ADD_MEM_REG, &reg, sizeof(reg), &attack->memory_fd, 1), ==,
        0);
}

/* Configures queue 0 and kicks it; what the kick is answered with. */
static uint64_t attack_start_ring(struct attack *attack, uint32_t num, uint32_t base,
                                  struct vu_vring_addr addr)
{
    struct vu_vring_state state = {0, num};
    uint64_t index = 0;

    g_assert_cmpuint(echo_ask(&attack->channel, VU_SET_VRING_NUM, &state, 8, NULL, 0), ==, 0);
    state.num = base;
    g_assert_cmpuint(echo_ask(&attack->channel, VU_SET_VRING_BASE, &state, 8, NULL, 0), ==, 0);
    g_assert_cmpuint(echo_ask(&attack->channel, VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0),
                     ==, 0);
    return echo_ask(&attack->channel, VU_SET_VRING_KICK, &index, 8, &attack->event_fd, 1);
}

#define GOOD_ADDR                                                                                 \
    {                                                                                             \
        .desc_uva = ATTACK_UVA, .avail_uva = ATTACK_UVA + 0x8000, .used_uva = ATTACK_UVA + 0xc000 \
    }

static void test_ring_start(void)
{
    static const struct {
        uint32_t num, base;
        struct vu_vring_addr addr;
    } bad[] = {
        {3, 0, GOOD_ADDR},
        {32767, 0, GOOD_ADDR},
        {16384, 0, GOOD_ADDR}, /* longer than the memory */
        {8, 0x10000, GOOD_ADDR},
        {8, UINT32_MAX, GOOD_ADDR},
        {8, 0, {.desc_uva = 0, .avail_uva = ATTACK_UVA, .used_uva = ATTACK_UVA}},
        {8,
         0,
         {.desc_uva = ATTACK_UVA + ATTACK_SIZE - 16,
          .avail_uva = ATTACK_UVA,
          .used_uva = ATTACK_UVA}},
        {8,
         0,
         {.desc_uva = ATTACK_UVA,
          .avail_uva = ATTACK_UVA + ATTACK_SIZE - 2,
          .used_uva = ATTACK_UVA}},
        {8, 0, {.desc_uva = ATTACK_UVA, .avail_uva = ATTACK_UVA, .used_uva = UINT64_MAX - 7}},
        {8, 0, {.desc_uva = ATTACK_UVA + 1, .avail_uva = ATTACK_UVA, .used_uva = ATTACK_UVA}},
        {8, 0, {.desc_uva = ATTACK_UVA, .avail_uva = ATTACK_UVA + 1, .used_uva = ATTACK_UVA}},
        {8, 0, {.desc_uva = ATTACK_UVA, .avail_uva = ATTACK_UVA, .used_uva = ATTACK_UVA + 2}},
    };
    struct attack attack;

    attack_begin(&attack, true);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        uint64_t answer;

        attack_share_memory(&attack);
        answer = attack_start_ring(&attack, bad[i].num, bad[i].base, bad[i].addr);
        g_assert_cmpuint(answer, !=, 0);
        g_assert_cmpuint(answer, !=, UINT64_MAX);
        attack_reconnect(&attack, true);
    }
    attack_end(&attack);
}

static void test_ring_sizes(void)
{
    static const uint32_t sizes[] = {0, VU_RING_MAX_SIZE + 1, 65536, UINT32_MAX};
    struct vu_vring_state state = {0, 2};
    struct attack attack;

    attack_begin(&attack, true);
    attack_expect_refused(&attack, VU_SET_VRING_ENABLE, &state, 8, NULL, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        state.num = sizes[i];
        attack_expect_refused(&attack, VU_SET_VRING_NUM, &state, 8, NULL, 0);
    }
    attack_end(&attack);
}

/* Everything that must not, or may, come while a ring runs. */
static void test_while_running(void)
{
    struct vu_vring_addr good = GOOD_ADDR, bad = {.desc_uva = 16};
    uint64_t protocol = VU_BIT(VU_PF_REPLY_ACK);
    struct vu_inflight_desc inflight = {.n_queues = 1, .queue_size = 8};
    struct vu_vring_state state = {0, 8};
    struct vu_message reply;
    struct attack attack;

    attack_begin(&attack, true);
    attack_share_memory(&attack);
    g_assert_cmpuint(attack_start_ring(&attack, 8, 0, good), ==, 0);
    g_assert_cmpuint(echo_ask(&attack.channel, VU_SET_PROTOCOL_FEATURES, &protocol, 8, NULL, 0), ==,
                     EBUSY);
    g_assert_cmpuint(echo_ask(&attack.channel, VU_SET_VRING_ADDR, &bad, sizeof(bad), NULL, 0), ==,
                     EINVAL);
    g_assert_cmpuint(echo_ask(&attack.channel, VU_SET_INFLIGHT_FD, &inflight, sizeof(inflight),
                              &attack.memory_fd, 1),
                     ==, EBUSY);
    for (unsigned i = 0; i < 20; i++)
        g_assert_cmpuint(attack_start_ring(&attack, 8, i, good), ==, 0);
    g_assert_true(echo_get(&attack.channel, VU_GET_VRING_BASE, &state, 8, &reply));
    g_assert_cmpuint(reply.payload.state.num, ==, 19);
    g_assert_true(echo_get(&attack.channel, VU_GET_VRING_BASE, &state, 8, &reply));
    g_assert_cmpuint(reply.payload.state.num, ==, 19);
    attack_expect_closed(&attack, VU_SET_FEATURES, &(uint64_t){UINT64_MAX}, 8, NULL, 0, true);
    attack_end(&attack);
}

/* --- memory --- */

static void test_regions(void)
{
    static const struct vu_region_desc bad[] = {
        {.gpa = 0, .size = 0, .uva = ATTACK_UVA},
        {.gpa = 0, .size = ATTACK_SIZE + 1, .uva = ATTACK_UVA},
        {.gpa = 0, .size = ATTACK_SIZE, .uva = ATTACK_UVA, .mmap_offset = 4096},
        {.gpa = UINT64_MAX - 4095, .size = 8192, .uva = ATTACK_UVA},
        {.gpa = 0, .size = 8192, .uva = UINT64_MAX - 4095},
        {.gpa = 0, .size = 8192, .uva = ATTACK_UVA, .mmap_offset = UINT64_MAX - 4095},
        {.gpa = 1, .size = 4096, .uva = ATTACK_UVA},
        {.gpa = 0, .size = UINT64_MAX, .uva = ATTACK_UVA},
    };
    struct attack attack;

    attack_begin(&attack, true);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct vu_mem_table table = {.n_regions = 1, .regions = {bad[i]}};
        struct vu_mem_reg reg = {.region = bad[i]};

        attack_expect_refused(&attack, VU_SET_MEM_TABLE, &table, 40, &attack.memory_fd, 1);
        attack_expect_refused(&attack, VU_ADD_MEM_REG, &reg, sizeof(reg), &attack.memory_fd, 1);
        attack_expect_refused(&attack, VU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0);
    }
    attack_end(&attack);
}

static void test_tables(void)
{
    struct vu_mem_table table = {.n_regions = 2};
    struct vu_mem_reg reg = {.region = {.size = 4096, .uva = ATTACK_UVA}};
    struct attack attack;
    int fds[VU_MAX_FDS];

    attack_begin(&attack, true);
    for (unsigned i = 0; i < VU_MAX_FDS; i++)
        fds[i] = attack.memory_fd;
    for (unsigned i = 0; i < 2; i++)
        table.regions[i] = (struct vu_region_desc){0, 8192, ATTACK_UVA + i * 4096, 0};
    attack_expect_refused(&attack, VU_SET_MEM_TABLE, &table, sizeof(table), fds, 2); /* overlap */
    table.regions[1].gpa = 8192;
    attack_expect_refused(&attack, VU_SET_MEM_TABLE, &table, sizeof(table), fds, 2); /* uva */
    table.regions[1].uva = ATTACK_UVA + 8192;
    attack_expect_refused(&attack, VU_SET_MEM_TABLE, &table, sizeof(table), fds, 1);
    attack_expect_refused(&attack, VU_SET_MEM_TABLE, &table, sizeof(table), fds, 3);
    attack_expect_refused(&attack, VU_SET_MEM_TABLE, &table, 8 + 32, fds, 2); /* too short */
    table.n_regions = 9;
    attack_expect_refused(&attack, VU_SET_MEM_TABLE, &table, sizeof(table), fds, 8);
    table.n_regions = UINT32_MAX;
    attack_expect_refused(&attack, VU_SET_MEM_TABLE, &table, sizeof(table), fds, 8);
    attack_expect_refused(&attack, VU_ADD_MEM_REG, &reg, sizeof(reg), NULL, 0);
    attack_expect_refused(&attack, VU_ADD_MEM_REG, &reg, sizeof(reg), &attack.event_fd, 1);
    attack_end(&attack);
}

static void test_slots(void)
{
    struct vu_mem_reg reg = {.region = {.size = 4096}};
    struct attack attack;

    attack_begin(&attack, true);
    for (unsigned i = 0; i <= 509; i++) {
        uint64_t answer;

        reg.region.gpa = i * UINT64_C(8192);
        reg.region.uva = ATTACK_UVA + reg.region.gpa;
        answer = echo_ask(&attack.channel, VU_ADD_MEM_REG, &reg, sizeof(reg), &attack.memory_fd, 1);
        g_assert_cmpuint(answer, ==, i < 509 ? 0 : ENOSPC);
    }
    reg.region.gpa = 0;
    reg.region.uva = ATTACK_UVA;
    g_assert_cmpuint(
        echo_ask(&attack.channel, VU_REM_MEM_REG, &reg, sizeof(reg), &attack.event_fd, 1), ==, 0);
    g_assert_cmpuint(
        echo_ask(&attack.channel, VU_ADD_MEM_REG, &reg, sizeof(reg), &attack.memory_fd, 1), ==, 0);
    attack_end(&attack);
}

/* --- shared files --- */

static void test_inflight(void)
{
    static const struct vu_inflight_desc bad[] = {
        {.mmap_size = 0, .n_queues = 1, .queue_size = 8},
        {.mmap_size = 100, .n_queues = 1, .queue_size = 8},
        {.mmap_size = ATTACK_SIZE, .n_queues = 0, .queue_size = 8},
        {.mmap_size = ATTACK_SIZE, .n_queues = 1, .queue_size = 0},
        {.mmap_size = ATTACK_SIZE, .n_queues = 3, .queue_size = 4096},
        {.mmap_size = ATTACK_SIZE, .n_queues = UINT16_MAX, .queue_size = 1},
        {.mmap_size = ATTACK_SIZE + 1, .mmap_offset = ATTACK_SIZE, .n_queues = 1, .queue_size = 8},
        {.mmap_size = UINT64_MAX, .mmap_offset = 4096, .n_queues = 3, .queue_size = 32768},
        {.mmap_size = ATTACK_SIZE, .mmap_offset = UINT64_MAX - 63, .n_queues = 1, .queue_size = 8},
        {.mmap_size = ATTACK_SIZE,
         .mmap_offset = UINT64_MAX & ~4095ull,
         .n_queues = 1,
         .queue_size = 8},
    };
    struct attack attack;

    attack_begin(&attack, true);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        attack_expect_refused(&attack, VU_SET_INFLIGHT_FD, &bad[i], sizeof(bad[i]),
                              &attack.memory_fd, 1);
    attack_expect_refused(&attack, VU_SET_INFLIGHT_FD, &bad[4], sizeof(bad[4]), &attack.event_fd,
                          1);
    for (unsigned i = 2; i < 4; i++) /* sizes of nothing */
        attack_expect_closed(&attack, VU_GET_INFLIGHT_FD, &bad[i], sizeof(bad[i]), NULL, 0, true);
    attack_expect_closed(&attack, VU_GET_INFLIGHT_FD, &bad[5], sizeof(bad[5]), NULL, 0, true);
    attack_end(&attack);
}

/* A log that knows nothing of the ring it is used for. */
static void test_inflight_contents(void)
{
    struct vu_inflight_desc desc = {.mmap_size = ATTACK_SIZE / 2, .n_queues = 3, .queue_size = 8};
    struct vu_vring_addr good = GOOD_ADDR;
    g_autofree uint8_t *garbage = g_malloc(ATTACK_SIZE / 2);
    struct attack attack;

    attack_begin(&attack, true);
    for (unsigned round = 0; round < 20; round++) {
        int fd = memfd_create("inflight", MFD_CLOEXEC);

        for (unsigned i = 0; i < ATTACK_SIZE / 2; i++)
            garbage[i] = (uint8_t)g_test_rand_int();
        if (round % 2 == 0) { /* a good header: the contents are looked at */
            struct vu_inflight_split *queue = (void *)garbage;

            queue->features = 0;
            queue->version = 1;
            queue->desc_num = 8;
        }
        g_assert_cmpint(write(fd, garbage, ATTACK_SIZE / 2), ==, ATTACK_SIZE / 2);
        attack_share_memory(&attack);
        g_assert_cmpuint(echo_ask(&attack.channel, VU_SET_INFLIGHT_FD, &desc, sizeof(desc), &fd, 1),
                         ==, 0);
        g_assert_cmpuint(attack_start_ring(&attack, 8, 0, good), !=, UINT64_MAX);
        g_assert_true(attack_is_alive(&attack));
        attack_reconnect(&attack, true);
        close(fd);
    }
    attack_end(&attack);
}

static void test_log(void)
{
    static const struct vu_log_desc bad[] = {
        {0, 0}, {ATTACK_SIZE + 1, 0}, {ATTACK_SIZE, 1}, {UINT64_MAX, 2}, {2, UINT64_MAX}};
    struct attack attack;

    attack_begin(&attack, true);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        attack_expect_refused(&attack, VU_SET_LOG_BASE, &bad[i], sizeof(bad[i]), &attack.memory_fd,
                              1);
    attack_expect_refused(&attack, VU_SET_LOG_BASE, &bad[0], sizeof(bad[0]), &attack.event_fd, 1);
    attack_end(&attack);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_ERROR);
    g_test_add_func("/backend-hostile-rings/queue-index", test_queue_index);
    g_test_add_func("/backend-hostile-rings/queue-descriptors", test_queue_descriptors);
    g_test_add_func("/backend-hostile-rings/ring-start", test_ring_start);
    g_test_add_func("/backend-hostile-rings/ring-sizes", test_ring_sizes);
    g_test_add_func("/backend-hostile-rings/while-running", test_while_running);
    g_test_add_func("/backend-hostile-rings/regions", test_regions);
    g_test_add_func("/backend-hostile-rings/tables", test_tables);
    g_test_add_func("/backend-hostile-rings/slots", test_slots);
    g_test_add_func("/backend-hostile-rings/inflight", test_inflight);
    g_test_add_func("/backend-hostile-rings/inflight-contents", test_inflight_contents);
    g_test_add_func("/backend-hostile-rings/log", test_log);
    return g_test_run();
}
