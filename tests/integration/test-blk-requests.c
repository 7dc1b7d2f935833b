/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that a good driver does not send: each is refused by its status, or where there is no
 * room for one, by the end of its queue; and nothing on the disk changes. Then the configuration
 * space.
 */
#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <string.h>

#include "blk-guest.h"
#include "vblkd/virtio-blk.h"

#define IMAGE_LEN (1u << 20)
#define N_SECTORS (IMAGE_LEN / BLK_SECTOR)
#define PATTERN   0x5a
#define SERIAL    "serial-number-of-20b"
#define FEATURES  (VU_BIT(BLK_F_FLUSH) | VU_BIT(BLK_F_DISCARD) | VU_BIT(BLK_F_WRITE_ZEROES))
#define INDIRECT  VU_BIT(VU_F_RING_INDIRECT_DESC)

struct bad {
    const char *name;
    uint32_t type;
    uint64_t sector;
    uint32_t data_out, data_in;
    uint8_t status;
};

static const struct bad bad_transfers[] = {
    {"nothing to read", BLK_T_IN, 0, 0, 0, BLK_S_IOERR},
    {"nothing to write", BLK_T_OUT, 0, 0, 0, BLK_S_IOERR},
    {"no whole sectors", BLK_T_IN, 0, 0, 700, BLK_S_IOERR},
    {"no whole sectors to write", BLK_T_OUT, 0, 511, 0, BLK_S_IOERR},
    {"over the end", BLK_T_IN, N_SECTORS - 1, 0, 1024, BLK_S_IOERR},
    {"at the end", BLK_T_OUT, N_SECTORS, 512, 0, BLK_S_IOERR},
    {"far behind the end", BLK_T_OUT, UINT64_C(1) << 55, 512, 0, BLK_S_IOERR},
    {"an offset that wraps", BLK_T_OUT, UINT64_MAX, 512, 0, BLK_S_IOERR},
    {"an offset that wraps by a little", BLK_T_IN, UINT64_MAX / 512, 0, 1024, BLK_S_IOERR},
    {"a write whose data is writable", BLK_T_OUT, 0, 0, 512, BLK_S_IOERR},
    {"a read whose room is readable", BLK_T_IN, 0, 512, 0, BLK_S_IOERR},
    {"no such type", 7, 0, 0, 512, BLK_S_UNSUPP},
    {"another", UINT32_MAX, 0, 512, 0, BLK_S_UNSUPP},
    {"secure erase", 14, 0, 16, 0, BLK_S_UNSUPP},
    {"lifetime", 10, 0, 0, 40, BLK_S_UNSUPP},
};

static const struct bad_range {
    const char *name;
    uint32_t type;
    uint64_t sector;
    uint32_t n_sectors, flags;
    uint8_t status;
} bad_ranges[] = {
    {"over the end", BLK_T_DISCARD, N_SECTORS - 1, 2, 0, BLK_S_IOERR},
    {"far behind the end", BLK_T_WRITE_ZEROES, UINT64_MAX, 1, 0, BLK_S_IOERR},
    {"a huge range", BLK_T_DISCARD, 0, UINT32_MAX, 0, BLK_S_IOERR},
    {"an empty range", BLK_T_WRITE_ZEROES, 0, 0, 0, BLK_S_IOERR},
    {"unmap of a discard", BLK_T_DISCARD, 0, 8, BLK_RANGE_UNMAP, BLK_S_UNSUPP},
    {"an unknown flag", BLK_T_WRITE_ZEROES, 0, 8, 2, BLK_S_UNSUPP},
};

static void fill_disk(struct blk_guest *guest)
{
    g_autofree uint8_t *data = g_malloc(64 << 10);

    memset(data, PATTERN, 64 << 10);
    for (uint64_t at = 0; at < IMAGE_LEN; at += 64 << 10)
        g_assert_cmpuint(blk_guest_call(guest, BLK_T_OUT, at / BLK_SECTOR, data, 64 << 10, 0), ==,
                         BLK_S_OK);
}

