/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots and other sizes of a disk that several queues keep busy: each snapshot is what the disk
 * held at one instant while it was made, images stay sound, and a daemon that is killed right
 * afterwards has a successor that lacks nothing.
 */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blk-control.h"
#include "blk-versions.h"
#include "vblkd/virtio-blk.h"

#define IMAGE_LEN   (4u << 20)
#define N_SNAPSHOTS 10u
#define N_BETWEEN   150u

#define INDIRECT    VU_BIT(VU_F_RING_INDIRECT_DESC)
#define EVENT       VU_BIT(VU_F_RING_EVENT_IDX)
#define PACKED      VU_BIT(VU_F_RING_PACKED)
#define IN_ORDER    VU_BIT(VU_F_IN_ORDER)

struct scenario {
    const char *name, *options;
    uint64_t features;
    unsigned n_queues;
    bool kills;
    uint32_t block;
    const char *qcow2;
};

static bool live_start(struct versions *versions, const struct scenario *scenario)
{
    const struct blk_guest_setup setup = {
        .options = scenario->options,
        .n_queues = scenario->n_queues,
        .features = scenario->features | VU_BIT(BLK_F_WRITE_ZEROES) | VU_BIT(BLK_F_FLUSH),
        .inflight = scenario->kills,
        .image_len = IMAGE_LEN,
        .qcow2 = scenario->qcow2,
        .control = true,
    };

    return versions_start(versions, &setup, scenario->block);
}

/* A command that must succeed, while requests go on. */
static void live_do(struct versions *versions, const char *name, int fd, const char *format, ...)
    G_GNUC_PRINTF(4, 5);
static void live_do(struct versions *versions, const char *name, int fd, const char *format, ...)
{
    g_autofree char *line = NULL, *answer = NULL;
    va_list args;

    va_start(args, format);
    line = g_strdup_vprintf(format, args);
    va_end(args);
    answer = versions_command(versions, name, fd, line);
    g_test_message("%s", answer);
    g_assert_null(strstr(answer, "\"error\""));
}

/* One that must not, for a reason that has these words. */
static void live_refused(struct versions *versions, const char *line, const char *why)
{
    g_autofree char *answer = versions_command(versions, NULL, -1, line);

    g_test_message("%s", answer);
    g_assert_nonnull(strstr(answer, "\"error\""));
    g_assert_nonnull(strstr(answer, why));
}

static uint8_t *live_read(const char *path, uint64_t len)
{
    char *data;
    gsize got;

    g_assert_true(g_file_get_contents(path, &data, &got, NULL));
    g_assert_cmpuint(got, ==, len);
    g_unlink(path);
    return (uint8_t *)data;
}

/* --- snapshots inside the image --- */

static void live_check_internal(const struct versions *versions)
{
    g_autofree char *raw = g_strconcat(versions->guest.image, ".snapshot", NULL);

    for (guint i = 0; i < versions->instants->len; i++) {
        const struct versions_instant *instant = g_ptr_array_index(versions->instants, i);
        g_autofree uint8_t *data = NULL;

        if (!instant->name[0])
            continue;
        g_assert_cmpint(blk_guest_run("qemu-img convert -f qcow2 -l snapshot.name=%s -O raw %s %s",
                                      instant->name, versions->guest.image, raw),
                        ==, 0);
        data = live_read(raw, IMAGE_LEN);
        versions_check_instant(instant, data);
    }
}

static void test_internal(gconstpointer data)
{
    const struct scenario *scenario = data;
    g_autofree struct versions *versions = g_new0(struct versions, 1);

    if (!live_start(versions, scenario))
        return;
    for (unsigned i = 0; i < N_SNAPSHOTS; i++) {
        g_autofree char *name = g_strdup_printf("s%u", i);

        versions_run(versions, N_BETWEEN);
        live_do(versions, name, -1,
                "{\"execute\":\"blockdev-snapshot-internal-sync\","
                "\"arguments\":{\"name\":\"%s\"}}",
                name);
        if (scenario->kills)
            blk_guest_restart(&versions->guest);
        if (i % 3 != 2)
            continue;
        versions_run(versions, N_BETWEEN);
        live_do(versions, NULL, -1,
                "{\"execute\":\"blockdev-snapshot-delete-internal-sync\","
                "\"arguments\":{\"name\":\"s%u\"}}",
                i - 1);
        ((struct versions_instant *)g_ptr_array_index(versions->instants, i - 1))->name[0] = '\0';
        if (scenario->kills)
            blk_guest_restart(&versions->guest);
    }
    versions_run(versions, N_BETWEEN);
    live_refused(versions, "{\"execute\":\"snapshot-apply\",\"arguments\":{\"name\":\"s0\"}}",
                 "a guest uses");
    live_refused(
        versions,
        "{\"execute\":\"blockdev-snapshot-internal-sync\",\"arguments\":{\"name\":\"s0\"}}",
        "of that name");
    versions_stop(versions);
    live_check_internal(versions);
    blk_guest_clear(&versions->guest);
    versions_clear(versions);
}

