/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole vrngd: requests of every shape, limits, several devices, sources that are silent or at
 * their end, a daemon that is killed while requests wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rng-guest.h"

#define INDIRECT VU_BIT(VU_F_RING_INDIRECT_DESC)
#define EVENT    VU_BIT(VU_F_RING_EVENT_IDX)
#define PACKED   VU_BIT(VU_F_RING_PACKED)
#define STATUS   "{\"execute\":\"query-status\"}"
#define MAX_LENS RNG_GUEST_RING
#define N_ROUNDS 300 /* of a full ring */

static const struct {
    const char *name;
    uint64_t features;
} rings[] = {
    {"split", INDIRECT | EVENT},
    {"split-plain", 0},
    {"packed", PACKED | INDIRECT | EVENT},
};

/* --- requests --- */

/* Random bytes differ from a fill, and from each other. */
static void assert_random(const uint8_t *bytes, uint32_t len)
{
    unsigned counts[256] = {0}, n_distinct = 0;

    for (uint32_t i = 0; i < len; i++)
        n_distinct += counts[bytes[i]]++ == 0;
    if (len >= 64)
        g_assert_cmpuint(n_distinct, >, 32);
}

static void test_shapes(gconstpointer features)
{
    const struct rng_guest_setup setup = {
        .n_devices = 1, .n_queues = 1, .features = GPOINTER_TO_SIZE(features)};
    const struct {
        unsigned n;
        uint32_t len;
    } shapes[] = {{1, 1},    {1, 64},    {1, 4096},   {2, 1},      {30, 7},    {20, 255},
                  {20, 256}, {20, 1000}, {1, 262144}, {1, 300000}, {4, 100000}};
    uint32_t lens[MAX_LENS];
    struct rng_guest_slot slot;
    struct rng_guest guest;

    if (!rng_guest_start(&guest, &setup))
        return;
    rng_guest_slot_init(&guest, 0, &slot);
    for (size_t i = 0; i < G_N_ELEMENTS(shapes); i++) {
        for (unsigned k = 0; k < shapes[i].n; k++)
            lens[k] = shapes[i].len;
        rng_guest_ask(&guest, 0, 0, &slot, lens, shapes[i].n);
        g_assert_true(rng_guest_take(&guest, 0, 0) == &slot);
        /* All of it, but for what is too long. */
        g_assert_cmpuint(slot.got, ==, MIN(slot.len, 256u << 10));
        assert_random(slot.bytes, slot.got);
    }
    /* Chains that only a table has room for, of lengths that do not fit each other. */
    for (unsigned k = 0; k < MAX_LENS; k++)
        lens[k] = 1 + k * 37 % 511;
    if (setup.features & INDIRECT) {
        rng_guest_ask(&guest, 0, 0, &slot, lens, MAX_LENS);
        g_assert_true(rng_guest_take(&guest, 0, 0) == &slot);
        g_assert_cmpuint(slot.got, ==, slot.len);
        assert_random(slot.bytes, slot.got);
    }
    rng_guest_stop(&guest);
}

/* A full ring, several queues, several devices, over and over. */
static void test_many(gconstpointer features)
{
    const struct rng_guest_setup setup = {.options = "--num-queues=2",
                                          .n_devices = 3,
                                          .n_queues = 2,
                                          .features = GPOINTER_TO_SIZE(features)};
    struct rng_guest_slot slots[3][2][8];
    const uint32_t len = 100;
    struct rng_guest guest;

    if (!rng_guest_start(&guest, &setup))
        return;
    for (unsigned d = 0; d < 3; d++)
        for (unsigned q = 0; q < 2; q++)
            for (unsigned i = 0; i < 8; i++)
                rng_guest_slot_init(&guest, d, &slots[d][q][i]);
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned d = 0; d < 3; d++)
            for (unsigned q = 0; q < 2; q++)
                for (unsigned i = 0; i < 8; i++)
                    rng_guest_ask(&guest, d, q, &slots[d][q][i], &len, 1);
        for (unsigned d = 0; d < 3; d++)
            for (unsigned q = 0; q < 2; q++)
                for (unsigned i = 0; i < 8; i++)
                    g_assert_cmpuint(rng_guest_take(&guest, d, q)->got, ==, len);
    }
    rng_guest_stop(&guest);
}

/* --- limits --- */

