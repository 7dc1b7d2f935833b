/* SPDX-License-Identifier: Apache-2.0 */
/*
 * External snapshots: a disk that several queues keep busy goes on in an image before the one in
 * use, which holds what the disk held at that instant; also where the daemon is killed within the
 * command.
 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blk-live.h"

/* Makes overlay n of the image in use; its path, and a descriptor of it. */
static char *live_make_overlay(const struct versions *versions, unsigned n, bool is_raw,
                               int *ret_fd)
{
    char *path = g_strdup_printf("%s/overlay%u", versions->guest.dir, n);

    g_assert_cmpint(blk_guest_run("qemu-img create -q -f qcow2 -u -F %s -b %s %s %u",
                                  is_raw ? "raw" : "qcow2", versions->guest.image, path,
                                  LIVE_IMAGE_LEN),
                    ==, 0);
    *ret_fd = open(path, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(*ret_fd, >=, 0);
    return path;
}

/* Each layer with what is behind it is the disk of the instant at which it was left behind. */
static void live_check_layers(const struct versions *versions, GPtrArray *layers, bool is_raw)
{
    g_autofree char *raw = g_strconcat(versions->guest.dir, "/raw", NULL);

    for (guint i = 0; i < layers->len; i++) {
        const char *path = g_ptr_array_index(layers, i);
        const char *format = i == 0 && is_raw ? "raw" : "qcow2";
        g_autofree uint8_t *data = NULL;

        if (strcmp(format, "qcow2") == 0)
            g_assert_cmpint(blk_guest_run("qemu-img check -q %s", path) & ~3, ==, 0);
        g_assert_cmpint(blk_guest_run("qemu-img convert -f %s -O raw %s %s", format, path, raw), ==,
                        0);
        data = live_read(raw, LIVE_IMAGE_LEN);
        versions_check_instant(g_ptr_array_index(versions->instants, i), data);
    }
    for (guint i = 0; i < layers->len; i++)
        g_unlink(g_ptr_array_index(layers, i));
}

static void test_external(gconstpointer data)
{
    const struct live_scenario *scenario = data;
    g_autofree struct versions *versions = g_new0(struct versions, 1);
    g_autoptr(GPtrArray) layers = g_ptr_array_new_with_free_func(g_free);
    struct blk_guest *guest = &versions->guest;

    if (!live_start(versions, scenario))
        return;
    for (unsigned i = 0; i < LIVE_N_SNAPSHOTS / 2; i++) {
        char *path;
        int fd;

        versions_run(versions, LIVE_N_BETWEEN);
        path = live_make_overlay(versions, i, i == 0 && !scenario->qcow2, &fd);
        live_do(versions, path, fd,
                "{\"execute\":\"blockdev-snapshot\",\"arguments\":{\"overlay\":\"%s\"}}", path);
        close(fd);
        g_ptr_array_add(layers, guest->image);
        guest->image = path;
        guest->setup.qcow2 = "";
        if (scenario->kills) {
            guest->setup.options = "--format=qcow2 --backing=on";
            blk_guest_restart(guest);
        }
    }
    versions_run(versions, LIVE_N_BETWEEN);
    versions_stop(versions);
    live_check_layers(versions, layers, !scenario->qcow2);
    blk_guest_clear(guest);
    versions_clear(versions);
}

/* Whether the journal says that an overlay has come in front of the image. */
static bool live_is_left_behind(const struct blk_guest *guest)
{
    g_autofree char *journal = g_strconcat(guest->socket, ".journal", NULL);
    uint64_t head[5] = {0}; /* magic, device and inode of the image; and of the one behind it */
    int fd = open(journal, O_RDONLY | O_CLOEXEC);
    struct stat st;

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(read(fd, head, sizeof(head)), >=, 0);
    close(fd);
    g_assert_cmpint(stat(guest->image, &st), ==, 0);
    return head[3] == st.st_dev && head[4] == st.st_ino;
}

/* Killed at any moment of the command: the journal tells which image is the disk. */
static void test_killed_within(gconstpointer data)
{
    const struct live_scenario *scenario = data;
    g_autofree struct versions *versions = g_new0(struct versions, 1);
    g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(g_free);
    struct blk_guest *guest = &versions->guest;
    unsigned n_moved = 0;

    if (!live_start(versions, scenario))
        return;
    for (unsigned i = 0; i < 2 * LIVE_N_SNAPSHOTS; i++) {
        int control = blk_control_connect(guest->control), fd;
        char *path = live_make_overlay(versions, i, !guest->setup.qcow2, &fd);

        versions_run(versions, LIVE_N_BETWEEN);
        blk_control_send(control, fd,
                         "{\"execute\":\"blockdev-snapshot\",\"arguments\":{\"overlay\":\"%s\"}}",
                         path);
        versions_run(versions, (unsigned)g_test_rand_int_range(1, 60));
        g_assert_cmpint(kill(guest->pid, SIGKILL), ==, 0);
        g_assert_cmpint(waitid(P_PID, (id_t)guest->pid, &(siginfo_t){0}, WEXITED | WNOWAIT), ==, 0);
        close(control);
        close(fd);
        if (live_is_left_behind(guest)) {
            g_ptr_array_add(files, guest->image);
            guest->image = path;
            guest->setup.qcow2 = "";
            guest->setup.options = "--format=qcow2 --backing=on --sandbox=none";
            n_moved++;
        } else {
            g_unlink(path);
            g_free(path);
        }
        blk_guest_restart(guest);
    }
    g_test_message("%u of %u overlays had come", n_moved, 2 * LIVE_N_SNAPSHOTS);
    versions_run(versions, LIVE_N_BETWEEN);
    versions_stop(versions);
    for (guint i = 0; i < files->len; i++)
        g_unlink(g_ptr_array_index(files, i));
    blk_guest_clear(guest);
    versions_clear(versions);
}

/* By the client for people, which makes the overlay; and what it does not do. */
static void test_client(void)
{
    static const struct live_scenario scenario = {"",  "--format=qcow2", LIVE_INDIRECT, 1, false,
                                                  512, "cluster_size=4k"};
    const char *client = g_getenv("VBLKCTL");
    g_autofree struct versions *versions = g_new0(struct versions, 1);
    struct blk_guest *guest = &versions->guest;
    g_autofree char *path = NULL, *behind = NULL;

    if (!client) {
        g_test_skip("no vblkctl");
        return;
    }
    if (!live_start(versions, &scenario))
        return;
    versions_run(versions, LIVE_N_BETWEEN);
    path = g_strdup_printf("%s/overlay", guest->dir);
    g_assert_cmpint(blk_guest_run("%s -s %s snapshot-external", client, guest->control), ==, 1);
    g_assert_cmpint(blk_guest_run("%s -s %s snapshot-external %s backing=%s", client,
                                  guest->control, path, client),
                    ==, 1);
    g_assert_cmpint(
        blk_guest_run("%s -s %s snapshot-external %s", client, guest->control, guest->socket), ==,
        1);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    g_assert_cmpint(blk_guest_run("%s -s %s snapshot-external %s", client, guest->control, path),
                    ==, 0);
    /* It is there now, and in use. */
    g_assert_cmpint(blk_guest_run("%s -s %s snapshot-external %s", client, guest->control, path),
                    ==, 1);
    versions_run(versions, LIVE_N_BETWEEN);
    behind = guest->image;
    guest->image = g_steal_pointer(&path);
    versions_stop(versions);
    g_unlink(behind);
    blk_guest_clear(guest);
    versions_clear(versions);
}

static const struct live_scenario external[] = {
    {"split", "--format=qcow2", LIVE_INDIRECT | LIVE_EVENT, 4, false, 512, "cluster_size=64k"},
    {"raw", NULL, LIVE_INDIRECT | LIVE_EVENT | LIVE_PACKED, 4, false, 512, NULL},
    {"direct", "--format=qcow2 --cache=none --aio=native", LIVE_INDIRECT, 2, false, 4096,
     "cluster_size=4k"},
    {"limits", "--iops=4000 --iops-max=20 --in-order", LIVE_INDIRECT | LIVE_IN_ORDER, 2, false, 512,
     NULL},
    {"kill", "--format=qcow2", LIVE_INDIRECT | LIVE_EVENT, 2, true, 512, "cluster_size=4k"},
    {"kill-raw", NULL, LIVE_INDIRECT | LIVE_EVENT, 2, true, 512, NULL},
};

static const struct live_scenario killed_within[] = {
    {"qcow2", "--format=qcow2 --sandbox=none", LIVE_INDIRECT | LIVE_EVENT, 2, true, 512,
     "cluster_size=4k"},
    {"raw", "--sandbox=none", LIVE_INDIRECT | LIVE_EVENT, 2, true, 512, NULL},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    live_add("external", external, G_N_ELEMENTS(external), test_external);
    live_add("external/killed-within", killed_within, G_N_ELEMENTS(killed_within),
             test_killed_within);
    g_test_add_func("/blk-live/external/client", test_client);
    return g_test_run();
}
