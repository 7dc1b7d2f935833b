/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm's vhost-user devices with back-ends that are not there, die, or go wrong at each message in
 * turn: making a device ends in bounded time, and one that was made goes on with the successor.
 */
#include <glib/gstdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/open-fds.h"
#include "vhost-rig.h"
#include "vhost-user/log.h"

/* --- the good case, and its ends --- */

static void test_good(void)
{
    g_autoptr(GError) error = NULL;
    struct place place;
    struct rig rig;
    eventfd_t count;

    place_init(&place);
    place_start(&place);
    rig_init(&rig, &place);
    g_assert_true(rig_create(&rig, &error));
    g_assert_cmpuint(rig.device->n_queues, ==, PLACE_N_QUEUES);
    g_assert_cmphex(rig.device->ops->features(rig.device), ==, RING_FEATURES);
    g_assert_cmpint(rig_start(&rig), ==, 0);
    place_wait_started(&place, 1);
    /* It is kicked once it is there: what was kicked before that, it may not have seen. */
    for (unsigned i = 0; i < PLACE_N_QUEUES; i++)
        while (eventfd_read(rig.queues[i].kick_fd, &count) != 0)
            g_usleep(1000);
    /* Off and on again, as by a reboot. */
    rig_stop(&rig);
    g_assert_cmpuint(place_n_seen(&place, VU_GET_VRING_BASE), ==, PLACE_N_QUEUES);
    g_assert_cmpint(rig_start(&rig), ==, 0);
    while (place_n_started(&place) < 2 * PLACE_N_QUEUES)
        g_usleep(2000);
    rig_clear(&rig);
    place_clear(&place);
}

static void test_reconnect(void)
{
    struct place place;
    struct rig rig;
    eventfd_t count;

    place_init(&place);
    place_start(&place);
    rig_init(&rig, &place);
    g_assert_true(rig_create(&rig, NULL));
    g_assert_cmpint(rig_start(&rig), ==, 0);
    place_wait_started(&place, 1);
    for (unsigned round = 2; round < 6; round++) {
        while (eventfd_read(rig.queues[0].kick_fd, &count) == 0)
            ;
        place_hang_up(&place);
        place_wait_started(&place, round);
        /* It is kicked, for nobody knows what its predecessor has seen. */
        while (eventfd_read(rig.queues[0].kick_fd, &count) != 0)
            g_usleep(1000);
    }
    /* What is stopped while nobody is there is not started again; one that was quick to come has
     * been told to stop. */
    place_hang_up(&place);
    rig_stop(&rig);
    while (place_n_sessions(&place) < 6 || !vhost_device_is_connected(rig.device))
        g_usleep(2000);
    g_assert_cmpuint(place_n_started(&place), ==, place_n_seen(&place, VU_GET_VRING_BASE));
    rig_clear(&rig);
    place_clear(&place);
}

/* Who sees any of the new configuration sees a new generation too. */
static void test_config_change(void)
{
    struct place place;
    struct rig rig;
    struct told told;
    uint8_t first = 0;

    place_init(&place);
    place_start(&place);
    rig_init(&rig, &place);
    g_assert_true(rig_create(&rig, NULL));
    rig_listen(&rig, &told);
    place_hang_up(&place);
    rig_wait_for(&told.n);
    g_assert_cmpuint(told.first, ==, 1);
    while (first != 2)
        rig.device->ops->read_config(rig.device, 0, &first, 1);
    rig_clear(&rig);
    place_clear(&place);
}

/* A device that is live without a queue asks for no log of any. */
static void test_no_queues(void)
{
    struct place place;
    struct rig rig;

    place_init(&place);
    place_start(&place);
    rig_init(&rig, &place);
    g_assert_true(rig_create(&rig, NULL));
    for (unsigned i = 0; i < PLACE_N_QUEUES; i++)
        rig.queues[i].enabled = false;
    g_assert_cmpint(rig_start(&rig), ==, 0);
    place_wait_seen(&place, 1, VU_ADD_MEM_REG);
    rig_stop(&rig);
    g_assert_cmpuint(place_n_seen(&place, VU_GET_INFLIGHT_FD), ==, 0);
    g_assert_true(vhost_device_is_connected(rig.device));
    rig_clear(&rig);
    place_clear(&place);
}

