/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that hangs: a command that needs the device without requests says so in time, has done
 * nothing, and the device goes on; when the disk is back, it can be had. A daemon that is to end
 * does, also where the kernel does not let it go.
 */
#include <glib.h>
#include <string.h>
#include <unistd.h>

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

/* A request that hangs in the kernel. */
static void hangs_ask(struct blk_guest *guest, struct blk_guest_slot *slot)
{
    blk_guest_slot_init(guest, slot);
    slow_disk_shut(SLOW_DISK_READ);
    blk_guest_fill(slot, BLK_T_IN, 0, 0, IMAGE_LEN);
    g_assert_true(blk_guest_add(guest, 1, slot));
    vu_driver_kick(guest->queues[1]);
    hangs_wait(1);
}

static void hangs_pause(struct blk_guest *guest)
{
    static const char command[] = "{\"execute\":\"block_resize\",\"arguments\":{\"timeout\":200}}";
    g_autofree char *refused = NULL, *done = NULL;
    struct blk_guest_slot slot;

    hangs_ask(guest, &slot);
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

/* Its sockets are there for a successor. */
static void hangs_end(struct blk_guest *guest)
{
    struct blk_guest_slot slot;

    hangs_ask(guest, &slot);
    g_assert_cmpint(blk_guest_terminate(guest), ==, 1);
    g_assert_cmpint(access(guest->socket, F_OK), ==, -1);
    g_assert_cmpint(access(guest->control, F_OK), ==, -1);
    slow_disk_open();
}

/* By what way the disk is read, and what is done while that hangs. */
struct hanging {
    const char *name, *options;
    void (*run)(struct blk_guest *guest);
};

static void test_hangs(gconstpointer data)
{
    const struct hanging *hanging = data;
    g_autofree char *dir = g_dir_make_tmp("blk-hangs-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "lazy", NULL);
    const struct blk_guest_setup setup = {
        .options = hanging->options,
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
        hanging->run(&guest);
        blk_guest_clear(&guest);
    }
    slow_disk_stop();
}

static const struct hanging hangings[] = {
    {"pause", "--aio=threads", hangs_pause},
    {"end/threads", "--aio=threads", hangs_end},
    {"end/default", "", hangs_end},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(hangings); i++) {
        g_autofree char *path = g_strconcat("/blk-hangs/", hangings[i].name, NULL);

        g_test_add_data_func(path, &hangings[i], test_hangs);
    }
    return g_test_run();
}
