/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hurts a whole vblkd: rings whose descriptors make no sense, of which the queue dies and
 * nothing else; and images that are cut short or replaced while it serves them.
 */
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "blk-guest.h"
#include "vblkd/virtio-blk.h"

#define IMAGE_LEN (4u << 20)
#define INDIRECT  VU_BIT(VU_F_RING_INDIRECT_DESC)
#define NOWHERE   UINT64_C(0x7fff00000000) /* no guest memory */

/* --- rings --- */

/* A read of 512 bytes is in an indirect table of three: header, data, status. */
struct rig {
    struct vu_split_desc *ring, *table;
    struct vu_split_avail *avail;
    uint64_t table_gpa;
    unsigned num;
};

static void damage_odd_table(struct rig *rig)
{
    rig->ring[0].len = le32_from(3 * sizeof(struct vu_split_desc) - 1);
}

static void damage_empty_table(struct rig *rig)
{
    rig->ring[0].len = le32_from(0);
}

static void damage_huge_table(struct rig *rig)
{
    rig->ring[0].len = le32_from(UINT32_MAX & ~15u);
}

static void damage_table_nowhere(struct rig *rig)
{
    rig->ring[0].addr = le64_from(NOWHERE);
}

static void damage_table_and_next(struct rig *rig)
{
    rig->ring[0].flags = le16_from(VU_DESC_F_INDIRECT | VU_DESC_F_NEXT);
}

static void damage_nested_table(struct rig *rig)
{
    rig->table[1] = (struct vu_split_desc){.addr = le64_from(rig->table_gpa),
                                           .len = le32_from(3 * sizeof(struct vu_split_desc)),
                                           .flags = le16_from(VU_DESC_F_INDIRECT)};
}

static void damage_loop(struct rig *rig)
{
    rig->table[1].next = le16_from(1);
}

static void damage_next_outside(struct rig *rig)
{
    rig->table[1].next = le16_from(3);
}

static void damage_head(struct rig *rig)
{
    rig->avail->ring[0] = le16_from((uint16_t)rig->num);
}

static void damage_many(struct rig *rig)
{
    rig->avail->idx = le16_from((uint16_t)(rig->num + 1));
}

static void damage_data_nowhere(struct rig *rig)
{
    rig->table[1].addr = le64_from(NOWHERE);
}

static void damage_data_wraps(struct rig *rig)
{
    rig->table[1].addr = le64_from(UINT64_MAX - 255);
}

static void damage_absurd_len(struct rig *rig)
{
    rig->table[1].len = le32_from(UINT32_MAX);
}

static void damage_order(struct rig *rig)
{
    rig->table[0].flags = le16_from(VU_DESC_F_NEXT | VU_DESC_F_WRITE);
    rig->table[2].flags = le16_from(0);
}

static const struct damage {
    const char *name;
    void (*make)(struct rig *rig);
} damages[] = {
    {"odd-table", damage_odd_table},
    {"empty-table", damage_empty_table},
    {"huge-table", damage_huge_table},
    {"table-nowhere", damage_table_nowhere},
    {"table-and-next", damage_table_and_next},
    {"nested-table", damage_nested_table},
    {"loop", damage_loop},
    {"next-outside", damage_next_outside},
    {"head", damage_head},
    {"many", damage_many},
    {"data-nowhere", damage_data_nowhere},
    {"data-wraps", damage_data_wraps},
    {"absurd-len", damage_absurd_len},
    {"order", damage_order},
};

/* False, with the test skipped, where it cannot be done. */
static bool start(struct blk_guest *guest, const char *options, const char *qcow2)
{
    const struct blk_guest_setup setup = {.options = options,
                                          .n_queues = 2,
                                          .features = INDIRECT,
                                          .image_len = IMAGE_LEN,
                                          .qcow2 = qcow2};

    return blk_guest_start(guest, &setup);
}

/* The request of queue 1 is never answered; queue 0 goes on, and so does the daemon. */
static void test_damage(gconstpointer data)
{
    const struct damage *damage = data;
    struct blk_guest guest;
    struct vu_driver *driver;
    struct vu_sg sg[3];
    struct pollfd fd;
    struct rig rig;

    if (!start(&guest, NULL, NULL))
        return;
    driver = guest.queues[1];
    blk_guest_fill(&guest.call, BLK_T_IN, 0, 0, BLK_SECTOR);
    sg[0] = (struct vu_sg){guest.call.out_gpa, guest.call.out_len};
    sg[1] = (struct vu_sg){guest.call.in_gpa, BLK_SECTOR};
    sg[2] = (struct vu_sg){guest.call.in_gpa + BLK_SECTOR, 1};
    g_assert_cmpint(vu_driver_add(driver, sg, 1, 2, &guest), ==, 0);
    rig = (struct rig){.ring = driver->desc,
                       .table = (struct vu_split_desc *)(void *)driver->indirect,
                       .avail = driver->avail,
                       .table_gpa = driver->indirect_gpa,
                       .num = driver->num};
    g_assert_cmpuint(le16_value(rig.ring[0].flags), ==, VU_DESC_F_INDIRECT);
    g_assert_cmpuint(le64_value(rig.ring[0].addr), ==, rig.table_gpa);
    vu_driver_publish(driver);
    damage->make(&rig);
    vu_driver_force_kick(driver);
    fd = (struct pollfd){.fd = driver->call_fd, .events = POLLIN};
    g_assert_cmpint(poll(&fd, 1, 200), ==, 0);
    g_assert_false(vu_driver_has_used(driver));
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_IN, 0, NULL, 0, BLK_SECTOR), ==, BLK_S_OK);
    blk_guest_stop(&guest);
    blk_guest_clear(&guest);
}