/* Nobody knows where such rings stood. */
static void test_packed_without_log(void)
{
    struct place place;
    struct rig rig;
    struct told told;

    place_init(&place);
    place.protocol_features &= ~VU_BIT(VU_PF_INFLIGHT_SHMFD);
    place_start(&place);
    rig_init(&rig, &place);
    ((struct vmm_device_config *)g_ptr_array_index(rig.config.devices, 0))->packed = true;
    g_assert_true(rig_create(&rig, NULL));
    rig_listen(&rig, &told);
    g_assert_cmpint(rig.device->ops->start(rig.device, RING_FEATURES | VU_BIT(VU_F_RING_PACKED),
                                           rig.queues, PLACE_N_QUEUES),
                    ==, 0);
    place_wait_started(&place, 1);
    place_hang_up(&place);
    rig_wait_for(&told.n_broken);
    rig_wait_for(&told.n);
    g_assert_cmpuint(place_n_started(&place), ==, 0);
    rig_stop(&rig);
    g_assert_cmpint(rig_start(&rig), ==, 0);
    place_wait_started(&place, 2);
    rig_clear(&rig);
    place_clear(&place);
}

/* A driver that begins anew has what the back-end has then. */
static void test_lesser_successor(void)
{
    struct place place;
    struct rig rig;

    place_init(&place);
    place.later_lacks = VU_BIT(VU_F_RING_PACKED) | VU_BIT(VU_F_RING_EVENT_IDX);
    place.later_lacks_protocol = VU_BIT(VU_PF_INFLIGHT_SHMFD);
    place_start(&place);
    rig_init(&rig, &place);
    g_assert_true(rig_create(&rig, NULL));
    g_assert_cmphex(rig.device->ops->features(rig.device), ==, RING_FEATURES);
    g_assert_cmpint(rig_start(&rig), ==, 0);
    place_wait_started(&place, 1);
    rig_stop(&rig);
    place_hang_up(&place);
    while (rig.device->ops->features(rig.device) == RING_FEATURES)
        g_usleep(2000);
    g_assert_cmphex(rig.device->ops->features(rig.device), ==, VU_BIT(VU_F_VERSION_1));
    g_assert_cmpint(
        rig.device->ops->start(rig.device, VU_BIT(VU_F_VERSION_1), rig.queues, PLACE_N_QUEUES), ==,
        0);
    place_wait_started(&place, 2);
    rig_clear(&rig);
    place_clear(&place);
}

/* Started while nobody is there: it runs when somebody is. */
static void test_late(void)
{
    struct place place;
    struct rig rig;

    place_init(&place);
    place_start(&place);
    rig_init(&rig, &place);
    g_assert_true(rig_create(&rig, NULL));
    place_hang_up(&place);
    while (place_n_sessions(&place) < 2)
        g_usleep(2000);
    place_hang_up(&place);
    g_assert_cmpint(rig_start(&rig), ==, 0);
    place_wait_started(&place, 2);
    rig_clear(&rig);
    place_clear(&place);
}

static void test_nobody(void)
{
    g_autoptr(GError) error = NULL;
    struct place place;
    struct rig rig;

    place_init(&place);
    g_unlink(place.path);
    rig_init(&rig, &place);
    g_assert_false(rig_create(&rig, &error));
    g_assert_nonnull(strstr(error->message, place.path));
    rig_clear(&rig);
    place_clear(&place);
}

/* --- a driver that starts and stops while back-ends come and go --- */

struct storm {
    struct place *place;
    bool is_over; /* atomic */
};

static gpointer storm_run(gpointer opaque)
{
    struct storm *storm = opaque;
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);

    while (!__atomic_load_n(&storm->is_over, __ATOMIC_ACQUIRE)) {
        g_usleep((gulong)g_rand_int_range(rand, 0, 4000));
        place_hang_up(storm->place);
    }
    return NULL;
}

/* Ends in time wherever it is: connecting, starting queues, or taking them back. Afterwards a
 * device is as good as ever. */
static void test_storm(void)
{
    struct place place;
    struct storm storm = {&place, false};
    struct told told;
    struct rig rig;
    GThread *thread;
    unsigned n_made = 0, n_fds = count_open_fds();

    place_init(&place);
    place_start(&place);
    rig_init(&rig, &place);
    thread = g_thread_new("storm", storm_run, &storm);
    for (unsigned round = 0; round < 40; round++) {
        if (!rig_create(&rig, NULL))
            continue;
        n_made++;
        rig_listen(&rig, &told);
        for (unsigned i = 0; i < 5; i++) {
            (void)rig_start(&rig);
            g_usleep((gulong)g_test_rand_int_range(0, 3000));
            if (round % 2 == 0 || i < 4)
                rig_stop(&rig);
        }
        rig.device->ops->destroy(rig.device);
        rig.device = NULL;
    }
    __atomic_store_n(&storm.is_over, true, __ATOMIC_RELEASE);
    g_thread_join(thread);
    g_assert_cmpuint(n_made, >, 0);
    g_assert_true(rig_create(&rig, NULL));
    g_assert_cmpint(rig_start(&rig), ==, 0);
    place_wait_started(&place, 1);
    rig_clear(&rig);
    place_clear(&place);
    g_assert_cmpuint(count_open_fds(), ==, n_fds);
}

/* --- opened by its own thread --- */

