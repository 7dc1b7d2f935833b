/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of more ranges than a system call takes: as many as a chain may have, of which some
 * cross the border of two memory regions and so become two each. All of their bytes are moved, in
 * whatever pieces the image has them.
 */
#include <assert.h>
#include <glib.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

#include "blk-guest.h"
#include "vblkd/virtio-blk.h"

#define IMAGE_LEN (1u << 20)
#define CLUSTER   (64u << 10)
#define RING      1024u
#define HEADER    16u
#define BORDER    (UINT64_C(0x100000) + (96 << 20)) /* where blk-guest's memory ends */
#define SMALL     64u
#define STRIDE    (2 * SMALL)
#define N_SMALL   1016u
#define N_CROSS   50u /* the first of them, all of the same bytes */
#define REST      4096u
#define OFFSET    512u /* the small ones fill the first cluster from here on */
#define LEN       (N_SMALL * SMALL + REST)
static_assert(OFFSET + N_SMALL * SMALL == CLUSTER, "a piece of a qcow2 image, and another");
static_assert(N_SMALL + N_CROSS > IOV_MAX, "too many for one call");

static const struct kind {
    const char *name, *options, *qcow2;
} kinds[] = {
    {"raw", "--queue-size=1024", NULL},
    {"raw-threads", "--queue-size=1024 --aio=threads", NULL},
    {"qcow2", "--queue-size=1024 --format=qcow2", "cluster_size=64k"},
};

/* The header's range, those of the data, and the status byte's. */
static unsigned make_ranges(const struct blk_guest *guest, uint64_t data_gpa, struct vu_sg *ret_sg)
{
    unsigned n = 0;

    ret_sg[n++] = (struct vu_sg){guest->call.out_gpa, HEADER};
    for (unsigned i = 0; i < N_SMALL; i++)
        ret_sg[n++] = i < N_CROSS ? (struct vu_sg){BORDER - SMALL / 2, SMALL}
                                  : (struct vu_sg){data_gpa + HEADER + i * STRIDE, SMALL};
    ret_sg[n++] = (struct vu_sg){data_gpa + HEADER + N_SMALL * STRIDE, REST};
    ret_sg[n++] = (struct vu_sg){guest->call.in_gpa + BLK_GUEST_MAX_DATA, 1};
    return n;
}

static void expect_call(struct blk_guest *guest, uint32_t type)
{
    bool is_write = type == BLK_T_OUT;
    struct vu_sg sg[N_SMALL + 3];
    unsigned n = make_ranges(guest, is_write ? guest->call.out_gpa : guest->call.in_gpa, sg);
    uint8_t *status = guest->call.in + BLK_GUEST_MAX_DATA;
    struct vu_driver *driver = guest->queues[0];
    struct pollfd fd = {.fd = driver->call_fd, .events = POLLIN};
    struct vu_driver_used used;

    *status = 0xff;
    blk_guest_fill(&guest->call, type, OFFSET / BLK_SECTOR, 0, 0);
    g_assert_cmpint(vu_driver_add(driver, sg, is_write ? n - 1 : 1, is_write ? 1 : n - 1, guest),
                    ==, 0);
    vu_driver_kick(driver);
    while (vu_driver_harvest(driver, &used, 1) == 0) {
        if (vu_driver_arm_call(driver))
            continue;
        g_assert_cmpint(poll(&fd, 1, 30000), ==, 1);
        vu_driver_clear_call(driver);
    }
    g_assert_cmpuint(*status, ==, BLK_S_OK);
}

/* Those that cross no border. */
static void compare(const uint8_t *data, const uint8_t *disk)
{
    for (unsigned i = N_CROSS; i < N_SMALL; i++)
        g_assert_true(memcmp(data + HEADER + i * STRIDE, disk + i * SMALL, SMALL) == 0);
    g_assert_true(memcmp(data + HEADER + N_SMALL * STRIDE, disk + N_SMALL * SMALL, REST) == 0);
}

static void fill(struct blk_guest *guest, uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)g_rand_int(guest->rand);
}

static void test_many(gconstpointer data)
{
    const struct kind *kind = data;
    const struct blk_guest_setup setup = {
        .options = kind->options,
        .n_queues = 1,
        .n_entries = RING,
        .features = VU_BIT(VU_F_RING_INDIRECT_DESC) | VU_BIT(BLK_F_FLUSH),
        .image_len = IMAGE_LEN,
        .qcow2 = kind->qcow2,
    };
    g_autofree uint8_t *disk = g_malloc(2 * CLUSTER);
    struct blk_guest guest;
    uint8_t *before, *behind;

    if (!blk_guest_start(&guest, &setup))
        return;
    g_assert_cmpint(vu_shmem_add(&guest.shmem, BORDER, 1 << 20), ==, 0);
    g_assert_cmpint(vu_frontend_set_memory(guest.frontend, &guest.shmem), ==, 0);
    before = vu_shmem_at(&guest.shmem, BORDER - SMALL / 2, SMALL / 2);
    behind = vu_shmem_at(&guest.shmem, BORDER, SMALL / 2);
    fill(&guest, disk, 2 * CLUSTER);
    /* In this order, so that they are no neighbours in an image. */
    for (int i = 1; i >= 0; i--)
        g_assert_cmpuint(blk_guest_call(&guest, BLK_T_OUT, (uint64_t)i * CLUSTER / BLK_SECTOR,
                                        disk + i * (int)CLUSTER, CLUSTER, 0),
                         ==, BLK_S_OK);
    expect_call(&guest, BLK_T_IN);
    compare(guest.call.in, disk + OFFSET);

    fill(&guest, guest.call.out, BLK_GUEST_MAX_DATA);
    fill(&guest, before, SMALL / 2);
    fill(&guest, behind, SMALL / 2);
    expect_call(&guest, BLK_T_OUT);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_IN, OFFSET / BLK_SECTOR, NULL, 0, LEN), ==,
                     BLK_S_OK);
    compare(guest.call.out, guest.call.in);
    for (unsigned i = 0; i < N_CROSS; i++) {
        g_assert_true(memcmp(guest.call.in + i * SMALL, before, SMALL / 2) == 0);
        g_assert_true(memcmp(guest.call.in + i * SMALL + SMALL / 2, behind, SMALL / 2) == 0);
    }
    blk_guest_stop(&guest);
    blk_guest_clear(&guest);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *path = g_strdup_printf("/blk-ranges/%s", kinds[i].name);

        g_test_add_data_func(path, &kinds[i], test_many);
    }
    return g_test_run();
}
