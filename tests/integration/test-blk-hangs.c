/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that hangs: a command that needs the device without requests says so in time, has done
 * nothing, and the device goes on; when the disk is back, it can be had.
 */
#include <glib.h>
#include <string.h>

#include "blk-control.h"
#include "blk-guest.h"
#include "slow-disk.h"
#include "vblkd/virtio-blk.h"

#define IMAGE_LEN 4096
#define PATIENCE  60000

static void hangs_wait(unsigned n)
{
    for (unsigned i = 0; slow_disk_n_waiting() < n; i++) {
        g_assert_cmpuint(i, <, PATIENCE);
        g_usleep(1000);
    }
}

static void hangs_run(struct blk_guest *guest)
{
    static const char command[] = "{\"execute\":\"block_resize\",\"arguments\":{\"timeout\":200}}";
    g_autofree char *refused = NULL, *done = NULL;
    struct blk_guest_slot slot;

    blk_guest_slot_init(guest, &slot);
    slow_disk_shut(SLOW_DISK_READ);
    blk_guest_fill(&slot, BLK_T_IN, 0, 0, IMAGE_LEN);
    g_assert_true(blk_guest_add(guest, 1, &slot));
    vu_driver_kick(guest->queues[1]);
    hangs_wait(1);
    refused = blk_control_ask(guest->control, command);
    g_test_message("%s", refused);
    g_assert_nonnull(strstr(refused, "1 request of queue 1 has not ended"));
    /* What needs no disk is answered. */
    g_assert_cmpuint(blk_guest_call(guest, BLK_T_GET_ID, 0, NULL, 0, BLK_ID_LEN), ==, BLK_S_OK);
    g_assert_true(slot.in_flight);
    slow_disk_open();
    g_assert_true(blk_guest_take(guest, 1) == &slot);
    g_assert_cmpuint(blk_guest_status(&slot), ==, BLK_S_OK);
    done = blk_control_ask(guest->control, command);
    g_test_message("%s", done);
    g_assert_null(strstr(done, "\"error\""));
    blk_guest_stop(guest);
}

static void test_hangs(void)
{
    g_autofree char *dir = g_dir_make_tmp("blk-hangs-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "lazy", NULL);
    const struct blk_guest_setup setup = {
        .options = "--aio=threads",
        .n_queues = 2,
        .image_len = IMAGE_LEN,
        .control = true,
        .path = path,
    };
    struct blk_guest guest;
    const char *why;

    if (!slow_disk_start(dir, &why)) {
        g_test_skip(why);
        return;
    }
    if (blk_guest_start(&guest, &setup)) {
        hangs_run(&guest);
        blk_guest_clear(&guest);
    }
    slow_disk_stop();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/blk-hangs/pause", test_hangs);
    return g_test_run();
}