/* --- applying one --- */

/* While the driver is stopped; what the disk holds then is what it held. */
static void test_apply(void)
{
    static const struct scenario scenario = {"",  "--format=qcow2", INDIRECT, 1, false,
                                             512, "cluster_size=4k"};
    g_autofree struct versions *versions = g_new0(struct versions, 1);
    g_autofree char *answer = NULL;
    g_autofree uint8_t *data = NULL;

    if (!live_start(versions, &scenario))
        return;
    versions_run(versions, N_BETWEEN);
    live_do(versions, "s", -1,
            "{\"execute\":\"blockdev-snapshot-internal-sync\",\"arguments\":{\"name\":\"s\"}}");
    versions_run(versions, N_BETWEEN);
    versions_drain(versions);
    g_assert_cmpint(vu_frontend_stop_ring(versions->guest.frontend, 0, NULL), ==, 0);
    answer = blk_control_ask(versions->guest.control,
                             "{\"execute\":\"snapshot-apply\",\"arguments\":{\"id\":\"1\"}}");
    g_assert_null(strstr(answer, "\"error\""));
    blk_guest_stop(&versions->guest);
    data = blk_guest_read_image(&versions->guest, false);
    versions_check_instant(g_ptr_array_index(versions->instants, 0), data);
    blk_guest_clear(&versions->guest);
    versions_clear(versions);
}

/* --- external ones --- */

/* Makes overlay n of the image in use; its path, and a descriptor of it. */
static char *live_make_overlay(const struct versions *versions, unsigned n, bool is_raw,
                               int *ret_fd)
{
    char *path = g_strdup_printf("%s/overlay%u", versions->guest.dir, n);

    g_assert_cmpint(blk_guest_run("qemu-img create -q -f qcow2 -u -F %s -b %s %s %u",
                                  is_raw ? "raw" : "qcow2", versions->guest.image, path, IMAGE_LEN),
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
        data = live_read(raw, IMAGE_LEN);
        versions_check_instant(g_ptr_array_index(versions->instants, i), data);
    }
    for (guint i = 0; i < layers->len; i++)
        g_unlink(g_ptr_array_index(layers, i));
}