/* --- images --- */

static const struct image_kind {
    const char *name, *options, *qcow2;
} image_kinds[] = {
    {"raw", "--aio=io_uring", NULL},
    {"raw-threads", "--aio=threads", NULL},
    {"raw-native", "--aio=native --cache=none", NULL},
    {"qcow2", "--format=qcow2 --cache-size=64K", "cluster_size=4k"},
};

static void fill(struct blk_guest *guest)
{
    g_autofree uint8_t *data = g_malloc(BLK_GUEST_MAX_DATA);

    memset(data, 0x5a, BLK_GUEST_MAX_DATA);
    for (uint64_t at = 0; at < IMAGE_LEN; at += BLK_GUEST_MAX_DATA)
        g_assert_cmpuint(
            blk_guest_call(guest, BLK_T_OUT, at / BLK_SECTOR, data, BLK_GUEST_MAX_DATA, 0), ==,
            BLK_S_OK);
}

/* Every request is answered, with whatever there is or with an error, and the daemon lives. */
static void test_cut_short(gconstpointer data)
{
    const struct image_kind *kind = data;
    g_autofree uint8_t *zeros = g_malloc0(BLK_GUEST_MAX_DATA);
    struct blk_guest guest;

    if (!start(&guest, kind->options, kind->qcow2))
        return;
    fill(&guest);
    blk_guest_call(&guest, BLK_T_FLUSH, 0, NULL, 0, 0);
    g_assert_cmpint(truncate(guest.image, 1 << 20), ==, 0);
    for (unsigned round = 0; round < 2; round++) {
        for (uint64_t at = 0; at < IMAGE_LEN; at += BLK_GUEST_MAX_DATA) {
            uint8_t status =
                blk_guest_call(&guest, BLK_T_IN, at / BLK_SECTOR, NULL, 0, BLK_GUEST_MAX_DATA);

            g_assert_true(status == BLK_S_OK || status == BLK_S_IOERR);
        }
        g_assert_cmpint(truncate(guest.image, 0), ==, 0);
    }
    for (uint64_t at = 0; at < IMAGE_LEN; at += BLK_GUEST_MAX_DATA)
        blk_guest_call(&guest, BLK_T_OUT, at / BLK_SECTOR, zeros, BLK_GUEST_MAX_DATA, 0);
    blk_guest_call(&guest, BLK_T_FLUSH, 0, NULL, 0, 0);
    blk_guest_stop(&guest);
    blk_guest_clear(&guest);
}

/* Another file takes the image's name: the guest's disk stays the one it was, and the other file as
 * it is. */
static void test_replaced(gconstpointer data)
{
    const struct image_kind *kind = data;
    g_autofree uint8_t *block = g_malloc(4096);
    g_autofree char *other = NULL, *contents = NULL;
    struct blk_guest guest;
    gsize len;

    if (!start(&guest, kind->options, kind->qcow2))
        return;
    fill(&guest);
    other = g_strconcat(guest.image, ".other", NULL);
    g_assert_true(g_file_set_contents(other, "precious", -1, NULL));
    g_assert_cmpint(g_rename(other, guest.image), ==, 0);
    memset(block, 0x33, 4096);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_OUT, 8, block, 4096, 0), ==, BLK_S_OK);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_FLUSH, 0, NULL, 0, 0), ==, BLK_S_OK);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_IN, 0, NULL, 0, 8192), ==, BLK_S_OK);
    g_assert_cmpuint(guest.call.in[4095], ==, 0x5a);
    g_assert_cmpuint(guest.call.in[4096], ==, 0x33);
    blk_guest_stop(&guest);
    g_assert_true(g_file_get_contents(guest.image, &contents, &len, NULL));
    g_assert_cmpstr(contents, ==, "precious");
    blk_guest_clear(&guest);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(damages); i++) {
        g_autofree char *path = g_strdup_printf("/blk-hostile/ring/%s", damages[i].name);

        g_test_add_data_func(path, &damages[i], test_damage);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(image_kinds); i++) {
        g_autofree char *cut = g_strdup_printf("/blk-hostile/cut-short/%s", image_kinds[i].name);
        g_autofree char *replaced =
            g_strdup_printf("/blk-hostile/replaced/%s", image_kinds[i].name);

        g_test_add_data_func(cut, &image_kinds[i], test_cut_short);
        g_test_add_data_func(replaced, &image_kinds[i], test_replaced);
    }
    return g_test_run();
}
