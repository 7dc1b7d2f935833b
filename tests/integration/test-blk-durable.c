/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest takes for durable is: where it has no FLUSH, or switched its write cache off, no
 * page of the image is dirty when a write is answered, by a successor of the daemon too. And what a
 * FLUSH promises with cache=unsafe: that the end of the daemon, if not of the host, loses nothing.
 */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blk-guest.h"
#include "vblkd/virtio-blk.h"

#define IMAGE_LEN   (1u << 20)
#define WRITE_LEN   4096u
#define N_WRITES    48
#define CONFIG_WCE  32 /* offset of blk_config.writeback */
#define N_CACHESTAT 451

struct scenario {
    const char *name, *options, *qcow2;
    uint64_t features;
};

static const struct scenario scenarios[] = {
    {"raw", "--cache=writeback", NULL, 0},
    {"raw-threads", "--cache=writeback --aio=threads", NULL, 0},
    {"raw-switched-off", NULL, NULL, VU_BIT(BLK_F_FLUSH) | VU_BIT(BLK_F_CONFIG_WCE)},
    {"qcow2", "--format=qcow2", "cluster_size=4k", 0},
    {"qcow2-mapped", "--format=qcow2", "cluster_size=512,preallocation=metadata", 0},
    {"qcow2-writethrough", "--format=qcow2 --cache=writethrough",
     "cluster_size=512,preallocation=metadata", 0},
};

/* Pages of the file that are not on the disk; -1: the kernel or file system does not tell. */
static int64_t count_dirty(const char *path)
{
    struct {
        uint64_t offset, len;
    } range = {0, 0};
    struct {
        uint64_t n_cached, n_dirty, n_writeback, n_evicted, n_recently_evicted;
    } stat = {0};
    int fd = g_open(path, O_RDONLY | O_CLOEXEC, 0);
    long ret = syscall(N_CACHESTAT, fd, &range, &stat, 0);

    g_assert_cmpint(close(fd), ==, 0);
    return ret == 0 ? (int64_t)(stat.n_dirty + stat.n_writeback) : -1;
}

static bool can_count(const char *path)
{
    int fd = g_open(path, O_RDWR | O_CLOEXEC, 0);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(fsync(fd), ==, 0);
    close(fd);
    return count_dirty(path) == 0;
}

static void switch_write_cache_off(struct blk_guest *guest)
{
    uint8_t off = 0;

    if (vu_has(guest->features, BLK_F_CONFIG_WCE))
        g_assert_cmpint(vu_frontend_set_config(guest->frontend, CONFIG_WCE, &off, 1), ==, 0);
}

static void test_durable(gconstpointer data)
{
    const struct scenario *scenario = data;
    const struct blk_guest_setup setup = {
        .options = scenario->options,
        .n_queues = 1,
        .features = scenario->features | VU_BIT(VU_F_RING_INDIRECT_DESC),
        .image_len = IMAGE_LEN,
        .qcow2 = scenario->qcow2,
    };
    uint8_t bytes[WRITE_LEN];
    struct blk_guest guest;

    if (!blk_guest_start(&guest, &setup))
        return;
    switch_write_cache_off(&guest);
    if (!can_count(guest.image))
        g_test_skip("dirty pages cannot be counted here");
    else
        for (unsigned i = 0; i < N_WRITES; i++) {
            uint64_t n = IMAGE_LEN / WRITE_LEN;
            uint64_t sector = i * 37 % n * (WRITE_LEN / BLK_SECTOR);

            memset(bytes, (int)i + 1, sizeof(bytes));
            g_assert_cmpuint(blk_guest_call(&guest, BLK_T_OUT, sector, bytes, sizeof(bytes), 0), ==,
                             BLK_S_OK);
            g_assert_cmpint(count_dirty(guest.image), ==, 0);
        }
    blk_guest_stop(&guest);
    blk_guest_clear(&guest);
}

static uint8_t write_cache(const struct blk_guest *guest)
{
    uint8_t value = 0xff;

    g_assert_cmpint(vu_frontend_get_config(guest->frontend, CONFIG_WCE, &value, 1), ==, 0);
    return value;
}

static void assert_writes_durable(struct blk_guest *guest, uint8_t byte)
{
    uint8_t bytes[WRITE_LEN];

    memset(bytes, byte, sizeof(bytes));
    g_assert_cmpuint(blk_guest_call(guest, BLK_T_OUT, 8u * byte, bytes, sizeof(bytes), 0), ==,
                     BLK_S_OK);
    g_assert_cmpint(count_dirty(guest->image), <=, 0);
}