static void check_disk(struct blk_guest *guest)
{
    for (uint64_t at = 0; at < IMAGE_LEN; at += 64 << 10) {
        g_assert_cmpuint(blk_guest_call(guest, BLK_T_IN, at / BLK_SECTOR, NULL, 0, 64 << 10), ==,
                         BLK_S_OK);
        for (unsigned i = 0; i < 64 << 10; i++)
            g_assert_cmpuint(guest->call.in[i], ==, PATTERN);
    }
}

static void start(struct blk_guest *guest, const char *options, uint64_t features)
{
    const struct blk_guest_setup setup = {
        .options = options, .n_queues = 2, .features = features | INDIRECT, .image_len = IMAGE_LEN};

    g_assert_true(blk_guest_start(guest, &setup));
}

static void test_transfers(void)
{
    g_autofree uint8_t *data = g_malloc0(4096);
    struct blk_guest guest;

    start(&guest, "--sandbox=none", FEATURES);
    fill_disk(&guest);
    for (size_t i = 0; i < G_N_ELEMENTS(bad_transfers); i++) {
        const struct bad *bad = &bad_transfers[i];

        g_test_message("%s", bad->name);
        g_assert_cmpuint(
            blk_guest_call(&guest, bad->type, bad->sector, data, bad->data_out, bad->data_in), ==,
            bad->status);
    }
    check_disk(&guest);
    blk_guest_stop(&guest);
    blk_guest_clear(&guest);
}

static void test_ranges(void)
{
    struct blk_range ranges[2] = {{.sector = le64_from(0), .num_sectors = le32_from(8)}};
    g_autofree uint8_t *many = g_malloc0(8192);
    struct blk_guest guest;

    start(&guest, "--sandbox=none", FEATURES);
    fill_disk(&guest);
    for (size_t i = 0; i < G_N_ELEMENTS(bad_ranges); i++) {
        const struct bad_range *bad = &bad_ranges[i];

        g_test_message("%s", bad->name);
        ranges[1] = (struct blk_range){.sector = le64_from(bad->sector),
                                       .num_sectors = le32_from(bad->n_sectors),
                                       .flags = le32_from(bad->flags)};
        g_assert_cmpuint(blk_guest_call(&guest, bad->type, 0, &ranges[1], sizeof(ranges[1]), 0), ==,
                         bad->status);
        /* Behind a good one: all or nothing. */
        g_assert_cmpuint(blk_guest_call(&guest, bad->type, 0, ranges, sizeof(ranges), 0), ==,
                         bad->status);
    }
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_DISCARD, 0, NULL, 0, 0), ==, BLK_S_IOERR);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_DISCARD, 0, ranges, 15, 0), ==, BLK_S_IOERR);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_DISCARD, 0, ranges, 17, 0), ==, BLK_S_IOERR);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_WRITE_ZEROES, 0, many, 8192, 0), ==, BLK_S_IOERR);
    check_disk(&guest);

    ranges[1] = (struct blk_range){.sector = le64_from(16), .num_sectors = le32_from(1)};
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_WRITE_ZEROES, 0, ranges, sizeof(ranges), 0), ==,
                     BLK_S_OK);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_IN, 0, NULL, 0, 10240), ==, BLK_S_OK);
    for (unsigned i = 0; i < 10240; i++)
        g_assert_cmpuint(guest.call.in[i], ==, i < 4096 || (i >= 8192 && i < 8704) ? 0 : PATTERN);
    blk_guest_stop(&guest);
    blk_guest_clear(&guest);
}

static void test_read_only(void)
{
    struct blk_range range = {.sector = le64_from(0), .num_sectors = le32_from(8)};
    g_autofree uint8_t *data = g_malloc0(512);
    struct blk_guest guest;

    start(&guest, "--read-only", VU_BIT(BLK_F_RO));
    g_assert_false(vu_has(guest.features, BLK_F_DISCARD));
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_IN, 0, NULL, 0, 512), ==, BLK_S_OK);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_OUT, 0, data, 512, 0), ==, BLK_S_IOERR);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_DISCARD, 0, &range, sizeof(range), 0), ==,
                     BLK_S_IOERR);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_FLUSH, 0, NULL, 0, 0), ==, BLK_S_OK);
    blk_guest_stop(&guest);
    blk_guest_clear(&guest);
}