static void test_external(gconstpointer data)
{
    const struct scenario *scenario = data;
    g_autofree struct versions *versions = g_new0(struct versions, 1);
    g_autoptr(GPtrArray) layers = g_ptr_array_new_with_free_func(g_free);
    struct blk_guest *guest = &versions->guest;

    if (!live_start(versions, scenario))
        return;
    for (unsigned i = 0; i < N_SNAPSHOTS / 2; i++) {
        char *path;
        int fd;

        versions_run(versions, N_BETWEEN);
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
    versions_run(versions, N_BETWEEN);
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
    const struct scenario *scenario = data;
    g_autofree struct versions *versions = g_new0(struct versions, 1);
    g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(g_free);
    struct blk_guest *guest = &versions->guest;
    unsigned n_moved = 0;

    if (!live_start(versions, scenario))
        return;
    for (unsigned i = 0; i < 2 * N_SNAPSHOTS; i++) {
        int control = blk_control_connect(guest->control), fd;
        char *path = live_make_overlay(versions, i, !guest->setup.qcow2, &fd);

        versions_run(versions, N_BETWEEN);
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
    g_test_message("%u of %u overlays had come", n_moved, 2 * N_SNAPSHOTS);
    versions_run(versions, N_BETWEEN);
    versions_stop(versions);
    for (guint i = 0; i < files->len; i++)
        g_unlink(g_ptr_array_index(files, i));
    blk_guest_clear(guest);
    versions_clear(versions);
}

/* By the client for people, which makes the overlay; and what it does not do. */
static void test_client(void)
{
    static const struct scenario scenario = {"",  "--format=qcow2", INDIRECT, 1, false,
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
    versions_run(versions, N_BETWEEN);
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
    versions_run(versions, N_BETWEEN);
    behind = guest->image;
    guest->image = g_steal_pointer(&path);
    versions_stop(versions);
    g_unlink(behind);
    blk_guest_clear(guest);
    versions_clear(versions);
}

/* --- other sizes --- */

static uint64_t live_capacity(const struct versions *versions)
{
    le64_t sectors;

    g_assert_cmpint(vu_frontend_get_config(versions->guest.frontend, 0, &sectors, 8), ==, 0);
    return le64_value(sectors) * BLK_SECTOR;
}

static void test_resize(gconstpointer data)
{
    const struct scenario *scenario = data;
    g_autofree struct versions *versions = g_new0(struct versions, 1);

    if (!live_start(versions, scenario))
        return;
    for (uint64_t len = IMAGE_LEN + 4096; len < 5 * IMAGE_LEN; len += IMAGE_LEN + 8192) {
        versions_run(versions, N_BETWEEN);
        live_do(versions, NULL, -1,
                "{\"execute\":\"block_resize\",\"arguments\":{\"size\":%" G_GUINT64_FORMAT "}}",
                len);
        if (scenario->kills)
            blk_guest_restart(&versions->guest);
        g_assert_cmpuint(live_capacity(versions), ==, len);
        versions_resize(versions, len);
    }
    live_refused(versions, "{\"execute\":\"block_resize\",\"arguments\":{\"size\":1048576}}",
                 "shrinking");
    live_refused(versions, "{\"execute\":\"block_resize\",\"arguments\":{\"size\":1000}}",
                 "multiple");
    if (!scenario->qcow2) {
        /* From outside. */
        g_assert_cmpint(truncate(versions->guest.image, 6 * IMAGE_LEN), ==, 0);
        live_do(versions, NULL, -1, "{\"execute\":\"block_resize\"}");
        versions_resize(versions, 6 * IMAGE_LEN);
    }
    versions_run(versions, N_BETWEEN);
    versions_drain(versions);
    versions_resize(versions, IMAGE_LEN); /* a good guest has left the end */
    live_do(versions, NULL, -1,
            "{\"execute\":\"block_resize\",\"arguments\":{\"size\":%u,\"shrink\":true}}",
            IMAGE_LEN);
    g_assert_cmpuint(live_capacity(versions), ==, IMAGE_LEN);
    versions_run(versions, N_BETWEEN);
    versions_stop(versions);
    blk_guest_clear(&versions->guest);
    versions_clear(versions);
}

/* --- front-ends --- */

struct pauser {
    const char *control;
    bool stop; /* atomic */
};

static void *live_pause_often(void *opaque)
{
    const struct pauser *pauser = opaque;

    while (!__atomic_load_n(&pauser->stop, __ATOMIC_RELAXED)) {
        g_autofree char *made = blk_control_ask(
            pauser->control,
            "{\"execute\":\"blockdev-snapshot-internal-sync\",\"arguments\":{\"name\":\"s\"}}");
        g_autofree char *gone = blk_control_ask(
            pauser->control, "{\"execute\":\"blockdev-snapshot-delete-internal-sync\","
                             "\"arguments\":{\"name\":\"s\"}}");

        g_assert_null(strstr(made, "\"error\""));
        g_assert_null(strstr(gone, "\"error\""));
    }
    return NULL;
}

/* Rings stop and start, with requests that limits hold back, and the front-end goes and comes,
 * while one pause follows the other. */
static void test_front_end(void)
{
    static const struct scenario scenario = {"",
                                             "--format=qcow2 --iops=3000 --iops-max=8",
                                             INDIRECT | EVENT,
                                             2,
                                             true,
                                             512,
                                             "cluster_size=4k"};
    g_autofree struct versions *versions = g_new0(struct versions, 1);
    struct blk_guest *guest = &versions->guest;
    struct pauser pauser = {0};
    pthread_t thread;

    if (!live_start(versions, &scenario))
        return;
    pauser.control = guest->control;
    g_assert_cmpint(pthread_create(&thread, NULL, live_pause_often, &pauser), ==, 0);
    for (unsigned i = 0; i < 30; i++) {
        versions_run(versions, 60);
        if (i % 3 == 2) {
            vu_frontend_disconnect(guest->frontend);
            versions_harvest(versions);
            g_assert_cmpint(vu_frontend_reconnect(guest->frontend, guest->socket, 10000), ==, 0);
        } else {
            g_assert_cmpint(vu_frontend_stop_ring(guest->frontend, i % 2, NULL), ==, 0);
            versions_harvest(versions);
            g_assert_cmpint(vu_frontend_start_driver(guest->frontend, guest->queues[i % 2]), ==, 0);
        }
        for (unsigned q = 0; q < scenario.n_queues; q++)
            vu_driver_force_kick(guest->queues[q]);
    }
    __atomic_store_n(&pauser.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    versions_stop(versions);
    blk_guest_clear(guest);
    versions_clear(versions);
}

static const struct scenario internal[] = {
    {"split", "--format=qcow2", INDIRECT | EVENT, 4, false, 512, "cluster_size=64k"},
    {"packed", "--format=qcow2", INDIRECT | EVENT | PACKED, 4, false, 512, "cluster_size=4k"},
    {"direct", "--format=qcow2 --cache=none --aio=native", INDIRECT, 2, false, 4096,
     "extended_l2=on"},
    {"threads", "--format=qcow2 --aio=threads --poll-us=0", INDIRECT, 2, false, 512,
     "lazy_refcounts=on"},
    {"limits", "--format=qcow2 --iops=4000 --iops-max=20 --in-order", INDIRECT | EVENT | IN_ORDER,
     2, false, 512, "cluster_size=4k"},
    {"kill", "--format=qcow2", INDIRECT | EVENT, 2, true, 512, "cluster_size=4k"},
    {"kill-lazy", "--format=qcow2", INDIRECT | PACKED, 2, true, 512, "lazy_refcounts=on"},
};

static const struct scenario external[] = {
    {"split", "--format=qcow2", INDIRECT | EVENT, 4, false, 512, "cluster_size=64k"},
    {"raw", NULL, INDIRECT | EVENT | PACKED, 4, false, 512, NULL},
    {"direct", "--format=qcow2 --cache=none --aio=native", INDIRECT, 2, false, 4096,
     "cluster_size=4k"},
    {"limits", "--iops=4000 --iops-max=20 --in-order", INDIRECT | IN_ORDER, 2, false, 512, NULL},
    {"kill", "--format=qcow2", INDIRECT | EVENT, 2, true, 512, "cluster_size=4k"},
    {"kill-raw", NULL, INDIRECT | EVENT, 2, true, 512, NULL},
};

static const struct scenario killed_within[] = {
    {"qcow2", "--format=qcow2 --sandbox=none", INDIRECT | EVENT, 2, true, 512, "cluster_size=4k"},
    {"raw", "--sandbox=none", INDIRECT | EVENT, 2, true, 512, NULL},
};

static const struct scenario resize[] = {
    {"raw", NULL, INDIRECT | EVENT, 4, false, 512, NULL},
    {"qcow2", "--format=qcow2", INDIRECT | EVENT, 4, false, 512, "cluster_size=512"},
    {"kill", "--format=qcow2", INDIRECT | EVENT, 2, true, 512, "cluster_size=4k"},
};

static void live_add(const char *kind, const struct scenario *scenarios, size_t n,
                     GTestDataFunc test)
{
    for (size_t i = 0; i < n; i++) {
        g_autofree char *path = g_strdup_printf("/blk-live/%s/%s", kind, scenarios[i].name);

        g_test_add_data_func(path, &scenarios[i], test);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    live_add("internal", internal, G_N_ELEMENTS(internal), test_internal);
    g_test_add_func("/blk-live/internal/apply", test_apply);
    live_add("external", external, G_N_ELEMENTS(external), test_external);
    live_add("external/killed-within", killed_within, G_N_ELEMENTS(killed_within),
             test_killed_within);
    g_test_add_func("/blk-live/external/client", test_client);
    g_test_add_func("/blk-live/front-end", test_front_end);
    live_add("resize", resize, G_N_ELEMENTS(resize), test_resize);
    return g_test_run();
}
