/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots inside the image of a disk that several queues keep busy: each is what the disk held at
 * one instant while it was made, images stay sound, and a daemon that is killed right afterwards
 * has a successor that lacks nothing.
 */
#include <pthread.h>
#include <string.h>

#include "blk-live.h"

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
        data = live_read(raw, LIVE_IMAGE_LEN);
        versions_check_instant(instant, data);
    }
}

static void test_internal(gconstpointer data)
{
    const struct live_scenario *scenario = data;
    g_autofree struct versions *versions = g_new0(struct versions, 1);

    if (!live_start(versions, scenario))
        return;
    for (unsigned i = 0; i < LIVE_N_SNAPSHOTS; i++) {
        g_autofree char *name = g_strdup_printf("s%u", i);

        versions_run(versions, LIVE_N_BETWEEN);
        live_do(versions, name, -1,
                "{\"execute\":\"blockdev-snapshot-internal-sync\","
                "\"arguments\":{\"name\":\"%s\"}}",
                name);
        if (scenario->kills)
            blk_guest_restart(&versions->guest);
        if (i % 3 != 2)
            continue;
        versions_run(versions, LIVE_N_BETWEEN);
        live_do(versions, NULL, -1,
                "{\"execute\":\"blockdev-snapshot-delete-internal-sync\","
                "\"arguments\":{\"name\":\"s%u\"}}",
                i - 1);
        ((struct versions_instant *)g_ptr_array_index(versions->instants, i - 1))->name[0] = '\0';
        if (scenario->kills)
            blk_guest_restart(&versions->guest);
    }
    versions_run(versions, LIVE_N_BETWEEN);
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
    static const struct live_scenario scenario = {"",  "--format=qcow2", LIVE_INDIRECT, 1, false,
                                                  512, "cluster_size=4k"};
    g_autofree struct versions *versions = g_new0(struct versions, 1);
    g_autofree char *answer = NULL;
    g_autofree uint8_t *data = NULL;

    if (!live_start(versions, &scenario))
        return;
    versions_run(versions, LIVE_N_BETWEEN);
    live_do(versions, "s", -1,
            "{\"execute\":\"blockdev-snapshot-internal-sync\",\"arguments\":{\"name\":\"s\"}}");
    versions_run(versions, LIVE_N_BETWEEN);
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
    static const struct live_scenario scenario = {"",
                                                  "--format=qcow2 --iops=3000 --iops-max=8",
                                                  LIVE_INDIRECT | LIVE_EVENT,
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

static const struct live_scenario internal[] = {
    {"split", "--format=qcow2", LIVE_INDIRECT | LIVE_EVENT, 4, false, 512, "cluster_size=64k"},
    {"packed", "--format=qcow2", LIVE_INDIRECT | LIVE_EVENT | LIVE_PACKED, 4, false, 512,
     "cluster_size=4k"},
    {"direct", "--format=qcow2 --cache=none --aio=native", LIVE_INDIRECT, 2, false, 4096,
     "extended_l2=on"},
    {"threads", "--format=qcow2 --aio=threads --poll-us=0", LIVE_INDIRECT, 2, false, 512,
     "lazy_refcounts=on"},
    {"limits", "--format=qcow2 --iops=4000 --iops-max=20 --in-order",
     LIVE_INDIRECT | LIVE_EVENT | LIVE_IN_ORDER, 2, false, 512, "cluster_size=4k"},
    {"kill", "--format=qcow2", LIVE_INDIRECT | LIVE_EVENT, 2, true, 512, "cluster_size=4k"},
    {"kill-lazy", "--format=qcow2", LIVE_INDIRECT | LIVE_PACKED, 2, true, 512, "lazy_refcounts=on"},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    live_add("internal", internal, G_N_ELEMENTS(internal), test_internal);
    g_test_add_func("/blk-live/internal/apply", test_apply);
    g_test_add_func("/blk-live/front-end", test_front_end);
    return g_test_run();
}