/* The choice is the driver's: it outlives daemons, and ends with it. */
static void test_choice(gconstpointer options)
{
    const struct blk_guest_setup setup = {
        .options = options,
        .n_queues = 1,
        .features =
            VU_BIT(BLK_F_FLUSH) | VU_BIT(BLK_F_CONFIG_WCE) | VU_BIT(VU_F_RING_INDIRECT_DESC),
        .image_len = IMAGE_LEN,
        .inflight = true,
    };
    struct blk_guest guest;
    g_autofree char *file = NULL;
    GStatBuf st;

    if (!blk_guest_start(&guest, &setup))
        return;
    file = g_strconcat(guest.socket, ".guest", NULL);
    g_assert_true(can_count(guest.image) || count_dirty(guest.image) < 0);
    g_assert_cmpuint(write_cache(&guest), ==, 1);
    switch_write_cache_off(&guest);
    g_assert_cmpint(g_stat(file, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 07777, ==, 0600);
    for (uint8_t i = 1; i < 3; i++) {
        blk_guest_restart(&guest);
        assert_writes_durable(&guest, i);
        g_assert_cmpuint(write_cache(&guest), ==, 0);
    }
    blk_guest_replace(&guest);
    g_assert_cmpuint(write_cache(&guest), ==, 1);
    blk_guest_restart(&guest);
    g_assert_cmpuint(write_cache(&guest), ==, 1);
    blk_guest_stop(&guest);
    g_assert_cmpint(g_stat(file, &st), <, 0);
    blk_guest_clear(&guest);
}

/* A record of another image is no choice of this one's guest. */
static void test_choice_of_another(void)
{
    const struct blk_guest_setup setup = {
        .options = "--sandbox=none",
        .n_queues = 1,
        .features = VU_BIT(BLK_F_FLUSH) | VU_BIT(BLK_F_CONFIG_WCE),
        .image_len = IMAGE_LEN,
        .inflight = true,
    };
    struct blk_guest guest;
    g_autofree char *first = NULL, *bytes = g_malloc0(IMAGE_LEN);

    if (!blk_guest_start(&guest, &setup))
        return;
    switch_write_cache_off(&guest);
    first = g_strconcat(guest.image, ".first", NULL);
    g_assert_cmpint(g_rename(guest.image, first), ==, 0);
    g_assert_true(g_file_set_contents(guest.image, bytes, IMAGE_LEN, NULL));
    blk_guest_restart(&guest);
    g_assert_cmpuint(write_cache(&guest), ==, 1);
    blk_guest_stop(&guest);
    g_unlink(first);
    blk_guest_clear(&guest);
}

/* Nor does the driver switch on what the user wants off. */
static void test_writethrough(void)
{
    const struct blk_guest_setup setup = {
        .options = "--cache=writethrough",
        .n_queues = 1,
        .features =
            VU_BIT(BLK_F_FLUSH) | VU_BIT(BLK_F_CONFIG_WCE) | VU_BIT(VU_F_RING_INDIRECT_DESC),
        .image_len = IMAGE_LEN,
    };
    struct blk_guest guest;
    uint8_t on = 1;

    if (!blk_guest_start(&guest, &setup))
        return;
    g_assert_true(vu_has(guest.features, BLK_F_CONFIG_WCE));
    g_assert_cmpuint(write_cache(&guest), ==, 0);
    g_assert_cmpint(vu_frontend_set_config(guest.frontend, CONFIG_WCE, &on, 1), ==, 0);
    g_assert_cmpuint(write_cache(&guest), ==, 0);
    g_assert_true(can_count(guest.image) || count_dirty(guest.image) < 0);
    assert_writes_durable(&guest, 1);
    blk_guest_stop(&guest);
    blk_guest_clear(&guest);
}

static void test_unsafe(void)
{
    const struct blk_guest_setup setup = {
        .options = "--format=qcow2 --cache=unsafe --journal=none --sandbox=none",
        .n_queues = 1,
        .features = VU_BIT(VU_F_RING_INDIRECT_DESC) | VU_BIT(BLK_F_FLUSH),
        .image_len = IMAGE_LEN,
        .qcow2 = "compat=1.1",
        .inflight = true,
    };
    uint8_t bytes[WRITE_LEN];
    struct blk_guest guest;

    if (!blk_guest_start(&guest, &setup))
        return;
    memset(bytes, 7, sizeof(bytes));
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_OUT, 8, bytes, sizeof(bytes), 0), ==, BLK_S_OK);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_FLUSH, 0, NULL, 0, 0), ==, BLK_S_OK);
    blk_guest_restart(&guest);
    g_assert_cmpuint(blk_guest_call(&guest, BLK_T_IN, 8, NULL, 0, sizeof(bytes)), ==, BLK_S_OK);
    g_assert_true(memcmp(guest.call.in, bytes, sizeof(bytes)) == 0);
    blk_guest_stop(&guest);
    blk_guest_clear(&guest);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(scenarios); i++) {
        g_autofree char *path = g_strdup_printf("/blk-durable/%s", scenarios[i].name);

        g_test_add_data_func(path, &scenarios[i], test_durable);
    }
    g_test_add_data_func("/blk-durable/choice", "", test_choice);
    g_test_add_data_func("/blk-durable/choice-unconfined", "--sandbox=none", test_choice);
    g_test_add_func("/blk-durable/choice-of-another", test_choice_of_another);
    g_test_add_func("/blk-durable/writethrough", test_writethrough);
    g_test_add_func("/blk-durable/unsafe", test_unsafe);
    return g_test_run();
}