static void test_id(void)
{
    struct blk_guest guest;

    start(&guest, "--serial=" SERIAL, 0);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_GET_ID, 0, NULL, 0, BLK_ID_LEN), ==, BLK_S_OK);
    g_assert_true(memcmp(guest.call.in, SERIAL, BLK_ID_LEN) == 0);
    memset(guest.call.in, 0, 32);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_GET_ID, 0, NULL, 0, 6), ==, BLK_S_OK);
    g_assert_true(memcmp(guest.call.in, "serial\0\0", 8) == 0);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_GET_ID, 0, NULL, 0, 0), ==, BLK_S_OK);
    blk_guest_stop(&guest);
    blk_guest_clear(&guest);
}

/* Queue 1 is lost to its driver; queue 0 goes on, and so does the daemon. */
static void test_hopeless(gconstpointer data)
{
    static const struct {
        uint32_t out_len, in_len;
    } chains[] = {{15, 1}, {16, 0}, {0, 512}, {1, 0}};
    const uint32_t *lens = (const uint32_t *)&chains[GPOINTER_TO_UINT(data)];
    struct pollfd fd;
    struct vu_sg sg[2];
    struct blk_guest guest;
    unsigned n = 0;

    start(&guest, "--sandbox=none", 0);
    if (lens[0] > 0)
        sg[n++] = (struct vu_sg){guest.call.out_gpa, lens[0]};
    if (lens[1] > 0)
        sg[n++] = (struct vu_sg){guest.call.in_gpa, lens[1]};
    g_assert_cmpint(vu_driver_add(guest.queues[1], sg, lens[0] > 0, lens[1] > 0, &guest), ==, 0);
    vu_driver_kick(guest.queues[1]);
    fd = (struct pollfd){.fd = guest.queues[1]->call_fd, .events = POLLIN};
    g_assert_cmpint(poll(&fd, 1, 300), ==, 0);
    g_assert_false(vu_driver_has_used(guest.queues[1]));
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_IN, 0, NULL, 0, 512), ==, BLK_S_OK);
    blk_guest_stop(&guest);
    blk_guest_clear(&guest);
}

static void test_config(void)
{
    struct blk_guest guest;
    struct blk_config config;
    uint8_t off = 0, nonsense = 2;

    start(&guest, "--num-queues=3 --logical_block_size=4096 --discard=ignore",
          VU_BIT(BLK_F_CONFIG_WCE) | VU_BIT(BLK_F_FLUSH));
    g_assert_false(vu_has(guest.features, BLK_F_DISCARD));
    g_assert_cmpint(vu_frontend_get_config(guest.frontend, 0, &config, sizeof(config)), ==, 0);
    g_assert_cmpuint(le64_value(config.capacity), ==, N_SECTORS);
    g_assert_cmpuint(le32_value(config.blk_size), ==, 4096);
    g_assert_cmpuint(le16_value(config.num_queues), ==, 3);
    g_assert_cmpuint(config.writeback, ==, 1);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_IN, 1, NULL, 0, 4096), ==, BLK_S_IOERR);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_IN, 8, NULL, 0, 4096), ==, BLK_S_OK);
    g_assert_cmpint(vu_frontend_set_config(guest.frontend, 32, &nonsense, 1), ==, -EREMOTEIO);
    g_assert_cmpint(vu_frontend_set_config(guest.frontend, 0, &off, 1), ==, -EREMOTEIO);
    g_assert_cmpint(vu_frontend_set_config(guest.frontend, 32, &off, 1), ==, 0);
    g_assert_cmpint(vu_frontend_get_config(guest.frontend, 0, &config, sizeof(config)), ==, 0);
    g_assert_cmpuint(config.writeback, ==, 0);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_OUT, 0, guest.call.in, 4096, 0), ==, BLK_S_OK);
    blk_guest_stop(&guest);
    blk_guest_clear(&guest);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/blk-requests/transfers", test_transfers);
    g_test_add_func("/blk-requests/ranges", test_ranges);
    g_test_add_func("/blk-requests/read-only", test_read_only);
    g_test_add_func("/blk-requests/id", test_id);
    for (unsigned i = 0; i < 4; i++) {
        g_autofree char *path = g_strdup_printf("/blk-requests/hopeless/%u", i);

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_hopeless);
    }
    g_test_add_func("/blk-requests/config", test_config);
    return g_test_run();
}