struct opened {
    unsigned n; /* atomic */
    GError *error;
};

static void on_opened(void *opaque, GError *error)
{
    struct opened *opened = opaque;

    opened->error = error;
    __atomic_fetch_add(&opened->n, 1, __ATOMIC_ACQ_REL);
}

/* One that says nothing keeps nobody waiting but the thread; one that is there is served as any. */
static void test_later(void)
{
    for (unsigned is_silent = 0; is_silent < 2; is_silent++) {
        struct opened opened = {0};
        struct place place;
        struct rig rig;

        place_init(&place);
        if (!is_silent)
            place_start(&place);
        rig_init(&rig, &place);
        rig.device =
            vhost_device_create(&rig.config, g_ptr_array_index(rig.config.devices, 0), &rig.ram);
        g_assert_true(vhost_device_open_later(rig.device, on_opened, &opened, NULL));
        rig_wait_for(&opened.n);
        if (is_silent) {
            g_assert_nonnull(strstr(opened.error->message, place.path));
            rig.device->ops->destroy(rig.device);
            rig.device = NULL;
        } else {
            g_assert_no_error(opened.error);
            g_assert_cmpint(rig_start(&rig), ==, 0);
            place_wait_started(&place, 1);
            place_hang_up(&place);
            place_wait_started(&place, 2);
        }
        g_assert_cmpuint(opened.n, ==, 1);
        g_clear_error(&opened.error);
        rig_clear(&rig);
        place_clear(&place);
    }
}

/* More nodes than it takes. */
static void test_many_nodes(void)
{
    g_autoptr(GError) error = NULL;
    struct place place;
    struct rig rig;

    place_init(&place);
    place.protocol_features &= ~VU_BIT(VU_PF_CONFIGURE_MEM_SLOTS);
    place_start(&place);
    rig_init(&rig, &place);
    rig.ram.shmem.n_regions = 9;
    g_assert_false(rig_create(&rig, &error));
    g_assert_nonnull(strstr(error->message, "8 regions"));
    rig.ram.shmem.n_regions = 1;
    rig_clear(&rig);
    place_clear(&place);
}

/* --- at each message --- */

/* Or the driver is told that nothing will come of it. */
static void wait_started_or_broken(struct place *place, const struct told *told)
{
    gint64 end = g_get_monotonic_time() + PLACE_PATIENCE;

    while (place_n_started(place) < PLACE_N_QUEUES &&
           __atomic_load_n(&told->n_broken, __ATOMIC_ACQUIRE) == 0) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(2000);
    }
}

static void try_wrong(enum wrong wrong, unsigned at)
{
    g_autoptr(GError) error = NULL;
    gint64 start = g_get_monotonic_time();
    struct place place;
    struct told told;
    struct rig rig;

    place_init(&place);
    place.wrong = wrong;
    place.wrong_at = at;
    place_start(&place);
    rig_init(&rig, &place);
    if (!rig_create(&rig, &error)) {
        g_assert_nonnull(strstr(error->message, place.path));
    } else {
        rig_listen(&rig, &told);
        g_assert_cmpint(rig_start(&rig), ==, 0);
        wait_started_or_broken(&place, &told);
    }
    g_assert_cmpint(g_get_monotonic_time() - start, <, PLACE_PATIENCE);
    rig_clear(&rig);
    place_clear(&place);
}

static void test_wrong(gconstpointer data)
{
    enum wrong wrong = (enum wrong)GPOINTER_TO_UINT(data);
    unsigned n_messages = rig_count_messages(), n_fds = count_open_fds();

    g_assert_cmpuint(n_messages, >, 15);
    for (unsigned at = 0; at < n_messages; at++)
        try_wrong(wrong, at);
    g_assert_cmpuint(count_open_fds(), ==, n_fds);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_OFF);
    g_test_add_func("/vmm/vhost/good", test_good);
    g_test_add_func("/vmm/vhost/reconnect", test_reconnect);
    g_test_add_func("/vmm/vhost/config-change", test_config_change);
    g_test_add_func("/vmm/vhost/no-queues", test_no_queues);
    g_test_add_func("/vmm/vhost/packed-without-log", test_packed_without_log);
    g_test_add_func("/vmm/vhost/lesser-successor", test_lesser_successor);
    g_test_add_func("/vmm/vhost/late", test_late);
    g_test_add_func("/vmm/vhost/nobody", test_nobody);
    g_test_add_func("/vmm/vhost/storm", test_storm);
    g_test_add_func("/vmm/vhost/later", test_later);
    g_test_add_func("/vmm/vhost/many-nodes", test_many_nodes);
    for (unsigned i = HANGS_UP; i < N_WRONG; i++) {
        g_autofree char *path = g_strdup_printf("/vmm/vhost/wrong/%s", wrong_names[i]);

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_wrong);
    }
    return g_test_run();
}