/* In the first window there is so much; what comes later is of the next ones. */
static void test_limit(void)
{
    const struct rng_guest_setup setup = {
        .options = "--max-bytes=1000 --period=60000", .n_devices = 2, .n_queues = 1};
    struct rng_guest_slot a, b;
    struct rng_guest guest;
    uint32_t len = 600;

    if (!rng_guest_start(&guest, &setup))
        return;
    rng_guest_slot_init(&guest, 0, &a);
    rng_guest_slot_init(&guest, 1, &b);
    g_assert_cmpuint(rng_guest_read(&guest, 0, 0, &a, 600), ==, 600);
    g_assert_cmpuint(rng_guest_read(&guest, 0, 0, &a, 600), ==, 400);
    rng_guest_ask(&guest, 0, 0, &a, &len, 1);
    /* The other device has its own. */
    g_assert_cmpuint(rng_guest_read(&guest, 1, 0, &b, 1600), ==, 1000);
    rng_guest_expect_answer(&guest, STATUS, "\"device\":0,\"waiting\":1");
    g_assert_null(rng_guest_try_take(&guest, 0, 0));
    rng_guest_expect_answer(&guest, "{\"execute\":\"query-throttle\"}",
                            "\"device\":1,\"max-bytes\":1000,\"period\":60000");
    /* A change counts at once. */
    rng_guest_expect_answer(
        &guest, "{\"execute\":\"set-throttle\",\"arguments\":{\"device\":0,\"max-bytes\":1300}}",
        "\"return\"");
    g_assert_true(rng_guest_take(&guest, 0, 0) == &a);
    g_assert_cmpuint(a.got, ==, 300);
    /* The front-end goes, and so does its request. */
    rng_guest_ask(&guest, 0, 0, &a, &len, 1);
    rng_guest_stop(&guest);
}

static void test_total(void)
{
    const struct rng_guest_setup setup = {
        .options = "--total-max-bytes=1000 --period=60000", .n_devices = 2, .n_queues = 1};
    struct rng_guest_slot a, b;
    struct rng_guest guest;

    if (!rng_guest_start(&guest, &setup))
        return;
    rng_guest_slot_init(&guest, 0, &a);
    rng_guest_slot_init(&guest, 1, &b);
    g_assert_cmpuint(rng_guest_read(&guest, 0, 0, &a, 600), ==, 600);
    g_assert_cmpuint(rng_guest_read(&guest, 1, 0, &b, 600), ==, 400);
    rng_guest_stop(&guest);
}

/* Short windows, many of them: requests wait for the next one, and go on. */
static void test_windows(void)
{
    const struct rng_guest_setup setup = {
        .options = "--max-bytes=100 --period=5", .n_devices = 1, .n_queues = 1, .features = EVENT};
    gint64 begin = g_get_monotonic_time();
    struct rng_guest_slot slot;
    uint64_t got = 0;
    struct rng_guest guest;

    if (!rng_guest_start(&guest, &setup))
        return;
    rng_guest_slot_init(&guest, 0, &slot);
    while (got < 5000)
        got += rng_guest_read(&guest, 0, 0, &slot, 64);
    /* 50 windows, of which the first and the last may be cut. */
    g_assert_cmpint(g_get_monotonic_time() - begin, >=, 48 * 5000);
    rng_guest_stop(&guest);
}

/* Whatever comes at once when the limit is reached, what had to wait does not overtake the rest. */
static void test_limited_order(gconstpointer features)
{
    const struct rng_guest_setup setup = {.options = "--max-bytes=1000 --period=1",
                                          .n_devices = 1,
                                          .n_queues = 1,
                                          .features = GPOINTER_TO_SIZE(features)};
    struct rng_guest_slot slot;
    struct vu_driver_used used;
    struct vu_driver *driver;
    struct rng_guest guest;

    if (!rng_guest_start(&guest, &setup))
        return;
    driver = guest.devices[0].queues[0];
    rng_guest_slot_init(&guest, 0, &slot);
    for (unsigned round = 0; round < N_ROUNDS; round++) {
        for (unsigned i = 0; i < RNG_GUEST_RING; i++) {
            const struct vu_sg sg = {.gpa = slot.gpa + 64 * i, .len = 64};

            g_assert_cmpint(vu_driver_add(driver, &sg, 0, 1, slot.bytes + i), ==, 0);
        }
        vu_driver_kick(driver);
        for (unsigned i = 0, tries = 0; i < RNG_GUEST_RING; tries++) {
            g_assert_cmpuint(tries, <, 10 * RNG_GUEST_PATIENCE_MS);
            if (vu_driver_harvest(driver, &used, 1) == 1)
                g_assert_true(used.token == slot.bytes + i++);
            else
                g_usleep(100);
        }
    }
    rng_guest_stop(&guest);
}

/* --- sources --- */

struct fifo {
    char *dir, *path, *options;
};

static void fifo_init(struct fifo *fifo, const char *options)
{
    fifo->dir = g_dir_make_tmp("rng-fifo-XXXXXX", NULL);
    fifo->path = g_build_filename(fifo->dir, "fifo", NULL);
    fifo->options = g_strdup_printf("--source=%s %s", fifo->path, options);
    g_assert_cmpint(mkfifo(fifo->path, 0600), ==, 0);
}

static void fifo_clear(struct fifo *fifo)
{
    g_unlink(fifo->path);
    g_rmdir(fifo->dir);
    g_free(fifo->dir);
    g_free(fifo->path);
    g_free(fifo->options);
}

static int fifo_open(const struct fifo *fifo)
{
    int fd = open(fifo->path, O_WRONLY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

/* Requests wait for as long as it takes, get what comes, in turns, and never anything else. */
static void test_stall(gconstpointer features)
{
    struct rng_guest_slot slots[2];
    struct rng_guest guest;
    struct fifo fifo;
    uint32_t len = 16;
    int fd;

    fifo_init(&fifo, "");
    const struct rng_guest_setup setup = {.options = fifo.options,
                                          .n_devices = 2,
                                          .n_queues = 1,
                                          .features = GPOINTER_TO_SIZE(features)};
    if (!rng_guest_start(&guest, &setup))
        return;
    for (unsigned i = 0; i < 2; i++) {
        rng_guest_slot_init(&guest, i, &slots[i]);
        rng_guest_ask(&guest, i, 0, &slots[i], &len, 1);
    }
    rng_guest_expect_log(&guest, "at its end for now; requests wait for it");
    rng_guest_expect_answer(&guest, STATUS, "\"waiting\",\"problem\"");
    for (unsigned i = 0; i < 2; i++) {
        g_autofree char *device = g_strdup_printf("\"device\":%u,\"waiting\":1", i);

        rng_guest_expect_answer(&guest, STATUS, device);
    }
    fd = fifo_open(&fifo);
    g_assert_null(rng_guest_try_take(&guest, 0, 0));
    g_assert_cmpint(write(fd, "abcd", 4), ==, 4);
    for (unsigned i = 0; i < 2; i++) {
        g_assert_true(rng_guest_take(&guest, i, 0) == &slots[i]);
        g_assert_cmpuint(slots[i].got, ==, 2);
        g_assert_true(memcmp(slots[i].bytes, "ab", 2) == 0 || memcmp(slots[i].bytes, "cd", 2) == 0);
    }
    rng_guest_ask(&guest, 0, 0, &slots[0], &len, 1);
    rng_guest_stop(&guest);
    close(fd);
    fifo_clear(&fifo);
}

/* A queue that is stopped while requests wait has them again when it goes on. */
static void test_stopped_queue(gconstpointer features)
{
    const uint32_t len = 8;
    struct rng_guest_slot slots[5];
    struct rng_guest_device *device;
    struct rng_guest guest;
    struct fifo fifo;
    uint32_t base;
    int fd;

    fifo_init(&fifo, "");
    const struct rng_guest_setup setup = {.options = fifo.options,
                                          .n_devices = 1,
                                          .n_queues = 1,
                                          .features = GPOINTER_TO_SIZE(features)};
    if (!rng_guest_start(&guest, &setup))
        return;
    device = &guest.devices[0];
    for (unsigned i = 0; i < 5; i++) {
        rng_guest_slot_init(&guest, 0, &slots[i]);
        rng_guest_ask(&guest, 0, 0, &slots[i], &len, 1);
    }
    fd = fifo_open(&fifo);
    g_assert_cmpint(write(fd, "0123456701234567", 16), ==, 16);
    for (unsigned i = 0; i < 2; i++)
        g_assert_true(rng_guest_take(&guest, 0, 0) == &slots[i]);
    g_assert_cmpint(vu_frontend_stop_ring(device->frontend, 0, &base), ==, 0);
    g_assert_cmpuint(base, ==, vu_driver_base(device->queues[0]));
    g_assert_null(rng_guest_try_take(&guest, 0, 0));
    g_assert_cmpint(vu_frontend_start_driver(device->frontend, device->queues[0]), ==, 0);
    vu_driver_force_kick(device->queues[0]);
    g_assert_cmpint(write(fd, "abcdefghabcdefghabcdefgh", 24), ==, 24);
    for (unsigned i = 2; i < 5; i++) {
        g_assert_true(rng_guest_take(&guest, 0, 0) == &slots[i]);
        g_assert_cmpuint(slots[i].got, ==, 8);
        g_assert_cmpint(memcmp(slots[i].bytes, "abcdefgh", 8), ==, 0);
    }
    rng_guest_stop(&guest);
    close(fd);
    fifo_clear(&fifo);
}

/* What waited when the daemon was killed is answered by its successor. */
static void test_killed(gconstpointer features)
{
    const uint32_t len = 8;
    struct rng_guest_slot slots[4];
    struct rng_guest guest;
    struct fifo fifo;
    int fd;

    fifo_init(&fifo, "");
    const struct rng_guest_setup setup = {.options = fifo.options,
                                          .n_devices = 1,
                                          .n_queues = 1,
                                          .features = GPOINTER_TO_SIZE(features),
                                          .inflight = true};
    if (!rng_guest_start(&guest, &setup))
        return;
    for (unsigned i = 0; i < 4; i++)
        rng_guest_slot_init(&guest, 0, &slots[i]);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 4; i++)
            rng_guest_ask(&guest, 0, 0, &slots[i], &len, 1);
        fd = fifo_open(&fifo);
        g_assert_cmpint(write(fd, "ABCDEFGH", 8), ==, 8);
        g_assert_true(rng_guest_take(&guest, 0, 0) == &slots[0]);
        close(fd);
        rng_guest_restart(&guest);
        fd = fifo_open(&fifo);
        for (unsigned i = 1; i < 4; i++) {
            g_assert_cmpint(write(fd, "abcdefgh", 8), ==, 8);
            g_assert_true(rng_guest_take(&guest, 0, 0) == &slots[i]);
            g_assert_cmpuint(slots[i].got, ==, 8);
            g_assert_cmpint(memcmp(slots[i].bytes, "abcdefgh", 8), ==, 0);
        }
        close(fd);
    }
    rng_guest_stop(&guest);
    fifo_clear(&fifo);
}

/* A raw source that is stuck: nothing of it reaches a guest, whatever it sends before. */
static void test_alarm(void)
{
    uint8_t zeros[4096] = {0};
    struct rng_guest_slot slot;
    struct rng_guest guest;
    const uint32_t len = 64;
    struct fifo fifo;
    int fd;

    fifo_init(&fifo, "--health=on --min-entropy=4");
    const struct rng_guest_setup setup = {.options = fifo.options, .n_devices = 1, .n_queues = 1};
    if (!rng_guest_start(&guest, &setup))
        return;
    rng_guest_slot_init(&guest, 0, &slot);
    rng_guest_ask(&guest, 0, 0, &slot, &len, 1);
    fd = fifo_open(&fifo);
    g_assert_cmpint(write(fd, "1023 good samples are too few", 29), ==, 29);
    g_assert_cmpint(write(fd, zeros, sizeof(zeros)), ==, sizeof(zeros));
    rng_guest_expect_log(&guest, "ALARM of the repetition count test");
    for (unsigned i = 0; i < 2; i++)
        g_assert_cmpint(write(fd, zeros, sizeof(zeros)), ==, sizeof(zeros));
    rng_guest_expect_answer(&guest, STATUS, "\"state\":\"stopped\"");
    rng_guest_expect_answer(&guest, STATUS, "\"alarms\":3,\"alarm\":\"repetition count\"");
    g_assert_null(rng_guest_try_take(&guest, 0, 0));
    /* It is asked to begin anew, and the FIFO's rest is bad as well. */
    rng_guest_expect_answer(&guest, "{\"execute\":\"restart-source\"}", "\"return\"");
    rng_guest_expect_answer(&guest, STATUS, "\"alarms\":6");
    g_assert_null(rng_guest_try_take(&guest, 0, 0));
    rng_guest_stop(&guest);
    close(fd);
    fifo_clear(&fifo);
}

static void add_for_rings(const char *name, GTestDataFunc test)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rings); i++) {
        g_autofree char *path = g_strdup_printf("/rng/%s/%s", name, rings[i].name);

        g_test_add_data_func(path, GSIZE_TO_POINTER(rings[i].features), test);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_for_rings("shapes", test_shapes);
    add_for_rings("many", test_many);
    add_for_rings("limited-order", test_limited_order);
    add_for_rings("stall", test_stall);
    add_for_rings("stopped-queue", test_stopped_queue);
    add_for_rings("killed", test_killed);
    g_test_add_func("/rng/limit", test_limit);
    g_test_add_func("/rng/total", test_total);
    g_test_add_func("/rng/windows", test_windows);
    g_test_add_func("/rng/alarm", test_alarm);
    return g_test_run();
}
